// A Service's end points change while others connect to it, in the very microseconds of a commit, too: whoever connects reaches one of them.
//
//   FAIRLEAD_COMMITS=10000 node --test src/services/commit.kernel.test.ts      as many changes
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { BRIEF, type Place, type PodName, podAddress, ServiceNetwork, TESTED_MODES } from "../../test/service-network.ts";
import { service, slice } from "../../test/service-objects.ts";

const skip = process.getuid?.() !== 0;
/** iptables replaces its whole table at once, and takes longer for it; IPVS is emulated. */
const COMMITS = { nftables: 800, iptables: 100, ipvs: 25 };
const ASKED = process.env.FAIRLEAD_COMMITS;
const program = (name: string) => fileURLToPath(new URL(`../../test/programs/${name}.ts`, import.meta.url));
/** Where pods take connections: in processes of their own, for this one is busy with changes. */
const PORT = 8090;
const NODE: Readonly<Record<PodName, string>> = { a: "node-1", b: "node-1", c: "node-2", d: "node-1" };
/** What a Service goes through: more and fewer end points, and others. */
const STATES: readonly (readonly PodName[])[] = [["a", "b", "c"], ["b"], ["c", "b", "a"], ["a"], ["b", "a"], ["c"]];
/** Other Services, of as many end points each as no other has: what a packet looks through between the sets of one and of three. */
const CROWD = Array.from({ length: 20 }, (_, index) => {
  const endpoints = Array.from({ length: 10 + index }, (_, host) => ({ address: `10.244.9.${1 + host}` }));
  const name = `crowd-${index}`;
  return [service(name, { clusterIP: `10.96.1.${index}`, ports: [{ port: 80 }] }), slice(name, { endpoints, port: 8080 })];
}).flat();
const PLAIN = "10.96.0.80";
const STICKY = "10.96.0.81";
const LOADS: readonly (readonly [Place, ...string[]])[] = [
  ["d", `${PLAIN}:80`, `${STICKY}:80`],
  ["client", "10.112.0.51:30080"],
];

let net: ServiceNetwork;
const children: ChildProcess[] = [];
before(async () => {
  if (skip) return;
  net = new ServiceNetwork();
  for (const pod of ["a", "b", "c"] as const) {
    await ready(start(pod, "web-server", String(PORT), "0"));
  }
});
after(() => {
  for (const child of children) child.kill();
  net?.close();
});

function change(pods: readonly PodName[]): void {
  const endpoints = pods.map((pod) => ({ address: podAddress(pod), node: NODE[pod] }));
  net.set([
    ...CROWD,
    service("plain", { type: "NodePort", clusterIP: PLAIN, ports: [{ port: 80, nodePort: 30080 }] }),
    slice("plain", { endpoints, port: PORT }),
    service("sticky", { clusterIP: STICKY, sessionAffinity: "ClientIP", ports: [{ port: 80 }] }),
    slice("sticky", { endpoints, port: PORT }),
  ]);
}

function start(place: Place, name: string, ...words: readonly string[]): ChildProcess {
  const child = net.at(place).spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program(name), ...words], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(child);
  return child;
}

/** Both programs say it by their first line. */
async function ready(child: ChildProcess): Promise<ChildProcess> {
  await once(child.stdout as NonNullable<typeof child.stdout>, "data");
  return child;
}

async function load(from: Place, ...targets: readonly string[]): Promise<ChildProcess> {
  return await ready(start(from, "connect-load", ...targets));
}

async function end(child: ChildProcess): Promise<{ readonly connections: number; readonly failures: readonly string[] }> {
  let text = "";
  child.stdout?.on("data", (chunk) => {
    text += chunk;
  });
  child.stdin?.end();
  await once(child, "close");
  return JSON.parse(text);
}

/** Where another kernel was asked already, IPVS alone is new. */
const MODES = BRIEF ? TESTED_MODES.filter((mode) => mode === "ipvs") : TESTED_MODES;
/** Some at once at each. */
const many = (...targets: readonly string[]) => targets.flatMap((target) => Array.from({ length: 4 }, () => target));

for (const mode of MODES) {
  const commits = ASKED === undefined ? COMMITS[mode] : Number(ASKED);
  test(`${commits} changes of end points, and no connection is refused, by ${mode}`, { skip, timeout: 300_000 }, async (t) => {
    net.mode = mode;
    change(["a"]);
    const loads: ChildProcess[] = [];
    for (const [from, ...targets] of LOADS) loads.push(await load(from, ...many(...targets)));
    for (let commit = 0; commit < commits; commit++) {
      change(STATES[commit % STATES.length] ?? []);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const ends = await Promise.all(loads.map(end));
    const connections = ends.reduce((sum, one) => sum + one.connections, 0);
    t.diagnostic(`${connections} connections`);
    assert.ok(connections > commits, `there was hardly any traffic: ${connections} connections`);
    assert.deepEqual(
      ends.flatMap(({ failures }) => failures),
      [],
    );
  });
}
