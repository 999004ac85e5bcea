// planRouted: who is reached how, what a node answers for, what is not followed. Literal routes, as `ip route` shows them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { node } from "../../../test/service-objects.ts";
import { snapshotOf } from "../../cluster/index.ts";
import { createFakeKernel, type KernelState, mergeStates, printTable, type Route } from "../../kernel/index.ts";
import type { KubeObject, Node } from "../../resources/index.ts";
import { caliName, type LearnedRoute, planRouted, planRoutedPod, type RoutedFacts } from "./index.ts";

const object = (apiVersion: string, kind: string, name: string, spec: object) =>
  ({ apiVersion, kind, metadata: { name }, spec }) as KubeObject;
const pool = (spec: object, name = "main") => object("projectcalico.org/v3", "IPPool", name, spec);
const affinity = (cidr: string, host: string, state = "confirmed") =>
  object("crd.projectcalico.org/v1", "BlockAffinity", `${host}-${cidr.replace(/[./:]/g, "-")}`, {
    cidr,
    node: host,
    state,
    deleted: "false",
  });
const peer = (name: string, addresses: readonly string[], annotations: Readonly<Record<string, string>> = {}): Node =>
  node(name, [], addresses, annotations);

const NODES: readonly KubeObject[] = [
  peer("node-1", ["10.112.0.51", "fd00:112::51"], { "projectcalico.org/IPv4VXLANTunnelAddr": "10.244.0.1" }),
  peer("node-2", ["10.112.0.52", "fd00:112::52"], {
    "projectcalico.org/IPv4VXLANTunnelAddr": "10.244.2.1",
    "projectcalico.org/IPv6VXLANTunnelAddr": "fd00:10:244:2::1",
  }),
  peer("far", ["10.112.1.51"], {
    "projectcalico.org/IPv4VXLANTunnelAddr": "10.244.1.1",
    "fairlead.dev/local-prefixes": "10.244.0.9/32,10.99.0.1/32",
  }),
];
const BLOCKS = [affinity("10.244.0.0/26", "node-1"), affinity("10.244.2.0/26", "node-2"), affinity("10.244.1.0/26", "far")];
const POD = { podNamespace: "shop", podName: "a", hostLink: "cali0", addresses: ["10.244.0.7/32"] };
const FACTS: RoutedFacts = {
  node: "node-1",
  underlay: { link: "ens160", mtu: 1500, addresses: ["10.112.0.51/24", "fd00:112::51/64"] },
  attachments: [POD],
  fastPath: false,
};

function shown(route: Route): string {
  const hops = route.nexthops.map(
    ({ via, link, onlink }) => `${via === undefined ? "" : `via ${via} `}dev ${link}${onlink ? " onlink" : ""}`,
  );
  return `${route.type === "unicast" ? "" : `${route.type} `}${route.destination}${hops.length > 0 ? ` ${hops.join(" nexthop ")}` : ""}`;
}

const plan = (objects: readonly KubeObject[], facts: Partial<RoutedFacts> = {}) =>
  planRouted(snapshotOf([...NODES, ...BLOCKS, ...objects]), { ...FACTS, ...facts });
const routesOf = (objects: readonly KubeObject[], facts: Partial<RoutedFacts> = {}) => (plan(objects, facts).state.routes ?? []).map(shown);
const OWN = ["blackhole 10.244.0.0/26", "10.244.0.7/32 dev cali0"];
const CIDR = { cidr: "10.244.0.0/16" };

test("encapsulation by pool: to whom on the link, to whom beyond", () => {
  const rows: readonly [says: string, spec: object, near: string, far: string | undefined, mtu: number, links: readonly string[]][] = [
    ["None", {}, "via 10.112.0.52 dev ens160", undefined, 1500, []],
    [
      "VXLAN",
      { vxlanMode: "Always" },
      "via 10.244.2.1 dev vxlan.calico onlink",
      "via 10.244.1.1 dev vxlan.calico onlink",
      1450,
      ["vxlan.calico"],
    ],
    [
      "VXLANCrossSubnet",
      { vxlanMode: "CrossSubnet" },
      "via 10.112.0.52 dev ens160",
      "via 10.244.1.1 dev vxlan.calico onlink",
      1450,
      ["vxlan.calico"],
    ],
    ["IPIP", { ipipMode: "Always" }, "via 10.112.0.52 dev tunl0 onlink", "via 10.112.1.51 dev tunl0 onlink", 1480, ["tunl0"]],
    ["IPIPCrossSubnet", { ipipMode: "CrossSubnet" }, "via 10.112.0.52 dev ens160", "via 10.112.1.51 dev tunl0 onlink", 1480, ["tunl0"]],
  ];
  for (const [says, spec, near, far, mtu, links] of rows) {
    const { state, podMtu, remarks } = plan([pool({ ...CIDR, ...spec })]);
    const beside = far === undefined ? [] : [`10.244.1.0/26 ${far}`, `10.244.0.9/32 ${far}`];
    const routes = (state.routes ?? []).map(shown).filter((each) => !each.startsWith("10.99."));
    assert.deepEqual(routes.toSorted(), [...OWN, `10.244.2.0/26 ${near}`, ...beside].toSorted(), says);
    assert.equal(podMtu, mtu, says);
    assert.deepEqual(
      state.links?.filter(({ kind }) => kind.type !== "veth").map(({ name }) => name),
      links,
      says,
    );
    assert.equal(
      remarks.some((each) => /node far is not on the link of ens160/.test(each)),
      true,
      "10.99.0.1 is of no pool, and not wrapped",
    );
  }
});

