import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import {
  type EndpointSlice,
  type KubeObject,
  type Node,
  type Pod,
  parseManifests,
  readManifests,
  type Service,
} from "../resources/index.ts";
import { assumeCluster } from "./assume.ts";
import { snapshotOf } from "./build.ts";

const EXAMPLE = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: w, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: NodePort, ipFamilyPolicy: PreferDualStack, selector: {app: web}, ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 81, nodePort: 30000}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: data}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: d}]}}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: data}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 3306}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: kube-system}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {hostNetwork: true, containers: [{name: a, image: a, ports: [{containerPort: 9100}]}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: j, image: j}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere}
spec: {nodeSelector: {disk: ssd}, containers: [{name: p, image: p}]}
`;

function assumed(text: string): KubeObject[] {
  const { objects, problems } = parseManifests(text, "example");
  assert.deepEqual(problems, []);
  return assumeCluster(objects.map(({ object }) => object));
}

const ofKind = <T extends KubeObject>(objects: readonly KubeObject[], kind: string) =>
  objects.filter((object) => object.kind === kind) as T[];

test("assume: three nodes, with addresses and shares of the pod network", () => {
  const nodes = ofKind<Node>(assumed(EXAMPLE), "Node");
  assert.deepEqual(
    nodes.map(({ metadata, spec, status }) => [metadata.name, spec?.podCIDRs, status?.addresses?.[0]?.address]),
    [
      ["node-1", ["10.244.0.0/24", "fd00:10:244::/64"], "10.112.0.51"],
      ["node-2", ["10.244.1.0/24", "fd00:10:244:1::/64"], "10.112.0.52"],
      ["node-3", ["10.244.2.0/24", "fd00:10:244:2::/64"], "10.112.0.53"],
    ],
  );
});

test("assume: pods of workloads are spread, named, addressed and ready", () => {
  const objects = assumed(EXAMPLE);
  const pods = ofKind<Pod>(objects, "Pod");
  const of = (app: string) => pods.filter((pod) => pod.metadata.labels?.app === app);
  assert.deepEqual(
    of("web")
      .map((pod) => pod.spec.nodeName)
      .sort(),
    ["node-1", "node-2", "node-3"],
  );
  for (const pod of of("web")) assert.match(pod.metadata.name, /^web-[a-z0-9]{9}-[a-z0-9]{5}$/);
  assert.deepEqual(
    of("db").map((pod) => [pod.metadata.name, pod.spec.hostname, pod.spec.subdomain]),
    [
      ["db-0", "db-0", "db"],
      ["db-1", "db-1", "db"],
    ],
  );
  assert.deepEqual(
    of("agent")
      .map((pod) => pod.status?.podIP)
      .sort(),
    ["10.112.0.51", "10.112.0.52", "10.112.0.53"],
  );
  assert.equal(pods.filter((pod) => pod.metadata.name.startsWith("once-")).length, 1);
  const running = pods.filter((pod) => pod.status?.phase === "Running");
  const ips = running.filter((pod) => !pod.spec.hostNetwork).flatMap((pod) => pod.status?.podIPs?.map(({ ip }) => ip) ?? []);
  assert.equal(new Set(ips).size, 12, "six pods with two addresses each");
  assert.ok(ips.includes("10.244.0.2") && ips.includes("fd00:10:244::2"));
  assert.deepEqual(
    pods.filter((pod) => !running.includes(pod)).map(({ metadata, status }) => [metadata.name, status?.phase, status?.podIP]),
    [["nowhere", "Pending", undefined]],
  );
});

test("assume: Services have addresses, node ports and end points", () => {
  const objects = assumed(EXAMPLE);
  const [web, db] = ofKind<Service>(objects, "Service");
  assert.deepEqual(web?.spec.clusterIPs, ["10.96.1.0", "fd00:10:96::100"]);
  assert.deepEqual(
    web?.spec.ports?.map((port) => port.nodePort),
    [30001, 30000],
  );
  assert.deepEqual(db?.spec.clusterIPs, ["None"]);
  const slices = ofKind<EndpointSlice>(objects, "EndpointSlice");
  assert.deepEqual(
    slices.map((slice) => [slice.metadata.name, slice.addressType, slice.endpoints?.length, slice.ports?.map((port) => port.port)]),
    [
      ["web-ipv4", "IPv4", 3, [8080, 81]],
      ["web-ipv6", "IPv6", 3, [8080, 81]],
      ["db-ipv4", "IPv4", 2, [3306]],
    ],
  );
  assert.ok(slices.every((slice) => slice.endpoints?.every((endpoint) => endpoint.conditions?.ready)));
});

test("assume: namespaces exist, with the label of their name", () => {
  const namespaces = ofKind(assumed(EXAMPLE), "Namespace");
  assert.deepEqual(
    namespaces.map(({ metadata }) => metadata.labels?.["kubernetes.io/metadata.name"]),
    ["data", "default", "kube-system", "shop"],
  );
});

test("assume: what is assumed is taken as it is when assumed again", () => {
  const once = assumed(EXAMPLE);
  const twice = assumeCluster(once);
  const byName = (objects: readonly KubeObject[]) =>
    objects
      .filter(({ metadata }) => metadata.name !== "nowhere")
      .map((object) => JSON.stringify(object))
      .sort();
  assert.deepEqual(byName(twice), byName(once));
  assert.deepEqual(assumed(EXAMPLE), once, "the same every time");
});

test("assume: nodes of one's own, a pod with its place, and one that has finished", () => {
  const objects = assumed(`
