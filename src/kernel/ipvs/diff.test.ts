// IPVS over time, by the reconciler on the fake: what comes, what goes in peace, and what is not ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createHandClock } from "../fake/clock.ts";
import { createFakeKernel } from "../fake/kernel.ts";
import { createReconciler } from "../reconciler.ts";
import { localRoute } from "../route-diff.ts";
import { EMPTY_STATE, type IpvsService, type KernelState, type Route } from "../state.ts";
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
    localRoutes: services.map(({ address }) => localRoute("kube-ipvs0", address)),
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
    routes: () =>
      namespace.listLocalRoutes().flatMap(({ nexthops, destination }) => (nexthops[0]?.link === "kube-ipvs0" ? [destination] : [])),
  };
}

test("services come with their device, routes and sets, and nothing is written twice", () => {
  const { namespace, reconciler, services, routes } = world();
  const desired = wanted(service("10.96.0.1", to("10.0.0.1"), to("10.0.0.2", 3)));
  assert.deepEqual([reconciler.set(desired).inSync, reconciler.status.lastError], [true, undefined]);
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.1 1, 10.0.0.2 3"]);
  assert.deepEqual(routes(), ["10.96.0.1/32"]);
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

test("when the mode ends, what has connections stays with its device and route, over a restart too; then all is gone", () => {
  const { namespace, reconciler, start, services, routes } = world();
  const [one, two] = [service("10.96.0.1", to("10.0.0.1"), to("10.0.0.2")), service("10.96.0.2", to("10.0.0.1"))];
  reconciler.set(wanted(one, two));
  namespace.state.ipvs.connect(one, to("10.0.0.2"), 1);
  reconciler.set(EMPTY_STATE);
  assert.deepEqual(services(), ["10.96.0.1: 10.0.0.2 0"]);
  assert.deepEqual(routes(), ["10.96.0.1/32"]);
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
const homes = new Map<string, Route>();

/** The crowd and these: what is wanted twice is the same object, as plans have it. */
function among(...services: IpvsService[]): KernelState {
  const state = wanted(...CROWD, ...services);
  const home = (route: Route) => {
    const known = homes.get(route.destination) ?? route;
    homes.set(route.destination, known);
    return known;
  };
  return { ...state, links: LINKS, localRoutes: [...new Set(state.localRoutes.map(home))] };
}
const LINKS = wanted().links;

test("a change among many reads no lists: each step is what a comparison of everything would have made of it", () => {
  const { kernel, namespace, reconciler, services, routes } = world();
  const [one, two] = [service("10.96.0.1", to("10.0.0.1")), { ...service("10.96.0.1", to("10.0.0.2")), port: 81 }];
  const idle = service("10.96.0.3", to("10.0.0.1", 0));
  const set = (...list: IpvsService[]) => {
    for (const reading of ["list ipvs", "list sets", "listLocalRoutes"]) kernel.failNext(reading, "EIO", 1);
    assert.deepEqual([reconciler.set(among(...list)).inSync, reconciler.status.lastError], [true, undefined]);
    for (const reading of ["list ipvs", "list sets", "listLocalRoutes"]) kernel.failNext(reading, "EIO", 0);
  };
  const own = () => [...services(), ...routes()].filter((text) => text.startsWith("10.96."));
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

test("what the kernel looks through together is made together", () => {
  const { namespace, reconciler } = world();
  const addresses = ["10.96.0.1", "10.96.0.2", "10.96.1.1", "10.96.1.2"];
  const six = ["fd00::1", "fd00::2", "fd01:0:1::1"].map((address) => ({ ...service(address), family: 6 as const }));
  reconciler.set(wanted(...addresses.map((address) => service(address)), { ...service("10.96.2.3"), port: 82 }, ...six));
  assert.deepEqual(
    namespace.ipvs.list().map(({ address }) => address),
    ["10.96.0.1", "10.96.1.1", "10.96.2.3", "fd00::1", "fd01:0:1::1", "10.96.0.2", "10.96.1.2", "fd00::2"],
  );
});

test("an address that is named twice stays while one of the two is left", () => {
  const { reconciler, routes } = world();
  const double = localRoute("kube-ipvs0", "10.96.0.1");
  const base = among();
  reconciler.set({ ...base, localRoutes: [...base.localRoutes, double, { ...double }] });
  reconciler.set({ ...base, localRoutes: [...base.localRoutes, double] });
  assert.ok(routes().includes("10.96.0.1/32"));
  reconciler.set(base);
  assert.ok(!routes().includes("10.96.0.1/32"));
});

for (const [whose, ifalias] of [
  ["an agent before this one", "fairlead"],
  ["a foreign kube-proxy whose device is taken over", undefined],
] as const)
  test(`addresses that ${whose} left on the device go with it, once: routes stand on the new one`, () => {
    const { namespace, reconciler, start, services, routes } = world();
    const device = () => namespace.listLinks().find(({ name }) => name === "kube-ipvs0");
    const address = (text: string) => namespace.apply({ op: "add", address: { link: "kube-ipvs0", address: text } });
    namespace.apply({
      op: "add",
      link: { name: "kube-ipvs0", kind: { type: "other", name: "dummy" }, ...(ifalias ? { ifalias } : {}), up: true },
    });
    for (const text of ["10.96.0.1/32", "10.96.0.9/32", "fe80::1/64"]) address(text);
    for (const each of ["10.96.0.1", "10.96.0.9"]) namespace.ipvs.apply({ op: "add", service: service(each) });
    const before = device()?.index;
    const desired = wanted(service("10.96.0.1", to("10.0.0.1")));
    reconciler.set(desired);
    assert.deepEqual([services(), routes(), namespace.listAddresses()], [["10.96.0.1: 10.0.0.1 1"], ["10.96.0.1/32"], []]);
    assert.deepEqual([device()?.ifalias, device()?.up], ["fairlead", true]);
    const made = device()?.index;
    assert.notEqual(made, before);
    // One that somebody puts there now goes by itself.
    reconciler.close();
    address("10.96.0.7/32");
    const restarted = start();
    assert.deepEqual([restarted.set(desired).lastError, namespace.listAddresses(), device()?.index], [undefined, [], made]);
  });

test("with the mode that an agent before this one had, its addresses go, and what has connections gets a route", () => {
  const { namespace, reconciler, services, routes } = world();
  namespace.apply({ op: "add", link: { name: "kube-ipvs0", kind: { type: "other", name: "dummy" }, ifalias: "fairlead", up: true } });
  const [one, two] = [service("10.96.0.1", to("10.0.0.1")), service("10.96.0.2", to("10.0.0.1"))];
  for (const each of [one, two]) {
    namespace.apply({ op: "add", address: { link: "kube-ipvs0", address: `${each.address}/32` } });
    namespace.ipvs.apply({ op: "add", service: each });
    namespace.ipvs.apply({ op: "add", service: each, destination: to("10.0.0.1") });
  }
  namespace.state.ipvs.connect(one, to("10.0.0.1"), 1);
  assert.equal(reconciler.set(EMPTY_STATE).lastError, undefined);
  assert.deepEqual([services(), routes(), namespace.listAddresses()], [["10.96.0.1: 10.0.0.1 0"], ["10.96.0.1/32"], []]);
  namespace.state.ipvs.connect(one, to("10.0.0.1"), 0);
  reconciler.resync();
  assert.deepEqual([services(), routes(), namespace.listLinks().map(({ name }) => name)], [[], [], ["lo"]]);
});

test("routes that somebody deletes, or that go with the device, are put back; what else changes has none of them read", async () => {
  const kernel = createFakeKernel();
  const namespace = kernel.createNamespace();
  const other = kernel.openNamespace(namespace.path);
  const clock = createHandClock();
  const owns = { links: (name: string) => name === "eth1", routeProtocol: 84, tables: [], ipvs: OWNS };
  const reconciler = createReconciler({ namespace, owns, clock });
  const six = localRoute("kube-ipvs0", "fd00::1");
  const state = among(service("10.96.0.1", to("10.0.0.1")));
  const desired = { ...state, localRoutes: [...state.localRoutes, six] };
  reconciler.set(desired);
  const all = () => namespace.listLocalRoutes().length;
  const settle = () => clock.pass(3000);
  const full = all();
  assert.equal(full, 42);
  other.apply({ op: "delete", route: six });
  await settle();
  assert.equal(all(), full);
  other.apply({ op: "set", link: { name: "kube-ipvs0", up: false } });
  assert.equal(all(), full - 1, "IPv4 keeps its local routes");
  await settle();
  assert.equal(all(), full);
  other.apply({ op: "delete", link: { name: "kube-ipvs0" } });
  assert.equal(all(), 0);
  await settle();
  assert.equal(all(), full);
  assert.deepEqual([reconciler.status.inSync, reconciler.status.lastError], [true, undefined]);
  // A pod's device and its route, by somebody else.
  kernel.failNext("listLocalRoutes", "EIO", 1);
  other.apply({ op: "add", link: { name: "eth1", kind: { type: "other", name: "dummy" }, up: true } });
  other.apply({ op: "add", route: { family: 4, destination: "10.244.9.0/24", type: "blackhole", nexthops: [], table: 254, protocol: 84 } });
  await settle();
  assert.deepEqual(
    [namespace.listRoutes(), namespace.listLinks().map(({ name }) => name), reconciler.status.lastError],
    [[], ["lo", "kube-ipvs0"], undefined],
  );
  reconciler.close();
});