test("the tunnel: device, address, and an entry of each kind for every peer that is reached through it", () => {
  const { state, tunnels, annotations } = plan([pool({ ...CIDR, vxlanMode: "CrossSubnet" })]);
  assert.deepEqual(tunnels, ["vxlan4"]);
  assert.deepEqual(
    state.links?.find(({ name }) => name === "vxlan.calico"),
    {
      name: "vxlan.calico",
      kind: { type: "vxlan", vni: 4096, port: 4789, local: "10.112.0.51", device: "ens160", learning: false },
      mtu: 1450,
      mac: "66:b3:68:28:39:8e",
      up: true,
    },
  );
  assert.deepEqual(state.addresses, [{ link: "vxlan.calico", address: "10.244.0.1/32", nodad: true }]);
  assert.deepEqual(
    state.neighbours?.map(({ address }) => address),
    ["10.244.1.1"],
  );
  assert.deepEqual(
    state.fdb?.map(({ destination }) => destination),
    ["10.112.1.51"],
  );
  assert.equal(annotations["projectcalico.org/IPv4Address"], "10.112.0.51/24");
  assert.equal(annotations["projectcalico.org/IPv4VXLANTunnelAddr"], "10.244.0.1");
});

test("with BGP, what was learned and nothing else: wrapped by pool, ECMP, routers, IPv4 by IPv6, never what is the node's own", () => {
  const routes = (learnedRoutes: readonly LearnedRoute[], spec: object = { vxlanMode: "CrossSubnet" }) =>
    routesOf([pool({ ...CIDR, ...spec })], { learnedRoutes }).filter((each) => !OWN.includes(each));
  const from = (prefix: string, ...nextHops: string[]): LearnedRoute => ({ prefix, nextHops, peer: "x" });
  assert.deepEqual(routes([]), []);
  assert.deepEqual(routes([from("10.244.2.0/26", "10.112.0.52"), from("10.244.1.0/26", "10.112.1.51")]), [
    "10.244.2.0/26 via 10.112.0.52 dev ens160",
    "10.244.1.0/26 via 10.244.1.1 dev vxlan.calico onlink",
  ]);
  assert.deepEqual(routes([from("10.96.0.80/32", "10.112.0.52", "10.112.0.53", "10.112.0.52", "10.112.0.51")]), [
    "10.96.0.80/32 via 10.112.0.52 dev ens160 nexthop via 10.112.0.53 dev ens160",
  ]);
  assert.deepEqual(routes([from("192.0.2.0/24", "10.112.0.1"), from("192.0.3.0/24", "10.112.9.1")]), [
    "192.0.2.0/24 via 10.112.0.1 dev ens160",
  ]);
  assert.deepEqual(routes([from("10.244.2.0/26", "fd00:112::52")], {}), ["10.244.2.0/26 via fd00:112::52 dev ens160"]);
  assert.deepEqual(routes([from("10.244.0.0/26", "10.112.0.52"), from("10.244.0.7/32", "10.112.0.52")]), []);
  const disabled = object("operator.tigera.io/v1", "Installation", "default", { calicoNetwork: { bgp: "Disabled" } });
  assert.ok(
    routesOf([pool(CIDR), disabled], { learnedRoutes: [] }).includes("10.244.2.0/26 via 10.112.0.52 dev ens160"),
    "without BGP, by affinities",
  );
});

