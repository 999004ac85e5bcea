// Broken objects of every kind: each is told of the exact place, fails closed where its language says so, and changes nobody else's verdict.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { snapshotOf } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { evaluatePolicies, planPolicy, policyStatuses } from "./index.ts";

const pod = (name: string, last: number) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, labels: { app: name } },
  spec: { nodeName: "node-1", containers: [] },
  status: { phase: "Running", podIPs: [{ ip: `10.244.1.${last}` }] },
});
const object = (apiVersion: string, kind: string, spec: unknown, namespace?: string) => ({
  apiVersion,
  kind,
  metadata: { name: "broken", ...(namespace === undefined ? {} : { namespace }) },
  spec,
});
const kubernetes = (spec: object) => object("networking.k8s.io/v1", "NetworkPolicy", spec, "shop");
const cluster = (spec: object) => object("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", spec);
const admin = (spec: object) => object("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", spec);
const baseline = (spec: object) => object("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy", spec);
const calico = (kind: string, spec: unknown) =>
  object("projectcalico.org/v3", kind, spec, /Global|Tier|Host|Profile/.test(kind) ? undefined : "shop");
const cilium = (kind: string, spec: object) => object("cilium.io/v2", kind, spec, kind === "CiliumNetworkPolicy" ? "shop" : undefined);

/** "db" has a policy of its own besides, which lets in "api" alone. "other" has none. */
const CLUSTER = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  { apiVersion: "v1", kind: "Node", metadata: { name: "node-1" } },
  pod("web", 2),
  pod("api", 3),
  pod("db", 4),
  pod("other", 5),
  {
    ...kubernetes({ podSelector: { matchLabels: { app: "db" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "api" } } }] }] }),
    metadata: { namespace: "shop", name: "good" },
  },
];

const WEB = { podSelector: { matchLabels: { app: "web" } } };
const EP = { endpointSelector: { matchLabels: { app: "web" } } };
const SUBJECT = { subject: { pods: { namespaceSelector: {}, ...WEB } } };
const ADMIN = { tier: "Admin", priority: 1, ...SUBJECT };
const ALL = [{ namespaces: {} }];
const many = (rule: object) => Array.from({ length: 5001 }, () => rule);
/** "api" asks "web", which the broken object selects, if anybody: closed, or open as without it. */
type Case = readonly [what: string, broken: object, place: RegExp, web: "closed" | "open"];

