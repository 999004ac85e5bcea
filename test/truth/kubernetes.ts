// What Kubernetes NetworkPolicies mean.
import { namespace, node, pod, type Row, type TruthSuite } from "./table.ts";

export const CLUSTER = [
  namespace("p", { team: "x" }),
  namespace("q", { team: "y" }),
  node(1),
  node(2),
  pod("p/api", { app: "api", role: "backend" }, 1, ["10.244.1.2", "fd00::1:2"]),
  pod("p/web", { app: "web" }, 1, ["10.244.1.3", "fd00::1:3"]),
  pod("q/api", { app: "api" }, 2, ["10.244.2.2", "fd00::2:2"]),
  pod("q/web", { app: "web" }, 2, ["10.244.2.3"]),
  pod("q/host", { app: "web" }, 2, ["10.112.0.52"], { hostNetwork: true }),
];
const policy = (spec: object, index: number) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { namespace: "p", name: `n${index}` },
  spec,
});
const ALL = { podSelector: {} };
const API = { podSelector: { matchLabels: { app: "api" } } };
const from = (...peers: object[]) => ({ ...ALL, ingress: [{ from: peers }] });
const ports = (...list: object[]) => ({ ...ALL, ingress: [{ ports: list }] });

/** Title, policies' specs, rows. */
const TABLES: readonly (readonly [string, readonly object[], readonly Row[]])[] = [
  [
    "no policy",
    [],
    [
      ["q/web", "p/api", "80/TCP", true],
      ["203.0.113.9", "p/api", "80/TCP", true],
      ["p/api", "203.0.113.9", "80/TCP", true],
    ],
  ],
  [
    "no policyTypes, no rules: ingress alone is isolated",
    [ALL],
    [
      ["q/web", "p/api", "80/TCP", false],
      ["p/web", "p/api", "80/TCP", false],
      ["p/api", "q/api", "80/TCP", true],
      ["q/web", "q/api", "80/TCP", true],
      ["203.0.113.9", "p/api", "80/TCP", false],
      ["q/web", "p/api", "0/ICMP", false],
    ],
  ],
  [
    "egress: [] without policyTypes does not isolate egress",
    [{ ...ALL, egress: [] }],
    [
      ["p/api", "q/api", "80/TCP", true],
      ["q/api", "p/api", "80/TCP", false],
    ],
  ],
  [
    "egress rules without policyTypes isolate both",
    [{ ...API, egress: [{ ports: [{ port: 80 }] }] }],
    [
      ["p/api", "q/api", "80/TCP", true],
      ["p/api", "q/api", "81/TCP", false],
      ["q/api", "p/api", "80/TCP", false],
      ["p/web", "q/api", "81/TCP", true],
    ],
  ],
  [
    "policyTypes [Egress] alone",
    [{ ...ALL, policyTypes: ["Egress"] }],
    [
      ["p/api", "q/api", "80/TCP", false],
      ["p/api", "10.112.0.51", "80/TCP", false],
      ["q/api", "p/api", "80/TCP", true],
    ],
  ],
  [
    "ingress rules that policyTypes do not name have no effect",
    [{ ...ALL, policyTypes: ["Egress"], ingress: [{ from: [{ podSelector: {} }] }] }],
    [["q/api", "p/api", "80/TCP", true]],
  ],
  [
    "ingress: [{}] lets all in",
    [{ ...ALL, ingress: [{}] }],
    [
      ["q/api", "p/api", "80/TCP", true],
      ["203.0.113.9", "p/api", "9/UDP", true],
      ["q/web", "p/api", "0/ICMP", true],
    ],
  ],
  [
    "from: [] is any",
    [{ ...ALL, ingress: [{ from: [] }] }],
    [
      ["q/api", "p/api", "80/TCP", true],
      ["203.0.113.9", "p/api", "80/TCP", true],
    ],
  ],
  ["from: null and ports: null are any", [{ ...ALL, ingress: [{ from: null, ports: null }] }], [["q/api", "p/api", "80/TCP", true]]],
  [
    "podSelector alone: this namespace",
    [from({ podSelector: {} })],
    [
      ["p/web", "p/api", "80/TCP", true],
      ["q/web", "p/api", "80/TCP", false],
      ["203.0.113.9", "p/api", "80/TCP", false],
    ],
  ],
  [
    "namespaceSelector {}: every pod, no outside, no node",
    [from({ namespaceSelector: {} })],
    [
      ["q/web", "p/api", "80/TCP", true],
      ["203.0.113.9", "p/api", "80/TCP", false],
      ["q/host", "p/api", "80/TCP", false],
      ["node-2", "p/api", "80/TCP", false],
    ],
  ],
  [
    "both selectors in one peer: and",
    [from({ namespaceSelector: { matchLabels: { team: "y" } }, podSelector: { matchLabels: { app: "web" } } })],
    [
      ["q/web", "p/api", "80/TCP", true],
      ["q/api", "p/api", "80/TCP", false],
      ["p/web", "p/api", "80/TCP", false],
    ],
  ],
  [
    "two peers: or",
    [from({ namespaceSelector: { matchLabels: { team: "y" } } }, { podSelector: { matchLabels: { app: "web" } } })],
    [
      ["q/web", "p/api", "80/TCP", true],
      ["q/api", "p/api", "80/TCP", true],
      ["p/web", "p/api", "80/TCP", true],
    ],
  ],
  [
    "the name label",
    [from({ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "q" } } })],
    [
      ["q/web", "p/api", "80/TCP", true],
      ["p/web", "p/api", "80/TCP", false],
    ],
  ],
  [
    "NotIn is true without the label",
    [from({ podSelector: { matchExpressions: [{ key: "role", operator: "NotIn", values: ["backend"] }] } })],
    [
      ["p/web", "p/api", "80/TCP", true],
      ["p/api", "p/web", "80/TCP", false],
    ],
  ],
  [
    "DoesNotExist",
    [from({ podSelector: { matchExpressions: [{ key: "role", operator: "DoesNotExist" }] } })],
    [
      ["p/web", "p/api", "80/TCP", true],
      ["p/api", "p/web", "80/TCP", false],
    ],
  ],
  [
    "union of policies",
    [{ ...ALL }, from({ podSelector: { matchLabels: { app: "web" } } })],
    [
      ["p/web", "p/api", "80/TCP", true],
      ["q/web", "p/api", "80/TCP", false],
    ],
  ],
  [
    "ports: number is TCP",
    [ports({ port: 80 })],
    [
      ["q/web", "p/api", "80/TCP", true],
      ["q/web", "p/api", "80/UDP", false],
      ["q/web", "p/api", "81/TCP", false],
    ],
  ],
  [
    "only a protocol",
    [ports({ protocol: "UDP" })],
    [
      ["q/web", "p/api", "9/UDP", true],
      ["q/web", "p/api", "9/TCP", false],
      ["q/web", "p/api", "0/ICMP", false],
    ],
  ],
  [
    "endPort",
    [ports({ port: 80, endPort: 90 })],
    [
      ["q/web", "p/api", "79/TCP", false],
      ["q/web", "p/api", "80/TCP", true],
      ["q/web", "p/api", "90/TCP", true],
      ["q/web", "p/api", "91/TCP", false],
    ],
  ],
  [
    "named port per protocol",
    [ports({ port: "web" }, { port: "dns" })],
    [
      ["q/web", "p/api", "8080/TCP", true],
      ["q/web", "p/api", "8080/UDP", false],
      ["q/web", "p/api", "53/TCP", false],
    ],
  ],
  [
    "SCTP only still isolates TCP",
    [ports({ protocol: "SCTP", port: 80 })],
    [
      ["q/web", "p/api", "80/TCP", false],
      ["q/web", "p/api", "80/SCTP", true],
    ],
  ],
  [
    "named egress port is the destination's",
    [{ ...ALL, policyTypes: ["Egress"], egress: [{ ports: [{ port: "web" }] }] }],
    [
      ["p/api", "q/api", "8080/TCP", true],
      ["p/api", "q/api", "80/TCP", false],
      ["p/api", "203.0.113.9", "8080/TCP", false],
    ],
  ],
  [
    "ipBlock and except",
    [from({ ipBlock: { cidr: "10.0.0.0/8", except: ["10.244.2.0/30"] } })],
    [
      ["q/api", "p/api", "80/TCP", false],
      ["10.1.1.1", "p/api", "80/TCP", true],
      ["p/web", "p/api", "80/TCP", true],
      ["203.0.113.9", "p/api", "80/TCP", false],
      ["fd00::9", "p/api", "80/TCP", false],
    ],
  ],
  [
    "ipBlock of IPv6",
    [from({ ipBlock: { cidr: "fd00::/64" } })],
    [
      ["fd00::2:2", "p/api", "80/TCP", true],
      ["10.244.2.2", "p/api", "80/TCP", false],
    ],
  ],
  [
    "a node of another's is only an address",
    [from({ ipBlock: { cidr: "10.112.0.52/32" } })],
    [
      ["q/host", "p/api", "80/TCP", true],
      ["node-2", "p/api", "80/TCP", true],
      ["10.112.0.53", "p/api", "80/TCP", false],
    ],
  ],
  [
    "the own node always comes in",
    [ALL],
    [
      ["node-1", "p/api", "80/TCP", true],
      ["10.244.1.1", "p/api", "80/TCP", true],
      ["10.112.0.51", "p/api", "80/TCP", true],
      ["node-2", "p/api", "80/TCP", false],
    ],
  ],
  [
    "a pod reaches itself",
    [{ ...ALL, policyTypes: ["Ingress", "Egress"] }],
    [
      ["p/api", "p/api", "80/TCP", true],
      ["10.244.1.2", "p/api", "80/TCP", true],
    ],
  ],
  [
    "an invalid peer matches nothing, the other still does",
    [from({}, { podSelector: { matchLabels: { app: "web" } } })],
    [
      ["p/web", "p/api", "80/TCP", true],
      ["q/web", "p/api", "80/TCP", false],
    ],
  ],
  [
    "only invalid peers or ports are not any",
    [from({ ipBlock: { cidr: "10.0.0.0" } }), ports({ port: 0 })],
    [["q/web", "p/api", "80/TCP", false]],
  ],
  [
    "an invalid subject isolates the namespace",
    [{ podSelector: { matchExpressions: [{ key: "a", operator: "Is" }] }, ingress: [{}] }],
    [["q/web", "p/api", "80/TCP", false]],
  ],
  [
    "an unknown type isolates both ways",
    [{ ...ALL, policyTypes: ["ingress"] }],
    [
      ["q/web", "p/api", "80/TCP", false],
      ["p/api", "q/web", "80/TCP", false],
    ],
  ],
];

export const KUBERNETES: TruthSuite = {
  language: "NetworkPolicy",
  cluster: CLUSTER,
  tables: TABLES.map(([title, specs, rows]) => ({ title, policies: specs.map(policy), rows })),
};