test("what a node answers for: confirmed blocks, addresses beside them, of pools that are exported", () => {
  const borrowed = { ...POD, hostLink: "cali1", addresses: ["10.244.9.9/32", "10.66.0.1/32"] };
  const blocks = [affinity("10.244.3.0/26", "node-1", "pending"), affinity("10.244.4.0/32", "node-1"), affinity("10.55.0.0/26", "node-1")];
  const { exports, state } = plan([pool(CIDR), pool({ cidr: "10.55.0.0/16", disableBGPExport: true }, "quiet"), ...blocks], {
    attachments: [POD, borrowed],
  });
  assert.deepEqual(exports, {
    bgp: true,
    blocks: ["10.244.0.0/26", "10.244.4.0/32", "10.55.0.0/26"].slice(0, 2),
    localPrefixes: ["10.244.9.9/32", "10.66.0.1/32"],
  });
  const shownRoutes = (state.routes ?? []).map(shown);
  assert.ok(shownRoutes.includes("blackhole 10.55.0.0/26"));
  assert.ok(
    !shownRoutes.some((each) => /10\.244\.3|blackhole 10\.244\.4/.test(each)),
    "a claim that is pending counts as absent; a block of one address is no black hole",
  );
});

test("a pod more leaves what leads to other nodes the same objects", () => {
  const snapshot = snapshotOf([...NODES, ...BLOCKS, pool({ ...CIDR, vxlanMode: "Always" })]);
  const [before, after] = [
    planRouted(snapshot, FACTS),
    planRouted(snapshot, { ...FACTS, attachments: [POD, { ...POD, hostLink: "cali1", addresses: ["10.244.0.8/32"] }] }),
  ];
  assert.equal(after.state.neighbours, before.state.neighbours);
  assert.equal(after.state.fdb, before.state.fdb);
  assert.deepEqual(
    after.state.routes?.map(
      (route, at) =>
        route === before.state.routes?.[at] ||
        shown(route) === "10.244.0.8/32 dev cali1" ||
        route.destination === "10.244.0.7/32" ||
        route.type === "blackhole",
    ),
    after.state.routes?.map(() => true),
  );
});

test("settings: what is followed, what is not and why", () => {
  const felix = (name: string, spec: object) => object("projectcalico.org/v3", "FelixConfiguration", name, spec);
  const { state, podMtu, table, remarks, follows } = plan([
    pool({ ...CIDR, vxlanMode: "Always", natOutgoing: true }),
    object("operator.tigera.io/v1", "Installation", "default", {
      calicoNetwork: { bgp: "Sometimes", mtu: 1400, hostPorts: "Enabled", wonder: 1, linuxDataplane: "BPF" },
    }),
    felix("default", { vxlanVNI: 5000, vxlanPort: 70_000, natPortRange: "40000:50000", wireguardEnabled: true, logSeverityScreen: "Info" }),
    felix("node.node-1", { vxlanVNI: 6000 }),
  ]);
  assert.equal(podMtu, 1400);
  assert.deepEqual(state.links?.[0]?.kind, {
    type: "vxlan",
    vni: 6000,
    port: 4789,
    local: "10.112.0.51",
    device: "ens160",
    learning: false,
  });
  const nat = table.hooks.find(({ chain }) => chain === "postrouting-nat")?.rules ?? [];
  assert.deepEqual(nat[0]?.statements, [{ masquerade: { fullyRandom: true, ports: "40000-50000" } }]);
  assert.deepEqual(
    remarks.filter((each) => !each.startsWith("node ")),
    [
      "Installation, calicoNetwork: hostPorts is not followed: host ports are not served",
      "Installation, calicoNetwork: wonder is not followed: it is not known",
      'Installation, calicoNetwork: bgp "Sometimes" is neither Enabled nor Disabled; Enabled is used',
      'Installation, calicoNetwork: linuxDataplane "BPF" is not followed: packets are routed and filtered by the kernel\'s own stack',
      "FelixConfiguration: wireguardEnabled is not followed: encryption is not served",
      "FelixConfiguration: logSeverityScreen is not followed: logs, metrics and health checks are Fairlead's own",
      'FelixConfiguration: vxlanPort "70000" is no number from 1 to 65535 and is not followed',
    ],
  );
  assert.ok(follows.includes("IPPool main: 10.244.0.0/16, blocks of /26, VXLAN, natOutgoing"));
  assert.deepEqual(
    plan([]).remarks.filter((each) => !each.startsWith("node ")),
    ["there is no IPPool: no pod can be wired"],
  );
});

