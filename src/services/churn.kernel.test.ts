// Under constant traffic: end points, Services and modes change at random, and nobody is sent where nobody is, or lost for another's sake.
//
//   FAIRLEAD_CHURN=1000 node --test src/services/churn.kernel.test.ts      as many changes
//   npm run test:vm -- src/services/churn.kernel.test.ts                   by IPVS, too
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BRIEF, type Place, type PodName, podAddress, ServiceNetwork, TESTED_MODES } from "../../test/service-network.ts";
import { service, slice } from "../../test/service-objects.ts";
import type { EndpointSlice, Service } from "../resources/index.ts";

const skip = process.getuid?.() !== 0;
const CHANGES = Number(process.env.FAIRLEAD_CHURN ?? 60);

/** Where another kernel was asked already, IPVS alone is new. */
const MODES = BRIEF ? TESTED_MODES.filter((mode) => mode === "ipvs") : TESTED_MODES;
const PODS = ["a", "b", "c"] as const;
const NODE: Readonly<Record<PodName, string>> = { a: "node-1", b: "node-1", c: "node-2", d: "node-1" };
const SOURCES: readonly Place[] = ["d", "c", "client", "node-1"];
const SERVICES = 6;
/** Connections under way from each source. */
const AT_ONCE = 3;
/** The longest between two changes, in milliseconds. */
const MOST_MS = 1000;
/** How long one waits for a Service that is away. */
const ABSENT_MS = 5000;

/** Repeatable chance. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >> 8) % below;
  };
}

let net: ServiceNetwork;
before(() => {
  if (!skip) net = new ServiceNetwork();
});
after(() => net?.close());

for (const mode of [...MODES, "changing modes"] as const)
  test(`${CHANGES} random changes of end points and Services under constant traffic, by ${mode}`, { skip }, async (t) => {
    net.mode = mode === "changing modes" ? "nftables" : mode;
    const roll = dice(20_260_729);
    const choose = dice(20_261_127);
    /** End points of each Service; none: the Service is not there. The last never changes. */
    const now: PodName[][] = Array.from({ length: SERVICES }, () => [...PODS]);
    /** Every state that the nodes have acknowledged, in order. */
    const acknowledged: (readonly (readonly PodName[])[])[] = [];
    const addressOf = (number: number) => `10.96.0.${100 + number}`;
    const apply = () => {
      net.set(
        now.flatMap((pods, number): (Service | EndpointSlice)[] =>
          pods.length === 0
            ? []
            : [
                service(`s${number}`, { clusterIP: addressOf(number), ports: [{ port: 80 }] }),
                slice(`s${number}`, { endpoints: pods.map((pod) => ({ address: podAddress(pod), node: NODE[pod] })), port: 8080 }),
              ],
        ),
      );
      acknowledged.push(now.map((pods) => [...pods]));
    };
    apply();

    const wrong: string[] = [];
    let connections = 0;
    let done = false;
    const traffic = async (from: Place) => {
      while (!done) {
        const number = choose(SERVICES);
        const since = acknowledged.length - 1;
        const absent = acknowledged[since]?.[number]?.length === 0;
        const answer = await net.connect(from, addressOf(number), 80, absent ? ABSENT_MS : undefined);
        connections++;
        const states = acknowledged.slice(since).map((state) => state[number] ?? []);
        const may = new Set<string>(states.flat());
        const was = `s${number} from ${from} (states ${since} to ${acknowledged.length - 1}, ${net.mode}): ${JSON.stringify(answer)}`;
        if (answer.verdict === "connected" && !may.has(answer.pod ?? "")) wrong.push(`an end point that is gone: ${was}`);
        // Where somebody was there all the time, somebody answers.
        if (answer.verdict !== "connected" && states.every((pods) => pods.length > 0)) wrong.push(`lost: ${was}`);
      }
    };
    const running = SOURCES.flatMap((from) => Array.from({ length: AT_ONCE }, () => traffic(from)));
    for (let change = 0; change < CHANGES; change++) {
      const number = roll(SERVICES - 1);
      const kind = roll(10);
      if (kind === 0 && mode === "changing modes") net.mode = TESTED_MODES[roll(TESTED_MODES.length)] ?? "nftables";
      else if (kind === 1) now[number] = [];
      else now[number] = PODS.filter(() => roll(2) === 0);
      if (kind > 1 && now[number]?.length === 0) now[number] = [PODS[roll(PODS.length)] ?? "a"];
      apply();
      // However quick the machine is with changes, there is traffic between them; who asks for a Service that is away waits for a second.
      const end = performance.now() + MOST_MS;
      do await new Promise((resolve) => setTimeout(resolve, 10));
      while (connections <= 2 * change && performance.now() < end);
    }
    done = true;
    // Nobody waits in vain to the end.
    now.fill([...PODS]);
    apply();
    await Promise.all(running);
    t.diagnostic(`${connections} connections`);
    assert.ok(connections > CHANGES, `there was hardly any traffic: ${connections} connections`);
    assert.deepEqual(wrong, []);
  });

for (const mode of BRIEF ? [] : MODES)
  test(`10,000 connections over three end points by ${mode}: each within three in a hundred of its third`, { skip }, async () => {
    net.mode = mode;
    net.set([
      service("even", { clusterIP: "10.96.0.90", ports: [{ port: 80 }] }),
      slice("even", { endpoints: PODS.map((pod) => ({ address: podAddress(pod), node: NODE[pod] })), port: 8080 }),
    ]);
    const counts: Record<string, number> = {};
    let left = 10_000;
    const work = async () => {
      while (left-- > 0) {
        const { pod = "nobody" } = await net.connect("d", "10.96.0.90", 80);
        counts[pod] = (counts[pod] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: 20 }, work));
    // By chance alone, a third of 10,000 is off by 300 once in ten thousand million times.
    for (const pod of PODS) assert.ok(Math.abs((counts[pod] ?? 0) - 10_000 / 3) < 300, JSON.stringify(counts));
  });
