// Under constant change of labels, pods and policies: no packet passes that no state between old and new allowed, and none is
// lost that all of them allowed.
//
//   client namespace (far pods) ◀──▶ node: reconciler, state after state ◀──▶ server namespace (the node's pods)
//
// Both sides send all the time, and never answer, so that every packet is a new connection's. A packet met one of the states
// that the node was in between its sending and its arrival; one that is lost, within a moment after its sending.
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ClusterSnapshot, createSnapshotBuilder, type ObjectChange } from "../src/cluster/index.ts";
import {
  createLinuxKernel,
  createReconciler,
  EMPTY_STATE,
  type NetworkNamespace,
  type NftTable,
  ROUTE_PROTOCOL,
} from "../src/kernel/index.ts";
import { composeTable, TABLE } from "../src/plan/index.ts";
import { evaluatePolicies, planPolicy } from "../src/policy/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { type Chance, chanceOf } from "./random.ts";

/** How many changes: FAIRLEAD_ROUNDS says it. */
const CHANGES = Number(process.env.FAIRLEAD_ROUNDS ?? 400);
/** Of the two states whose parts must never be seen mixed. */
const SWAPS = 4 * CHANGES;
const SEED = Number(process.env.FAIRLEAD_SEED ?? 1);
const PORT = 7000;
/** Packets that each side sends in about a millisecond, and where the swaps are what matters. */
const BURST = 8;
const LARGE_BURST = 24;
/** A packet that is lost met its state within this time, in nanoseconds. */
const MOMENT = 300e6;
const PAUSE_MS = 12;
const near = (index: number) => `10.244.1.${2 + index}`;
const far = (index: number) => `10.244.2.${2 + index}`;
const PODS = 6;
const APPS = ["a", "b", "c"];

const pod = (side: "near" | "far", index: number, app: string): KubeObject =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "shop", name: `${side}-${index}`, labels: { side, app } },
    spec: { nodeName: side === "near" ? "node-1" : "node-2", containers: [] },
    status: { phase: "Running", podIPs: [{ ip: side === "near" ? near(index) : far(index) }] },
  }) as unknown as KubeObject;

/** The first pod of each side always reaches the other, and the last never does: no change touches them. */
const FIXED: readonly object[] = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  kubernetes("open", { podSelector: { matchLabels: { app: "open" } }, policyTypes: ["Ingress", "Egress"], ingress: [{}], egress: [{}] }),
  kubernetes("shut", { podSelector: { matchLabels: { app: "shut" } }, policyTypes: ["Ingress", "Egress"] }),
  pod("near", 0, "open"),
  pod("far", 0, "open"),
  pod("near", PODS - 1, "shut"),
];

function kubernetes(name: string, spec: object): object {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: "shop", name }, spec };
}

/** A policy of one of three languages about the near pods that change. */
function policy({ pick, often }: Chance, index: number): object {
  const who = pick(APPS);
  const peer = pick(APPS);
  const name = `policy-${index}`;
  return pick<() => object>([
    () =>
      kubernetes(name, {
        podSelector: { matchLabels: { side: "near", app: who } },
        policyTypes: pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
        ingress: [{ from: [often(0.7) ? { podSelector: { matchLabels: { app: peer } } } : { ipBlock: { cidr: "10.244.2.0/29" } }] }],
        egress: [{ to: [{ podSelector: { matchLabels: { app: peer } } }], ports: [{ protocol: "UDP", port: PORT }] }],
      }),
    () => ({
      apiVersion: "cilium.io/v2",
      kind: "CiliumNetworkPolicy",
      metadata: { namespace: "shop", name },
      spec: {
        endpointSelector: { matchLabels: { side: "near", app: who } },
        enableDefaultDeny: { ingress: often(0.5), egress: false },
        ingress: [{ fromEndpoints: [{ matchLabels: { app: peer } }] }],
        [often(0.5) ? "ingressDeny" : "egressDeny"]: [often(0.5) ? {} : { toPorts: [{ ports: [{ port: `${PORT}`, protocol: "UDP" }] }] }],
      },
    }),
    () => ({
      apiVersion: "projectcalico.org/v3",
      kind: "NetworkPolicy",
      metadata: { namespace: "shop", name },
      spec: {
        order: pick([1, 2, 3]),
        selector: `side == 'near' && app == '${who}'`,
        types: ["Ingress", "Egress"],
        ingress: [{ action: pick(["Allow", "Deny"]), source: { selector: `app in {'${peer}'}` } }],
        egress: [{ action: pick(["Allow", "Deny"]), destination: { notSelector: `app == '${peer}'` } }],
      },
    }),
  ])();
}

const keyOf = ({ apiVersion, kind, metadata }: KubeObject) => `${apiVersion}/${kind}/${metadata.name}`;

