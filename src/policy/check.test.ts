// What is said about policies that are valid and hardly meant so.
import assert from "node:assert/strict";
import { test } from "node:test";
import { snapshotOf } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { checkPolicies } from "./index.ts";

const namespace = (name: string, labels: object = {}) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
const pod = (name: string, labels: object, port?: object) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, labels },
  spec: { nodeName: "node-1", containers: [{ name: "c", ports: port ? [port] : [] }] },
  status: { phase: "Running", podIPs: [{ ip: `10.244.1.${name.length + 2}` }] },
});

function findings(spec: object): string[] {
  const objects = [
    namespace("shop", { team: "shop" }),
    namespace("ops", { team: "ops" }),
    pod("web", { app: "web" }, { name: "http", containerPort: 80 }),
    pod("mysql", { app: "db" }),
    { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: "shop", name: "p" }, spec },
  ] as unknown as KubeObject[];
  return checkPolicies(snapshotOf(objects)).map(({ code, path, says, remedy }) => `${code} ${path}: ${says} (${remedy})`);
}

const WEB = { podSelector: { matchLabels: { app: "web" } } };

const cases: readonly [string, object, RegExp[]][] = [
  ["nothing wrong", { ...WEB, ingress: [{ from: [{ podSelector: { matchLabels: { app: "db" } } }], ports: [{ port: "http" }] }] }, []],
  [
    "a subject that is nobody",
    { podSelector: { matchLabels: { app: "wbe" } } },
    [/^selects-nothing spec\.podSelector: it selects pods with app=wbe of shop, and there is none \(pods there have app=db; app=web\)$/],
  ],
  [
    "a peer that is nobody",
    { ...WEB, ingress: [{ from: [{ podSelector: {} }, { podSelector: { matchLabels: { role: "x" } } }] }] },
    [/^peer-matches-nothing spec\.ingress\[0\]\.from\[1\]: there are no pods with role=x of shop/],
  ],
  [
    "a namespace that is none",
    { ...WEB, ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: "none" } } }] }] },
    [/^peer-matches-nothing spec\.ingress\[0\]\.from\[0\]: .*no namespace with pods has these labels; there are .*shop: team=shop/],
  ],
  [
    "a port's name that nobody has",
    { ...WEB, ingress: [{ ports: [{ port: "htpp" }] }] },
    [
      /^unknown-port-name spec\.ingress\[0\]\.ports\[0\]\.port: no selected pod has a TCP port named "htpp" \(their ports are named http\)$/,
    ],
  ],
  [
    "a rule that decides nothing",
    { ...WEB, ingress: [{ ports: [{ port: 1, endPort: 100 }] }, { from: [{ podSelector: {} }], ports: [{ port: 80 }] }] },
    [/^unreachable-rule spec\.ingress\[1\]: it decides nothing: rule 0 matches all that it matches/],
  ],
  ["two rules that differ", { ...WEB, ingress: [{ from: [{ podSelector: {} }] }, { ports: [{ port: 80 }] }] }, []],
  [
    "DNS forgotten",
    { ...WEB, policyTypes: ["Egress"], egress: [{ ports: [{ port: 443 }] }] },
    [/^dns-forgotten spec\.egress: web may not ask the cluster's DNS/],
  ],
  ["DNS allowed", { ...WEB, policyTypes: ["Egress"], egress: [{ ports: [{ port: 53, protocol: "UDP" }] }] }, []],
  ["nothing may go out: meant so", { ...WEB, policyTypes: ["Egress"], egress: [] }, []],
  [
    "what is invalid",
    { ...WEB, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0" } }] }] },
    [/^invalid spec\.ingress\[0\]\.from\[0\]\.ipBlock\.cidr: "10\.0\.0\.0" is not a prefix/],
  ],
];

for (const [what, spec, expected] of cases)
  test(what, () => {
    const found = findings(spec);
    assert.equal(found.length, expected.length, found.join("\n"));
    for (const [index, pattern] of expected.entries()) assert.match(found[index] ?? "", pattern);
  });
