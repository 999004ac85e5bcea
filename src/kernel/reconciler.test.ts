// The reconciler on the fake kernel: sequences of desired states expanded by themselves, failures, drift, restarts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { diffState } from "./diff.ts";
import { createHandClock, type HandClock } from "./fake/clock.ts";
import { createFakeKernel, type FakeKernel } from "./fake/kernel.ts";
import type { FakeNamespace } from "./fake/namespace.ts";
import type { Ownership, Reconciler } from "./reconcile.ts";
import { createReconciler } from "./reconciler.ts";
import { EMPTY_STATE, type KernelState, MAIN_TABLE, mergeStates, ROUTE_PROTOCOL } from "./state.ts";

const OWNS: Ownership = {
  links: (name) => name === "cni0" || name.startsWith("flannel."),
  routeProtocol: ROUTE_PROTOCOL.fairlead,
  tables: [{ family: "inet", name: "fairlead" }],
};

/** Overlay state of a node with so many peers. */
function overlay(peers: number, options: { readonly vni?: number; readonly mtu?: number } = {}): KernelState {
  const device = `flannel.${options.vni ?? 1}`;
  const numbers = Array.from({ length: peers }, (_, index) => index + 2);
  const net = (n: number) => `10.${244 + (n >> 8)}.${n & 255}`;
  const mac = (n: number) => `02:00:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`;
  return mergeStates({
    links: [
      { name: "cni0", kind: { type: "bridge" }, mtu: options.mtu ?? 1450, up: true, mac: "0a:58:0a:f4:01:01" },
      {
        name: device,
        kind: { type: "vxlan", vni: options.vni ?? 1, port: 8472, local: "10.112.0.51", device: "eth0", learning: false },
        mtu: options.mtu ?? 1450,
        up: true,
        mac: "02:00:00:00:ff:01",
      },
      { name: "veth1", kind: { type: "veth" }, master: "cni0", hairpin: true, up: true },
    ],
    addresses: [
      { link: "cni0", address: "10.244.1.1/24" },
      { link: device, address: "10.244.1.0/32" },
    ],
    neighbours: numbers.map((n) => ({ link: device, address: `${net(n)}.0`, mac: mac(n), state: "permanent" })),
    fdb: numbers.map((n) => ({ link: device, mac: mac(n), destination: `10.112.${n >> 8}.${n & 255}`, table: "self", permanent: true })),
    routes: numbers.map((n) => ({
      family: 4,
      destination: `${net(n)}.0/24`,
      type: "unicast",
      nexthops: [{ via: `${net(n)}.0`, link: device, onlink: true }],
      table: MAIN_TABLE,
      protocol: ROUTE_PROTOCOL.fairlead,
    })),
    rules: [{ family: 4, priority: 100, table: 100, mark: 1, protocol: ROUTE_PROTOCOL.fairlead }],
    sysctls: { "net.ipv4.ip_forward": "1", "net.ipv4.conf.cni0.rp_filter": "0" },
    tables: [
      {
        family: "inet",
        name: "fairlead",
        sets: [{ name: "pods", key: ["ipv4_addr"], elements: numbers.slice(0, 3).map((n) => ({ key: [`${net(n)}.9`] })) }],
        chains: [
          {
            name: "pod",
            rules: [{ matches: [{ left: "ip saddr", op: "==", right: { set: "pods" } }], statements: [{ verdict: "accept" }] }],
          },
          {
            name: "forward",
            hook: { type: "filter", hook: "forward", priority: 0, policy: "accept" },
            rules: [{ matches: [], statements: [{ verdict: "jump", chain: "pod" }] }],
          },
        ],
      },
    ],
  });
}

interface Node {
  readonly kernel: FakeKernel;
  readonly namespace: FakeNamespace;
  /** Another handle: what is done through it is somebody else's doing. */
  readonly other: FakeNamespace;
  readonly clock: HandClock;
}

