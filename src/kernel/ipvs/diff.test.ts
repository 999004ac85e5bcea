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
  const kernel = createFakeKernel();
  const namespace = kernel.createNamespace();
  const start = () =>
    createReconciler({ namespace, owns: { links: () => false, routeProtocol: 84, tables: [], ipvs: OWNS }, watch: false });
  return {
    kernel,
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

/** Enough others that single services are read; the same objects each time. */
const CROWD = Array.from({ length: 40 }, (_, index) => service(`10.97.0.${index}`, to("10.0.0.9")));
const homes = new Map<string, KernelState["addresses"][number]>();

/** The crowd and these: what is wanted twice is the same object, as plans have it. */
function among(...services: IpvsService[]): KernelState {
  const state = wanted(...CROWD, ...services);
  const home = ({ address, ...more }: KernelState["addresses"][number]) => {
    const known = homes.get(address) ?? { ...more, address };
    homes.set(address, known);
    return known;
  };
  return { ...state, links: LINKS, addresses: [...new Set(state.addresses.map(home))] };
}
const LINKS = wanted().links;

test("a change among many reads no lists: each step is what a comparison of everything would have made of it", () => {
  const { kernel, namespace, reconciler, services, addresses } = world();
  const [one, two] = [service("10.96.0.1", to("10.0.0.1")), { ...service("10.96.0.1", to("10.0.0.2")), port: 81 }];
  const idle = service("10.96.0.3", to("10.0.0.1", 0));
  const set = (...list: IpvsService[]) => {
    for (const reading of ["list ipvs", "list sets", "listAddresses"]) kernel.failNext(reading, "EIO", 1);
    assert.deepEqual([reconciler.set(among(...list)).inSync, reconciler.status.lastError], [true, undefined]);
    for (const reading of ["list ipvs", "list sets", "listAddresses"]) kernel.failNext(reading, "EIO", 0);
  };
  const own = () => [...services(), ...addresses()].filter((text) => text.startsWith("10.96."));
  reconciler.set(among());
  set(one, two, idle);
  assert.deepEqual(own(), ["10.96.0.1: 10.0.0.1 1", "10.96.0.1: 10.0.0.2 1", "10.96.0.3: 10.0.0.1 0", "10.96.0.1/32", "10.96.0.3/32"]);
  namespace.state.ipvs.connect(one, to("10.0.0.1"), 1);
  set(two, idle);
  // The last that is wanted at the address goes; the one with a connection keeps it.
  set(idle);
  assert.deepEqual(own(), ["10.96.0.1: 10.0.0.1 0", "10.96.0.3: 10.0.0.1 0", "10.96.0.1/32", "10.96.0.3/32"]);
  set();
  assert.deepEqual(own(), ["10.96.0.1: 10.0.0.1 0", "10.96.0.1/32"]);
  set(idle);
  set(one, idle);
  assert.deepEqual(own(), ["10.96.0.1: 10.0.0.1 1", "10.96.0.3: 10.0.0.1 0", "10.96.0.1/32", "10.96.0.3/32"]);
  set(idle);
  namespace.state.ipvs.connect(one, to("10.0.0.1"), 0);
  reconciler.resync();
  assert.deepEqual(own(), ["10.96.0.3: 10.0.0.1 0", "10.96.0.3/32"]);
  assert.equal(reconciler.status.drifts, 0);
});

test("an address that is named twice stays while one of the two is left", () => {
  const { reconciler, addresses } = world();
  const double = { link: "kube-ipvs0", address: "10.96.0.1/32" };
  const base = among();
  reconciler.set({ ...base, addresses: [...base.addresses, double, { ...double }] });
  reconciler.set({ ...base, addresses: [...base.addresses, double] });
  assert.ok(addresses().includes("10.96.0.1/32"));
  reconciler.set(base);
  assert.ok(!addresses().includes("10.96.0.1/32"));
});