/** A label, a pod or a policy; sometimes several at once. */
function change(chance: Chance, there: Map<string, KubeObject>): ObjectChange[] {
  const { below, pick, often, some } = chance;
  return some(2, () => {
    const index = 1 + below(PODS - 2);
    const object = (often(0.5) ? pod(pick(["near", "far"]), index, pick(APPS)) : policy(chance, below(4))) as KubeObject;
    // A name stands for one policy, whatever language it is in.
    const same = [...there.values()].find(({ metadata }) => metadata.name === object.metadata.name);
    const gone: ObjectChange[] = same && (keyOf(same) !== keyOf(object) || often(0.3)) ? [{ type: "DELETED", object: same }] : [];
    const comes: ObjectChange[] = gone.length > 0 && often(0.5) ? [] : [{ type: same && gone.length === 0 ? "MODIFIED" : "ADDED", object }];
    for (const { type, object: moved } of [...gone, ...comes]) {
      if (type === "DELETED") there.delete(keyOf(moved));
      else there.set(keyOf(moved), moved);
    }
    return [...gone, ...comes];
  }).flat();
}

interface Site {
  readonly client: NetworkNamespace;
  readonly node: NetworkNamespace;
  readonly server: NetworkNamespace;
}

function makeSite(): Site {
  const kernel = createLinuxKernel();
  const site = { client: kernel.createNamespace(), node: kernel.createNamespace(), server: kernel.createNamespace() };
  for (const [end, link, address, gateway] of [
    [site.client, "c", far, "10.244.2.1"],
    [site.server, "s", near, "10.244.1.1"],
  ] as const) {
    site.node.addVethPair({ name: link, up: true }, { name: "eth0", namespace: end, up: true });
    site.node.apply({ op: "add", address: { link, address: `${gateway}/24` } });
    for (let index = 0; index < PODS; index++) end.apply({ op: "add", address: { link: "eth0", address: `${address(index)}/24` } });
    end.apply({
      op: "add",
      route: {
        family: 4,
        destination: "0.0.0.0/0",
        type: "unicast",
        nexthops: [{ via: gateway }],
        table: 254,
        protocol: ROUTE_PROTOCOL.static,
      },
    });
  }
  site.node.writeSysctl("net.ipv4.ip_forward", "1");
  return site;
}

/** What a side has noted, as packet-stream.ts has it. */
interface Notes {
  readonly sent: readonly [from: number, to: number, before: number, after: number][];
  readonly received: readonly [from: number, to: number, sequence: number, at: number][];
  readonly overflows: readonly [from: number, until: number][];
}

interface Stream {
  readonly process: ChildProcess;
  readonly output: Promise<Notes>;
}