/** A node with its uplink, and objects of others that nobody may touch. */
function makeNode(): Node {
  const kernel = createFakeKernel();
  const namespace = kernel.createNamespace();
  const other = kernel.openNamespace(namespace.path);
  const fabric = kernel.createNamespace();
  const pod = kernel.createNamespace();
  other.addVethPair({ name: "eth0", up: true }, { name: "n1", namespace: fabric });
  other.addVethPair({ name: "veth1" }, { name: "eth0", namespace: pod });
  other.apply({ op: "add", address: { link: "eth0", address: "10.112.0.51/24" } });
  other.apply({ op: "add", link: { name: "docker0", kind: { type: "bridge" } } });
  other.apply({ op: "set", link: { name: "docker0", up: true } });
  other.apply({ op: "add", address: { link: "docker0", address: "172.17.0.1/16" } });
  other.apply({
    op: "add",
    route: {
      family: 4,
      destination: "0.0.0.0/0",
      type: "unicast",
      nexthops: [{ via: "10.112.0.1" }],
      table: MAIN_TABLE,
      protocol: ROUTE_PROTOCOL.static,
    },
  });
  other.apply({ op: "add", neighbour: { link: "eth0", address: "10.112.0.1", mac: "02:00:00:00:00:99", state: "permanent" } });
  other.nft.run("add table ip kube-proxy\nadd chain ip kube-proxy services\n");
  return { kernel, namespace, other, clock: createHandClock() };
}

const begin = (node: Node): Reconciler => createReconciler({ namespace: node.namespace, owns: OWNS, clock: node.clock });

function observed(node: Node): KernelState {
  return node.other.observe({ sysctls: ["net.ipv4.ip_forward", "net.ipv4.conf.cni0.rp_filter"], tables: "all" });
}

function assertHolds(node: Node, desired: KernelState, says: string): void {
  assert.deepEqual(diffState(desired, observed(node), OWNS), [], says);
}

/** What is not ours, as text. */
function foreign(node: Node): string {
  const state = observed(node);
  return JSON.stringify({
    links: state.links.filter((link) => !OWNS.links(link.name)).map((link) => [link.name, link.mtu, link.mac]),
    addresses: state.addresses.filter((address) => !OWNS.links(address.link)),
    routes: state.routes.filter(
      (route) => route.protocol !== ROUTE_PROTOCOL.fairlead && !route.nexthops.some((hop) => OWNS.links(hop.link ?? "")),
    ),
    neighbours: state.neighbours.filter((neighbour) => !OWNS.links(neighbour.link)),
    tables: state.tables.filter((table) => table.name !== "fairlead"),
  });
}

const STORY: readonly (readonly [string, KernelState])[] = [
  ["no peers", overlay(0)],
  ["three peers", overlay(3)],
  ["forty peers, smaller MTU", overlay(40, { mtu: 1400 })],
  ["another VNI", overlay(5, { vni: 2 })],
  ["two peers left", overlay(2)],
];
const withEmpties = STORY.flatMap((chapter): (typeof STORY)[number][] => [["nothing", EMPTY_STATE], chapter]);
const SEQUENCES: Readonly<Record<string, readonly (readonly [string, KernelState])[]>> = {
  "as told": STORY,
  reversed: STORY.toReversed(),
  squashed: STORY.slice(-1),
  "with empty states between": withEmpties,
  twice: [...STORY, ...STORY],
  "each said twice": STORY.flatMap((chapter) => [chapter, chapter]),
};

for (const [name, sequence] of Object.entries(SEQUENCES)) {
  test(`the kernel holds each state of the story ${name}, others' objects untouched`, () => {
    const node = makeNode();
    const before = foreign(node);
    const reconciler = begin(node);
    for (const [says, state] of sequence) {
      const status = reconciler.set(state);
      assert.equal(status.inSync, true, `${says}: ${status.lastError}`);
      assertHolds(node, state, says);
      const writes = node.namespace.writes.length;
      reconciler.set(state);
      assert.equal(node.namespace.writes.length, writes, `${says}: the same state again writes nothing`);
    }
    assert.equal(foreign(node), before);
    assert.equal(reconciler.status.drifts, 0);
    reconciler.close();
  });
}

