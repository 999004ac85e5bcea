import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { startSpeaker } from "../bgp/index.ts";
import { snapshotOf } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { isForKernel, planBgp } from "./plan.ts";

const node = (number: number, metadata: object = {}, ipv6 = false): KubeObject =>
  ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: `node-${number}`, ...metadata },
    status: {
      addresses: [`10.112.0.5${number}`, ...(ipv6 ? [`fd00:112::5${number}`] : [])].map((address) => ({ type: "InternalIP", address })),
    },
  }) as KubeObject;
const calico = (kind: string, name: string, spec: object, annotations: object = {}): KubeObject =>
  ({ apiVersion: "crd.projectcalico.org/v1", kind, metadata: { name, annotations }, spec }) as KubeObject;
const NODES = [node(1), node(2), node(3)];
const reflector = (number: number) =>
  node(number, { labels: { rr: "yes" }, annotations: { "projectcalico.org/RouteReflectorClusterID": "244.0.0.1" } });

function plan(objects: readonly KubeObject[], { on = 1, prefixes = ["10.244.0.0/26"], secrets = {} as Record<string, string> } = {}) {
  const found = planBgp(snapshotOf(objects), { node: `node-${on}`, prefixes, secret: ({ name, key }) => secrets[`${name}/${key}`] });
  assert.ok(found);
  return found;
}
const names = ({ neighbours }: ReturnType<typeof plan>) => neighbours.map(({ peer }) => peer.name);

test("without a word of configuration: AS 64512, a session with every other node, the own blocks announced", () => {
  const made = plan(NODES);
  assert.deepEqual([made.localAs, made.routerId, made.listenPort, made.clusterId], [64512, "10.112.0.51", 179, undefined]);
  assert.deepEqual(
    made.neighbours.map(({ kind, owner, node: other, peer }) => [kind, owner, other, peer.address, peer.as, peer.localAddress]),
    [
      ["node-to-node mesh", "BGPConfiguration default", "node-2", "10.112.0.52", 64512, "10.112.0.51"],
      ["node-to-node mesh", "BGPConfiguration default", "node-3", "10.112.0.53", 64512, "10.112.0.51"],
    ],
  );
  assert.deepEqual(made.routes, [{ prefix: "10.244.0.0/26" }]);
  assert.deepEqual(made.remarks, []);
});

test("a session for each family that pods have addresses of", () => {
  const nodes = [node(1, {}, true), node(2, {}, true), node(3)];
  const pool = calico("IPPool", "six", { cidr: "fd00:10:244::/48" });
  assert.deepEqual(names(plan(nodes)), ["node-2", "node-3"]);
  const both = plan([...nodes, pool]);
  assert.deepEqual(names(both), ["node-2", "node-2/6", "node-3"]);
  assert.deepEqual(
    both.peers.map(({ families }) => families),
    [[4], [6], [4]],
  );
});

test("annotations of a node: address, AS number, cluster id; wrong ones are told and not followed", () => {
  const annotations = { "projectcalico.org/IPv4Address": "10.9.9.9/24", "projectcalico.org/ASNumber": "1.10" };
  const [peer] = plan([node(1), node(2, { annotations })]).peers;
  assert.deepEqual([peer?.address, peer?.as], ["10.9.9.9", 65546]);
  const wrong = plan([
    node(1, {
      annotations: {
        "projectcalico.org/IPv4Address": "x",
        "projectcalico.org/ASNumber": "0",
        "projectcalico.org/RouteReflectorClusterID": "rr",
      },
    }),
  ]);
  assert.deepEqual([wrong.routerId, wrong.localAs, wrong.remarks.length], ["10.112.0.51", 64512, 3]);
});

