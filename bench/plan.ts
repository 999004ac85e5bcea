// How long a node's plan takes, from nothing and after one change. Prints a table; asserts nothing.
//
//   node bench/plan.ts [nodes] [pods] [services]
import { textTable } from "../src/base/index.ts";
import { createSnapshotBuilder } from "../src/cluster/index.ts";
import { diffState } from "../src/kernel/index.ts";
import { type NodeFacts, planNode, TABLE } from "../src/plan/index.ts";
import type { KubeObject, Pod } from "../src/resources/index.ts";
import { node, service, slice } from "../test/service-objects.ts";

const [nodes = 100, pods = 1000, services = 200] = process.argv.slice(2).map(Number);
const OWNS = { links: () => true, routeProtocol: 84, tables: [TABLE] };
const REPEATS = 20;

const networkOf = (index: number) => `10.${100 + (index >> 8)}.${index & 255}`;
const addressOf = (pod: number) => `${networkOf(pod % nodes)}.${2 + (Math.floor(pod / nodes) % 250)}`;
const byte = (value: number) => value.toString(16).padStart(2, "0");

const nodeOf = (index: number, annotations: Readonly<Record<string, string>> = {}) =>
  node(`node-${index}`, [`${networkOf(index)}.0/24`], [`10.112.${index >> 8}.${index & 255}`], {
    "flannel.alpha.coreos.com/backend-data": `{"VNI":1,"VtepMAC":"02:00:00:00:${byte(index >> 8)}:${byte(index & 255)}"}`,
    ...annotations,
  });
const podOf = (index: number, labels: Readonly<Record<string, string>> = {}): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name: `pod-${index}`, labels: { app: `app-${index % services}`, ...labels } },
  spec: { nodeName: `node-${index % nodes}`, containers: [] },
  status: { podIPs: [{ ip: addressOf(index) }] },
});
const serviceOf = (index: number) => service(`svc-${index}`, { clusterIP: `10.96.${index >> 8}.${index & 255}`, ports: [{ port: 80 }] });
const sliceOf = (index: number, without = -1) =>
  slice(`svc-${index}`, {
    port: 8080,
    endpoints: Array.from({ length: Math.ceil(pods / services) }, (_, at) => at * services + index)
      .filter((pod) => pod < pods && pod !== without)
      .map((pod) => ({ address: addressOf(pod), node: `node-${pod % nodes}` })),
  });

const objects: KubeObject[] = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  ...Array.from({ length: nodes }, (_, index) => nodeOf(index)),
  ...Array.from({ length: pods }, (_, index) => podOf(index)),
  ...Array.from({ length: services }, (_, index) => [serviceOf(index), sliceOf(index)]).flat(),
];
const facts: NodeFacts = {
  node: "node-0",
  underlay: { link: "ens160", mtu: 1500, addresses: ["10.112.0.0/16"] },
  attachments: Array.from({ length: Math.floor(pods / nodes) }, (_, at) => ({
    containerId: `c${at}`,
    interface: "eth0",
    podNamespace: "shop",
    podName: `pod-${at * nodes}`,
    netns: "",
    hostLink: `veth${at}`,
    mac: "0a:00:00:00:00:01",
    addresses: [`${addressOf(at * nodes)}/24`],
  })),
};

const builder = createSnapshotBuilder();
builder.apply(objects.map((object) => ({ type: "ADDED", object })));
const snapshot = builder.snapshot();
const started = performance.now();
let last = planNode(snapshot, facts).kernel;
const rows: string[][] = [["from nothing", (performance.now() - started).toFixed(2), ""]];

function measure(what: string, change: (round: number) => KubeObject): void {
  const times = Array.from({ length: REPEATS }, (_, round) => {
    builder.apply([{ type: "MODIFIED", object: change(round) }]);
    const next = builder.snapshot();
    const begun = performance.now();
    const { kernel } = planNode(next, facts);
    const planned = performance.now();
    diffState(kernel, last, OWNS);
    last = kernel;
    return { plan: planned - begun, diff: performance.now() - planned };
  });
  const median = (values: readonly number[]) => (values.toSorted((a, b) => a - b)[REPEATS >> 1] ?? 0).toFixed(2);
  rows.push([what, median(times.map(({ plan }) => plan)), median(times.map(({ diff }) => diff))]);
}

measure("one pod's labels", (round) => podOf(1, { round: String(round) }));
measure("one end point", (round) => sliceOf(3, round % 2 ? 3 : -1));
measure("one node", (round) => nodeOf(1, { round: String(round) }));
console.log(`${nodes} nodes, ${pods} pods, ${services} Services; median of ${REPEATS}`);
console.log(textTable(["changed", "plan ms", "diff ms"], rows));
