// A small cluster with every kind of Service, for the tests of DNS.
import type { KubeObject } from "../src/resources/index.ts";

type Loose = KubeObject & Record<string, unknown>;
type Port = readonly [name: string, port: number, protocol?: string];

const namespace = (name: string, labels: Record<string, string> = {}): Loose => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels },
});

const portsOf = (ports: readonly Port[]) => ports.map(([name, port, protocol = "TCP"]) => ({ name, port, protocol }));

function service(key: string, addresses: readonly string[], ports: readonly Port[], extra: Record<string, unknown> = {}): Loose {
  const [ns = "", name = ""] = key.split("/");
  const { labels, ...spec } = extra;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: ns, labels: (labels ?? {}) as Record<string, string> },
    spec: {
      type: "ClusterIP",
      ...(addresses.length > 0 ? { clusterIP: addresses[0], clusterIPs: addresses } : {}),
      ipFamilies: addresses.map((address) => (address.includes(":") ? "IPv6" : "IPv4")),
      ports: portsOf(ports),
      ...spec,
    },
  };
}

interface Point {
  readonly address: string;
  readonly ready?: boolean;
  readonly hostname?: string;
  readonly pod?: string;
}

function slice(key: string, suffix: string, points: readonly Point[], ports: readonly Port[]): Loose {
  const [ns = "", name = ""] = key.split("/");
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: `${name}-${suffix}`, namespace: ns, labels: { "kubernetes.io/service-name": name } },
    addressType: points.some(({ address }) => address.includes(":")) ? "IPv6" : "IPv4",
    endpoints: points.map(({ address, ready = true, hostname, pod }) => ({
      addresses: [address],
      conditions: { ready },
      ...(hostname ? { hostname } : {}),
      ...(pod ? { targetRef: { kind: "Pod", namespace: ns, name: pod } } : {}),
    })),
    ports: portsOf(ports),
  };
}

function pod(key: string, addresses: readonly string[], extra: { readonly phase?: string; readonly hostNetwork?: boolean } = {}): Loose {
  const [ns = "", name = ""] = key.split("/");
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: ns },
    spec: { nodeName: "node-1", containers: [{ name: "main", image: "any" }], ...(extra.hostNetwork ? { hostNetwork: true } : {}) },
    status: { phase: extra.phase ?? "Running", podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) },
  };
}

const HTTP: Port = ["http", 80];
const MYSQL: Port = ["mysql", 3306];

/** The objects. Made anew at each call. */
export function dnsWorld(): Loose[] {
  return [
    namespace("default"),
    namespace("kube-system"),
    namespace("production", { team: "shop" }),
    namespace("quiet"),
    service("default/kubernetes", ["10.96.0.1"], [["https", 443]]),
    service(
      "kube-system/kube-dns",
      ["10.96.0.10"],
      [
        ["dns", 53, "UDP"],
        ["dns-tcp", 53],
        ["metrics", 9153],
      ],
    ),
    service("production/api", ["10.96.1.1"], [HTTP, ["grpc", 9090]], { labels: { app: "api" } }),
    slice(
      "production/api",
      "a",
      [
        { address: "10.244.1.5", pod: "api-1" },
        { address: "10.244.2.6", pod: "api-2", ready: false },
      ],
      [HTTP, ["grpc", 9090]],
    ),
    service("production/dual", ["10.96.1.2", "fd00:10:96::2"], [["web", 8080]]),
    slice("production/dual", "a", [{ address: "10.244.1.7" }], [["web", 8080]]),
    slice("production/dual", "b", [{ address: "fd00:10:244::7" }], [["web", 8080]]),
    service("production/six", ["fd00:10:96::6"], [["web", 8080]]),
    service("production/empty", ["10.96.1.3"], [HTTP]),
    service(
      "production/syslog",
      ["10.96.1.4"],
      [
        ["syslog", 514, "UDP"],
        ["syslog-tcp", 514],
      ],
    ),
    service("production/mysql", ["None"], [MYSQL], { labels: { app: "mysql" } }),
    slice(
      "production/mysql",
      "a",
      [
        { address: "10.244.1.10", hostname: "mysql-0", pod: "mysql-0" },
        { address: "10.244.2.10", hostname: "mysql-1", pod: "mysql-1" },
        { address: "10.244.2.11", hostname: "mysql-2", pod: "mysql-2", ready: false },
      ],
      [MYSQL],
    ),
    service(
      "production/cache",
      ["None"],
      [
        ["redis", 6379],
        ["metrics", 9121],
      ],
    ),
    slice(
      "production/cache",
      "a",
      [
        { address: "10.244.1.20", pod: "cache-x" },
        { address: "10.244.2.20", pod: "cache-y" },
      ],
      [
        ["redis", 6379],
        ["metrics", 9121],
      ],
    ),
    slice(
      "production/cache",
      "b",
      [{ address: "fd00:10:244:1::20", pod: "cache-x" }],
      [
        ["redis", 6379],
        ["metrics", 9121],
      ],
    ),
    service("production/gone", ["None"], [HTTP]),
    slice("production/gone", "a", [{ address: "10.244.1.30", ready: false }], [HTTP]),
    service("production/noport", ["None"], []),
    slice("production/noport", "a", [{ address: "10.244.1.40" }], []),
    // The same pod behind two Services.
    service("production/reader", ["None"], [MYSQL]),
    slice("production/reader", "a", [{ address: "10.244.2.10", hostname: "mysql-1", pod: "mysql-1" }], [MYSQL]),
    service("production/outside", [], [], { type: "ExternalName", externalName: "db.example.org" }),
    service("production/inside", [], [], { type: "ExternalName", externalName: "api.production.svc.cluster.local" }),
    service("production/lost", [], [], { type: "ExternalName", externalName: "nothing.example.org" }),
    service("production/circle-a", [], [], { type: "ExternalName", externalName: "circle-b.production.svc.cluster.local" }),
    service("production/circle-b", [], [], { type: "ExternalName", externalName: "circle-a.production.svc.cluster.local" }),
    pod("production/api-1", ["10.244.1.5"]),
    pod("production/mysql-0", ["10.244.1.10"]),
    pod("production/six-1", ["fd00:10:244::77"]),
    pod("production/done", ["10.244.1.99"], { phase: "Succeeded" }),
    pod("kube-system/proxy", ["10.112.0.51"], { hostNetwork: true }),
  ];
}