test("a route reflector leaves the mesh; its clients are asked for by selector, from both ends", () => {
  const objects = [
    node(1),
    node(2),
    reflector(3),
    calico("BGPPeer", "to-reflectors", { nodeSelector: "!has(rr)", peerSelector: "has(rr)" }),
  ];
  assert.deepEqual(names(plan(objects)), ["node-2", "node-3"]);
  assert.equal(plan(objects).peers.find(({ name }) => name === "node-3")?.reflectorClient, undefined);
  const reflecting = plan(objects, { on: 3 });
  assert.equal(reflecting.clusterId, "244.0.0.1");
  assert.deepEqual(
    reflecting.neighbours.map(({ kind, peer }) => [kind, peer.name, peer.reflectorClient]),
    [
      ["node specific", "node-1", true],
      ["node specific", "node-2", true],
    ],
  );
  const manual = [
    ...objects.slice(0, 3),
    calico("BGPPeer", "p", { nodeSelector: "!has(rr)", peerSelector: "has(rr)", reversePeering: "Manual" }),
  ];
  assert.deepEqual(names(plan(manual, { on: 3 })), []);
  const two = [node(1), reflector(2), reflector(3), calico("BGPPeer", "rr", { nodeSelector: "has(rr)", peerSelector: "has(rr)" })];
  assert.deepEqual(
    plan(two, { on: 2 }).peers.map(({ reflectorClient }) => reflectorClient),
    [undefined],
  );
});

test("the mesh can be switched off; global and node-specific peers, with port, and none with oneself", () => {
  const objects = [
    ...NODES,
    calico("BGPConfiguration", "default", { nodeToNodeMeshEnabled: false, asNumber: 65000, listenPort: 1179 }),
    calico("BGPPeer", "tor", { peerIP: "10.112.0.1", asNumber: 64999 }),
    calico("BGPPeer", "own", { node: "node-1", peerIP: "10.112.0.2:1790", asNumber: "64998" }),
    calico("BGPPeer", "others", { node: "node-2", peerIP: "10.112.0.3", asNumber: 1 }),
    calico("BGPPeer", "six", { nodeSelector: "all()", peerIP: "[fd00::1]:180", asNumber: 5 }),
    calico("BGPPeer", "self", { peerIP: "10.112.0.51", asNumber: 65000 }),
    calico("BGPPeer", "fellow", { node: "node-1", peerIP: "10.112.0.52", asNumber: 65000 }),
  ];
  const made = plan(objects);
  assert.deepEqual([made.localAs, made.listenPort], [65000, 1179]);
  assert.deepEqual(
    made.neighbours.map(({ kind, peer }) => [peer.name, kind, peer.address, peer.port, peer.as]),
    [
      ["fellow/10.112.0.52", "node specific", "10.112.0.52", 1179, 65000],
      ["own/10.112.0.2", "node specific", "10.112.0.2", 1790, 64998],
      ["six/fd00::1", "node specific", "fd00::1", 180, 5],
      ["tor/10.112.0.1", "global", "10.112.0.1", 179, 64999],
    ],
  );
});

test("one session for an address: a node's own peer goes before a global one and the mesh", () => {
  const made = plan([
    node(1),
    node(2),
    calico("BGPPeer", "a", { peerIP: "10.112.0.52", asNumber: 64512 }),
    calico("BGPPeer", "b", { node: "node-1", peerIP: "10.112.0.52", asNumber: 64512 }),
  ]);
  assert.deepEqual(names(made), ["b/10.112.0.52"]);
  assert.match(made.remarks.join(), /BGPPeer a: BGPPeer b has a session with 10.112.0.52 already/);
});

test("a peer's settings, as the speaker takes them", () => {
  const made = plan([
    node(1),
    calico("BGPPeer", "tor", {
      peerIP: "10.0.0.1",
      asNumber: 64999,
      keepOriginalNextHop: true,
      sourceAddress: "None",
      maxRestartTime: "1m30s",
      keepaliveTime: "10s",
      numAllowedLocalASNumbers: 2,
      localASNumber: 65010,
      ttlSecurity: 1,
      reachableBy: "10.112.0.1",
      failureDetectionMode: "BFDIfDirectlyConnected",
    }),
  ]);
  const [peer] = made.peers;
  assert.deepEqual(
    [peer?.nextHop, peer?.localAddress, peer?.gracefulRestart?.restartSeconds, peer?.holdSeconds, peer?.allowOwnAs, peer?.localAs],
    ["keep", undefined, 90, 30, 2, 65010],
  );
  assert.equal(peer?.ttlSecurityHops, 1);
  assert.deepEqual(made.reaching, [{ prefix: "10.0.0.1/32", nextHops: ["10.112.0.1"], peer: "tor/10.0.0.1" }]);
  assert.deepEqual(made.bfd, [{ address: "10.0.0.1", intervalMs: 300, multiplier: 3 }]);
  assert.deepEqual(made.remarks, []);
});

