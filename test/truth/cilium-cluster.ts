// The cluster that Cilium's truth tables are asked over, and how its policies are written short.
import { namespace, node, pod, type Row, type TruthTable } from "./table.ts";

const slice = (space: string, service: string, address: string, port: number) => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { namespace: space, name: `${service}-1`, labels: { "kubernetes.io/service-name": service } },
  addressType: "IPv4",
  endpoints: [{ addresses: [address] }],
  ports: [{ name: "main", port, protocol: "TCP" }],
});
const service = (space: string, name: string, labels: object) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace: space, name, labels },
  spec: { clusterIP: "None", ports: [{ name: "main", port: 80, protocol: "TCP" }] },
});
const group = (name: string, externalCIDRs: readonly string[], labels: object = {}) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumCIDRGroup",
  metadata: { name, labels },
  spec: { externalCIDRs },
});

export const CILIUM_CLUSTER: readonly object[] = [
  namespace("prod", { team: "shop" }),
  namespace("dev", { team: "lab" }),
  namespace("default"),
  node(1, { rack: "a" }),
  node(2, { rack: "b" }),
  pod("prod/api", { app: "api", env: "prod" }, 1, ["10.244.1.2", "fd00:10:244:1::2"], { serviceAccountName: "api" }),
  pod("prod/web", { app: "web", env: "prod" }, 1, ["10.244.1.3", "fd00:10:244:1::3"]),
  pod("prod/db", { app: "db" }, 2, ["10.244.2.2", "fd00:10:244:2::2"]),
  pod("dev/api", { app: "api", env: "dev" }, 2, ["10.244.2.3", "fd00:10:244:2::3"]),
  pod("dev/tool", { app: "tool" }, 1, ["10.244.1.4"]),
  pod("prod/host", { app: "api" }, 2, ["10.112.0.52"], { hostNetwork: true }),
  service("prod", "db", { kind: "store" }),
  slice("prod", "db", "10.244.2.2", 3306),
  service("prod", "legacy", { kind: "old" }),
  slice("prod", "legacy", "203.0.113.77", 443),
  service("default", "kubernetes", {}),
  slice("default", "kubernetes", "10.112.0.52", 6443),
  group("office", ["203.0.113.0/25", "2001:db8:1::/48"], { site: "office" }),
  group("partners", ["198.51.100.0/24"], { site: "partner" }),
];

let number = 0;
const cilium = (kind: string, body: object, space?: string) => ({
  apiVersion: "cilium.io/v2",
  kind,
  metadata: { name: `c${String(number++).padStart(4, "0")}`, ...(space === undefined ? {} : { namespace: space }) },
  ...body,
});

/** A CiliumNetworkPolicy of namespace prod; of every pod there, if not said otherwise. */
export const local = (spec: object, space = "prod") => cilium("CiliumNetworkPolicy", { spec: { endpointSelector: {}, ...spec } }, space);
export const many = (specs: readonly object[], space = "prod") => cilium("CiliumNetworkPolicy", { specs }, space);
export const wide = (spec: object) => cilium("CiliumClusterwideNetworkPolicy", { spec });
export const kubernetes = (spec: object, space = "prod") => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { namespace: space, name: `k${String(number++).padStart(4, "0")}` },
  spec,
});

export const app = (name: string) => ({ matchLabels: { app: name } });
export const on = (port: string, protocol?: string, more: object = {}) => ({
  toPorts: [{ ports: [{ port, ...(protocol === undefined ? {} : { protocol }), ...more }] }],
});
/** To the database, which every table is about unless it says otherwise. */
export const DB = { endpointSelector: app("db") };
export const OUT = "203.0.113.200";

export function table(title: string, policies: readonly object[], ...rows: readonly Row[]): TruthTable {
  return { title, policies, rows };
}