test("the guide's form of an Installation, and today's, give the same pool", () => {
  const spec = {
    name: "default-ipv4-pool",
    cidr: "10.244.0.0/16",
    natOutgoing: "Enabled",
    blockSize: 26,
    encapsulation: "VXLANCrossSubnet",
  };
  const guide = object("operator.tigera.io/v1", "Installation", "default", {
    calicoNetwork: { bgp: "Enabled", ipPools: [spec] },
    nodeMetricsPort: 9091,
    typha: { enabled: true, count: 3 },
  });
  const today = object("operator.tigera.io/v1", "Installation", "default", {
    calicoNetwork: {
      linuxDataplane: "Iptables",
      bgp: "Enabled",
      ipPools: [{ ...spec, nodeSelector: "all()", disableBGPExport: false, allowedUses: ["Workload", "Tunnel"] }],
    },
  });
  assert.deepEqual(routesOf([guide]), routesOf([today]));
  assert.deepEqual(plan([guide]).follows, [
    "IPPool default-ipv4-pool: 10.244.0.0/16, blocks of /26, VXLANCrossSubnet, natOutgoing",
    "Installation, calicoNetwork: bgp Enabled",
  ]);
});

test("a pod's own namespace: its address alone; one that the overlay wired keeps its length, and its neighbours are behind the host", () => {
  const pod = (...addresses: string[]) =>
    planRoutedPod({ interface: "eth0", addresses, mac: "02:00:00:00:00:01", mtu: 1450, gsoIpv4MaxSize: 65_536 }).routes.map(shown);
  assert.deepEqual(pod("10.244.0.7/32", "fd00::7/128"), [
    "169.254.1.1/32 dev eth0",
    "0.0.0.0/0 via 169.254.1.1 dev eth0",
    "::/0 via fe80::ecee:eeff:feee:eeee dev eth0",
  ]);
  assert.deepEqual(pod("10.244.0.7/24").slice(2), ["10.244.0.0/24 via 169.254.1.1 dev eth0"]);
  assert.deepEqual(
    planRoutedPod({ interface: "eth0", addresses: ["fd00::7/64"], mac: "", mtu: 1450, gsoIpv4MaxSize: 65_536 }).routes[1]?.metric,
    1,
  );
  assert.match(caliName("abc", "eth0"), /^cali[0-9a-f]{11}$/);
});

test("the plan is one that a kernel takes; the same whatever the order of objects", () => {
  const objects = [
    pool({ ...CIDR, vxlanMode: "Always", natOutgoing: true }),
    pool({ cidr: "10.244.128.0/17" }, "overlapping"),
    pool({ cidr: "fd00:10:244::/48" }, "six"),
  ];
  const all = [...NODES, ...BLOCKS, ...objects];
  const { state, table, remarks } = planRouted(snapshotOf(all), FACTS);
  assert.deepEqual(planRouted(snapshotOf(all.toReversed()), FACTS).state, state);
  assert.ok(
    remarks.some((each) => /overlapping: 10\.244\.128\.0\/17 overlaps 10\.244\.0\.0\/16/.test(each)),
    remarks.join("\n"),
  );
  const fake = createFakeKernel().createNamespace();
  const base = (["postrouting-nat", "filter-forward", "filter-input"] as const).map((name) => ({
    name,
    rules: table.hooks.filter(({ chain }) => chain === name).flatMap(({ rules }) => rules),
  }));
  fake.nft.run(printTable({ family: "inet", name: "fairlead", chains: [...base, ...table.chains], sets: table.sets }));
  const complete: KernelState = mergeStates(state);
  assert.ok(complete.sysctls["net.ipv4.conf.cali0.proxy_arp"] === "1" && complete.sysctls["net.ipv4.neigh.cali0.proxy_delay"] === "0");
  fake.close();
});

test("fast path: on the outer link, on tunnels with Ethernet frames and on pods' links, and tracking that bears gaps", () => {
  const wired = (fastPath: boolean, spec: object) => {
    const { links = [], sysctls = {} } = plan([pool({ ...CIDR, ...spec })], { fastPath }).state;
    const tolerant = Object.keys(sysctls).filter((key) => key.startsWith("net.netfilter."));
    return [links.filter((link) => link.fastPath !== undefined).map(({ name }) => name), tolerant.length];
  };
  assert.deepEqual(wired(true, {}), [["ens160", "cali0"], 2]);
  assert.deepEqual(wired(true, { vxlanMode: "Always" }), [["ens160", "vxlan.calico", "cali0"], 2]);
  assert.deepEqual(wired(true, { ipipMode: "Always" }), [["ens160", "cali0"], 2]);
  assert.deepEqual(wired(false, { vxlanMode: "Always" }), [[], 0]);
});
