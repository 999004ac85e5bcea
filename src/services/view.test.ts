// What a person is told about Services: what holds a port, and why an end point is not used.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type EndpointSpec, node, service, slice } from "../../test/service-objects.ts";
import { snapshotOf } from "../cluster/index.ts";
import type { ConntrackFlow, IpvsService } from "../kernel/index.ts";
import type { Service, ServiceSpec } from "../resources/index.ts";
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
    { at: "10.96.0.80", entry: "set at-pick4-tcp-2 { 10.96.0.80 . tcp . 80 } → chain pick4-tcp-2" },
    { at: "node port 30080", entry: "set at-masq-node4-tcp-2 { tcp . 30080 } → chain masq-node4-tcp-2" },
  ]);
  assert.deepEqual(view([]).holds, [
    { at: "10.96.0.80", entry: "set no-endpoints4 { 10.96.0.80 . tcp . 80 }" },
    { at: "node port 30080", entry: "set nodeports-rejected4 { tcp . 30080 }" },
  ]);
});

test("what holds a port by iptables: the rules that people know", () => {
  const web = service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80, nodePort: 30080 }], type: "NodePort" });
  const snapshot = snapshotOf([node("node-1", [], []), web, slice("web", { endpoints: [HERE], port: 8080 })]);
  const [view] = viewServices(snapshot, { node: "node-1", mode: "iptables" });
  const holds = view?.ports[0]?.holds ?? [];
  assert.deepEqual(
    holds.map(({ at }) => at),
    ["10.96.0.80", "node port 30080"],
  );
  assert.match(holds[0]?.entry ?? "", /^-t nat -A KUBE-SERVICES -d 10\.96\.0\.80\/32 .* --dport 80 -j KUBE-SVC-[A-Z2-7]{16}$/);
  assert.match(holds[1]?.entry ?? "", /^-t nat -A KUBE-NODEPORTS .* --dport 30080 -j KUBE-EXT-[A-Z2-7]{16}$/);
});

test("a Service is told what is wrong with it, and nobody else", () => {
  const told = (...objects: Service[]) =>
    viewServices(snapshotOf([node("node-1", [], []), ...objects]), { node: "node-1" }).map(({ name, remarks }) => [
      name,
      remarks.join("; "),
    ]);
  const shared = { externalIPs: ["203.0.113.1"], ports: [{ port: 80 }] };
  assert.deepEqual(told(service("a", { clusterIP: "10.96.0.1", ...shared }), service("b", { clusterIP: "10.96.0.2", ...shared })), [
    ["a", ""],
    ["b", "203.0.113.1 port 80/tcp is not served, it belongs to Service shop/a already"],
  ]);
  const [[, remark] = []] = told(service("c", { clusterIP: "10.96.0.3", selector: { app: "wbe" }, ports: [{ port: 80 }] }));
  assert.match(remark ?? "", /^its selector app=wbe matches no pod of shop that has an address/);
  const [[, other] = []] = told(service("d", { clusterIP: "10.96.0.4", externalIPs: ["2001:db8::1"], ports: [{ port: 80 }] }));
  assert.match(other ?? "", /^2001:db8::1 is not served: the Service has no IPv6 ClusterIP/);
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
    replied: true,
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

test("by IPVS: virtual servers hold a port, and count its connections", () => {
  const web = service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80, nodePort: 30080 }], type: "NodePort" });
  const snapshot = snapshotOf([node("node-1", [], []), web, slice("web", { endpoints: [HERE, THERE], port: 8080 })]);
  const server = (address: string, port: number, active: number): IpvsService => ({
    family: 4,
    protocol: "tcp",
    address,
    port,
    scheduler: "rr",
    destinations: [
      { address: HERE.address, port: 8080, weight: 1, active, inactive: 2 },
      { address: THERE.address, port: 8080, weight: 1, active: 0, inactive: 0 },
    ],
  });
  const virtual = [server("10.96.0.80", 80, 3), server("10.112.0.51", 30080, 1), server("10.96.0.81", 80, 9)];
  const [view] = viewServices(snapshot, { node: "node-1", mode: "ipvs", virtual, flows: [] });
  assert.deepEqual(view?.ports[0]?.holds, [
    { at: "10.96.0.80", entry: "virtual server TCP 10.96.0.80:80 rr, 2 real servers" },
    { at: "node port 30080", entry: "virtual server TCP 10.112.0.51:30080 rr, 2 real servers" },
  ]);
  assert.deepEqual(
    view.ports[0].endpoints.map(({ connections }) => connections),
    [8, 0],
  );
});
