// The IPVS writer over time: a plan that follows another is the plan of its objects, and the kernel holds both.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { node, service, slice } from "../../test/service-objects.ts";
import { createSnapshotBuilder, snapshotOf } from "../cluster/index.ts";
import { createFakeKernel, createReconciler, EMPTY_STATE, ROUTE_PROTOCOL } from "../kernel/index.ts";
import type { EndpointSlice, KubeObject, Pod, Service } from "../resources/index.ts";
import { planServiceMode, SERVICE_BALANCER } from "./index.ts";

const OWN = ["10.112.0.51", "10.244.1.1"];
/** More than these few, and an account is kept. */
const CROWD: readonly (Service | EndpointSlice)[] = Array.from({ length: 510 }, (_, index) => {
  const name = `crowd-${index}`;
  const clusterIP = `10.97.${index >> 8}.${index & 255}`;
  const endpoints = [{ address: `10.244.1.${index % 9}`, node: "node-1" }];
  return [service(name, { clusterIP, ports: [{ port: 80 }] }), slice(name, { endpoints, port: 8080 })];
}).flat();

const planOf = (snapshot: ReturnType<typeof snapshotOf>) =>
  planServiceMode(snapshot, "node-1", { mode: "ipvs", podNetworks: { 4: [], 6: [] }, own: OWN });

/** Objects, and the snapshots that follow each other as they change. */
function cluster() {
  const builder = createSnapshotBuilder();
  const objects = new Map<string, KubeObject>();
  const put = (object: KubeObject, type: "MODIFIED" | "DELETED" = "MODIFIED") => {
    const key = `${object.kind} ${object.metadata.name}`;
    if (type === "DELETED") objects.delete(key);
    else objects.set(key, object);
    builder.apply([{ type, object }]);
  };
  for (const object of [node("node-1", [], ["10.112.0.51"]), ...CROWD]) put(object);
  return { put, plan: () => planOf(builder.snapshot()), anew: () => planOf(snapshotOf(structuredClone([...objects.values()]))) };
}

function node1() {
  const kernel = createFakeKernel();
  const namespace = kernel.createNamespace();
  const owns = { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [], ipvs: SERVICE_BALANCER };
  const reconciler = createReconciler({ namespace, owns, watch: false });
  // The fake kernel has no sysctls of IPVS.
  const hold = ({ state }: ReturnType<typeof planOf>) => reconciler.set({ ...EMPTY_STATE, ...state, sysctls: {} });
  return { kernel, namespace, reconciler, hold };
}

const pod = (name: string, weight: string): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, annotations: { "fairlead.dev/ipvs-weight": weight } },
  spec: { containers: [] },
});

const CHANGE = fc.record({
  name: fc.integer({ min: 0, max: 5 }),
  what: fc.constantFrom("service", "service", "slice", "slice", "gone", "no slice", "pod"),
  address: fc.integer({ min: 1, max: 4 }),
  /** One of them is the node's own. */
  external: fc.constantFrom("203.0.113.1", "203.0.113.2", "10.112.0.51"),
  balanced: fc.boolean(),
  port: fc.constantFrom(80, 81, 30_001),
  nodePort: fc.integer({ min: 30_000, max: 30_003 }),
  local: fc.boolean(),
  sticky: fc.boolean(),
  scheduler: fc.constantFrom("", "", "wrr", "nosuch"),
  weight: fc.constantFrom("0", "1", "5", "heavy"),
  endpoints: fc.array(fc.integer({ min: 2, max: 6 }), { maxLength: 3 }),
  /** A connection to the first end point of so-and-so is held, or let go. */
  connections: fc.integer({ min: 0, max: 1 }),
  /** How many changes come at once. */
  taken: fc.boolean(),
  resync: fc.boolean(),
});