test("every kind of write may fail once or for long: the rest is written, the failure told and mended", async (t) => {
  const operations = [
    "add link",
    "set link",
    "add address",
    "replace neighbour",
    "add fdb",
    "add route",
    "add rule",
    "writeSysctl",
    "nft",
    "listRoutes",
    "listLinks",
    "readTable",
  ];
  for (const operation of operations) {
    for (const times of [1, 2, 25]) {
      await t.test(`${operation} fails ${times} times`, async () => {
        const node = makeNode();
        const reconciler = begin(node);
        node.kernel.failNext(operation, "EIO", times);
        reconciler.set(overlay(6));
        if (times === 25) {
          assert.equal(reconciler.status.inSync, false);
          assert.match(reconciler.status.lastError ?? "", /told to fail/);
        }
        await node.clock.pass(200_000);
        const { inSync, lastError, drifts } = reconciler.status;
        assert.deepEqual({ inSync, lastError, drifts }, { inSync: true, lastError: undefined, drifts: 0 });
        assertHolds(node, overlay(6), operation);
        reconciler.close();
      });
    }
  }
});

test("one impossible object does not stop the others; its retries grow rare", async () => {
  const node = makeNode();
  const reconciler = begin(node);
  const good = overlay(4);
  const bad = mergeStates(good, {
    routes: [
      {
        family: 4,
        destination: "10.9.0.0/24",
        type: "unicast",
        nexthops: [{ via: "192.0.2.1" }],
        table: MAIN_TABLE,
        protocol: ROUTE_PROTOCOL.fairlead,
      },
    ],
    addresses: [{ link: "absent0", address: "10.8.0.1/24" }],
  });
  const status = reconciler.set(bad);
  assert.equal(status.inSync, false);
  assert.match(status.lastError ?? "", /absent0.*\(and 1 more\)/);
  assert.deepEqual(diffState(good, observed(node), OWNS), []);
  await node.clock.pass(60_000);
  // 100, 200, … 3200 ms, then one every 5 s.
  assert.ok(reconciler.status.failures > 10 && reconciler.status.failures < 20, `${reconciler.status.failures} failures in a minute`);
  assert.equal(reconciler.set(good).inSync, true);
  reconciler.close();
});

test("a table that can't be printed stops nothing else", () => {
  const node = makeNode();
  const reconciler = begin(node);
  const good = overlay(2);
  const status = reconciler.set({
    ...good,
    tables: [{ family: "inet", name: "fairlead", sets: [], chains: [{ name: "no name {", rules: [] }] }],
  });
  assert.match(status.lastError ?? "", /^table inet fairlead: .*no name/);
  assert.deepEqual(diffState({ ...good, tables: [] }, { ...observed(node), tables: [] }, OWNS), []);
  assert.equal(reconciler.set(good).inSync, true);
  reconciler.close();
});

test("nothing is written before the first state, and a restarted agent adopts what is right", () => {
  const node = makeNode();
  const first = begin(node);
  first.resync();
  assert.equal(node.namespace.writes.length, 0);
  first.set(overlay(5));
  first.close();

  const again = node.kernel.openNamespace(node.namespace.path);
  const second = createReconciler({ namespace: again, owns: OWNS, clock: node.clock });
  assert.equal(second.set(overlay(5)).inSync, true);
  assert.equal(again.writes.length, 0);
  second.set(overlay(3));
  assert.ok(
    again.writes.every((write) => write.startsWith("delete")),
    "two peers less are deletes only",
  );
  assertHolds(node, overlay(3), "after the restart");
  second.close();
});

interface Mischief {
  readonly says: string;
  readonly by: (other: FakeNamespace) => void;
  readonly mended: Readonly<Record<string, number>>;
}