test("BFD by annotation, for peers and the mesh", () => {
  const bfd = (value: string) => plan([...NODES, calico("BGPConfiguration", "default", {}, { "fairlead.dev/bfd": value })]);
  assert.deepEqual(bfd("true").bfd.length, 2);
  assert.deepEqual(bfd("false").bfd, []);
  assert.deepEqual(bfd("50ms x4").bfd[0], { address: "10.112.0.52", intervalMs: 50, multiplier: 4 });
  assert.match(bfd("soon").remarks.join(), /"soon" is not true/);
});

test("passwords come from the named Secrets alone; without them there is no session, and it is said", () => {
  const secretKeyRef = { name: "bgp", key: "tor" };
  const objects = [
    ...NODES,
    calico("BGPConfiguration", "default", { nodeMeshPassword: { secretKeyRef: { name: "bgp", key: "mesh" } } }),
    calico("BGPPeer", "tor", { peerIP: "10.0.0.1", asNumber: 1, password: { secretKeyRef } }),
    calico("BGPPeer", "elsewhere", {
      node: "node-3",
      peerIP: "10.0.0.2",
      asNumber: 1,
      password: { secretKeyRef: { name: "other", key: "k" } },
    }),
  ];
  const made = plan(objects, { secrets: { "bgp/mesh": "m" } });
  assert.deepEqual(made.secrets, ["bgp"]);
  assert.deepEqual(
    made.peers.map(({ name, password }) => [name, password]),
    [
      ["node-2", "m"],
      ["node-3", "m"],
    ],
  );
  assert.match(made.neighbours.find(({ owner }) => owner === "BGPPeer tor")?.withheld ?? "", /no Secret bgp with key tor/);
  assert.match(made.remarks.join(), /neighbour tor\/10.0.0.1: its password is not known/);
});

test("what is not understood is a remark, and costs no more than itself", () => {
  const made = plan([
    ...NODES,
    calico("BGPConfiguration", "default", { asNumber: "x", logSeverityScreen: "Info", nonsense: 1, serviceClusterIPs: [{ cidr: "x" }, 5] }),
    calico("BGPConfiguration", "spare", {}),
    calico("BGPPeer", "a", { peerIP: "nowhere", asNumber: 1 }),
    calico("BGPPeer", "b", { peerIP: "10.0.0.1", asNumber: 0 }),
    calico("BGPPeer", "c", { nodeSelector: "has(", peerIP: "10.0.0.1", asNumber: 1 }),
    calico("BGPPeer", "d", { peerIP: "10.0.0.4", asNumber: 1, localWorkloadSelector: "all()", filters: ["gone"], maxRestartTime: "soon" }),
  ]);
  assert.deepEqual(names(made), ["d/10.0.0.4", "node-2", "node-3"]);
  for (const part of [
    "asNumber",
    "logSeverityScreen",
    "nonsense",
    "spare",
    "nowhere",
    "BGPPeer b",
    "BGPPeer c",
    "localWorkloadSelector",
    "gone",
    "soon",
  ])
    assert.ok(
      made.remarks.some((remark) => remark.includes(part)),
      `${part} in ${made.remarks.join("\n")}`,
    );
  assert.equal(made.remarks.length, 13);
});

