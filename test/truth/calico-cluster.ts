// The cluster that Calico's truth tables are asked over, and how its policies are written short.
import { namespace, node, pod } from "./table.ts";

const account = (key: string, labels: object) => {
  const [space, name] = key.split("/");
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: space, name, labels } };
};
const calico = (kind: string, name: string, spec: object, space?: string, labels?: object) => ({
  apiVersion: "projectcalico.org/v3",
  kind,
  metadata: { name, ...(space === undefined ? {} : { namespace: space }), ...(labels ? { labels } : {}) },
  spec,
});

export const CALICO_CLUSTER: readonly object[] = [
  namespace("prod", { team: "shop", env: "prod" }),
  namespace("dev", { team: "shop", env: "dev" }),
  namespace("mon", { name: "monitoring" }),
  node(1, { rack: "a" }),
  node(2, { rack: "b" }),
  account("prod/api", { tier: "app" }),
  account("prod/db", { tier: "data" }),
  account("dev/api", { tier: "app" }),
  pod("prod/api", { app: "api-server", role: "backend" }, 1, ["10.244.1.2", "fd00:10:244:1::2"], withAccount("api")),
  pod("prod/web", { app: "web", role: "frontend" }, 1, ["10.244.1.3", "fd00:10:244:1::3"]),
  pod("prod/mysql", { app: "mysql" }, 2, ["10.244.2.2", "fd00:10:244:2::2"], withAccount("db")),
  pod("dev/api", { app: "api-server", role: "backend" }, 2, ["10.244.2.3", "fd00:10:244:2::3"], withAccount("api")),
  pod("dev/tool", { app: "tool", in: "yes", has: "it" }, 1, ["10.244.1.4"]),
  pod("mon/prometheus", { app: "prometheus" }, 2, ["10.244.2.4"]),
  pod("prod/host", { app: "web" }, 2, ["10.112.0.52"], { hostNetwork: true }),
  calico("NetworkSet", "office", { nets: ["203.0.113.0/25", "2001:db8:1::/48"] }, "prod", { site: "office" }),
  calico("NetworkSet", "devs", { nets: ["203.0.113.128/25"] }, "dev", { site: "office" }),
  calico("GlobalNetworkSet", "partners", { nets: ["198.51.100.0/24", "198.51.101.7", "10.244.2.4"] }, undefined, { site: "partner" }),
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "prod", name: "mysql", labels: { kind: "store" } },
    spec: { clusterIP: "10.96.0.33", clusterIPs: ["10.96.0.33"], ports: [{ name: "db", port: 3306, protocol: "TCP" }] },
  },
  {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "prod", name: "mysql-1", labels: { "kubernetes.io/service-name": "mysql" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.2.2"] }],
    ports: [{ name: "db", port: 3306, protocol: "TCP" }],
  },
];

function withAccount(name: string): object {
  return {
    serviceAccountName: name,
    containers: [
      {
        name: "main",
        ports: [
          { name: "web", containerPort: 8080 },
          { name: "db", containerPort: 3306 },
          { name: "dns", containerPort: 53, protocol: "UDP" },
        ],
      },
    ],
  };
}

let number = 0;

/** A Calico NetworkPolicy of namespace prod, if not said otherwise. Names grow with each call. */
export const local = (spec: object, space = "prod") => calico("NetworkPolicy", `n${String(number++).padStart(4, "0")}`, spec, space);
export const global = (spec: object) => calico("GlobalNetworkPolicy", `g${String(number++).padStart(4, "0")}`, spec);
export const named = (kind: string, name: string, spec: object, space?: string) => calico(kind, name, spec, space);
export const tier = (name: string, order: number, defaultAction?: string) =>
  calico("Tier", name, { order, ...(defaultAction ? { defaultAction } : {}) });
export const kubernetes = (spec: object, space = "prod") => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { namespace: space, name: `k${String(number++).padStart(4, "0")}` },
  spec,
});
export const allow = (more: object = {}) => ({ action: "Allow", ...more });
export const deny = (more: object = {}) => ({ action: "Deny", ...more });