const ROUTE_2 = {
  family: 4,
  destination: "10.244.2.0/24",
  type: "unicast",
  nexthops: [],
  table: MAIN_TABLE,
  protocol: ROUTE_PROTOCOL.fairlead,
} as const;
const MISCHIEF: readonly Mischief[] = [
  { says: "route deleted", by: (other) => other.apply({ op: "delete", route: ROUTE_2 }), mended: { route: 1 } },
  {
    says: "route redirected",
    by: (other) => other.apply({ op: "replace", route: { ...ROUTE_2, nexthops: [{ link: "docker0" }] } }),
    mended: { route: 1 },
  },
  {
    says: "foreign entries on our device",
    by: (other) => {
      other.apply({
        op: "add",
        fdb: { link: "flannel.1", mac: "02:00:00:00:00:77", destination: "10.112.0.77", table: "self", permanent: true },
      });
      other.apply({ op: "add", neighbour: { link: "flannel.1", address: "10.244.77.0", mac: "02:00:00:00:00:77", state: "permanent" } });
      other.apply({ op: "add", address: { link: "cni0", address: "10.99.0.1/24" } });
    },
    mended: { fdb: 1, neighbour: 1, address: 1 },
  },
  { says: "MTU changed", by: (other) => other.apply({ op: "set", link: { name: "cni0", mtu: 1300 } }), mended: { link: 1 } },
  {
    says: "device set down",
    by: (other) => other.apply({ op: "set", link: { name: "flannel.1", up: false } }),
    mended: { link: 1, neighbour: 3, route: 3 },
  },
  {
    says: "device deleted",
    by: (other) => other.apply({ op: "delete", link: { name: "flannel.1" } }),
    mended: { link: 2, address: 1, neighbour: 3, fdb: 3, route: 3 },
  },
  { says: "pod's port released", by: (other) => other.apply({ op: "set", link: { name: "veth1", master: "" } }), mended: { link: 1 } },
  {
    says: "address deleted",
    by: (other) => other.apply({ op: "delete", address: { link: "cni0", address: "10.244.1.1/24" } }),
    mended: { address: 1 },
  },
  {
    says: "rule deleted",
    by: (other) => other.apply({ op: "delete", rule: { family: 4, priority: 100, table: 100, mark: 1, protocol: 84 } }),
    mended: { rule: 1 },
  },
  { says: "forwarding off", by: (other) => other.writeSysctl("net.ipv4.ip_forward", "0"), mended: { sysctl: 1 } },
  { says: "table deleted", by: (other) => other.nft.run("delete table inet fairlead"), mended: { table: 1 } },
  { says: "rules flushed", by: (other) => other.nft.run("flush chain inet fairlead forward"), mended: { table: 1 } },
  { says: "others' objects", by: (other) => other.apply({ op: "set", link: { name: "docker0", mtu: 1280 } }), mended: {} },
];

for (const { says, by, mended } of MISCHIEF) {
  test(`drift is mended within a second and counted: ${says}`, async () => {
    const node = makeNode();
    const reconciler = begin(node);
    reconciler.set(overlay(3));
    by(node.other);
    await node.clock.pass(999);
    assertHolds(node, overlay(3), says);
    assert.deepEqual(reconciler.status.mended, mended);
    assert.equal(
      reconciler.status.drifts,
      Object.values(mended).reduce((sum, count) => sum + count, 0),
    );
    assert.equal(reconciler.status.inSync, true);
    const { runs } = reconciler.status;
    await node.clock.pass(5000);
    assert.equal(reconciler.status.runs, runs, "quiet afterwards");
    reconciler.close();
  });
}

