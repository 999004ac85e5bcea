// Whom Cilium's rules name: end points of other namespaces, entities, blocks, groups, nodes, Services, DNS names.
import { app, DB, local, OUT, on, table, wide } from "./cilium-cluster.ts";
import type { TruthTable } from "./table.ts";

const NAMESPACE = "k8s:io.kubernetes.pod.namespace";
const WEB = { endpointSelector: app("web") };

const END_POINTS: readonly TruthTable[] = [
  table(
    "end points are those of the policy's own namespace",
    [local({ ...DB, ingress: [{ fromEndpoints: [app("api")] }] })],
    ["prod/api", "prod/db", "80/TCP", true],
    ["dev/api", "prod/db", "80/TCP", false],
  ),
  table(
    "an empty selector is every end point of the namespace",
    [local({ ...DB, ingress: [{ fromEndpoints: [{}] }] })],
    ["prod/web", "prod/db", "80/TCP", true],
    ["dev/tool", "prod/db", "80/TCP", false],
    [OUT, "prod/db", "80/TCP", false],
    ["node-1", "prod/db", "80/TCP", false],
  ),
  table(
    "an empty selector of a clusterwide policy is every end point of the cluster",
    [wide({ ...DB, ingress: [{ fromEndpoints: [{}] }] })],
    ["dev/tool", "prod/db", "80/TCP", true],
    [OUT, "prod/db", "80/TCP", false],
  ),
  table(
    "another namespace by name",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchLabels: { [NAMESPACE]: "dev", app: "api" } }] }] })],
    ["dev/api", "prod/db", "80/TCP", true],
    ["dev/tool", "prod/db", "80/TCP", false],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "another namespace by name, as any:",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchLabels: { "any:io.kubernetes.pod.namespace": "dev" } }] }] })],
    ["dev/tool", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "every namespace",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchExpressions: [{ key: NAMESPACE, operator: "Exists" }] }] }] })],
    ["dev/tool", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "several namespaces",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchExpressions: [{ key: NAMESPACE, operator: "In", values: ["dev", "ops"] }] }] }] })],
    ["dev/tool", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "every namespace but one",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchExpressions: [{ key: NAMESPACE, operator: "NotIn", values: ["prod"] }] }] }] })],
    ["dev/tool", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "by labels of the namespace",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchLabels: { "io.cilium.k8s.namespace.labels.team": "lab", app: "tool" } }] }] })],
    ["dev/tool", "prod/db", "80/TCP", true],
    ["dev/api", "prod/db", "80/TCP", false],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "by service account, of another namespace's too",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchLabels: { "io.cilium.k8s.policy.serviceaccount": "api" } }] }] })],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "one of several selectors",
    [local({ ...DB, ingress: [{ fromEndpoints: [app("api"), app("web")] }] })],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", true],
  ),
  table(
    "a reserved label names an entity",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchLabels: { "reserved:world": "" } }] }] })],
    [OUT, "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "a reserved label together with others names nobody",
    [local({ ...DB, ingress: [{ fromEndpoints: [{ matchLabels: { "reserved:world": "", app: "web" } }] }] })],
    [OUT, "prod/db", "80/TCP", false],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
];

