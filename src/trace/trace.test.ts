// Traces through damaged kernels: each kind of damage is found where it is, and named.
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomCluster } from "../../test/random-policies.ts";
import { type ClusterSnapshot, snapshotOf } from "../cluster/index.ts";
import type { KernelState, NftTable } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { desiredWorld, type Observation, observedWorld, trace } from "./index.ts";

const FROM = "shop/front";
const TO = "shop/back:80";

function cluster(more: readonly KubeObject[] = []): ClusterSnapshot {
  const nodes = randomCluster(1, { pods: 0, policies: 0 }).filter(({ kind }) => kind === "Node");
  const pod = (name: string, node: string, ip: string) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "shop", name, labels: { app: name } },
    spec: { nodeName: node, containers: [{ name: "c", ports: [{ containerPort: 80 }] }] },
    status: { phase: "Running", podIP: ip, podIPs: [{ ip }] },
  });
  const service = (name: string, clusterIP: string, selector: object) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "shop", name },
    spec: {
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ["IPv4"],
      selector,
      ports: [{ name: "http", port: 8080, targetPort: 80, protocol: "TCP" }],
    },
  });
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "shop", name: "back-1", labels: { "kubernetes.io/service-name": "back" } },
    addressType: "IPv4",
    ports: [{ name: "http", port: 80, protocol: "TCP" }],
    endpoints: [{ addresses: ["10.244.2.2"], nodeName: "node-2", conditions: { ready: true } }],
  };
  return snapshotOf([
    ...nodes,
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
    pod("front", "node-1", "10.244.1.2"),
    pod("near", "node-1", "10.244.1.3"),
    pod("back", "node-2", "10.244.2.2"),
    service("back", "10.96.0.50", { app: "back" }),
    service("nobody", "10.96.0.51", { app: "nobody" }),
    slice,
    ...more,
  ] as KubeObject[]);
}

/** The desired states as if they had been read, with damage done to them. */
function damaged(snapshot: ClusterSnapshot, node: string, damage: (state: KernelState) => KernelState): Observation {
  const world = desiredWorld(snapshot);
  const observation: Record<string, { kernel: KernelState; pods: Record<string, KernelState> }> = {};
  for (const [index, { metadata }] of [...snapshot.nodes.values()].entries()) {
    const kernel = world.node(metadata.name)?.state;
    assert.ok(kernel);
    const pods: Record<string, KernelState> = {};
    // Indexes tell which devices belong together, as the kernel's do.
    const links = kernel.links.map((link, at) => ({ ...link, index: 100 * index + at + 2 }));
    for (const pod of snapshot.pods.onNode(metadata.name)) {
      const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
      const place = world.pod(key);
      const host = place && world.peer(place, "eth0")?.link.name;
      const peerIndex = links.find(({ name }) => name === host)?.index;
      if (place && peerIndex !== undefined)
        pods[key] = { ...place.state, links: place.state.links.map((link) => ({ ...link, peerIndex })) };
    }
    const state = { ...kernel, links };
    observation[metadata.name] = { kernel: metadata.name === node ? damage(state) : state, pods };
  }
  return observation;
}

const dropRule: NftTable = {
  family: "ip",
  name: "foreign",
  sets: [],
  chains: [
    {
      name: "guard",
      hook: { type: "filter", hook: "forward", priority: -10, policy: "accept" },
      rules: [{ matches: [{ left: "tcp dport", op: "==", right: ["80", "443"] }], statements: [{ counter: true }, { verdict: "drop" }] }],
    },
  ],
};

