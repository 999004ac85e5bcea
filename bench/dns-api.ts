// A stand-in for a large cluster's API server: lists and watches of four kinds, with Services and end points by the thousand.
//
//   node bench/dns-api.ts PORT SERVICES      POST /change moves Service svc-0 to another address and answers when it is on the watch
import { createServer, type ServerResponse } from "node:http";

const [port = 0, services = 0] = process.argv.slice(2).map(Number);
const NAMESPACES = 100;
const POINTS = 3;

const address = (prefix: number, index: number) => `${prefix}.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
const meta = (name: string, namespace: string, extra: object = {}) => ({
  name,
  namespace,
  uid: `00000000-0000-4000-8000-${name.padStart(12, "0").slice(-12)}`,
  resourceVersion: "1",
  creationTimestamp: "2026-01-01T00:00:00Z",
  // What kubectl and controllers leave behind, and every client has to read.
  annotations: { "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(300) },
  managedFields: [
    {
      manager: "kubectl",
      operation: "Update",
      apiVersion: "v1",
      time: "2026-01-01T00:00:00Z",
      fieldsType: "FieldsV1",
      fieldsV1: { "f:spec": {} },
    },
  ],
  ...extra,
});
const namespaceOf = (index: number) => `ns-${index % NAMESPACES}`;

function service(index: number, clusterIP = address(10, 0x600000 + index)) {
  const spec = {
    type: "ClusterIP",
    clusterIP,
    clusterIPs: [clusterIP],
    ipFamilies: ["IPv4"],
    ipFamilyPolicy: "SingleStack",
    internalTrafficPolicy: "Cluster",
    selector: { app: `svc-${index}` },
    sessionAffinity: "None",
    ports: [{ name: "http", port: 80, protocol: "TCP", targetPort: 8080 }],
  };
  return { metadata: meta(`svc-${index}`, namespaceOf(index), { labels: { app: `svc-${index}` } }), spec, status: { loadBalancer: {} } };
}

function slice(index: number) {
  const endpoints = Array.from({ length: POINTS }, (_, point) => ({
    addresses: [address(11 + point, index)],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `node-${(index + point) % 500}`,
    targetRef: { kind: "Pod", name: `svc-${index}-${point}`, namespace: namespaceOf(index), uid: "00000000-0000-4000-8000-000000000000" },
    zone: "zone-a",
  }));
  const labels = {
    "kubernetes.io/service-name": `svc-${index}`,
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
  };
  return {
    metadata: meta(`svc-${index}-abcde`, namespaceOf(index), { labels }),
    addressType: "IPv4",
    endpoints,
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  };
}

const many = <T>(count: number, make: (index: number) => T) => Array.from({ length: count }, (_, index) => make(index));
const KINDS = {
  namespaces: {
    kind: "Namespace",
    apiVersion: "v1",
    items: many(NAMESPACES, (index) => JSON.stringify({ metadata: { name: `ns-${index}`, resourceVersion: "1" } })),
  },
  services: { kind: "Service", apiVersion: "v1", items: many(services, (index) => JSON.stringify(service(index))) },
  endpointslices: {
    kind: "EndpointSlice",
    apiVersion: "discovery.k8s.io/v1",
    items: many(services, (index) => JSON.stringify(slice(index))),
  },
  pods: { kind: "Pod", apiVersion: "v1", items: [] as string[] },
} as const;

const watchers = new Set<{ readonly plural: string; readonly response: ServerResponse }>();
let version = 1;

function list(plural: keyof typeof KINDS, query: URLSearchParams, response: ServerResponse): void {
  const { kind, apiVersion, items } = KINDS[plural];
  const from = Number(query.get("continue") ?? 0);
  const limit = Number(query.get("limit") ?? 0) || items.length;
  const next = from + limit < items.length ? `"continue":"${from + limit}",` : "";
  response.setHeader("content-type", "application/json");
  response.end(
    `{"kind":"${kind}List","apiVersion":"${apiVersion}","metadata":{${next}"resourceVersion":"${version}"},"items":[${items.slice(from, from + limit).join(",")}]}`,
  );
}

function change(): void {
  version++;
  const moved = service(0, address(10, 0x6f0000 + version));
  const object = { kind: "Service", apiVersion: "v1", ...moved, metadata: { ...moved.metadata, resourceVersion: String(version) } };
  for (const { plural, response } of watchers)
    if (plural === "services") response.write(`${JSON.stringify({ type: "MODIFIED", object })}\n`);
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://api");
  const plural = url.pathname.split("/").at(-1) as keyof typeof KINDS;
  if (url.pathname === "/change") {
    change();
    response.end(address(10, 0x6f0000 + version));
  } else if (!Object.hasOwn(KINDS, plural)) response.writeHead(404).end("{}");
  else if (url.searchParams.get("sendInitialEvents") === "true") {
    // Clients that would have the list on the watch take the list instead.
    response.writeHead(422, { "content-type": "application/json" });
    response.end(JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", reason: "Invalid", code: 422 }));
  } else if (url.searchParams.get("watch")) {
    response.writeHead(200, { "content-type": "application/json" }).flushHeaders();
    const watcher = { plural, response };
    watchers.add(watcher);
    response.on("close", () => watchers.delete(watcher));
  } else list(plural, url.searchParams, response);
});
server.listen(port, "127.0.0.1", () => process.stdout.write("ready\n"));
