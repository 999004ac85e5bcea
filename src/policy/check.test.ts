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

const cluster = [
  namespace("shop", { team: "shop" }),
  namespace("kube-system"),
  { apiVersion: "v1", kind: "Node", metadata: { name: "node-1" }, status: { addresses: [{ type: "InternalIP", address: "10.112.0.51" }] } },
  {
    ...pod("web", { app: "web" }, { name: "http", containerPort: 80 }),
    spec: {
      nodeName: "node-1",
      containers: [{ name: "c", ports: [{ name: "http", containerPort: 80 }], readinessProbe: { httpGet: { port: "http" } } }],
    },
  },
  pod("mysql", { app: "db" }),
  {
    ...pod("coredns", { "k8s-app": "kube-dns" }),
    metadata: { namespace: "kube-system", name: "coredns", labels: { "k8s-app": "kube-dns" } },
  },
];

/** [what, policies, what is said] */
const others: readonly [string, readonly object[], readonly RegExp[]][] = [
  [
    "Calico: a denial before what is allowed, in one policy",
    [
      calico("one", {
        selector: "app == 'web'",
        ingress: [
          { action: "Deny", source: { selector: "app == 'db'" } },
          { action: "Allow", source: { selector: "app == 'db'" }, protocol: "TCP", destination: { ports: [80] } },
        ],
      }),
    ],
    [/^NetworkPolicy\.projectcalico\.org shadowed-allow spec\.ingress\[1\]: it lets nothing through: spec\.ingress\[0\] denies all/],
  ],
  [
    "Cilium: a denial of another policy before what is allowed",
    [
      cilium("allow", {
        endpointSelector: { matchLabels: { app: "web" } },
        ingress: [{ fromEndpoints: [{ matchLabels: { app: "db" } }] }],
      }),
      cilium("deny", { endpointSelector: {}, ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: "db" } }] }] }),
    ],
    [
      /^CiliumNetworkPolicy shadowed-allow spec\.ingress\[0\]: it lets nothing through: CiliumNetworkPolicy shop\/deny, spec\.ingressDeny\[0\] denies/,
    ],
  ],
  [
    "Cilium: a subject and a peer that are nobody",
    [
      cilium("typo", { endpointSelector: { matchLabels: { app: "wbe" } }, ingress: [{}] }),
      cilium("peer", { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "x" } }] }] }),
    ],
    [/^CiliumNetworkPolicy peer-matches-nothing spec\.ingress\[0\]:/, /^CiliumNetworkPolicy selects-nothing spec\.endpointSelector:/],
  ],
  [
    "Cilium: layer 7 is told to be not enforced",
    [
      cilium("l7", {
        endpointSelector: {},
        ingress: [{ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }] }],
      }),
    ],
    [/^CiliumNetworkPolicy invalid spec\.ingress\[0\]\.toPorts\[0\]\.rules: what is asked of http is not enforced by this data path/],
  ],
  [
    "Cilium: names asked for, and DNS forgotten",
    [cilium("names", { endpointSelector: { matchLabels: { app: "web" } }, egress: [{ toFQDNs: [{ matchName: "example.com" }] }] })],
    [/^CiliumNetworkPolicy dns-forgotten spec\.egress: web may not ask the cluster's DNS/],
  ],
  [
    "DNS denied by a cluster-wide rule",
    [
      {
        apiVersion: "policy.networking.k8s.io/v1alpha2",
        kind: "ClusterNetworkPolicy",
        metadata: { name: "no-udp" },
        spec: {
          tier: "Admin",
          priority: 1,
          subject: { namespaces: { matchLabels: { team: "shop" } } },
          egress: [
            { action: "Deny", to: [{ namespaces: {} }], protocols: [{ udp: {} }] },
            { action: "Accept", to: [{ namespaces: {} }] },
          ],
        },
      },
    ],
    [/^ClusterNetworkPolicy dns-forgotten spec\.egress\[0\]: 2 pods \(mysql, web\) may not ask the cluster's DNS: this denies UDP 53/],
  ],
  [
    "probes denied",
    [cilium("nodes", { endpointSelector: {}, enableDefaultDeny: { ingress: false }, ingressDeny: [{ fromEntities: ["host"] }] })],
    [/^CiliumNetworkPolicy probes-denied spec\.ingressDeny\[0\]: it denies what the kubelet of node-1 asks shop\/web on port 80/],
  ],
];

function calico(name: string, spec: object): object {
  return { apiVersion: "projectcalico.org/v3", kind: "NetworkPolicy", metadata: { namespace: "shop", name }, spec };
}

function cilium(name: string, spec: object): object {
  return { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { namespace: "shop", name }, spec };
}

for (const [what, policies, expected] of others)
  test(what, () => {
    const found = checkPolicies(snapshotOf([...cluster, ...policies] as unknown as KubeObject[])).map(
      ({ code, path, says, policy }) => `${policy.kind} ${code} ${path}: ${says}`,
    );
    assert.equal(found.length, expected.length, found.join("\n"));
    for (const [index, pattern] of expected.entries()) assert.match(found[index] ?? "", pattern);
  });