apiVersion: v1
kind: Node
metadata: {name: a, labels: {disk: ssd}}
spec: {podCIDR: 10.1.0.0/30}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: b}
spec: {taints: [{key: x, effect: NoSchedule}]}
---
apiVersion: v1
kind: Pod
metadata: {name: first}
spec: {containers: [{name: p, image: p}]}
---
apiVersion: v1
kind: Pod
metadata: {name: surplus}
spec: {containers: [{name: p, image: p}]}
---
apiVersion: v1
kind: Pod
metadata: {name: placed}
spec: {nodeName: b, containers: [{name: p, image: p}]}
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec: {containers: [{name: p, image: p}]}
status: {phase: Succeeded}
`);
  assert.deepEqual(
    ofKind<Pod>(objects, "Pod").map(({ metadata, spec, status }) => [metadata.name, spec.nodeName, status?.phase, status?.podIP]),
    [
      ["first", "a", "Running", "10.1.0.2"],
      ["surplus", "a", "Pending", undefined],
      ["placed", "b", "Running", "10.244.0.2"],
      ["done", undefined, "Succeeded", undefined],
    ],
  );
});

test("assume: the examples make a cluster that can be indexed", () => {
  for (const folder of ["guide", "shop"]) {
    const { objects } = readManifests([join(import.meta.dirname, "../../examples", folder)]);
    const snapshot = snapshotOf(assumeCluster(objects.map(({ object }) => object)));
    assert.equal(snapshot.nodes.size, 3);
    for (const pod of snapshot.pods.values()) assert.equal(pod.status?.phase, "Running", pod.metadata.name);
    for (const service of snapshot.services.values()) assert.ok(service.spec.clusterIP, service.metadata.name);
  }
});

test("assume: nodes that pods name are invented first", () => {
  const pod = (name: string, node: string) =>
    `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {nodeName: ${node}, containers: [{name: a, image: a}]}\n---\n`;
  const names = (text: string) => ofKind<Node>(assumed(text), "Node").map(({ metadata }) => metadata.name);
  assert.deepEqual(names(pod("a", "worker")), ["node-1", "node-2", "worker"]);
  assert.deepEqual(names(pod("a", "node-2")), ["node-1", "node-2", "node-3"]);
  assert.deepEqual(names(["a", "b", "c", "d"].map((name) => pod(name, `w-${name}`)).join("")), ["w-a", "w-b", "w-c", "w-d"]);
});

test("assume: Endpoints written for a Service without a selector become its slices", () => {
  const objects = assumed(`
apiVersion: v1
kind: Service
metadata: {name: out}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: out}
subsets: [{addresses: [{ip: 198.51.100.7}, {ip: "2001:db8::7"}], ports: [{port: 8080}]}]
`);
  assert.deepEqual(
    ofKind<EndpointSlice>(objects, "EndpointSlice").map(({ addressType, endpoints, ports }) => [
      addressType,
      endpoints?.[0]?.addresses,
      ports,
    ]),
    [
      ["IPv4", ["198.51.100.7"], [{ port: 8080, name: "", protocol: "TCP" }]],
      ["IPv6", ["2001:db8::7"], [{ port: 8080, name: "", protocol: "TCP" }]],
    ],
  );
});