test("a plan that follows another is equal to one made anew, and the kernel to both", () => {
  fc.assert(
    fc.property(fc.array(CHANGE, { minLength: 1, maxLength: 16 }), (changes) => {
      const { put, plan, anew } = cluster();
      const { namespace, reconciler, hold } = node1();
      hold(plan());
      for (const change of changes) {
        const name = `s${change.name}`;
        const { what, external } = change;
        const made = service(
          name,
          {
            clusterIP: `10.96.0.${change.address}`,
            externalIPs: [external],
            ports: [{ port: change.port, nodePort: change.nodePort }],
            externalTrafficPolicy: change.local ? "Local" : "Cluster",
            sessionAffinity: change.sticky ? "ClientIP" : "None",
            loadBalancerSourceRanges: ["192.0.2.0/24"],
          },
          change.balanced ? [`203.0.113.1${change.name}`] : [],
        );
        const annotated = { ...made, metadata: { ...made.metadata, annotations: { "fairlead.dev/ipvs-scheduler": change.scheduler } } };
        const endpoints = [...new Set(change.endpoints)].map((host) => ({
          address: `10.244.1.${host}`,
          node: `node-${host % 2}`,
          pod: `p${host}`,
        }));
        if (what === "service" || what === "gone") put(annotated, what === "gone" ? "DELETED" : "MODIFIED");
        else if (what === "pod") put(pod(`p${change.endpoints[0] ?? 2}`, change.weight));
        else put(slice(name, { endpoints, port: 8080 }), what === "no slice" ? "DELETED" : "MODIFIED");
        if (!change.taken) continue;
        const now = plan();
        const fresh = anew();
        assert.deepEqual(now.state, fresh.state);
        assert.deepEqual(now.remarks, fresh.remarks);
        const external4 = (planned: typeof now) => planned.table.sets.find((set) => set.name === "ipvs-ips4")?.elements;
        assert.deepEqual(external4(now), external4(fresh));
        const status = hold(now);
        assert.deepEqual([status.inSync, status.lastError], [true, undefined]);
        if (change.resync) assert.equal(reconciler.resync().drifts, 0, "what is believed is what there is");
        for (const held of namespace.ipvs.list())
          if (!held.address.startsWith("10.97.") && held.destinations[0])
            namespace.state.ipvs.connect(held, held.destinations[0], change.connections);
      }
      assert.equal(reconciler.resync().drifts, 0);
    }),
    { numRuns: 25 },
  );
});

test("what did not change is the same object in the next plan", () => {
  const { put, plan } = cluster();
  const before = plan().state;
  put(service("another", { clusterIP: "10.96.0.7", ports: [{ port: 80 }] }));
  put(slice("another", { endpoints: [{ address: "10.244.1.2" }], port: 8080 }));
  const after = plan().state;
  const others = after.ipvs?.filter((each) => each.address !== "10.96.0.7");
  assert.equal(after.ipvs?.length, 511);
  assert.ok(others?.every((each, index) => each === before.ipvs?.[index]));
  const changed = after.ipsets?.filter((set) => !before.ipsets?.includes(set)).map((set) => set.name);
  assert.deepEqual(changed?.sort(), ["KUBE-CLUSTER-IP", "KUBE-IPVS-IPS"]);
  assert.equal(plan().state.ipvs, after.ipvs);
});

test("one more Service, or one less, is written without a list read, and a connection of the one less is kept", () => {
  const { put, plan } = cluster();
  const { kernel, namespace, reconciler, hold } = node1();
  hold(plan());
  const one = service("one", { clusterIP: "10.96.0.7", externalIPs: ["203.0.113.7"], ports: [{ port: 80 }] });
  const readings = ["list ipvs", "list sets", "listRoutes", "listLocalRoutes", "listAddresses", "listLinks"];
  for (const reading of readings) kernel.failNext(reading, "EIO", 1);
  put(one);
  put(slice("one", { endpoints: [{ address: "10.244.1.2" }], port: 8080 }));
  assert.deepEqual([hold(plan()).lastError], [undefined]);
  const [held] = plan().state.ipvs ?? [];
  assert.ok(held?.destinations[0]);
  namespace.state.ipvs.connect(held, held.destinations[0], 1);
  put(one, "DELETED");
  assert.deepEqual([hold(plan()).lastError], [undefined]);
  for (const reading of readings) kernel.failNext(reading, "EIO", 0);
  const left = namespace.ipvs.list().filter(({ address }) => !address.startsWith("10.97."));
  assert.deepEqual(
    left.map(({ address, destinations }) => [address, destinations[0]?.weight]),
    [[held.address, 0]],
  );
  namespace.state.ipvs.connect(held, held.destinations[0], 0);
  assert.equal(reconciler.resync().drifts, 0);
  assert.equal(namespace.ipvs.list().length, 510);
});