test("drift is counted also when the same state is set before its time has come", async () => {
  const node = makeNode();
  const reconciler = begin(node);
  const desired = overlay(3);
  reconciler.set(desired);
  await node.clock.pass(1000);
  node.other.apply({ op: "delete", link: { name: "flannel.1" } });
  // The event is there, what follows from it is not due yet.
  await node.clock.pass(0);
  assert.equal(reconciler.status.drifts, 0);
  reconciler.set(desired);
  assertHolds(node, desired, "mended");
  assert.ok(reconciler.status.drifts > 0, "counted");
  reconciler.close();
});

test("a pod's link is waited for without complaint and adopted without drift", async () => {
  const node = makeNode();
  const reconciler = begin(node);
  const desired = mergeStates(overlay(2), {
    links: [{ name: "veth2", kind: { type: "veth" }, master: "cni0", up: true }],
    routes: [
      {
        family: 4,
        destination: "10.244.1.7/32",
        type: "unicast",
        nexthops: [{ link: "veth2" }],
        table: MAIN_TABLE,
        protocol: ROUTE_PROTOCOL.fairlead,
      },
    ],
    sysctls: { "net.ipv4.conf.veth2.proxy_arp": "1" },
  });
  assert.equal(reconciler.set(desired).inSync, true);
  node.other.addVethPair({ name: "veth2" }, { name: "eth0", namespace: node.kernel.createNamespace() });
  await node.clock.pass(500);
  const veth = node.other.listLinks().find((link) => link.name === "veth2");
  assert.deepEqual([veth?.master, veth?.up], ["cni0", true]);
  assert.ok(node.other.listRoutes().some((route) => route.destination === "10.244.1.7/32"));
  assert.equal(node.other.readSysctl("net.ipv4.conf.veth2.proxy_arp"), "1");
  assert.equal(reconciler.status.drifts, 0);
  reconciler.close();
});

test("an opponent meets back-off, is told of, and is forgotten when it stops", async () => {
  const node = makeNode();
  const reconciler = begin(node);
  reconciler.set(overlay(2));
  let fighting = true;
  const stop = node.other.watch([], () => {});
  const fight = (): void => {
    if (!fighting) return;
    if (node.other.listLinks().some((link) => link.name === "cni0" && link.mtu === 1450))
      node.other.apply({ op: "set", link: { name: "cni0", mtu: 1300 } });
    node.clock.after(1, fight);
  };
  fight();
  await node.clock.pass(10_000);
  const { drifts, inSync, lastError } = reconciler.status;
  assert.ok(drifts >= 5 && drifts < 20, `${drifts} mends in ten seconds`);
  assert.equal(inSync, false);
  assert.match(lastError ?? "", /something keeps changing link cni0/);
  fighting = false;
  await node.clock.pass(30_000);
  assert.equal(reconciler.status.inSync, true, String(reconciler.status.lastError));
  assertHolds(node, overlay(2), "peace");
  stop();
  reconciler.close();
});

test("a changed desired state lists nothing again", () => {
  const node = makeNode();
  const reconciler = begin(node);
  reconciler.set(overlay(10));
  for (const operation of ["listLinks", "listAddresses", "listRoutes", "listNeighbours", "listFdb", "listRules", "readTable"]) {
    node.kernel.failNext(operation, "EIO", 1);
  }
  assert.equal(reconciler.set(overlay(12)).inSync, true);
  assertHolds({ ...node, other: createSpy(node) }, overlay(12), "by belief alone");
  reconciler.close();
});

/** Clears the failures that were set as traps. */
function createSpy(node: Node): FakeNamespace {
  for (const operation of ["listLinks", "listAddresses", "listRoutes", "listNeighbours", "listFdb", "listRules", "readTable"])
    node.kernel.failNext(operation, "EIO", 0);
  return node.other;
}

test("five thousand peers come and go", () => {
  const node = makeNode();
  const reconciler = begin(node);
  assert.equal(reconciler.set(overlay(2000)).inSync, true);
  assert.equal(reconciler.set(overlay(1999)).inSync, true);
  assertHolds(node, overlay(1999), "all but one");
  reconciler.close();
});
