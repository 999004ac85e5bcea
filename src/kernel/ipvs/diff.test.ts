// IPVS over time, by the reconciler on the fake: what comes, what goes in peace, and what is not ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFakeKernel } from "../fake/kernel.ts";
import { createReconciler } from "../reconciler.ts";
import { EMPTY_STATE, type IpvsService, type KernelState } from "../state.ts";
import type { IpvsOwnership } from "./lingering.ts";

const OWNS: IpvsOwnership = { device: "kube-ipvs0", alias: "fairlead", sets: (name) => name.startsWith("KUBE-") };
const to = (address: string, weight = 1) => ({ address, port: 8080, weight });
const service = (address: string, ...destinations: IpvsService["destinations"]): IpvsService => ({
  family: 4,
  protocol: "tcp",
  address,
  port: 80,
  scheduler: "rr",
  destinations,
});

function wanted(...services: IpvsService[]): KernelState {
  return {
    ...EMPTY_STATE,
    links: [{ name: "kube-ipvs0", kind: { type: "other", name: "dummy" }, ifalias: "fairlead", up: true }],
    addresses: services.map(({ address }) => ({ link: "kube-ipvs0", address: `${address}/32` })),
    ipsets: [{ name: "KUBE-NODE-PORT-TCP", type: "bitmap:port", family: 4, elements: [] }],
    ipvs: services,
  };
}

function world() {
  const namespace = createFakeKernel().createNamespace();
  const start = () =>
    createReconciler({ namespace, owns: { links: () => false, routeProtocol: 84, tables: [], ipvs: OWNS }, watch: false });
  return {
    namespace,
    start,
    reconciler: start(),
    services: () =>
      namespace.ipvs
        .list()
        .map(
          ({ address, destinations }) =>
            `${address}: ${destinations
              .map((each) => `${each.address} ${each.weight}`)
              .sort()
              .join(", ")}`,
        )
        .sort(),
    addresses: () =>
      namespace.listAddresses().flatMap(({ link, address }) => (link === "kube-ipvs0" && !address.includes(":") ? [address] : [])),
  };
}

test("services come with their device, addresses and sets, and nothing is written twice", () => {
  const { namespace, reconciler, services, addresses } = world();
  const desired = wanted(service("10.96.0.1", to("10.0.0.1"), to("10.0.0.2", 3)));
  assert.deepEqual([reconciler.set(desired).inSync, reconciler.status.lastError], [true, undefined]);
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.1 1, 10.0.0.2 3"]);
  assert.deepEqual(addresses(), ["10.96.0.1/32"]);
  const before = namespace.writes.length;
  reconciler.set({ ...desired, ipvs: [...desired.ipvs] });
  reconciler.resync();
  assert.deepEqual(namespace.writes.slice(before), []);
  assert.equal(reconciler.status.drifts, 0);
});

test("an end point with connections goes by weight 0, and for good once they have ended; one without goes at once", () => {
  const { namespace, reconciler, services } = world();
  const full = service("10.96.0.1", to("10.0.0.1"), to("10.0.0.2"), to("10.0.0.3"));
  reconciler.set(wanted(full));
  namespace.state.ipvs.connect(full, to("10.0.0.1"), 1);
  reconciler.set(wanted(service("10.96.0.1", to("10.0.0.3"))));
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.1 0, 10.0.0.3 1"]);
  namespace.state.ipvs.connect(full, to("10.0.0.1"), 0);
  reconciler.resync();
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.3 1"]);
  assert.equal(reconciler.status.drifts, 0, "no drift: it was to end");
});

test("an end point that comes back while it is leaving serves again", () => {
  const { namespace, reconciler, services } = world();
  const full = service("10.96.0.1", to("10.0.0.1"), to("10.0.0.2"));
  reconciler.set(wanted(full));
  namespace.state.ipvs.connect(full, to("10.0.0.1"), 1);
  reconciler.set(wanted(service("10.96.0.1", to("10.0.0.2"))));
  reconciler.set(wanted(full));
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.1 1, 10.0.0.2 1"]);
});

