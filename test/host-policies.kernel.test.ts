// Host policies where the kernel does more than filter: before a Service's translation, and beside connection tracking.
import assert from "node:assert/strict";
import { test } from "node:test";
import { snapshotOf } from "../src/cluster/index.ts";
import { createLinuxKernel } from "../src/kernel/index.ts";
import { planNode } from "../src/plan/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { PacketRig } from "./packet-rig.ts";
import { rigOf } from "./three-ways.ts";
import { allow, deny, named } from "./truth/calico-cluster.ts";
import { namespace, node, pod } from "./truth/table.ts";

const WORLD = [
  namespace("a"),
  node(1),
  pod("a/one", { app: "one" }, 1, ["10.244.1.2"]),
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "a", name: "web" },
    spec: {
      type: "NodePort",
      clusterIP: "10.96.0.20",
      clusterIPs: ["10.96.0.20"],
      ipFamilies: ["IPv4"],
      ports: [{ port: 80, nodePort: 30080, protocol: "TCP", targetPort: 8080 }],
    },
  },
  {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "a", name: "web-1", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.1.2"], conditions: { ready: true }, nodeName: "node-1" }],
    ports: [{ port: 8080, protocol: "TCP" }],
  },
  {
    apiVersion: "projectcalico.org/v3",
    kind: "HostEndpoint",
    metadata: { name: "host", labels: { role: "node" } },
    spec: { node: "node-1", interfaceName: "*", profiles: ["projectcalico-default-allow"] },
  },
];

function withRig(policies: readonly object[], body: (rig: PacketRig) => void): void {
  const snapshot = snapshotOf([...WORLD, ...policies] as KubeObject[]);
  const { nodes, pods } = rigOf(snapshot);
  const rig = new PacketRig(createLinuxKernel(), nodes, pods);
  try {
    const underlay = { link: "out", mtu: 1500, addresses: ["10.112.0.51/24"] };
    const [table] = planNode(snapshot, { node: "node-1", underlay, attachments: [] }).kernel.tables;
    assert.ok(table);
    rig.load("node-1", table);
    body(rig);
  } finally {
    rig.close();
  }
}

const packet = (source: string, destinationPort: number, protocol = 6) => ({
  source,
  destination: "10.112.0.51",
  protocol,
  sourcePort: 5000,
  destinationPort,
});

test("preDNAT policies see a node port, before it becomes a pod's", () => {
  const spec = {
    selector: "role == 'node'",
    preDNAT: true,
    applyOnForward: true,
    ingress: [deny({ protocol: "TCP", source: { nets: ["203.0.113.0/24"] }, destination: { ports: [30080] } })],
  };
  const after = {
    selector: "role == 'node'",
    applyOnForward: true,
    order: 2,
    ingress: [deny({ protocol: "TCP", source: { nets: ["192.0.2.0/24"] }, destination: { ports: [30080] } }), allow()],
  };
  withRig([named("GlobalNetworkPolicy", "before", spec), named("GlobalNetworkPolicy", "after", after)], (rig) => {
    const arrived = rig.send([packet("203.0.113.9", 30080), packet("198.51.100.9", 30080), packet("192.0.2.9", 30080)]);
    assert.deepEqual(
      [...arrived].map(([index, { at }]) => `${index} ${at}`).sort(),
      ["1 pod", "2 pod"],
      "after translation there is no port 30080",
    );
  });
});

test("what a doNotTrack policy allows is not tracked, and asked no more", () => {
  const untracked = {
    selector: "role == 'node'",
    doNotTrack: true,
    applyOnForward: true,
    ingress: [allow({ protocol: "UDP", destination: { ports: [123] } })],
    egress: [allow({ protocol: "UDP", source: { ports: [123] } }), allow({ protocol: "ICMP" })],
  };
  const closed = { selector: "role == 'node'", order: 2, types: ["Ingress"] };
  withRig([named("GlobalNetworkPolicy", "untracked", untracked), named("GlobalNetworkPolicy", "closed", closed)], (rig) => {
    const arrived = rig.send([packet("203.0.113.9", 123, 17), packet("203.0.113.9", 124, 17)]);
    assert.deepEqual([...arrived.keys()], [0]);
    const flows = rig.namespace("node-1").conntrack.list({ source: "203.0.113.9" });
    assert.deepEqual(
      flows.filter(({ destinationPort }) => destinationPort === 123),
      [],
    );
  });
});