const cases: readonly {
  readonly name: string;
  readonly node: string;
  readonly damage: (state: KernelState) => KernelState;
  readonly to?: string;
  readonly verdict: string;
  readonly says: RegExp;
}[] = [
  { name: "nothing", node: "node-1", damage: (state) => state, verdict: "delivered", says: /reaches shop\/back/ },
  {
    name: "flannel.1 is gone",
    node: "node-1",
    damage: (state) => ({
      ...state,
      links: state.links.filter(({ name }) => name !== "flannel.1"),
      routes: state.routes.filter((route) => route.nexthops[0]?.link !== "flannel.1"),
    }),
    verdict: "unroutable",
    says: /nobody knows the way to 10\.244\.2\.2/,
  },
  {
    name: "flannel.1 is down at the other end",
    node: "node-2",
    damage: (state) => ({ ...state, links: state.links.map((link) => (link.name === "flannel.1" ? { ...link, up: false } : link)) }),
    verdict: "dropped",
    says: /node-2 has no VXLAN device with VNI 1/,
  },
  {
    name: "another MAC address than the peers think",
    node: "node-2",
    damage: (state) => ({
      ...state,
      links: state.links.map((link) => (link.name === "flannel.1" ? { ...link, mac: "02:00:00:00:00:99" } : link)),
    }),
    verdict: "dropped",
    says: /another MAC address/,
  },
  {
    name: "no forwarding entry",
    node: "node-1",
    damage: (state) => ({ ...state, fdb: [] }),
    verdict: "dropped",
    says: /does not know behind which node/,
  },
  {
    name: "no neighbour entry",
    node: "node-1",
    damage: (state) => ({ ...state, neighbours: [] }),
    verdict: "unroutable",
    says: /no neighbour entry for 10\.244\.2\.0/,
  },
  {
    name: "forwarding is off",
    node: "node-2",
    damage: (state) => ({ ...state, sysctls: { ...state.sysctls, "net.ipv4.ip_forward": "0" } }),
    verdict: "dropped",
    says: /node-2 does not forward: net\.ipv4\.ip_forward is 0/,
  },
  {
    name: "a blackhole",
    node: "node-1",
    damage: (state) => ({
      ...state,
      routes: [...state.routes, { family: 4, destination: "10.244.2.2/32", type: "blackhole", nexthops: [], table: 254, protocol: 4 }],
    }),
    verdict: "unroutable",
    says: /blackhole/,
  },
  {
    name: "the pod's port is out of the bridge",
    node: "node-2",
    damage: (state) => ({ ...state, links: state.links.map((link) => (link.kind.type === "veth" ? { ...link, up: false } : link)) }),
    verdict: "unroutable",
    says: /nobody on cni0 answers for 10\.244\.2\.2/,
  },
  {
    name: "a foreign rule drops",
    node: "node-2",
    damage: (state) => ({ ...state, tables: [...state.tables, dropRule] }),
    verdict: "dropped",
    says: /rule 0 of chain guard in table foreign drops/,
  },
  {
    name: "a Service",
    node: "node-1",
    damage: (state) => state,
    to: "svc/shop/back",
    verdict: "delivered",
    says: /reaches shop\/back/,
  },
  {
    name: "a Service without end points",
    node: "node-1",
    damage: (state) => state,
    to: "svc/shop/nobody",
    verdict: "rejected",
    says: /Service shop\/nobody port http has no ready end points/,
  },
  {
    name: "a port that the Service does not have",
    node: "node-1",
    damage: (state) => state,
    to: "svc/shop/back:81",
    verdict: "rejected",
    says: /no TCP port 81/,
  },
  {
    name: "our table is gone: the Service's address is nobody's",
    node: "node-1",
    damage: (state) => ({ ...state, tables: [] }),
    to: "svc/shop/back",
    verdict: "unroutable",
    says: /nobody knows the way to 10\.96\.0\.50/,
  },
  {
    name: "nobody listens",
    node: "node-1",
    damage: (state) => state,
    to: "shop/back:81",
    verdict: "refused",
    says: /declares no TCP port 81/,
  },
  { name: "the same node", node: "node-1", damage: (state) => state, to: "shop/near:80", verdict: "delivered", says: /reaches shop\/near/ },
  {
    name: "the same node, without netfilter on the bridge",
    node: "node-1",
    damage: (state) => ({ ...state, sysctls: { ...state.sysctls, "net.bridge.bridge-nf-call-iptables": "0" } }),
    to: "shop/near:80",
    verdict: "delivered",
    says: /reaches shop\/near/,
  },
];

for (const { name, node, damage, to = TO, verdict, says } of cases)
  test(name, () => {
    const snapshot = cluster();
    const result = trace(snapshot, { from: FROM, to, protocol: "tcp", world: observedWorld(snapshot, damaged(snapshot, node, damage)) });
    assert.equal(result.verdict, verdict, JSON.stringify(result, null, 1));
    assert.match(result.reason, says);
    if (verdict !== "delivered") assert.ok(result.remedy !== "" || verdict === "unroutable", "a remedy");
  });

const routedBy = (encapsulation: string) =>
  ({
    apiVersion: "operator.tigera.io/v1",
    kind: "Installation",
    metadata: { name: "default" },
    spec: { calicoNetwork: { ipPools: [{ name: "main", cidr: "10.244.0.0/16", encapsulation }] } },
  }) as KubeObject;

const sysctlOf = (state: KernelState, leaf: string) =>
  Object.keys(state.sysctls).filter((key) => key.endsWith(leaf) && key.includes(".cali"));
