// The reconciler on the real kernel: what somebody else breaks is back within a second, and the counters say so.
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../../test/patience.ts";
import {
  createLinuxKernel,
  createReconciler,
  diffState,
  type Kernel,
  type KernelState,
  MAIN_TABLE,
  mergeStates,
  type NetworkNamespace,
  type Ownership,
  type Reconciler,
  ROUTE_PROTOCOL,
} from "./index.ts";

const OWNS: Ownership = { links: (name) => name === "cni0" || name === "flannel.1", routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [] };
const SYSCTLS = ["net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter", "net.ipv4.fib_multipath_hash_policy"];

function overlay(peers: number): KernelState {
  const numbers = Array.from({ length: peers }, (_, index) => index + 2);
  const mac = (n: number) => `02:00:00:00:00:${n.toString(16).padStart(2, "0")}`;
  return mergeStates({
    links: [
      { name: "cni0", kind: { type: "bridge" }, mtu: 1450, up: true, mac: "0a:58:0a:f4:01:01" },
      {
        name: "flannel.1",
        kind: { type: "vxlan", vni: 1, port: 8472, local: "10.112.0.51", device: "eth0", learning: false },
        mtu: 1450,
        up: true,
        mac: "02:00:00:00:ff:01",
      },
      { name: "veth1", kind: { type: "veth" }, master: "cni0", hairpin: true, up: true },
    ],
    addresses: [
      { link: "cni0", address: "10.244.1.1/24" },
      { link: "flannel.1", address: "10.244.1.0/32" },
      { link: "cni0", address: "fd00:10:244:1::1/64", nodad: true },
    ],
    neighbours: numbers.map((n) => ({ link: "flannel.1", address: `10.244.${n}.0`, mac: mac(n), state: "permanent" })),
    fdb: numbers.map((n) => ({ link: "flannel.1", mac: mac(n), destination: `10.112.0.${n}`, table: "self", permanent: true })),
    routes: numbers.map((n) => ({
      family: 4,
      destination: `10.244.${n}.0/24`,
      type: "unicast",
      nexthops: [{ via: `10.244.${n}.0`, link: "flannel.1", onlink: true }],
      table: MAIN_TABLE,
      protocol: ROUTE_PROTOCOL.fairlead,
    })),
    rules: [{ family: 4, priority: 100, table: 100, mark: 1, protocol: ROUTE_PROTOCOL.fairlead }],
    sysctls: { "net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "0", "net.ipv4.fib_multipath_hash_policy": "1" },
  });
}

interface Node {
  readonly namespace: NetworkNamespace;
  readonly other: NetworkNamespace;
  readonly reconciler: Reconciler;
}

async function withNode(action: (node: Node) => Promise<void>): Promise<void> {
  const kernel: Kernel = createLinuxKernel();
  const [namespace, fabric, pod] = [kernel.createNamespace(), kernel.createNamespace(), kernel.createNamespace()];
  const other = kernel.openNamespace(namespace.path);
  const reconciler = createReconciler({ namespace, owns: OWNS });
  try {
    other.addVethPair({ name: "eth0", up: true }, { name: "n1", namespace: fabric, up: true });
    other.addVethPair({ name: "veth1" }, { name: "eth0", namespace: pod, up: true });
    other.apply({ op: "add", address: { link: "eth0", address: "10.112.0.51/24" } });
    await action({ namespace, other, reconciler });
  } finally {
    reconciler.close();
    for (const handle of [other, namespace, fabric, pod]) handle.close();
  }
}

const differences = ({ other }: Node, desired: KernelState) =>
  diffState(desired, other.observe({ sysctls: SYSCTLS }), OWNS).map((step) => `${step.kind} ${step.object}`);

test("states come, change and go; the same again writes and mends nothing", () =>
  withNode(async (node) => {
    for (const peers of [0, 5, 40, 3, 3]) {
      const status = node.reconciler.set(overlay(peers));
      assert.equal(status.inSync, true, String(status.lastError));
      assert.deepEqual(differences(node, overlay(peers)), []);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual([node.reconciler.status.drifts, node.reconciler.status.failures], [0, 0], JSON.stringify(node.reconciler.status));
    const empty = node.reconciler.set(mergeStates());
    assert.equal(empty.inSync, true, String(empty.lastError));
    assert.deepEqual(
      node.other
        .listLinks()
        .map((link) => link.name)
        .sort(),
      ["eth0", "lo", "veth1"],
    );
    assert.ok(node.other.listAddresses().some((address) => address.address === "10.112.0.51/24"));
  }));

interface Mischief {
  readonly says: string;
  readonly by: (other: NetworkNamespace) => void;
  /** Kinds that must have been mended. */
  readonly mended: readonly string[];
}

const MISCHIEF: readonly Mischief[] = [
  {
    says: "the VXLAN device is deleted",
    by: (other) => other.apply({ op: "delete", link: { name: "flannel.1" } }),
    mended: ["link", "address", "neighbour", "fdb", "route"],
  },
  {
    says: "all our routes are flushed",
    by: (other) => {
      for (const route of other.listRoutes()) if (route.protocol === ROUTE_PROTOCOL.fairlead) other.apply({ op: "delete", route });
    },
    mended: ["route"],
  },
  { says: "an MTU is changed", by: (other) => other.apply({ op: "set", link: { name: "cni0", mtu: 1300 } }), mended: ["link"] },
  {
    says: "the VXLAN device is set down",
    by: (other) => other.apply({ op: "set", link: { name: "flannel.1", up: false } }),
    mended: ["link", "neighbour", "route"],
  },
  { says: "a pod's port is released", by: (other) => other.apply({ op: "set", link: { name: "veth1", master: "" } }), mended: ["link"] },
  {
    says: "an address is deleted",
    by: (other) => other.apply({ op: "delete", address: { link: "cni0", address: "10.244.1.1/24" } }),
    mended: ["address"],
  },
  {
    says: "a tunnel entry leads elsewhere",
    by: (other) =>
      other.apply({
        op: "replace",
        fdb: { link: "flannel.1", mac: "02:00:00:00:00:02", destination: "10.112.0.99", table: "self", permanent: true },
      }),
    mended: ["fdb"],
  },
  {
    says: "a neighbour is deleted",
    by: (other) => other.apply({ op: "delete", neighbour: { link: "flannel.1", address: "10.244.2.0", state: "permanent" } }),
    mended: ["neighbour"],
  },
  {
    says: "the rule is deleted",
    by: (other) =>
      other.apply({ op: "delete", rule: { family: 4, priority: 100, table: 100, mark: 1, protocol: ROUTE_PROTOCOL.fairlead } }),
    mended: ["rule"],
  },
  { says: "forwarding is turned off", by: (other) => other.writeSysctl("net.ipv4.ip_forward", "0"), mended: ["sysctl"] },
];

for (const { says, by, mended } of MISCHIEF) {
  test(`mended: ${says}`, () =>
    withNode(async (node) => {
      const desired = overlay(5);
      assert.equal(node.reconciler.set(desired).inSync, true, String(node.reconciler.status.lastError));
      by(node.other);
      assert.notDeepEqual(differences(node, desired), [], "the mischief shows");
      assert.ok(
        await eventually(() => node.reconciler.status.drifts > 0 && differences(node, desired).length === 0),
        differences(node, desired).join(", "),
      );
      assert.deepEqual(Object.keys(node.reconciler.status.mended).sort(), [...mended].sort());
      assert.equal(node.reconciler.status.inSync, true, String(node.reconciler.status.lastError));
    }));
}

test("a sysctl that tells nobody is mended too", () =>
  withNode(async (node) => {
    const desired = overlay(1);
    node.reconciler.set(desired);
    node.other.writeSysctl("net.ipv4.fib_multipath_hash_policy", "0");
    assert.ok(await eventually(() => differences(node, desired).length === 0));
    assert.deepEqual(node.reconciler.status.mended, { sysctl: 1 });
  }));

test("a new reconciler adopts what is right", () =>
  withNode(async (node) => {
    node.reconciler.set(overlay(8));
    node.reconciler.close();
    const before = JSON.stringify(node.other.listLinks().map((link) => link.index));
    const second = createReconciler({ namespace: node.namespace, owns: OWNS });
    assert.equal(second.set(overlay(8)).inSync, true);
    assert.equal(JSON.stringify(node.other.listLinks().map((link) => link.index)), before, "no device was made anew");
    assert.equal(second.set(overlay(7)).inSync, true);
    assert.deepEqual(differences(node, overlay(7)), []);
    second.close();
  }));