const CASES: readonly Case[] = [
  [
    "an operator that is none",
    kubernetes({ podSelector: { matchExpressions: [{ key: "app", operator: "Is" }] } }),
    /^spec\.podSelector: "Is" is no/,
    "closed",
  ],
  [
    "a label that can't be",
    kubernetes({ podSelector: { matchLabels: { "a b": "c" } } }),
    /^spec\.podSelector: matchLabels\.a b /,
    "closed",
  ],
  ["a selector's field", kubernetes({ podSelector: { matchLabel: {} } }), /^spec\.podSelector: matchLabel is no field/, "closed"],
  [
    "a selector that is a list",
    kubernetes({ podSelector: { matchExpressions: { key: "app" } } }),
    /^spec\.podSelector: matchExpressions is no list/,
    "closed",
  ],
  ["a field of the spec", kubernetes({ ...WEB, ingres: [{}] }), /^spec\.ingres: there is no such field/, "closed"],
  [
    "a rule's field",
    kubernetes({ ...WEB, ingress: [{ form: [{ podSelector: {} }] }] }),
    /^spec\.ingress\[0\]\.form: there is no such field/,
    "closed",
  ],
  [
    "a peer's field",
    kubernetes({ ...WEB, ingress: [{ from: [{ podSelector: {}, nsSelector: {} }] }] }),
    /^spec\.ingress\[0\]\.from\[0\]\.nsSelector:/,
    "closed",
  ],
  [
    "a peer's selector",
    kubernetes({ ...WEB, ingress: [{ from: [{ podSelector: { matchLabel: {} } }] }] }),
    /^spec\.ingress\[0\]\.from\[0\]\.podSelector: matchLabel/,
    "closed",
  ],
  [
    "a port's field",
    kubernetes({ ...WEB, ingress: [{ ports: [{ prot: 80 }] }] }),
    /^spec\.ingress\[0\]\.ports\[0\]\.prot: there is no such field/,
    "closed",
  ],
  [
    "a range upside down",
    kubernetes({ ...WEB, ingress: [{ ports: [{ port: 90, endPort: 80 }] }] }),
    /^spec\.ingress\[0\]\.ports\[0\]: 90–80 is no port/,
    "closed",
  ],
  [
    "host bits",
    kubernetes({ ...WEB, ingress: [{ from: [{ ipBlock: { cidr: "10.1.2.3/8" } }] }] }),
    /ipBlock\.cidr: "10\.1\.2\.3\/8" is read as 10\.0\.0\.0\/8/,
    "open",
  ],
  [
    "host bits of an exception",
    kubernetes({ ...WEB, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.9.9.9/16"] } }] }] }),
    /except\[0\]: "10\.9\.9\.9\/16" is read as 10\.9\.0\.0\/16/,
    "open",
  ],
  ["a type", kubernetes({ ...WEB, policyTypes: ["Inress"] }), /^spec\.policyTypes: "Inress" is neither/, "closed"],
  ["too many rules", kubernetes({ ...WEB, ingress: many({}) }), /^spec\.ingress: 5001 rules are more than 5000/, "closed"],
  [
    "a subject",
    cluster({
      ...ADMIN,
      subject: { namespaces: { matchExpressions: [{ key: "a", operator: "Is" }] } },
      ingress: [{ action: "Deny", from: ALL }],
    }),
    /^spec\.subject\.namespaces: "Is" is no operator/,
    "open",
  ],
  ["a field of the spec", cluster({ ...ADMIN, ingres: [] }), /^spec\.ingres: there is no such field/, "open"],
  [
    "a field of a rule that denies",
    cluster({ ...ADMIN, ingress: [{ action: "Deny", form: ALL }] }),
    /^spec\.ingress\[0\]\.form: there is no such field/,
    "closed",
  ],
  [
    "a field of a rule that passes",
    cluster({ ...ADMIN, ingress: [{ action: "Pass", from: ALL, ports: [] }] }),
    /^spec\.ingress\[0\]\.ports: there is no such field/,
    "closed",
  ],
  [
    "two peers in one",
    cluster({ ...ADMIN, ingress: [{ action: "Deny", from: [{ namespaces: {}, pods: {} }] }] }),
    /from\[0\]: namespaces and pods do not go together/,
    "closed",
  ],
  [
    "an action of the other version",
    admin({ priority: 1, ...SUBJECT, ingress: [{ action: "Accept", from: ALL }] }),
    /action: "Accept" is no action: Allow, Deny, Pass/,
    "closed",
  ],
  [
    "an action that a baseline has not",
    baseline({ ...SUBJECT, ingress: [{ action: "Pass", from: ALL }] }),
    /action: "Pass" is no action: Allow, Deny/,
    "closed",
  ],
  [
    "a range upside down",
    admin({ priority: 1, ...SUBJECT, ingress: [{ action: "Deny", from: ALL, ports: [{ portRange: { start: 9, end: 1 } }] }] }),
    /ports\[0\]: 9–1 is no port/,
    "closed",
  ],
  [
    "host bits",
    cluster({ ...ADMIN, egress: [{ action: "Accept", to: [{ networks: ["10.1.2.3/8"] }] }] }),
    /networks\[0\]: "10\.1\.2\.3\/8" is read as 10\.0\.0\.0\/8/,
    "open",
  ],
  [
    "too many rules",
    cluster({ ...ADMIN, ingress: many({ action: "Accept", from: ALL }) }),
    /^spec\.ingress: 5001 rules are more than 5000/,
    "closed",
  ],
  [
    "a selector",
    calico("NetworkPolicy", { selector: "app = 'web'" }),
    /^spec\.selector: character 5 of "app = 'web'": a single = is no operator/,
    "open",
  ],
  [
    "a rule's selector",
    calico("NetworkPolicy", { selector: "app == 'web'", ingress: [{ action: "Allow", source: { selector: "app = 'x'" } }] }),
    /^spec\.ingress\[0\]\.source\.selector: character 5/,
    "closed",
  ],
  [
    "an action",
    calico("GlobalNetworkPolicy", { selector: "app == 'web'", ingress: [{ action: "Perhaps" }] }),
    /^spec\.ingress\[0\]\.action: "Perhaps" is no action/,
    "closed",
  ],
  [
    "a field",
    calico("GlobalNetworkPolicy", { selector: "app == 'web'", ingress: [{ action: "Allow", src: {} }] }),
    /^spec\.ingress\[0\]\.src: there is no such field/,
    "closed",
  ],
  [
    "a range upside down",
    calico("NetworkPolicy", {
      selector: "app == 'web'",
      ingress: [{ action: "Allow", protocol: "TCP", destination: { ports: ["90:80"] } }],
    }),
    /ports\[0\]: 90:80 is upside down/,
    "closed",
  ],
  [
    "too many rules",
    calico("NetworkPolicy", { selector: "app == 'web'", ingress: many({ action: "Allow" }) }),
    /^spec\.ingress: 5001 rules/,
    "closed",
  ],
  ["a staged selector", calico("StagedNetworkPolicy", { selector: "(" }), /^spec\.selector: character 2/, "open"],
  [
    "a staged action",
    calico("StagedGlobalNetworkPolicy", { selector: "all()", ingress: [{ action: "deny" }] }),
    /^spec\.ingress\[0\]\.action: "deny" is no action/,
    "open",
  ],
  [
    "a staged operator",
    calico("StagedKubernetesNetworkPolicy", { podSelector: { matchExpressions: [{ key: "a", operator: "Is" }] } }),
    /^spec\.podSelector: "Is" is no operator/,
    "open",
  ],
  ["a tier's end", calico("Tier", { order: 1, defaultAction: "Allow" }), /^spec\.defaultAction: "Allow" is neither Deny nor Pass/, "open"],
  [
    "host bits, and a field",
    calico("NetworkSet", { nets: ["10.1.2.3/8"], net: [] }),
    /^spec\.net: there is no such field.*; spec\.nets\[0\]: "10\.1\.2\.3\/8" is read as/,
    "open",
  ],
  ["what is no list", calico("GlobalNetworkSet", { nets: "10.0.0.0/8" }), /^spec\.nets: "10\.0\.0\.0\/8" is no list/, "open"],
  [
    "a port of a host end point",
    calico("HostEndpoint", { node: "node-1", interfaceName: "eth0", ports: [{ name: "a", protocol: "TCP", port: 0 }] }),
    /^spec\.ports\[0\]: it needs a name, a protocol and a port/,
    "open",
  ],
  [
    "a profile's action",
    calico("Profile", { ingress: [{ action: "allow" }] }),
    /^spec\.ingress\[0\]\.action: "allow" is no action/,
    "open",
  ],
  [
    "an operator",
    cilium("CiliumNetworkPolicy", { endpointSelector: { matchExpressions: [{ key: "app", operator: "Is" }] } }),
    /^spec\.endpointSelector\.matchExpressions\[0\]\.operator: "Is"/,
    "closed",
  ],
  [
    "an entity",
    cilium("CiliumNetworkPolicy", { ...EP, ingress: [{ fromEntities: ["wrold"] }] }),
    /^spec\.ingress\[0\]\.fromEntities\[0\]: "wrold" is no entity/,
    "closed",
  ],
  [
    "a denied entity",
    cilium("CiliumClusterwideNetworkPolicy", { ...EP, ingressDeny: [{ fromEntities: ["wrold"] }] }),
    /^spec\.ingressDeny\[0\]\.fromEntities\[0\]: "wrold"/,
    "closed",
  ],
  [
    "a field",
    cilium("CiliumNetworkPolicy", { ...EP, ingress: [{ fromEndpoint: [{}] }] }),
    /^spec\.ingress\[0\]\.fromEndpoint: there is no such field/,
    "closed",
  ],
  [
    "host bits",
    cilium("CiliumNetworkPolicy", { ...EP, ingress: [{ fromEndpoints: [{}] }, { fromCIDR: ["10.1.2.3/8"] }] }),
    /^spec\.ingress\[1\]\.fromCIDR\[0\]: "10\.1\.2\.3\/8" is read as/,
    "open",
  ],
  [
    "a range upside down",
    cilium("CiliumNetworkPolicy", { ...EP, ingress: [{ toPorts: [{ ports: [{ port: "90", endPort: 80 }] }] }] }),
    /ports\[0\]\.endPort: 80 is no port from 90/,
    "closed",
  ],
  [
    "too many ports",
    cilium("CiliumNetworkPolicy", {
      ...EP,
      ingress: [{ toPorts: [{ ports: Array.from({ length: 41 }, (_, at) => ({ port: `${at + 1}` })) }] }],
    }),
    /toPorts\[0\]\.ports: 41 ports are more than 40/,
    "closed",
  ],
  [
    "too many rules",
    cilium("CiliumNetworkPolicy", { ...EP, ingress: many({}) }),
    /^spec\.ingress: 5001 entries are more than 5000/,
    "closed",
  ],
  [
    "layer 7",
    cilium("CiliumNetworkPolicy", { ...EP, ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{}] } }] }] }),
    /toPorts\[0\]\.rules: what is asked of http is not enforced/,
    "closed",
  ],
  [
    "a block of a group",
    cilium("CiliumCIDRGroup", { externalCIDRs: ["10.0.0.0/33"], cidrs: [] }),
    /^spec\.cidrs: there is no such field.*; spec\.externalCIDRs\[0\]: "10\.0\.0\.0\/33"/,
    "open",
  ],
];

