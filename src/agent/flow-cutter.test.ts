// When established flows are looked for: not for what is new, but for what may be denied now.
import assert from "node:assert/strict";
import { test } from "node:test";
import { snapshotOf } from "../cluster/index.ts";
import { type Conntrack, type ConntrackFlow, EMPTY_STATE, type NftRule, type NftSet, type NftTable } from "../kernel/index.ts";
import { keepSame, type NodePlan } from "../plan/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { createFlowCutter, policyMoved } from "./flow-cutter.ts";

interface Shape {
  readonly pods: readonly string[];
  /** Which chain a pod's traffic jumps to. */
  readonly selected?: Readonly<Record<string, string>>;
  readonly peers?: readonly string[];
  readonly chains?: Readonly<Record<string, readonly NftRule[]>>;
}

const DROP: NftRule = { matches: [], statements: [{ verdict: "jump", chain: "policy-denied" }] };
const ALLOW: NftRule = { matches: [{ left: "ip saddr", op: "==", right: { set: "peer4-x" } }], statements: [{ verdict: "return" }] };
const DENY: NftRule = { ...ALLOW, statements: DROP.statements };

function plan({ pods, selected = {}, peers = ["10.0.9.9"], chains = { "ingress-x": [ALLOW, DROP] } }: Shape): NodePlan {
  const set = (name: string, elements: NftSet["elements"], value?: NftSet["value"]): NftSet => ({
    name,
    key: ["ipv4_addr"],
    ...(value ? { value } : {}),
    elements,
  });
  const table: NftTable = {
    family: "inet",
    name: "fairlead",
    chains: Object.entries(chains).map(([name, rules]) => ({ name, rules })),
    sets: [
      set(
        "pod-self4",
        pods.map((pod) => ({ key: [pod, pod] })),
      ),
      set(
        "pod-ingress4",
        Object.entries(selected).map(([pod, chain]) => ({ key: [pod], value: { verdict: "jump", chain } })),
        ["verdict"],
      ),
      set(
        "peer4-x",
        peers.map((peer) => ({ key: [peer] })),
      ),
    ],
  };
  return {
    node: "n",
    revision: 1,
    kernel: { ...EMPTY_STATE, tables: [table] },
    pods: new Map(),
    annotations: {},
    podMtu: 1450,
    announcement: { own: [], winners: new Map() },
    settings: { services: "nftables", network: "overlay", fastPath: "on", remarks: [] },
    namePatterns: [],
    remarks: [],
  };
}

const base: Shape = { pods: ["10.0.0.1", "10.0.0.2"], selected: { "10.0.0.1": "ingress-x" } };

const denying: Shape = { ...base, chains: { "ingress-x": [DENY, DROP] } };

for (const [what, after, moved, from = base] of [
  ["nothing", base, false],
  ["a new pod that is selected", { pods: [...base.pods, "10.0.0.3"], selected: { ...base.selected, "10.0.0.3": "ingress-x" } }, false],
  ["a pod that was there is selected", { ...base, selected: { ...base.selected, "10.0.0.2": "ingress-x" } }, true],
  ["a pod jumps elsewhere", { ...base, selected: { "10.0.0.1": "ingress-y" } }, true],
  ["a peer more", { ...base, peers: ["10.0.9.8", "10.0.9.9"] }, false],
  ["a peer less", { ...base, peers: [] }, true],
  ["a peer more, where a rule denies", { ...denying, peers: ["10.0.9.8", "10.0.9.9"] }, true, denying],
  ["a rule less", { ...base, chains: { "ingress-x": [DROP] } }, true],
  ["a chain that nothing jumps to yet", { ...base, chains: { "ingress-w": [DROP], "ingress-x": [ALLOW, DROP] } }, false],
] as readonly (readonly [string, Shape, boolean, Shape?])[]) {
  test(`${what}: ${moved ? "flows are looked for" : "no flow is looked for"}`, () => {
    const before = plan(from);
    assert.equal(policyMoved(before, keepSame(before, plan(after))), moved);
  });
}

test("what a new policy denies is looked for at once, and once more for what was let through in the moment before", async () => {
  const space = { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } };
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "shop", name: "web" },
    spec: { nodeName: "n", containers: [] },
    status: { phase: "Running", podIPs: [{ ip: "10.0.0.1" }] },
  };
  const closed = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { namespace: "shop", name: "closed" },
    spec: { podSelector: {} },
  };
  const snapshot = (...objects: object[]) => snapshotOf(objects as KubeObject[]);
  const flow = { protocol: 17, source: "10.0.9.9", destination: "10.0.0.1", destinationPort: 53, replySource: "10.0.0.1" } as ConntrackFlow;
  const looks: boolean[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const conntrack = {
    async delete(filters: readonly object[], only?: (flow: ConntrackFlow) => boolean) {
      // For policies all flows are looked at.
      if (filters.every((filter) => Object.keys(filter).length > 0)) return;
      looks.push(only?.(flow) === true);
      if (looks.length === 2) resolve();
    },
  } as unknown as Conntrack;
  const cutter = createFlowCutter(conntrack, (message) => assert.fail(message));
  cutter.follow(snapshot(space, pod), false);
  cutter.follow(snapshot(space, pod, closed), true);
  // The looks do not keep a process alive by themselves.
  const alive = setInterval(() => {}, 1000);
  await promise;
  await new Promise((done) => setTimeout(done, 150));
  clearInterval(alive);
  cutter.close();
  assert.deepEqual(looks, [true, true]);
});
