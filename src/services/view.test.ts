// What a person is told about Services: what holds a port, and why an end point is not used.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type EndpointSpec, node, service, slice } from "../../test/service-objects.ts";
import { snapshotOf } from "../cluster/index.ts";
import type { ConntrackFlow } from "../kernel/index.ts";
import type { ServiceSpec } from "../resources/index.ts";
import { viewServices } from "./index.ts";

const HERE = { address: "10.244.1.2", node: "node-1" };
const THERE = { address: "10.244.2.2", node: "node-2" };
const zone = (name: string) => ({ hints: { forZones: [{ name }] } });

function view(endpoints: readonly EndpointSpec[], spec: Partial<ServiceSpec> = {}, flows?: readonly ConntrackFlow[]) {
  const place = node("node-1", [], []);
  const labelled = { ...place, metadata: { ...place.metadata, labels: { "topology.kubernetes.io/zone": "z1" } } };
  const web = service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80, nodePort: 30080 }], type: "NodePort", ...spec });
  const [first] = viewServices(snapshotOf([labelled, web, slice("web", { endpoints, port: 8080 })]), {
    node: "node-1",
    only: "shop/web",
    ...(flows ? { flows } : {}),
  });
  assert.ok(first?.ports[0]);
  return first.ports[0];
}

test("why an end point is not used", () => {
  const cases: readonly [string, readonly EndpointSpec[], (string | null)[], Partial<ServiceSpec>?][] = [
    ["all are used", [HERE, THERE], [null, null]],
    ["not ready", [HERE, { ...THERE, ready: false }], [null, "not ready"]],
    ["ending", [HERE, { ...THERE, ready: false, serving: true, terminating: true }], [null, "ending, and others are ready"]],
    [
      "ending and deaf",
      [HERE, { ...THERE, ready: false, serving: false, terminating: true }],
      [null, "ending, and its readiness probe fails"],
    ],
    ["only an ending one is left", [{ ...THERE, ready: false, serving: true, terminating: true }], [null]],
    ["Local", [HERE, THERE], [null, "on node-2, and internalTrafficPolicy is Local"], { internalTrafficPolicy: "Local" }],
    [
      "another zone's",
      [
        { ...HERE, ...zone("z1") },
        { ...THERE, ...zone("z2") },
      ],
      [null, "meant for zone z2 (trafficDistribution), and this node is in z1"],
    ],
  ];
  for (const [what, endpoints, expected, spec] of cases)
    assert.deepEqual(
      view(endpoints, spec).endpoints.map(({ why }) => why),
      expected,
      what,
    );
});

test("what holds a port, and what refuses it", () => {
  assert.deepEqual(view([HERE, THERE]).holds, [
    { at: "10.96.0.80", entry: "map services4 { 10.96.0.80 . tcp . 80 : goto pick4-tcp-2 }" },
    { at: "node port 30080", entry: "map nodeports4 { tcp . 30080 : goto masq-node4-tcp-2 }" },
  ]);
  assert.deepEqual(view([]).holds, [
    { at: "10.96.0.80", entry: "set no-endpoints4 { 10.96.0.80 . tcp . 80 }" },
    { at: "node port 30080", entry: "set nodeports-rejected4 { tcp . 30080 }" },
  ]);
});

test("connections are counted at the Service's addresses and at its node port, and nobody else's", () => {
  const flow = (destination: string, destinationPort: number, replySource: string): ConntrackFlow => ({
    protocol: 6,
    source: "10.244.1.9",
    destination,
    destinationPort,
    replySource,
    replySourcePort: 8080,
    replyDestination: "10.244.1.9",
  });
  const flows = [
    flow("10.96.0.80", 80, HERE.address),
    flow("10.112.0.51", 30080, HERE.address),
    flow("10.96.0.80", 80, THERE.address),
    flow("10.96.0.81", 80, THERE.address),
    flow(HERE.address, 8080, HERE.address),
  ];
  assert.deepEqual(
    view([HERE, THERE], {}, flows).endpoints.map(({ connections }) => connections),
    [2, 1],
  );
});