const ask = (objects: readonly object[]) => {
  const snapshot = snapshotOf(objects as KubeObject[]);
  const verdict = (from: string, to: string) =>
    evaluatePolicies(snapshot, { from: { pod: `shop/${from}` }, to: { pod: `shop/${to}` }, protocol: "TCP", port: 80 }).verdict;
  return { snapshot, verdict };
};

const kindOf = (broken: object) => (broken as { readonly kind: string }).kind;

for (const [kind, cases] of Map.groupBy(CASES, ([, broken]) => kindOf(broken)))
  describe(kind, () => {
    for (const [what, broken, place, web] of cases)
      test(what, () => {
        const { snapshot, verdict } = ask([...CLUSTER, broken]);
        const own = policyStatuses(snapshot).find(({ object: { metadata } }) => metadata.name === "broken");
        assert.equal(own?.condition.status, "False");
        assert.match(own.condition.message, place);
        assert.ok(
          policyStatuses(snapshot).every(
            ({ object: { metadata }, condition }) => metadata.name === "broken" || condition.status === "True",
          ),
          "nobody else's condition changes",
        );
        assert.ok(planPolicy(snapshot, "node-1", []).remarks.length > 0);
        assert.equal(verdict("api", "web"), web === "closed" ? "deny" : "allow");
        // A subject of a namespace's policy that can't be read is everybody in it: that is its own language's way to fail closed.
        if (/^spec\.(podS|endpointS)elector/.test(own.condition.message)) return;
        const { verdict: before } = ask(CLUSTER);
        for (const [from, to] of [
          ["api", "db"],
          ["other", "db"],
          ["api", "other"],
          ["db", "other"],
        ] as const)
          assert.equal(verdict(from, to), before(from, to), `${from} → ${to} is none of its business`);
      });
  });