const routedCases: readonly ((typeof cases)[number] & { readonly encapsulation?: string; readonly hop?: RegExp })[] = [
  {
    name: "plain",
    node: "",
    damage: (state) => state,
    encapsulation: "None",
    verdict: "delivered",
    says: /reaches shop\/back/,
    hop: /route 10\.244\.2\.0\/26 leads to 10\.112\.0\.52 over ens160/,
  },
  {
    name: "VXLAN",
    node: "",
    damage: (state) => state,
    verdict: "delivered",
    says: /reaches shop\/back/,
    hop: /wrapped: VXLAN 4096, UDP 4789, 10\.112\.0\.51 → 10\.112\.0\.52/,
  },
  {
    name: "IPIP",
    node: "",
    damage: (state) => state,
    encapsulation: "IPIP",
    verdict: "delivered",
    says: /reaches shop\/back/,
    hop: /wrapped: IP in IP, 10\.112\.0\.51 → 10\.112\.0\.52/,
  },
  {
    name: "tunl0 is down at the other end",
    node: "node-2",
    encapsulation: "IPIP",
    damage: (state) => ({ ...state, links: state.links.map((link) => (link.name === "tunl0" ? { ...link, up: false } : link)) }),
    verdict: "dropped",
    says: /node-2 has no IPIP device that is up/,
  },
  {
    name: "an address of a block that no pod has",
    node: "",
    damage: (state) => state,
    to: "10.244.2.60:80",
    verdict: "unroutable",
    says: /node-2: route 10\.244\.2\.0\/26 is blackhole: the block is node-2's, and no pod there has 10\.244\.2\.60/,
  },
  {
    name: "proxy_arp off",
    node: "node-1",
    damage: (state) => ({
      ...state,
      sysctls: { ...state.sysctls, ...Object.fromEntries(sysctlOf(state, ".proxy_arp").map((key) => [key, "0"])) },
    }),
    verdict: "unroutable",
    says: /nobody answers for 169\.254\.1\.1: proxy_arp of cali\S+ is off on node-1/,
  },
  {
    name: "no default route, so no proxy ARP",
    node: "node-1",
    damage: (state) => ({ ...state, routes: state.routes.filter(({ destination }) => destination !== "0.0.0.0/0") }),
    verdict: "unroutable",
    says: /answers for 169\.254\.1\.1 only while the node has a route to it over another device/,
  },
  {
    name: "the peer's block is not routed",
    node: "node-1",
    damage: (state) => ({ ...state, routes: state.routes.filter(({ destination }) => destination !== "10.244.2.0/26") }),
    verdict: "unroutable",
    says: /nobody knows the way to 10\.244\.2\.2/,
  },
  {
    name: "another MAC than follows from the node's name",
    node: "node-2",
    damage: (state) => ({
      ...state,
      links: state.links.map((link) => (link.name === "vxlan.calico" ? { ...link, mac: "02:00:00:00:00:99" } : link)),
    }),
    verdict: "dropped",
    says: /another MAC address/,
  },
];

for (const { name, node, damage, to = TO, verdict, says, encapsulation = "VXLAN", hop = /./ } of routedCases)
  test(`routed: ${name}`, () => {
    const snapshot = cluster([routedBy(encapsulation)]);
    const result = trace(snapshot, { from: FROM, to, protocol: "tcp", world: observedWorld(snapshot, damaged(snapshot, node, damage)) });
    assert.equal(result.verdict, verdict, JSON.stringify(result, null, 1));
    assert.match(result.reason, says);
    assert.ok(
      result.hops.some((each) => hop.test(each.says)),
      JSON.stringify(result.hops, null, 1),
    );
  });

test("a packet that goes in a circle ends", () => {
  const snapshot = cluster();
  const toward = (via: string) => ({
    family: 4 as const,
    destination: "10.244.2.0/24",
    type: "unicast" as const,
    nexthops: [{ via, link: "ens160" }],
    table: 254,
    protocol: 4,
  });
  const [one, two] = [
    damaged(snapshot, "node-1", (state) => ({
      ...state,
      routes: [...state.routes.filter((route) => route.destination !== "10.244.2.0/24"), toward("10.112.0.52")],
    })),
    damaged(snapshot, "node-2", (state) => ({
      ...state,
      addresses: state.addresses.filter(({ link }) => link === "ens160"),
      routes: [toward("10.112.0.51")],
    })),
  ];
  const observation = { ...one, ...("node-2" in two ? { "node-2": two["node-2"] } : {}) } as Observation;
  const result = trace(snapshot, { from: FROM, to: TO, protocol: "tcp", world: observedWorld(snapshot, observation) });
  assert.equal(result.verdict, "dropped", result.reason);
  assert.match(result.reason, /circle/);
});