test("no object of any shape ends the plan, and the speaker takes what it gives", () => {
  const value = fc.oneof(
    fc.anything({ maxDepth: 2 }),
    fc.constantFrom(
      "all()",
      "10.0.0.1",
      "[fd00::1]:179",
      "has(a)",
      64512,
      true,
      "300s",
      ["f"],
      [{ cidr: "10.0.0.0/8", communities: ["a", "1:2"] }],
    ),
  );
  const fields = [
    "node",
    "nodeSelector",
    "peerIP",
    "asNumber",
    "peerSelector",
    "password",
    "filters",
    "ttlSecurity",
    "reachableBy",
    "keepaliveTime",
  ];
  const more = [
    "serviceClusterIPs",
    "communities",
    "prefixAdvertisements",
    "listenPort",
    "nodeMeshMaxRestartTime",
    "localASNumber",
    "maxRestartTime",
  ];
  const spec = fc.dictionary(fc.constantFrom(...fields, ...more, "importV4", "exportV4"), value);
  const filter = fc.record({
    importV4: fc.array(fc.dictionary(fc.constantFrom("action", "cidr", "matchOperator", "operations", "communities"), value)),
  });
  const closing = { listen: () => ({ expect: () => undefined, close: () => undefined }) };
  fc.assert(
    fc.property(spec, spec, filter, (peer, configuration, rules) => {
      const made = plan([
        ...NODES,
        calico("BGPPeer", "p", peer),
        calico("BGPConfiguration", "default", configuration),
        calico("BGPFilter", "f", rules),
      ]);
      const transport = {
        ...closing,
        connect: () => {
          throw new Error("no network");
        },
      };
      const speaker = startSpeaker({ localAs: made.localAs, routerId: made.routerId, transport });
      speaker.setLocalRoutes(made.routes);
      speaker.setPeers(made.peers);
      speaker.close();
    }),
    { numRuns: 300 },
  );
});

const service = (name: string, spec: object, ingress: readonly string[] = []): KubeObject =>
  ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "shop", name },
    spec: { ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: { ingress: ingress.map((ip) => ({ ip })) } },
  }) as KubeObject;
const slice = (name: string, nodes: readonly (string | [string, object])[]): KubeObject =>
  ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "shop", name: `${name}-1`, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    endpoints: nodes.map((each) => {
      const [nodeName, conditions] = typeof each === "string" ? [each, {}] : each;
      return { addresses: ["10.244.0.9"], nodeName, conditions };
    }),
  }) as KubeObject;
const RANGES = {
  serviceClusterIPs: [{ cidr: "10.96.0.0/12" }],
  serviceExternalIPs: [{ cidr: "192.0.2.0/24" }, { cidr: "192.0.3.7/32" }],
  serviceLoadBalancerIPs: [{ cidr: "198.51.100.0/24" }],
};

test("Services: ranges from every node; addresses of policy Local from the nodes that have end points", () => {
  const objects = [
    ...NODES,
    calico("BGPConfiguration", "default", RANGES),
    service(
      "local",
      { type: "LoadBalancer", externalTrafficPolicy: "Local", clusterIP: "10.96.0.7", externalIPs: ["192.0.2.7", "10.5.5.5"] },
      ["198.51.100.7"],
    ),
    slice("local", ["node-1", ["node-2", { ready: false }]]),
    service("spread", { type: "LoadBalancer", clusterIP: "10.96.0.8", externalIPs: ["192.0.3.7"] }, ["198.51.100.8"]),
    slice("spread", ["node-3"]),
    service("headless", { clusterIP: "None", externalTrafficPolicy: "Local" }),
  ];
  const wholes = ["10.244.0.0/26", "10.96.0.0/12", "192.0.2.0/24", "192.0.3.7/32", "198.51.100.0/24"];
  const announced = (on: number) => plan(objects, { on }).routes.map(({ prefix }) => prefix);
  assert.deepEqual(announced(1), [...wholes, "10.96.0.7/32", "192.0.2.7/32", "198.51.100.7/32"].sort());
  assert.deepEqual(announced(2), wholes);
  assert.deepEqual(announced(3), wholes);
  const made = plan(objects);
  assert.deepEqual(
    ["10.96.0.0/12", "192.0.2.7/32", "10.244.1.0/26", "0.0.0.0/0", "192.0.3.7/32"].map((prefix) => isForKernel(made, prefix)),
    [false, false, true, true, false],
  );
});

