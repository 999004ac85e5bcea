// EndpointSlices of a Service: whom end points are meant for, by trafficDistribution.
import assert from "node:assert/strict";
import { test } from "node:test";
import { calculateEndpointSlices } from "./endpoints.ts";
import type { Node, Pod, Service } from "./types.ts";

const node = (name: string, zone: string | undefined): Node => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name, ...(zone === undefined ? {} : { labels: { "topology.kubernetes.io/zone": zone } }) },
});
const NODES = new Map([node("node-1", "zone-1"), node("node-2", undefined)].map((each) => [each.metadata.name, each]));
const pod = (name: string, nodeName: string, ip: string): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, labels: { app: "web" } },
  spec: { nodeName, containers: [] },
  status: { podIPs: [{ ip }], conditions: [{ type: "Ready", status: "True" }] },
});
const PODS = [pod("a", "node-1", "10.244.1.2"), pod("c", "node-2", "10.244.2.2")];

function hints(trafficDistribution: string | undefined) {
  const service: Service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "shop", name: "web" },
    spec: { selector: { app: "web" }, ports: [{ port: 80 }], ...(trafficDistribution === undefined ? {} : { trafficDistribution }) },
  };
  const [slice] = calculateEndpointSlices(service, { pods: PODS, node: (name) => NODES.get(name) });
  return (slice?.endpoints ?? []).map((endpoint) => endpoint.hints ?? null);
}

test("hints by trafficDistribution: of the node's zone, of the node first, or none", () => {
  const zone = { forZones: [{ name: "zone-1" }] };
  const rows: readonly [asked: string | undefined, hints: readonly unknown[]][] = [
    [undefined, [null, null]],
    // A node without a zone has none to name: then no hint counts for the Service.
    ["PreferSameZone", [zone, null]],
    ["PreferClose", [zone, null]],
    ["PreferSameNode", [{ ...zone, forNodes: [{ name: "node-1" }] }, { forNodes: [{ name: "node-2" }] }]],
  ];
  for (const [asked, expected] of rows) assert.deepEqual(hints(asked), expected, asked ?? "nothing");
});
