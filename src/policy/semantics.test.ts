// What NetworkPolicies mean, as tables: policy, connection, verdict.
import assert from "node:assert/strict";
import { test } from "node:test";
import { plainSnapshot } from "../../test/plain-snapshot.ts";
import type { KubeObject, NetworkPolicy } from "../resources/index.ts";
import { cutFlows, type End, evaluatePolicies, planPolicy, readNetworkPolicy } from "./index.ts";

const namespace = (name: string, labels = {}): KubeObject =>
  ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } }) as KubeObject;
const node = (n: number): KubeObject =>
  ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: `node-${n}` },
    spec: { podCIDR: `10.244.${n}.0/24` },
    status: { addresses: [{ type: "InternalIP", address: `10.112.0.5${n}` }] },
  }) as KubeObject;
const pod = (key: string, labels: object, n: number, ips: string[], extra: object = {}): KubeObject => {
  const [ns, name] = key.split("/");
  const ports = [
    { name: "web", containerPort: 8080 },
    { name: "dns", containerPort: 53, protocol: "UDP" },
  ];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: ns, name, labels },
    spec: { nodeName: `node-${n}`, containers: [{ name: "main", ports }], ...extra },
    status: { phase: "Running", podIPs: ips.map((ip) => ({ ip })) },
  } as KubeObject;
};
const CLUSTER = [
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
const policy = (spec: object, name = "n", ns = "p"): KubeObject =>
  ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: ns, name }, spec }) as unknown as KubeObject;
const end = (text: string): End => (text.includes("/") ? { pod: text } : text.startsWith("node-") ? { node: text } : { address: text });

/** from, to, "80/TCP", whether it may. */
type Row = readonly [string, string, string, boolean];
const ALL = { podSelector: {} };
const API = { podSelector: { matchLabels: { app: "api" } } };
const from = (...peers: object[]) => ({ ...ALL, ingress: [{ from: peers }] });
const ports = (...list: object[]) => ({ ...ALL, ingress: [{ ports: list }] });
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

for (const [title, specs, rows] of TABLES) {
  test(title, () => {
    const snapshot = plainSnapshot([...CLUSTER, ...specs.map((spec, index) => policy(spec, `n${index}`))]);
    for (const [source, target, what, may] of rows) {
      const [port, protocol] = what.split("/");
      const verdict = evaluatePolicies(snapshot, { from: end(source), to: end(target), protocol: protocol ?? "", port: Number(port) });
      assert.equal(verdict.verdict, may ? "allow" : "deny", `${source} → ${target} ${what}: ${verdict.says}`);
      if (!may) assert.equal(verdict.decidedBy?.kind, "NetworkPolicy");
    }
  });
}

test("host-network pods are not subject", () => {
  const snapshot = plainSnapshot([...CLUSTER, policy({ ...ALL, policyTypes: ["Ingress", "Egress"] }, "n", "q")]);
  assert.equal(evaluatePolicies(snapshot, { from: { pod: "p/api" }, to: { pod: "q/host" }, protocol: "TCP", port: 80 }).verdict, "allow");
  assert.equal(evaluatePolicies(snapshot, { from: { pod: "q/host" }, to: { pod: "p/api" }, protocol: "TCP", port: 80 }).verdict, "allow");
});

test("the sentence names the policy that denies, and why", () => {
  const snapshot = plainSnapshot([...CLUSTER, policy(ALL, "default-deny-ingress")]);
  const verdict = evaluatePolicies(snapshot, { from: { pod: "q/web" }, to: { pod: "p/api" }, protocol: "TCP", port: 80 });
  assert.equal(verdict.says, "default-deny-ingress selects every pod of p and has no ingress rule, so nothing may come in");
  assert.equal(verdict.direction, "ingress");
  assert.throws(() => evaluatePolicies(snapshot, { from: { pod: "q/none" }, to: { pod: "p/api" }, protocol: "TCP" }), {
    code: "unknown-pod",
  });
});

