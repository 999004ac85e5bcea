// What cluster-wide policies mean: ClusterNetworkPolicy, and the two kinds that were before it.
import { namespace, node, pod, type Row, type TruthSuite } from "./table.ts";

const PORTS = { containers: [{ name: "c", ports: [{ name: "web", containerPort: 80 }] }] };
const CLUSTER = [
  node(1, { rack: "a" }),
  namespace("shop", { team: "shop" }),
  namespace("ops", { team: "ops" }),
  pod("shop/web", { app: "web" }, 1, ["10.244.1.2"], PORTS),
  pod("shop/db", { app: "db" }, 1, ["10.244.1.3"], PORTS),
  pod("ops/prom", { app: "prom" }, 1, ["10.244.1.4"], PORTS),
];

export type Spec = Readonly<Record<string, unknown>>;
let number = 0;
export const cluster = (spec: Spec) => ({
  apiVersion: "policy.networking.k8s.io/v1alpha2",
  kind: "ClusterNetworkPolicy",
  metadata: { name: `c${number++}` },
  spec: { tier: "Admin", priority: 10, subject: { namespaces: { matchLabels: { team: "shop" } } }, ...spec },
});
const admin = (kind: string, spec: Spec) => ({
  apiVersion: "policy.networking.k8s.io/v1alpha1",
  kind,
  metadata: { name: `a${number++}` },
  spec,
});
const namespaced = (spec: Spec) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { namespace: "shop", name: `n${number++}` },
  spec,
});

export const OPS = { namespaces: { matchLabels: { team: "ops" } } };
const SHOP = { namespaces: { matchLabels: { team: "shop" } } };
const DB = { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "db" } } } };
export const rule = (action: string, from: object[], more: object = {}) => ({ ingress: [{ action, from, ...more }] });
const DENY_ALL = namespaced({ podSelector: {} });
const ALLOW_ALL = namespaced({ podSelector: {}, ingress: [{}] });

/** Title, policies, rows. */
const TABLES: readonly (readonly [string, readonly object[], readonly Row[]])[] = [
  [
    "a rule decides, and what no rule matches stays allowed",
    [cluster(rule("Deny", [OPS]))],
    [
      ["ops/prom", "shop/db", "80/TCP", false],
      ["shop/web", "shop/db", "80/TCP", true],
    ],
  ],
  [
    "Admin goes before NetworkPolicy: Accept",
    [cluster(rule("Accept", [OPS])), DENY_ALL],
    [
      ["ops/prom", "shop/db", "80/TCP", true],
      ["shop/web", "shop/db", "80/TCP", false],
    ],
  ],
  ["Admin goes before NetworkPolicy: Deny", [cluster(rule("Deny", [OPS])), ALLOW_ALL], [["ops/prom", "shop/db", "80/TCP", false]]],
  [
    "Pass hands on to NetworkPolicy, past later rules of the tier",
    [
      cluster({
        ingress: [
          { action: "Pass", from: [OPS] },
          { action: "Deny", from: [OPS, SHOP] },
        ],
      }),
      ALLOW_ALL,
    ],
    [
      ["ops/prom", "shop/db", "80/TCP", true],
      ["shop/web", "shop/db", "80/TCP", false],
    ],
  ],
  [
    "Baseline comes last: only where no NetworkPolicy isolates",
    [cluster({ tier: "Baseline", ...rule("Deny", [OPS]) })],
    [["ops/prom", "shop/db", "80/TCP", false]],
  ],
  [
    "Baseline has no say where NetworkPolicy allows",
    [cluster({ tier: "Baseline", ...rule("Deny", [OPS]) }), ALLOW_ALL],
    [["ops/prom", "shop/db", "80/TCP", true]],
  ],
  [
    "Baseline can't open what NetworkPolicy denies",
    [cluster({ tier: "Baseline", ...rule("Accept", [OPS]) }), DENY_ALL],
    [["ops/prom", "shop/db", "80/TCP", false]],
  ],
  [
    "the lower number goes first",
    [cluster({ priority: 20, ...rule("Deny", [OPS]) }), cluster({ priority: 5, ...rule("Accept", [OPS]) })],
    [["ops/prom", "shop/db", "80/TCP", true]],
  ],
  [
    "pods as subject",
    [cluster({ subject: DB, ...rule("Deny", [OPS]) })],
    [
      ["ops/prom", "shop/db", "80/TCP", false],
      ["ops/prom", "shop/web", "80/TCP", true],
    ],
  ],
  [
    "ports: a number, a range, a name",
    [
      cluster({
        ingress: [
          {
            action: "Deny",
            from: [OPS],
            protocols: [
              { tcp: { destinationPort: { range: { start: 1000, end: 2000 } } } },
              { destinationNamedPort: "web" },
              { tcp: { destinationPort: { number: 443 } } },
            ],
          },
        ],
      }),
    ],
    [
      ["ops/prom", "shop/db", "80/TCP", false],
      ["ops/prom", "shop/db", "443/TCP", false],
      ["ops/prom", "shop/db", "1500/TCP", false],
      ["ops/prom", "shop/db", "2001/TCP", true],
    ],
  ],
  [
    "egress to networks",
    [cluster({ egress: [{ action: "Deny", to: [{ networks: ["203.0.113.0/24"] }] }] })],
    [
      ["shop/web", "203.0.113.9", "80/TCP", false],
      ["shop/web", "198.51.100.9", "80/TCP", true],
    ],
  ],
  [
    "AdminNetworkPolicy and BaselineAdminNetworkPolicy",
    [
      admin("AdminNetworkPolicy", {
        priority: 1,
        subject: SHOP,
        ingress: [{ action: "Allow", from: [OPS], ports: [{ portNumber: { protocol: "TCP", port: 80 } }] }],
      }),
      admin("BaselineAdminNetworkPolicy", { subject: SHOP, ingress: [{ action: "Deny", from: [{ namespaces: {} }] }] }),
    ],
    [
      ["ops/prom", "shop/db", "80/TCP", true],
      ["ops/prom", "shop/db", "81/TCP", false],
    ],
  ],
  [
    "a peer that is not followed: Accept matches nothing",
    [
      cluster({
        egress: [
          { action: "Accept", to: [{ domainNames: ["example.com"] }] },
          { action: "Deny", to: [{ networks: ["0.0.0.0/0"] }] },
        ],
      }),
    ],
    [["shop/web", "203.0.113.9", "80/TCP", false]],
  ],
  [
    "a peer that is not followed: Deny denies everything",
    [cluster({ egress: [{ action: "Deny", to: [{ services: {} }] }] })],
    [["shop/web", "203.0.113.9", "80/TCP", false]],
  ],
  [
    "names in a Deny deny everything",
    [cluster({ egress: [{ action: "Deny", to: [{ domainNames: ["example.com"] }] }] })],
    [["shop/web", "203.0.113.9", "80/TCP", false]],
  ],
  [
    "egress to nodes by their labels",
    [cluster({ egress: [{ action: "Deny", to: [{ nodes: { matchLabels: { rack: "a" } } }] }] })],
    [
      ["shop/web", "node-1", "80/TCP", false],
      ["shop/web", "203.0.113.9", "80/TCP", true],
      ["ops/prom", "node-1", "80/TCP", true],
    ],
  ],
];

export const CLUSTER_WIDE: TruthSuite = {
  language: "ClusterNetworkPolicy",
  cluster: CLUSTER,
  tables: TABLES.map(([title, policies, rows]) => ({ title, policies, rows })),
};