async function startStream(namespace: NetworkNamespace, own: readonly string[], others: readonly string[], burst: number): Promise<Stream> {
  const script = fileURLToPath(new URL("packet-stream.ts", import.meta.url));
  const settings = JSON.stringify({ own, others, port: PORT, burst, gapMs: 1 });
  const child = namespace.spawn(process.execPath, ["--disable-warning=ExperimentalWarning", script, settings], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let text = "";
  child.stdout?.on("data", (chunk) => {
    text += chunk;
  });
  const output = once(child, "close").then(() => JSON.parse(text.slice("ready\n".length)));
  while (!text.startsWith("ready\n"))
    await Promise.race([once(child.stdout as NonNullable<typeof child.stdout>, "data"), once(child, "close")]);
  return { process: child, output };
}

/** A state of the node, and when it came into force: somewhere between the two. */
interface State {
  readonly snapshot: ClusterSnapshot;
  readonly from: number;
  readonly until: number;
}

/** Every state that may have been in force at some time between the two. */
function statesBetween(states: readonly State[], from: number, until: number): readonly State[] {
  // States come one after the other: the first that was not yet over, by bisection.
  let [first, behind] = [0, states.length];
  while (first < behind) {
    const middle = (first + behind) >> 1;
    if ((states[middle + 1]?.until ?? Number.POSITIVE_INFINITY) < from) first = middle + 1;
    else behind = middle;
  }
  let last = first;
  while (last < states.length && (states[last]?.from ?? 0) <= until) last++;
  return states.slice(first, last);
}

interface Watched {
  /** Packets that met what no state between their sending and their arrival says. */
  readonly wrong: readonly string[];
  readonly passed: number;
  readonly lost: number;
  /** Packets for which both would have been right. */
  readonly unsure: number;
}

/** Sends packets between the addresses of both sides while the node goes from state to state, and judges each of them. */
async function watchPackets(
  { nears, fars, burst }: { readonly nears: readonly string[]; readonly fars: readonly string[]; readonly burst: number },
  first: readonly object[],
  drive: (enforce: (changes: readonly ObjectChange[]) => void) => Promise<void>,
): Promise<Watched> {
  const site = makeSite();
  const reconciler = createReconciler({
    namespace: site.node,
    owns: { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [TABLE] },
  });
  try {
    const now = () => Number(process.hrtime.bigint());
    const builder = createSnapshotBuilder();
    const states: State[] = [];
    const enforce = (changes: readonly ObjectChange[]) => {
      builder.apply(changes);
      const snapshot = builder.snapshot();
      const table: NftTable = composeTable([planPolicy(snapshot, "node-1", []).table]);
      const from = now();
      const status = reconciler.set({ ...EMPTY_STATE, tables: [table] });
      assert.equal(status.lastError, undefined);
      states.push({ snapshot, from, until: now() });
    };
    enforce(first.map((object) => ({ type: "ADDED", object: object as KubeObject })));
    const streams = [await startStream(site.server, nears, fars, burst), await startStream(site.client, fars, nears, burst)] as const;
    // Before both listen, a packet may find nobody.
    const begun = now();
    await drive(enforce);
    const ended = now();
    for (const { process: child } of streams) child.stdin?.end();
    const [server, client] = [await streams[0].output, await streams[1].output];
    const wrong: string[] = [];
    const seen = { passed: 0, lost: 0, unsure: 0 };
    for (const [sender, receiver, own, others] of [
      [server, client, nears, fars],
      [client, server, fars, nears],
    ] as const) {
      const arrivals = new Map(receiver.received.map(([, , sequence, at]) => [sequence, at]));
      for (const [sequence, [from, to, before, after]] of sender.sent.entries()) {
        if (before < begun || after > ended) continue;
        const [source, target] = [own[from] ?? "", others[to] ?? ""];
        const arrived = arrivals.get(sequence);
        // It may have come as far as the other side, and found no room there.
        if (arrived === undefined && receiver.overflows.some(([start, end]) => before < end && after + MOMENT > start)) continue;
        const between = statesBetween(states, before, arrived ?? after + MOMENT);
        const may = new Set(between.map((state) => allows(state.snapshot, source, target)));
        const where = `${source} → ${target}, packet ${sequence}, ${between.length} states`;
        if (arrived !== undefined && !may.has(true)) wrong.push(`passed, and no state allowed it: ${where}`);
        if (arrived === undefined && !may.has(false)) wrong.push(`lost, and every state allowed it: ${where}`);
        seen[arrived === undefined ? "lost" : "passed"]++;
        if (may.size === 2) seen.unsure++;
      }
    }
    return { wrong, ...seen };
  } finally {
    reconciler.close();
    for (const namespace of [site.client, site.node, site.server]) namespace.close();
  }
}

const verdicts = new WeakMap<ClusterSnapshot, Map<string, boolean>>();

/** By calculation. */
function allows(snapshot: ClusterSnapshot, from: string, to: string): boolean {
  const known = verdicts.get(snapshot) ?? new Map<string, boolean>();
  verdicts.set(snapshot, known);
  const pair = `${from} ${to}`;
  let verdict = known.get(pair);
  verdict ??= evaluatePolicies(snapshot, { from: { address: from }, to: { address: to }, protocol: "UDP", port: PORT }).verdict === "allow";
  known.set(pair, verdict);
  return verdict;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test(`nothing passes or is lost that should not be, over ${CHANGES} changes`, { timeout: 180_000 }, async () => {
  const chance = chanceOf(SEED);
  const there = new Map<string, KubeObject>();
  const indexes = Array.from({ length: PODS }, (_, index) => index);
  const seen = await watchPackets({ nears: indexes.map(near), fars: indexes.map(far), burst: BURST }, FIXED, async (enforce) => {
    for (let round = 0; round < CHANGES; round++) {
      await pause(PAUSE_MS);
      enforce(change(chance, there));
    }
  });
  const { wrong, passed, lost, unsure } = seen;
  assert.deepEqual(wrong, []);
  const all = JSON.stringify({ passed, lost, unsure });
  assert.ok(passed > 10 * CHANGES && lost > 10 * CHANGES, all);
  assert.ok(unsure < (passed + lost) * 0.9, `most packets met one verdict: ${all}`);
});

/**
 * Two states that agree about everybody, and whose parts do not agree: old rules with new sets would let far-1 in and keep
 * far-2 out, and so would new rules with old sets. A second policy asks for the same sets, so that they stay.
 */
function swapped(to: "b" | "c"): readonly KubeObject[] {
  const other = to === "b" ? "c" : "b";
  const from = (app: string) => ({ from: [{ podSelector: { matchLabels: { app } } }] });
  return [
    kubernetes("swap", { podSelector: { matchLabels: { app: "swap" } }, ingress: [from(to)] }) as KubeObject,
    pod("far", 1, other),
    pod("far", 2, to),
  ];
}

test(`rules and sets are never seen of two states, over ${SWAPS} changes`, { timeout: 180_000 }, async () => {
  const first = [
    ...FIXED,
    pod("near", 1, "swap"),
    kubernetes("keep", {
      podSelector: { matchLabels: { app: "shut" } },
      ingress: ["b", "c"].map((app) => ({ from: [{ podSelector: { matchLabels: { app } } }] })),
    }),
    ...swapped("b"),
  ];
  const { wrong, passed, lost, unsure } = await watchPackets(
    { nears: [near(1)], fars: [far(1), far(2)], burst: LARGE_BURST },
    first,
    async (enforce) => {
      for (let round = 0; round < SWAPS; round++) {
        enforce(swapped(round % 2 === 0 ? "c" : "b").map((object) => ({ type: "MODIFIED", object })));
        await pause(1);
      }
    },
  );
  assert.deepEqual(wrong, []);
  assert.ok(passed > 10 * SWAPS && lost > SWAPS && unsure === 0, JSON.stringify({ passed, lost, unsure }));
});
