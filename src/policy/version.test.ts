// What a packet meets that is among the rules while a commit comes into force: rules that carry one number, and sets that carry another.
import assert from "node:assert/strict";
import { test } from "node:test";
import { plainSnapshot } from "../../test/plain-snapshot.ts";
import { evaluateHook, makePacket, type NftChain, type NftHook, type NftTable } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { isVersionChain, planPolicy } from "./index.ts";

const pod = (name: string, app: string, address: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, labels: { app } },
  spec: { nodeName: "node-1", containers: [] },
  status: { phase: "Running", podIPs: [{ ip: address }] },
});
const OBJECTS = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { namespace: "shop", name: "web" },
    spec: { podSelector: { matchLabels: { app: "web" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "api" } } }] }] },
  },
  pod("web", "web", "10.244.1.2"),
  pod("api", "api", "10.244.1.3"),
  pod("other", "other", "10.244.1.4"),
];

function tableOf(objects: readonly object[]): NftTable {
  const { table } = planPolicy(plainSnapshot(objects as readonly KubeObject[]), "node-1", []);
  const bases = [...Map.groupBy(table.hooks, ({ chain }) => chain)].map(([name, parts]): NftChain => {
    const hook = name.slice("filter-".length).replace("-again", "") as NftHook["hook"];
    const priority = name.endsWith("-again") ? 1 : 0;
    const rules = parts.toSorted((a, b) => a.order - b.order).flatMap((part) => part.rules);
    return { name, hook: { type: "filter", hook, priority, policy: "accept" }, rules };
  });
  return { family: "inet", name: "fairlead", chains: [...bases, ...table.chains], sets: table.sets };
}

const numberOf = (table: NftTable) => table.sets.find(({ name }) => name === "policy-version")?.elements[0]?.key[0];

function send(table: NftTable, source: string) {
  const packet = makePacket({ source, destination: "10.244.1.2", protocol: "tcp", destinationPort: 80 });
  const context = { inDevice: "cni0", outDevice: "cni0", isLocal: () => false, choose: () => 0 };
  return evaluateHook([table], "forward", packet, context);
}

test("the same contents have the same number, in whatever order they came; other contents another", () => {
  const table = tableOf(OBJECTS);
  assert.equal(numberOf(tableOf(structuredClone(OBJECTS).reverse())), numberOf(table));
  const [space, policy, web, , ...rest] = OBJECTS;
  const moved = tableOf([space, policy, web, pod("api", "api", "10.244.1.9"), ...rest] as object[]);
  assert.notEqual(numberOf(moved), numberOf(table));
  const lasting = ({ chains }: NftTable) => chains.filter(({ name }) => !isVersionChain(name));
  assert.deepEqual(lasting(moved), lasting(table), "what says the version is all that differs among the rules");
});

test("rules and sets of one version decide at once; a packet that meets two is asked again, and never let through by a mixture", () => {
  const table = tableOf(OBJECTS);
  assert.equal(send(table, "10.244.1.3").verdict, "accept");
  assert.equal(send(table, "10.244.1.3").packet.mark, 0);
  const denied = send(table, "10.244.1.4");
  assert.equal(denied.verdict, "drop");
  assert.equal(denied.steps.at(-1)?.chain, "policy-denied");
  assert.equal(denied.steps.find(({ to }) => to === "policy-denied")?.owner?.name, "web");

  // The commit came in between: the sets are of a later version, whose rules the base chain behind will be asked for.
  const sets = table.sets.map((set) => (set.name === "policy-version" ? { ...set, elements: [{ key: ["1"] }] } : set));
  const torn: NftTable = { ...table, sets };
  for (const source of ["10.244.1.3", "10.244.1.4"]) {
    const { verdict, steps } = send(torn, source);
    assert.equal(verdict, "drop");
    assert.equal(steps.at(-1)?.chain, "filter-forward-again", "not decided before it was asked again");
    assert.equal(steps.at(-1)?.owner?.name, "policy-changing");
  }
});

test("a packet that was marked is decided by the rules that are asked again", () => {
  const table = tableOf(OBJECTS);
  const context = { inDevice: "cni0", outDevice: "cni0", isLocal: () => false, choose: () => 0, from: 1 };
  const again = (source: string) =>
    evaluateHook(
      [table],
      "forward",
      { ...makePacket({ source, destination: "10.244.1.2", protocol: "tcp", destinationPort: 80 }), mark: 0x40_4000 },
      context,
    );
  assert.equal(again("10.244.1.3").verdict, "accept");
  assert.equal(again("10.244.1.3").packet.mark, 0x4000, "others' bits of the mark stay");
  assert.equal(again("10.244.1.4").steps.at(-1)?.chain, "policy-denied");
});