test("UDP's end points go at once", () => {
  const { namespace, reconciler, services } = world();
  const full = { ...service("10.96.0.1", to("10.0.0.1"), to("10.0.0.2")), protocol: "udp" as const };
  reconciler.set(wanted(full));
  namespace.state.ipvs.connect(full, to("10.0.0.1"), 5);
  reconciler.set(wanted({ ...full, destinations: [to("10.0.0.2")] }));
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.2 1"]);
});

test("when the mode ends, what has connections stays with its device and address, over a restart too; then all is gone", () => {
  const { namespace, reconciler, start, services, addresses } = world();
  const [one, two] = [service("10.96.0.1", to("10.0.0.1"), to("10.0.0.2")), service("10.96.0.2", to("10.0.0.1"))];
  reconciler.set(wanted(one, two));
  namespace.state.ipvs.connect(one, to("10.0.0.2"), 1);
  reconciler.set(EMPTY_STATE);
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.2 0"]);
  assert.deepEqual(addresses(), ["10.96.0.1/32"]);
  reconciler.close();
  const restarted = start();
  restarted.set(EMPTY_STATE);
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.2 0"]);
  namespace.state.ipvs.connect(one, to("10.0.0.2"), 0);
  restarted.resync();
  assert.deepEqual(services(), []);
  assert.deepEqual(
    namespace.listLinks().map(({ name }) => name),
    ["lo"],
  );
  assert.deepEqual(
    namespace.ipsets.list(() => true),
    [],
  );
  assert.deepEqual([restarted.status.inSync, restarted.status.lastError], [true, undefined]);
  assert.equal(restarted.status.drifts, 0);
});

test("a node port's service is known by its set; somebody else's balancer on the node is left alone", () => {
  const { namespace, reconciler, start, services } = world();
  const foreign = service("192.0.2.1", to("10.9.9.9"));
  namespace.ipvs.apply({ op: "add", service: foreign });
  namespace.ipvs.apply({ op: "add", service: foreign, destination: to("10.9.9.9") });
  const port = { ...service("10.112.0.51", to("10.0.0.1")), port: 30_080 };
  const desired = wanted();
  reconciler.set({ ...desired, ipvs: [port], ipsets: desired.ipsets.map((set) => ({ ...set, elements: ["30080"] })) });
  reconciler.close();
  start().set(EMPTY_STATE);
  assert.deepEqual(services(), ["192.0.2.1: 10.9.9.9 1"]);
});

test("a foreign kube-proxy's device and services are left alone", () => {
  const { namespace, reconciler, services } = world();
  namespace.apply({ op: "add", link: { name: "kube-ipvs0", kind: { type: "other", name: "dummy" } } });
  namespace.apply({ op: "add", address: { link: "kube-ipvs0", address: "10.96.0.9/32" } });
  namespace.ipvs.apply({ op: "add", service: service("10.96.0.9") });
  reconciler.set(EMPTY_STATE);
  assert.deepEqual(services(), ["10.96.0.9: "]);
});

test("what somebody changes is put back", () => {
  const { namespace, reconciler, services } = world();
  const full = service("10.96.0.1", to("10.0.0.1"), to("10.0.0.2"));
  reconciler.set(wanted(full));
  namespace.ipvs.apply({ op: "delete", service: full, destination: to("10.0.0.1") });
  namespace.ipvs.apply({ op: "add", service: full, destination: to("10.0.0.7") });
  namespace.ipsets.destroy("KUBE-NODE-PORT-TCP");
  reconciler.resync();
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.1 1, 10.0.0.2 1"]);
  assert.equal(reconciler.status.mended.ipvs, 2);
  assert.equal(reconciler.status.mended.ipset, 1);
});
