// Policies of several languages about the same pods: the order that docs/policy.md gives, row by row of its table.
import { namespace, node, pod, type Row, type TruthSuite } from "./table.ts";

const CLUSTER = [
  node(1),
  namespace("shop"),
  namespace("ops"),
  pod("shop/web", { app: "web" }, 1, ["10.244.1.2"]),
  pod("shop/db", { app: "db" }, 1, ["10.244.1.3"]),
  pod("ops/prom", { app: "prom" }, 1, ["10.244.1.4"]),
];

const DB = { matchLabels: { app: "db" } };
const SPACE = (name: string) => ({ matchLabels: { "kubernetes.io/metadata.name": name } });
const kubernetes = (from: string | undefined) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { namespace: "shop", name: "kubernetes" },
  spec: { podSelector: DB, policyTypes: ["Ingress"], ingress: from === undefined ? [] : [{ from: [{ namespaceSelector: SPACE(from) }] }] },
});
const calico = (action: string, from: string, order: number, more: object = {}) => ({
  apiVersion: "projectcalico.org/v3",
  kind: "NetworkPolicy",
  metadata: { namespace: "shop", name: `calico-${order}` },
  spec: {
    order,
    selector: "app == 'db'",
    ingress: [{ action, source: { namespaceSelector: `projectcalico.org/name == '${from}'` } }],
    ...more,
  },
});
const cilium = (section: "ingress" | "ingressDeny", from: string) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumNetworkPolicy",
  metadata: { namespace: "shop", name: "cilium" },
  spec: { endpointSelector: DB, [section]: [{ fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": from } }] }] },
});
const cluster = (tier: "Admin" | "Baseline", action: string, from: string) => ({
  apiVersion: "policy.networking.k8s.io/v1alpha2",
  kind: "ClusterNetworkPolicy",
  metadata: { name: tier.toLowerCase() },
  spec: {
    tier,
    priority: 1,
    subject: { pods: { namespaceSelector: {}, podSelector: DB } },
    ingress: [{ action, from: [{ namespaces: SPACE(from) }] }],
  },
});
const tier = {
  apiVersion: "projectcalico.org/v3",
  kind: "Tier",
  metadata: { name: "security" },
  spec: { order: 2000, defaultAction: "Pass" },
};

const reached = (web: boolean, prom: boolean): Row[] => [
  ["shop/web", "shop/db", "80/TCP", web],
  ["ops/prom", "shop/db", "80/TCP", prom],
];

const TABLES: readonly (readonly [string, readonly object[], readonly Row[]])[] = [
  ["Kubernetes' and Cilium's policies are a union", [kubernetes("shop"), cilium("ingress", "ops")], reached(true, true)],
  ["each of them isolates: what neither allows is denied", [kubernetes("shop"), cilium("ingress", "shop")], reached(true, false)],
  ["a Cilium denial wins over what Kubernetes allows", [kubernetes("ops"), cilium("ingressDeny", "ops")], reached(false, false)],
  ["and over what a Calico policy of any order allows", [calico("Allow", "ops", 1), cilium("ingressDeny", "ops")], reached(false, false)],
  ["a Calico policy of order below 1000 decides before Kubernetes'", [calico("Deny", "ops", 1), kubernetes("ops")], reached(false, false)],
  ["one above 1000 after it", [calico("Deny", "ops", 1001), kubernetes("ops")], reached(false, true)],
  ["and both before the tier's end denies what is left", [calico("Allow", "shop", 1001), kubernetes("ops")], reached(true, true)],
  [
    "an Admin policy denies before everybody",
    [cluster("Admin", "Deny", "ops"), kubernetes("ops"), calico("Allow", "ops", 1)],
    reached(false, false),
  ],
  [
    "an Admin policy accepts before everybody",
    [cluster("Admin", "Accept", "ops"), kubernetes(undefined), cilium("ingressDeny", "ops")],
    reached(false, true),
  ],
  [
    "an Admin policy that passes leaves it to the tiers behind",
    [cluster("Admin", "Pass", "ops"), kubernetes("shop")],
    reached(true, false),
  ],
  [
    "a tier of Calico's own, before the default one, whose end passes",
    [tier, calico("Deny", "ops", 5, { tier: "security" }), kubernetes("ops")],
    reached(false, false),
  ],
  ["a Baseline policy is asked where nobody isolates", [cluster("Baseline", "Deny", "ops")], reached(true, false)],
  ["and not behind a tier that has decided", [cluster("Baseline", "Deny", "ops"), kubernetes("ops")], reached(false, true)],
  [
    "nor does it open what the default tier has closed",
    [cluster("Baseline", "Accept", "ops"), cilium("ingress", "shop")],
    reached(true, false),
  ],
];

export const LANGUAGES: TruthSuite = {
  language: "several languages at once",
  cluster: CLUSTER,
  tables: TABLES.map(([title, policies, rows]) => ({ title, policies, rows })),
};