const WRONG: readonly (readonly [object, RegExp])[] = [
  [from({}), /spec\.ingress\[0\]\.from\[0\]: it has neither/],
  [from({ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }), /ipBlock stands alone/],
  [from({ ipBlock: { cidr: "10.0.0.0/33" } }), /ipBlock\.cidr: "10\.0\.0\.0\/33" is not a prefix/],
  [from({ ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/9"] } }), /except\[0\]: .* not strictly within/],
  [ports({ port: 90, endPort: 80 }), /ports\[0\]: 90–80 is no port/],
  [ports({ port: "web", endPort: 80 }), /endPort does not go with a named port/],
  [ports({ endPort: 80 }), /endPort needs port/],
  [ports({ port: "80" }), /"80" is no port name/],
  [ports({ protocol: "ICMP" }), /"ICMP" is neither/],
  [{ ...ALL, policyTypes: ["Egress"], ingress: [{}] }, /these rules have no effect/],
];
test("what is invalid is remarked, with its path", () => {
  for (const [spec, expected] of WRONG) assert.match(readNetworkPolicy(policy(spec) as NetworkPolicy).remarks.join("\n"), expected);
});

test("a pod more is elements more; an unknown pod is denied everything; forged sources need every MAC", () => {
  const objects = [...CLUSTER, policy(from({ podSelector: {} }))];
  const before = planPolicy(plainSnapshot(objects), "node-1", []);
  const after = planPolicy(plainSnapshot([...objects, pod("p/more", { app: "web" }, 1, ["10.244.1.4", "fd00::1:4"])]), "node-1", []);
  assert.deepEqual(after.table.chains, before.table.chains);
  assert.notDeepEqual(after.table.sets, before.table.sets);
  const wired = planPolicy(plainSnapshot(objects), "node-1", [{ podNamespace: "p", podName: "new", addresses: ["10.244.1.9/24"] }]).table;
  for (const name of ["pod-egress4", "pod-ingress4"]) {
    const element = wired.sets.find((set) => set.name === name)?.elements.find(({ key }) => key[0] === "10.244.1.9");
    assert.deepEqual(element?.value, { verdict: "jump", chain: "policy-unknown-pod" });
  }
  assert.ok(!wired.sets.some(({ name }) => name.startsWith("pod-sources")));
});

test("flows that new policies deny are cut, by their real ends", () => {
  const flow = (source: string, replySource: string) => ({
    protocol: 6,
    source,
    destination: "10.96.0.7",
    sourcePort: 4000,
    destinationPort: 80,
    replySource,
    replyDestination: source,
    replySourcePort: 8080,
    replyDestinationPort: 4000,
  });
  const flows = [flow("10.244.2.3", "10.244.1.2"), flow("10.244.1.1", "10.244.1.2"), flow("10.244.1.2", "10.244.2.2")];
  assert.deepEqual(cutFlows(plainSnapshot(CLUSTER), plainSnapshot([...CLUSTER, policy(ALL)]), flows), [flows[0]]);
});

test("the guide's policies: production is closed, but its back ends reach each other", () => {
  const backend = { matchLabels: { role: "backend" } };
  const snapshot = plainSnapshot([
    namespace("production"),
    node(1),
    pod("production/db", { role: "backend" }, 1, ["10.244.1.10"]),
    pod("production/api", { role: "backend" }, 1, ["10.244.1.11"]),
    pod("production/web", { role: "frontend" }, 1, ["10.244.1.12"]),
    policy({ podSelector: {}, policyTypes: ["Ingress"] }, "default-deny-ingress", "production"),
    policy(
      { podSelector: backend, policyTypes: ["Ingress"], ingress: [{ from: [{ podSelector: backend }] }] },
      "allow-same-namespace",
      "production",
    ),
  ]);
  const decide = (source: string, target: string) =>
    evaluatePolicies(snapshot, { from: { pod: `production/${source}` }, to: { pod: `production/${target}` }, protocol: "TCP", port: 80 });
  assert.deepEqual(decide("api", "db").decidedBy, {
    kind: "NetworkPolicy",
    namespace: "production",
    name: "allow-same-namespace",
    rule: 0,
  });
  assert.equal(decide("api", "db").verdict, "allow");
  assert.equal(
    decide("web", "db").says,
    "allow-same-namespace, default-deny-ingress isolate production/db, and none of their ingress rules matches",
  );
  assert.equal(decide("api", "web").decidedBy?.name, "default-deny-ingress");
  const { chains } = planPolicy(snapshot, "node-1", []).table;
  const drops = chains.flatMap(({ rules }) => rules.filter((rule) => rule.statements.some((s) => "verdict" in s && s.verdict === "drop")));
  assert.deepEqual(drops.map((rule) => rule.owner?.name).sort(), ["allow-same-namespace", "default-deny-ingress"]);
});
