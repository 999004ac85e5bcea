// planNode: pure, complete, and sharing what did not change.
import assert from "node:assert/strict";
import { test } from "node:test";
import { node, service, slice } from "../../test/service-objects.ts";
import { createSnapshotBuilder, snapshotOf } from "../cluster/index.ts";
import { createFakeKernel, diffState, EMPTY_STATE, printTable } from "../kernel/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import { composeTable, type NodeFacts, planNode, TABLE } from "./index.ts";

const vtep = { "flannel.alpha.coreos.com/backend-data": '{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}' };
const pod = (name: string, labels: Readonly<Record<string, string>> = {}): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, labels },
  spec: { nodeName: "node-1", containers: [] },
  status: { podIPs: [{ ip: "10.244.1.2" }] },
});
const objects = (): KubeObject[] => [
  node("node-1", ["10.244.1.0/24"], ["10.112.0.51"]),
  node("node-2", ["10.244.2.0/24"], ["10.112.0.52"], vtep),
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  pod("a"),
  service("web", { clusterIP: "10.96.0.80", sessionAffinity: "ClientIP", ports: [{ port: 80, nodePort: 30080 }] }, ["203.0.113.80"]),
  slice("web", { endpoints: [{ address: "10.244.1.2", node: "node-1" }], port: 8080 }),
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { namespace: "shop", name: "deny" },
    spec: { podSelector: {}, policyTypes: ["Ingress"] },
  } as KubeObject,
];
const facts: NodeFacts = {
  node: "node-1",
  underlay: { link: "ens160", mtu: 1500, addresses: ["10.112.0.51/24"] },
  vtepMac: "02:00:00:00:00:01",
  attachments: [
    {
      containerId: "c1",
      interface: "eth0",
      podNamespace: "shop",
      podName: "a",
      netns: "/run/netns/a",
      hostLink: "veth1",
      mac: "0a:00:00:00:00:01",
      addresses: ["10.244.1.2/24"],
    },
  ],
};

test("the same objects and facts give the same plan, whatever came before and in whatever order", () => {
  const plan = planNode(snapshotOf(objects()), facts);
  planNode(snapshotOf(objects().slice(0, 3)), facts);
  assert.deepEqual(planNode(snapshotOf(objects()), facts), plan);
  assert.deepEqual(planNode(snapshotOf(objects().reverse()), facts), plan);
});

test("a plan that was reached by changes is the one that is planned afresh", () => {
  const builder = createSnapshotBuilder();
  for (const object of objects()) {
    builder.apply([{ type: "ADDED", object }]);
    planNode(builder.snapshot(), facts);
  }
  builder.apply([{ type: "MODIFIED", object: pod("a", { app: "web" }) }]);
  planNode(builder.snapshot(), facts);
  builder.apply([{ type: "MODIFIED", object: pod("a") }]);
  assert.deepEqual({ ...planNode(builder.snapshot(), facts), revision: 1 }, planNode(snapshotOf(objects()), facts));
});

test("a changed pod leaves Services' and peers' parts the same objects, and the kernel's diff nothing to do", () => {
  const builder = createSnapshotBuilder();
  builder.apply(objects().map((object) => ({ type: "ADDED", object })));
  const before = planNode(builder.snapshot(), facts).kernel;
  builder.apply([{ type: "MODIFIED", object: pod("a", { tier: "front" }) }]);
  const after = planNode(builder.snapshot(), facts).kernel;
  const [was, is] = [before.tables[0], after.tables[0]];
  for (const set of is?.sets ?? [])
    if (/^(services|nodeports|endpoints|node-|no-|ids|sticky|hairpin|cluster|pod-networks)/.test(set.name))
      assert.ok(was?.sets.includes(set), `set ${set.name}`);
  for (const chain of is?.chains ?? [])
    if (/nat$|pick|node|services/.test(chain.name)) assert.ok(was?.chains.includes(chain), `chain ${chain.name}`);
  assert.deepEqual(after.fdb, before.fdb);
  assert.deepEqual(diffState(after, before, { links: () => true, routeProtocol: 84, tables: [TABLE] }), []);
});

test("the table is one that a kernel takes", () => {
  const { kernel, pods } = planNode(snapshotOf(objects()), facts);
  const [table] = kernel.tables;
  assert.ok(table);
  const fake = createFakeKernel().createNamespace();
  fake.nft.run(printTable(table));
  assert.deepEqual([...pods.keys()], ["c1"]);
  assert.deepEqual(pods.get("c1")?.links[0]?.mtu, 1450);
  fake.close();
});

test("an empty cluster has a plan that says what is missing", () => {
  const plan = planNode(snapshotOf([]), { ...facts, attachments: [] });
  assert.deepEqual(plan.kernel.routes, EMPTY_STATE.routes);
  assert.deepEqual(plan.remarks, ["node node-1 has no podCIDR yet: no pod can be wired"]);
});

test("rules of a base chain stand in order of the contributions' numbers", () => {
  const rule = (name: string) => ({ matches: [], statements: [], owner: { kind: "Fairlead", name } });
  const part = (order: number) => ({
    chains: [],
    sets: [],
    hooks: [{ chain: "filter-forward" as const, order, rules: [rule(`at ${order}`)] }],
  });
  const table = composeTable([part(30), part(10), part(20)]);
  const forward = table.chains.find(({ name }) => name === "filter-forward");
  assert.deepEqual(
    forward?.rules.map(({ owner }) => owner?.name),
    ["at 10", "at 20", "at 30"],
  );
});