test("Services: load balancers' addresses one by one where asked for; none from nodes that take no outside traffic", () => {
  const objects = [
    node(1),
    node(2, { labels: { "node.kubernetes.io/exclude-from-external-load-balancers": "" } }),
    calico("BGPConfiguration", "default", {
      serviceLoadBalancerIPs: RANGES.serviceLoadBalancerIPs,
      serviceLoadBalancerAggregation: "Disabled",
    }),
    service("web", { type: "LoadBalancer", clusterIP: "10.96.0.8" }, ["198.51.100.8"]),
    service("empty", { type: "LoadBalancer", clusterIP: "10.96.0.9" }, ["198.51.100.9"]),
    slice("web", ["node-2"]),
  ];
  const announced = (on: number) => plan(objects, { on, prefixes: [] }).routes.map(({ prefix }) => prefix);
  assert.deepEqual(announced(1), ["198.51.100.8/32"]);
  assert.deepEqual(announced(2), []);
});

test("communities by prefix, and pools that are not to be announced", () => {
  const configuration = {
    communities: [
      { name: "blue", value: "64512:7" },
      { name: "bad", value: "x" },
    ],
    prefixAdvertisements: [{ cidr: "10.244.0.0/16", communities: ["blue", "64512:1:2", "unknown"] }],
  };
  const made = plan(
    [
      node(1),
      calico("BGPConfiguration", "default", configuration),
      calico("IPPool", "hidden", { cidr: "10.245.0.0/16", disableBGPExport: true }),
    ],
    {
      prefixes: ["10.244.0.0/26", "10.245.0.0/26", "10.246.0.0/26"],
    },
  );
  assert.deepEqual(
    made.routes.map(({ prefix, attributes }) => [prefix, attributes?.communities, attributes?.largeCommunities]),
    [
      ["10.244.0.0/26", [64512 * 65536 + 7], [[64512, 1, 2]]],
      ["10.246.0.0/26", undefined, undefined],
    ],
  );
  assert.equal(made.remarks.length, 2);
});

test("filters: rules in order by family and kind of peer; a filter that is not understood lets nothing through", () => {
  const filters = [
    calico("BGPFilter", "good", {
      importV4: [
        { action: "Reject", cidr: "10.5.0.0/16", matchOperator: "In", prefixLength: { min: 24, max: 28 } },
        { action: "Accept", peerType: "iBGP" },
        {
          action: "Accept",
          communities: { values: ["64512:9"] },
          operations: [{ addCommunity: { value: "1:2" } }, { prependASPath: { prefix: [7, 8] } }],
        },
      ],
      exportV4: [{ action: "Reject", source: "RemotePeers", interface: "*.calico" }],
    }),
    calico("BGPFilter", "odd", { importV6: [{ action: "Accept", priority: 5 }] }),
  ];
  const made = plan([node(1), ...filters, calico("BGPPeer", "tor", { peerIP: "10.0.0.1", asNumber: 1, filters: ["good", "odd"] })]);
  const [peer] = made.peers;
  assert.deepEqual(peer?.importFilter?.statements, [
    { match: { family: 4, prefix: { cidr: "10.5.0.0/16", operator: "in", minLength: 24, maxLength: 28 } }, action: "reject" },
    { match: { family: 4, communities: ["64512:9"] }, set: { addCommunities: ["1:2"], prependPath: [7, 8] }, action: "accept" },
    { match: { family: 6 }, action: "reject" },
  ]);
  assert.deepEqual(peer?.exportFilter?.statements, [
    { match: { family: 4, source: "neighbours", interface: "*.calico" }, action: "reject" },
    { match: { source: "neighbours" }, action: "reject" },
  ]);
  assert.match(made.remarks.join(), /BGPFilter odd: importV6\[0\] has a field priority/);
});
