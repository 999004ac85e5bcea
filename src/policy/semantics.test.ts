// What NetworkPolicies say and leave behind besides verdicts, which test/truth-tables.test.ts has.
import assert from "node:assert/strict";
import { test } from "node:test";
import { plainSnapshot } from "../../test/plain-snapshot.ts";
import { CLUSTER as OBJECTS } from "../../test/truth/kubernetes.ts";
import * as make from "../../test/truth/table.ts";
import type { KubeObject, NetworkPolicy } from "../resources/index.ts";
import { cutFlows, evaluatePolicies, isDenial, isVersionChain, planPolicy, readNetworkPolicy } from "./index.ts";

const CLUSTER = OBJECTS as unknown as KubeObject[];
const namespace = (name: string) => make.namespace(name) as unknown as KubeObject;
const node = (n: number) => make.node(n) as unknown as KubeObject;
const pod = (...of: Parameters<typeof make.pod>) => make.pod(...of) as KubeObject;
const policy = (spec: object, name = "n", ns = "p"): KubeObject =>
  ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: ns, name }, spec }) as unknown as KubeObject;

const ALL = { podSelector: {} };
const from = (...peers: object[]) => ({ ...ALL, ingress: [{ from: peers }] });
const ports = (...list: object[]) => ({ ...ALL, ingress: [{ ports: list }] });
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
  // What says which version is in force is another one.
  const lasting = ({ table }: typeof before) => table.chains.filter(({ name }) => !isVersionChain(name));
  assert.deepEqual(lasting(after), lasting(before));
  assert.notDeepEqual(after.table.sets, before.table.sets);
  const wired = planPolicy(plainSnapshot(objects), "node-1", [{ podNamespace: "p", podName: "new", addresses: ["10.244.1.9/24"] }]).table;
  for (const name of ["pod-egress4", "pod-ingress4"]) {
    const element = wired.sets.find((set) => set.name === name)?.elements.find(({ key }) => key[0] === "10.244.1.9");
    assert.deepEqual(element?.value, { verdict: "jump", chain: "policy-unknown-pod" });
  }
  assert.ok(!wired.sets.some(({ name }) => name.startsWith("pod-sources")));
});

test("an address that a new pod of the node has is no longer the former one's, whatever the API still says", () => {
  const objects = [
    ...CLUSTER,
    policy(from({ podSelector: { matchLabels: { app: "old" } } })),
    pod("p/gone", { app: "old" }, 1, ["10.244.1.20"]),
  ];
  const reused = { podNamespace: "q", podName: "web", addresses: ["10.244.1.20/24"] };
  const peers = (attachments: readonly (typeof reused)[]) =>
    planPolicy(plainSnapshot(objects), "node-1", attachments)
      .table.sets.filter(({ name }) => name.startsWith("peer4-"))
      .flatMap(({ elements }) => elements.filter(({ key }) => key[0] === "10.244.1.20"));
  assert.deepEqual(
    peers([]).map(({ owner }) => owner?.name),
    ["gone"],
  );
  assert.deepEqual(peers([reused]), []);
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
    replied: true,
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
  const drops = chains.flatMap(({ name, rules }) => (isVersionChain(name) ? [] : rules.filter((rule) => rule.statements.some(isDenial))));
  assert.deepEqual(drops.map((rule) => rule.owner?.name).sort(), ["allow-same-namespace", "default-deny-ingress"]);
});
