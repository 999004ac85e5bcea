// What cluster-wide policies mean, as tables: policies, connection, verdict; by calculation and by the written rules.
import assert from "node:assert/strict";
import { test } from "node:test";
import { snapshotOf } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { readClusterPolicy } from "./cluster-network-policy.ts";
import { evaluatePolicies } from "./index.ts";

const namespace = (name: string, labels: object) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
const pod = (key: string, labels: object, ip: string) => {
  const [ns, name] = key.split("/");
  const ports = [{ name: "web", containerPort: 80 }];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: ns, name, labels },
    spec: { nodeName: "node-1", containers: [{ name: "c", ports }] },
    status: { phase: "Running", podIPs: [{ ip }] },
  };
};
const CLUSTER = [
  namespace("shop", { team: "shop" }),
  namespace("ops", { team: "ops" }),
  pod("shop/web", { app: "web" }, "10.244.1.2"),
  pod("shop/db", { app: "db" }, "10.244.1.3"),
  pod("ops/prom", { app: "prom" }, "10.244.1.4"),
];

type Spec = Readonly<Record<string, unknown>>;
let number = 0;
const cluster = (spec: Spec) => ({
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

const OPS = { namespaces: { matchLabels: { team: "ops" } } };
const SHOP = { namespaces: { matchLabels: { team: "shop" } } };
const DB = { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "db" } } } };
const rule = (action: string, from: object[], more: object = {}) => ({ ingress: [{ action, from, ...more }] });
const DENY_ALL = namespaced({ podSelector: {} });
const ALLOW_ALL = namespaced({ podSelector: {}, ingress: [{}] });

/** from, to, port, whether it may. */
type Row = readonly [string, string, number, boolean];
const TABLES: readonly (readonly [string, readonly object[], readonly Row[]])[] = [
  [
    "a rule decides, and what no rule matches stays allowed",
    [cluster(rule("Deny", [OPS]))],
    [
      ["ops/prom", "shop/db", 80, false],
      ["shop/web", "shop/db", 80, true],
    ],
  ],
  [
    "Admin goes before NetworkPolicy: Accept",
    [cluster(rule("Accept", [OPS])), DENY_ALL],
    [
      ["ops/prom", "shop/db", 80, true],
      ["shop/web", "shop/db", 80, false],
    ],
  ],
  ["Admin goes before NetworkPolicy: Deny", [cluster(rule("Deny", [OPS])), ALLOW_ALL], [["ops/prom", "shop/db", 80, false]]],
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
      ["ops/prom", "shop/db", 80, true],
      ["shop/web", "shop/db", 80, false],
    ],
  ],
  [
    "Baseline comes last: only where no NetworkPolicy isolates",
    [cluster({ tier: "Baseline", ...rule("Deny", [OPS]) })],
    [["ops/prom", "shop/db", 80, false]],
  ],
  [
    "Baseline has no say where NetworkPolicy allows",
    [cluster({ tier: "Baseline", ...rule("Deny", [OPS]) }), ALLOW_ALL],
    [["ops/prom", "shop/db", 80, true]],
  ],
  [
    "Baseline can't open what NetworkPolicy denies",
    [cluster({ tier: "Baseline", ...rule("Accept", [OPS]) }), DENY_ALL],
    [["ops/prom", "shop/db", 80, false]],
  ],
  [
    "the lower number goes first",
    [cluster({ priority: 20, ...rule("Deny", [OPS]) }), cluster({ priority: 5, ...rule("Accept", [OPS]) })],
    [["ops/prom", "shop/db", 80, true]],
  ],
  [
    "pods as subject",
    [cluster({ subject: DB, ...rule("Deny", [OPS]) })],
    [
      ["ops/prom", "shop/db", 80, false],
      ["ops/prom", "shop/web", 80, true],
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
      ["ops/prom", "shop/db", 80, false],
      ["ops/prom", "shop/db", 443, false],
      ["ops/prom", "shop/db", 1500, false],
      ["ops/prom", "shop/db", 2001, true],
    ],
  ],
  [
    "egress to networks",
    [cluster({ egress: [{ action: "Deny", to: [{ networks: ["203.0.113.0/24"] }] }] })],
    [
      ["shop/web", "203.0.113.9", 80, false],
      ["shop/web", "198.51.100.9", 80, true],
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
      ["ops/prom", "shop/db", 80, true],
      ["ops/prom", "shop/db", 81, false],
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
    [["shop/web", "203.0.113.9", 80, false]],
  ],
  [
    "a peer that is not followed: Deny denies everything",
    [cluster({ egress: [{ action: "Deny", to: [{ nodes: {} }] }] })],
    [["shop/web", "203.0.113.9", 80, false]],
  ],
];

for (const [what, policies, rows] of TABLES)
  test(what, () => {
    const snapshot = snapshotOf([...CLUSTER, ...policies] as KubeObject[]);
    for (const [from, to, port, allowed] of rows) {
      const verdict = evaluatePolicies(snapshot, {
        from: { pod: from },
        to: to.includes("/") ? { pod: to } : { address: to },
        protocol: "TCP",
        port,
      });
      assert.equal(verdict.verdict, allowed ? "allow" : "deny", `${from} → ${to}:${port}: ${verdict.says}`);
    }
  });

test("what is not valid is told with its place", () => {
  const remarksOf = (spec: Spec) =>
    readClusterPolicy(cluster(spec) as unknown as KubeObject).remarks.map((text) => text.replace(/^ClusterNetworkPolicy c\d+: /, ""));
  const cases: readonly [Spec, RegExp][] = [
    [{ tier: "Top" }, /^spec\.tier: "Top" is neither Admin nor Baseline/],
    [{ priority: 5000 }, /^spec\.priority: 5000 is no number from 0 to 1000/],
    [{ subject: {} }, /^spec\.subject: nothing is not followed here: namespaces, pods/],
    [rule("Drop", [OPS]), /^spec\.ingress\[0\]\.action: "Drop" is no action/],
    [
      rule("Accept", [{ pods: { podSelector: { matchExpressions: [{ key: "a", operator: "Like" }] } } }]),
      /^spec\.ingress\[0\]\.from\[0\]\.pods\.podSelector: "Like" is no operator/,
    ],
    [
      { egress: [{ action: "Accept", to: [{ networks: ["10.0.0.0"] }] }] },
      /^spec\.egress\[0\]\.to\[0\]\.networks\[0\]: "10\.0\.0\.0" is not a prefix/,
    ],
    [rule("Accept", [OPS], { protocols: [{ icmp: {} }] }), /^spec\.ingress\[0\]\.protocols\[0\]: icmp is not known/],
    [
      rule("Accept", [OPS], { protocols: [{ tcp: { destinationPort: { range: { start: 9, end: 1 } } } }] }),
      /destinationPort: 9–1 is no port or range/,
    ],
    [rule("Deny", [{ pods: 7 }, {}]), /what it says is not understood, so it denies everything/],
  ];
  for (const [spec, expected] of cases)
    assert.ok(
      remarksOf(spec).some((text) => expected.test(text)),
      `${expected}: ${remarksOf(spec).join("; ")}`,
    );
  assert.deepEqual(remarksOf(rule("Deny", [OPS])), []);
  for (const nonsense of [null, 7, "x", [], { ingress: { a: 1 }, egress: [null, 7] }, { subject: null, ingress: [{ from: "all" }] }])
    readClusterPolicy({ apiVersion: "v", kind: "ClusterNetworkPolicy", metadata: { name: "n" }, spec: nonsense } as unknown as KubeObject);
});