const ENTITIES: readonly TruthTable[] = [
  table(
    "world: whoever is not of the cluster",
    [local({ ...DB, ingress: [{ fromEntities: ["world"] }] })],
    [OUT, "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
    ["node-1", "prod/db", "80/TCP", false],
  ),
  table(
    "cluster: pods and nodes",
    [local({ ...DB, ingress: [{ fromEntities: ["cluster"] }] })],
    ["dev/tool", "prod/db", "80/TCP", true],
    ["node-1", "prod/db", "80/TCP", true],
    [OUT, "prod/db", "80/TCP", false],
  ),
  table(
    "all",
    [local({ ...DB, ingress: [{ fromEntities: ["all"] }] })],
    [OUT, "prod/db", "80/TCP", true],
    ["dev/tool", "prod/db", "80/TCP", true],
    ["node-1", "prod/db", "80/TCP", true],
  ),
  table(
    "remote-node: the other nodes",
    [local({ ...DB, ingress: [{ fromEntities: ["remote-node"] }] })],
    ["node-1", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "host: the own node, with its host-network pods",
    [local({ ...DB, egress: [{ toEntities: ["host"] }] })],
    ["prod/db", "prod/host", "80/TCP", true],
    ["prod/db", "node-1", "80/TCP", false],
    ["prod/db", "prod/web", "80/TCP", false],
  ),
  table(
    "kube-apiserver: the end points of default/kubernetes",
    [local({ ...WEB, egress: [{ toEntities: ["kube-apiserver"] }] })],
    ["prod/web", "node-2", "6443/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "world in one family",
    [local({ ...DB, ingress: [{ fromEntities: ["world-ipv6"] }] })],
    ["2001:db8:9::9", "prod/db", "80/TCP", true],
    [OUT, "prod/db", "80/TCP", false],
  ),
  table(
    "what is nobody here",
    [local({ ...DB, ingress: [{ fromEntities: ["init", "health", "none", "unmanaged", "ingress"] }] })],
    [OUT, "prod/db", "80/TCP", false],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "an unknown entity makes the entry invalid",
    [local({ ...DB, ingress: [{ fromEntities: ["world", "wrold"] }] })],
    [OUT, "prod/db", "80/TCP", false],
  ),
];

const BLOCKS: readonly TruthTable[] = [
  table(
    "blocks are about whoever is not of the cluster",
    [local({ ...DB, ingress: [{ fromCIDR: ["0.0.0.0/0"] }] })],
    [OUT, "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
    ["node-1", "prod/db", "80/TCP", false],
    ["2001:db8:9::9", "prod/db", "80/TCP", false],
  ),
  table(
    "an address is a block of its own, and host bits are cleared",
    [local({ ...DB, ingress: [{ fromCIDR: ["203.0.113.9", "198.51.100.77/24"] }] })],
    ["203.0.113.9", "prod/db", "80/TCP", true],
    ["203.0.113.10", "prod/db", "80/TCP", false],
    ["198.51.100.1", "prod/db", "80/TCP", true],
  ),
  table(
    "blocks with exceptions",
    [local({ ...WEB, egress: [{ toCIDRSet: [{ cidr: "203.0.113.0/24", except: ["203.0.113.128/25"] }, { cidr: "198.51.100.0/24" }] }] })],
    ["prod/web", "203.0.113.9", "80/TCP", true],
    ["prod/web", OUT, "80/TCP", false],
    ["prod/web", "198.51.100.9", "80/TCP", true],
    ["prod/web", "192.0.2.9", "80/TCP", false],
  ),
  table(
    "an exception of one block is none of another's",
    [local({ ...WEB, egress: [{ toCIDRSet: [{ cidr: "203.0.113.0/24", except: ["203.0.113.128/25"] }, { cidr: "203.0.113.192/26" }] }] })],
    ["prod/web", OUT, "80/TCP", true],
    ["prod/web", "203.0.113.130", "80/TCP", false],
  ),
  table(
    "an exception that lies outside makes the entry invalid",
    [local({ ...WEB, egress: [{ toCIDRSet: [{ cidr: "203.0.113.0/24", except: ["198.51.100.0/25"] }] }] })],
    ["prod/web", "203.0.113.9", "80/TCP", false],
  ),
  table(
    "IPv6 blocks",
    [local({ ...WEB, egress: [{ toCIDR: ["2001:db8:1::/48"] }] })],
    ["prod/web", "2001:db8:1::9", "80/TCP", true],
    ["prod/web", "2001:db8:2::9", "80/TCP", false],
  ),
  table(
    "a group by name",
    [local({ ...DB, ingress: [{ fromCIDRSet: [{ cidrGroupRef: "office" }] }] })],
    ["203.0.113.9", "prod/db", "80/TCP", true],
    [OUT, "prod/db", "80/TCP", false],
    ["2001:db8:1::9", "prod/db", "80/TCP", true],
  ),
  table(
    "groups by labels, with exceptions",
    [
      local({
        ...DB,
        ingress: [
          {
            fromCIDRSet: [{ cidrGroupSelector: { matchExpressions: [{ key: "site", operator: "Exists" }] }, except: ["203.0.113.64/26"] }],
          },
        ],
      }),
    ],
    ["203.0.113.9", "prod/db", "80/TCP", true],
    ["203.0.113.70", "prod/db", "80/TCP", false],
    ["198.51.100.9", "prod/db", "80/TCP", true],
    [OUT, "prod/db", "80/TCP", false],
  ),
  table(
    "a group that is not there is nobody",
    [local({ ...DB, ingress: [{ fromCIDRSet: [{ cidrGroupRef: "nowhere" }] }] })],
    ["203.0.113.9", "prod/db", "80/TCP", false],
  ),
];

const NODES: readonly TruthTable[] = [
  table(
    "nodes by labels",
    [local({ ...DB, ingress: [{ fromNodes: [{ matchLabels: { rack: "a" } }] }] })],
    ["node-1", "prod/db", "80/TCP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "to nodes",
    [local({ ...DB, egress: [{ toNodes: [{ matchLabels: { rack: "a" } }], ...on("9100", "TCP") }] })],
    ["prod/db", "node-1", "9100/TCP", true],
    ["prod/db", "node-1", "9101/TCP", false],
    ["prod/db", "prod/host", "9100/TCP", false],
  ),
];

const SERVICES: readonly TruthTable[] = [
  table(
    "a Service's end points by name",
    [local({ ...WEB, egress: [{ toServices: [{ k8sService: { serviceName: "db", namespace: "prod" } }] }] })],
    ["prod/web", "prod/db", "3306/TCP", true],
    ["prod/web", "prod/api", "80/TCP", false],
  ),
  table(
    "a Service of the own namespace, outside the cluster",
    [local({ ...WEB, egress: [{ toServices: [{ k8sService: { serviceName: "legacy" } }] }] })],
    ["prod/web", "203.0.113.77", "443/TCP", true],
    ["prod/web", OUT, "443/TCP", false],
  ),
  table(
    "Services by labels, with ports",
    [
      local({
        ...WEB,
        egress: [{ toServices: [{ k8sServiceSelector: { selector: { matchLabels: { kind: "old" } } } }], ...on("443", "TCP") }],
      }),
    ],
    ["prod/web", "203.0.113.77", "443/TCP", true],
    ["prod/web", "203.0.113.77", "80/TCP", false],
    ["prod/web", "prod/db", "443/TCP", false],
  ),
];

const NAMES: readonly TruthTable[] = [
  {
    ...table(
      "a name: the addresses that it had in answers, outside the cluster",
      [local({ ...WEB, egress: [{ toFQDNs: [{ matchName: "api.Example.com." }], ...on("443", "TCP") }] })],
      ["prod/web", "203.0.113.80", "443/TCP", true],
      ["prod/web", "203.0.113.80", "80/TCP", false],
      ["prod/web", "203.0.113.81", "443/TCP", false],
      ["prod/web", "prod/db", "443/TCP", false],
    ),
    names: { "api.example.com": ["203.0.113.80", "10.244.2.2"], "www.example.com": ["203.0.113.81"] },
  },
  {
    ...table(
      "a pattern: any part of one label",
      [local({ ...WEB, egress: [{ toFQDNs: [{ matchPattern: "*.example.com" }] }] })],
      ["prod/web", "203.0.113.81", "443/TCP", true],
      ["prod/web", "203.0.113.82", "443/TCP", false],
      ["prod/web", "203.0.113.83", "443/TCP", false],
    ),
    names: { "www.example.com": ["203.0.113.81"], "a.b.example.com": ["203.0.113.82"], "example.com": ["203.0.113.83"] },
  },
  {
    ...table(
      "a pattern of everything",
      [local({ ...WEB, egress: [{ toFQDNs: [{ matchPattern: "*" }] }] })],
      ["prod/web", "203.0.113.82", "443/TCP", true],
      ["prod/web", "203.0.113.90", "443/TCP", false],
    ),
    names: { "a.b.example.com": ["203.0.113.82"] },
  },
];

export const CILIUM_PEERS: readonly TruthTable[] = [...END_POINTS, ...ENTITIES, ...BLOCKS, ...NODES, ...SERVICES, ...NAMES];
