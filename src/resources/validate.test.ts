import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applyDefaults } from "./defaults.ts";
import { validate } from "./validate.ts";

const metadata = { name: "x", namespace: "default" };
const service = (spec: object) => ({ apiVersion: "v1", kind: "Service", metadata, spec });
const pod = (spec: object) => ({ apiVersion: "v1", kind: "Pod", metadata, spec: { containers: [{ name: "a", image: "i" }], ...spec } });
const container = (fields: object) => pod({ containers: [{ name: "a", image: "i", ...fields }] });
const policy = (spec: object) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata,
  spec: { podSelector: {}, ...spec },
});
const from = (peer: object) => policy({ ingress: [{ from: [peer] }] });
const workload = (kind: string, spec: object) => ({
  apiVersion: "apps/v1",
  kind,
  metadata,
  spec: {
    selector: { matchLabels: { app: "a" } },
    template: { metadata: { labels: { app: "a" } }, spec: { containers: [{ name: "a", image: "i" }] } },
    ...spec,
  },
});
const slice = (fields: object) => ({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata, addressType: "IPv4", ...fields });
const config = (fields: object, name: unknown = "x") => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, ...fields });
const node = (spec: object) => ({ apiVersion: "v1", kind: "Node", metadata: { name: "n" }, spec });

/** What is wrong, and how it is told (the beginning of each fault's line). */
const cases: readonly (readonly [unknown, readonly string[]])[] = [
  // Anything at all.
  [null, [": Required value: an object"]],
  ["text", [': Invalid value: "text": must be a map']],
  [{}, ["apiVersion: Required value", "kind: Required value", "metadata.name: Required value"]],
  // Metadata.
  [config({}, "Bad_Name"), ['metadata.name: Invalid value: "Bad_Name": must be a DNS name (RFC 1123)']],
  [config({}, "a".repeat(254)), ['metadata.name: Invalid value: "aaa']],
  [config({}, 5), ["metadata.name: Invalid value: 5: must be text"]],
  [
    { ...service({ ports: [{ port: 1 }] }), metadata: { name: "1st" } },
    ['metadata.name: Invalid value: "1st": must be a DNS label (RFC 1035)'],
  ],
  [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "a.b" } },
    ['metadata.name: Invalid value: "a.b": must be a DNS label (RFC 1123)'],
  ],
  [
    {
      ...config({}),
      metadata: { name: "x", labels: { "-a": "b", "x/y/z": "1", ok: "not ok", n: 1 }, annotations: { Fine: "any thing", bad: 1 } },
    },
    [
      'metadata.labels[-a]: Invalid value: "-a"',
      'metadata.labels[x/y/z]: Invalid value: "x/y/z"',
      'metadata.labels[ok]: Invalid value: "not ok"',
      "metadata.labels[n]: Invalid value: 1: must be text: put it in quotes",
      "metadata.annotations[bad]: Invalid value: 1: must be text",
    ],
  ],
  // Services.
  [service({ ports: [{ port: 70000 }] }), ["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"]],
  [service({ selector: { a: "b" } }), ["spec.ports: Required value"]],
  [service({ clusterIP: "None" }), []],
  [service({ ports: [{ port: 80 }, { port: 81 }] }), ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"]],
  [
    service({
      ports: [
        { name: "a", port: 80 },
        { name: "a", port: 80, protocol: "TCP" },
        { name: "c", port: 80, protocol: "UDP" },
      ],
    }),
    ['spec.ports[1].name: Duplicate value: "a"', 'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}'],
  ],
  [
    service({ type: "NodePort", ports: [{ port: 80, nodePort: 80 }] }),
    ["spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"],
  ],
  [service({ ports: [{ port: 80, nodePort: 30080 }] }), ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]],
  [service({ type: "Odd", ports: [{ port: 80 }] }), ['spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "NodePort"']],
  [service({ type: "ExternalName" }), ["spec.externalName: Required value"]],
  [service({ type: "ExternalName", externalName: "db.example.com." }), []],
  [
    service({ clusterIP: "10.96.0.300", ports: [{ port: 1 }] }),
    ['spec.clusterIP: Invalid value: "10.96.0.300": must be a valid IP address'],
  ],
  [service({ clusterIPs: ["10.96.0.1", "10.96.0.2"], ports: [{ port: 1 }] }), ["spec.clusterIPs: Invalid value"]],
  [service({ clusterIP: "fd00::1", ipFamilies: ["IPv4"], ports: [{ port: 1 }] }), ['spec.ipFamilies[0]: Invalid value: "IPv4"']],
  [service({ externalIPs: ["127.0.0.1"], ports: [{ port: 1 }] }), ["spec.externalIPs[0]: Invalid value"]],
  [
    service({ sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 0 } }, ports: [{ port: 1 }] }),
    ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be between 1 and 86400, inclusive"],
  ],
  [service({ ports: [{ port: 1, targetPort: "UPPER" }] }), ['spec.ports[0].targetPort: Invalid value: "UPPER"']],
  [service({ ports: [{ port: "80" }] }), ['spec.ports[0].port: Invalid value: "80": must be a whole number']],
  [service({ ports: {} }), ["spec.ports: Invalid value: {}: must be a list"]],
  // Pods.
  [pod({ containers: [] }), ["spec.containers: Required value"]],
  [
    pod({ containers: [{ name: "a", image: "i" }, { name: "a" }] }),
    ["spec.containers[1].image: Required value", 'spec.containers[1].name: Duplicate value: "a"'],
  ],
  [
    pod({ restartPolicy: "Sometimes" }),
    ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
  ],
  [container({ ports: [{ containerPort: 0 }] }), ["spec.containers[0].ports[0].containerPort: Invalid value: 0"]],
  [container({ ports: [{ containerPort: 1, name: "a-name-too-long-for-it" }] }), ["spec.containers[0].ports[0].name: Invalid value"]],
  [
    container({
      ports: [
        { containerPort: 1, hostPort: 80 },
        { containerPort: 2, hostPort: 80 },
      ],
    }),
    ["spec.containers[0].ports[1].hostPort: Duplicate value: 80"],
  ],
  [container({ readinessProbe: {} }), ["spec.containers[0].readinessProbe: Required value: must specify a handler type"]],
  [
    container({ livenessProbe: { tcpSocket: { port: 1 }, exec: { command: ["a"] } } }),
    ["spec.containers[0].livenessProbe.tcpSocket: Forbidden"],
  ],
  [
    container({ livenessProbe: { tcpSocket: { port: 1 }, successThreshold: 2 } }),
    ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
  ],
  [
    container({
      env: [
        { name: "A=B", value: "x" },
        { name: "N", value: 1 },
      ],
    }),
    ["spec.containers[0].env[0].name: Invalid value", "spec.containers[0].env[1].value: Invalid value: 1"],
  ],
  [pod({ dnsPolicy: "None" }), ["spec.dnsConfig.nameservers: Required value"]],
  [pod({ dnsConfig: { nameservers: ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"] } }), ["spec.dnsConfig.nameservers: Invalid value"]],
  [pod({ dnsConfig: { searches: Array.from({ length: 33 }, (_, i) => `s${i}.example`) } }), ["spec.dnsConfig.searches: Invalid value"]],
  [pod({ dnsConfig: { options: [{ name: "ndots", value: 2 }] } }), ["spec.dnsConfig.options[0].value: Invalid value: 2: must be text"]],
  [
    pod({ hostAliases: [{ ip: "1.2.3", hostnames: ["Bad"] }] }),
    ["spec.hostAliases[0].ip: Invalid value", "spec.hostAliases[0].hostnames[0]: Invalid value"],
  ],
  // NetworkPolicies.
  [
    from({ ipBlock: { cidr: "10.0.0.0/33" } }),
    ['spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0/33": must be a valid CIDR'],
  ],
  [
    from({ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16", "11.0.0.0/16", "10.0.0.0/8"] } }),
    [
      'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset',
      'spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: "10.0.0.0/8": must be a strict subset',
    ],
  ],
  [from({}), ["spec.ingress[0].from[0]: Required value: must specify a peer"]],
  [from({ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }), ["spec.ingress[0].from[0]: Forbidden: may not specify both"]],
  [from({ podSelector: {}, namespaceSelector: {} }), []],
  [
    from({ podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }),
    ["spec.ingress[0].from[0].podSelector.matchExpressions[0].values: Required value"],
  ],
  [
    policy({ egress: [{ ports: [{ port: 90, endPort: 80 }] }] }),
    ["spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"],
  ],
  [policy({ egress: [{ ports: [{ endPort: 80 }] }] }), ["spec.egress[0].ports[0].port: Required value"]],
  [policy({ egress: [{ ports: [{ port: "http", endPort: 80 }] }] }), ["spec.egress[0].ports[0].endPort: Invalid value"]],
  [policy({ policyTypes: ["ingress"] }), ['spec.policyTypes[0]: Unsupported value: "ingress": supported values: "Ingress", "Egress"']],
  [policy({ ingres: [] }), ['spec.ingres: Invalid value: "ingres": unknown field']],
  [policy({ ingress: [{ to: [] }] }), ['spec.ingress[0].to: Invalid value: "to": unknown field; known are ports, from']],
  // Workloads.
  [workload("Deployment", {}), []],
  [workload("Deployment", { selector: undefined }), ["spec.selector: Required value"]],
  [workload("ReplicaSet", { selector: {} }), ["spec.selector: Invalid value: {}: empty selector is invalid"]],
  [
    workload("DaemonSet", { selector: { matchLabels: { app: "b" } } }),
    ['spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match'],
  ],
  [workload("StatefulSet", { replicas: -1 }), ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]],
  [
    workload("Deployment", { strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: "0%" } } }),
    ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value"],
  ],
  [
    workload("Deployment", {
      template: { metadata: { labels: { app: "a" } }, spec: { restartPolicy: "Never", containers: [{ name: "a", image: "i" }] } },
    }),
    ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
  ],
  [
    { apiVersion: "batch/v1", kind: "Job", metadata, spec: { template: { spec: { containers: [{ name: "a", image: "i" }] } } } },
    ['spec.template.spec.restartPolicy: Unsupported value: "Always": supported values: "OnFailure", "Never"'],
  ],
  // EndpointSlices.
  [slice({ endpoints: [{ addresses: ["10.0.0.1"] }], ports: [{ port: 80 }] }), []],
  [slice({ addressType: "IPX" }), ['addressType: Unsupported value: "IPX"']],
  [slice({ endpoints: [{ addresses: ["fd00::1"] }] }), ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address']],
  [slice({ endpoints: [{ addresses: [] }] }), ["endpoints[0].addresses: Required value"]],
  [slice({ ports: [{ port: 1 }, { port: 2 }] }), ['ports[1].name: Duplicate value: ""']],
  // Others.
  [config({ data: { "a b": "x", n: 1 } }), ['data[a b]: Invalid value: "a b"', "data[n]: Invalid value: 1: must be text"]],
  [config({ data: { a: "x" }, binaryData: { a: "eA==" } }), ["binaryData[a]: Invalid value"]],
  [node({ podCIDR: "10.244.0.0/24", podCIDRs: ["10.244.0.0/24", "10.244.1.0/24"] }), ["spec.podCIDRs[1]: Invalid value"]],
  [node({ podCIDR: "10.244.0.0" }), ['spec.podCIDR: Invalid value: "10.244.0.0": must be a valid CIDR']],
];

const told = (object: unknown, old?: unknown) => validate(applyDefaults(object), old).map(({ field, message }) => `${field}: ${message}`);

for (const [index, [object, expected]] of cases.entries()) {
  test(`validate ${index}: ${expected[0] ?? "sound"}`, () => {
    const lines = told(object);
    assert.equal(lines.length, expected.length, lines.join("\n"));
    for (const [i, start] of expected.entries()) assert.ok(lines[i]?.startsWith(start), `${lines[i]}\nshould begin with\n${start}`);
  });
}

test("validate: what may not change", () => {
  const old = service({ clusterIP: "10.96.0.5", ports: [{ port: 1 }] });
  const changed = service({ clusterIP: "10.96.0.6", ports: [{ port: 1 }] });
  assert.deepEqual(told(changed, old), ['spec.clusterIP: Invalid value: "10.96.0.6": may not change once set']);
  assert.deepEqual(told(service({ ports: [{ port: 1 }] }), old), []);
  assert.deepEqual(told(service({ type: "ExternalName", externalName: "a.b" }), old), []);
  const selector = { matchLabels: { app: "a" }, matchExpressions: [{ key: "app", operator: "Exists" }] };
  assert.match(told(workload("Deployment", { selector }), workload("Deployment", {}))[0] ?? "", /^spec.selector: .*: field is immutable$/);
  assert.match(told(node({ podCIDR: "10.1.0.0/24" }), node({ podCIDR: "10.2.0.0/24" }))[0] ?? "", /^spec.podCIDR: Forbidden/);
  assert.match(
    told(config({ data: { a: "2" }, immutable: true }), config({ data: { a: "1" }, immutable: true }))[0] ?? "",
    /^data: Forbidden/,
  );
});

/** Every kind of damage: one value somewhere in a sound object replaced by anything. */
function damaged(value: unknown, random: () => number, junk: unknown): unknown {
  if (random() < 0.2 || typeof value !== "object" || value === null) return junk;
  const entries = Object.entries(value);
  const [key, inner] = entries[Math.floor(random() * entries.length)] ?? ["x", null];
  if (Array.isArray(value)) return value.map((each, i) => (String(i) === key ? damaged(inner, random, junk) : each));
  return { ...value, [key]: damaged(inner, random, junk) };
}

test("validate: no JSON makes it throw", () => {
  const sound = cases.map(([object]) => object);
  fc.assert(
    fc.property(
      fc.constantFrom(...sound),
      fc.jsonValue(),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (object, junk, stream) => {
        const broken = damaged(object, () => stream.next().value ?? 0, junk);
        for (const error of validate(applyDefaults(broken), object)) assert.ok(error.message.length > 0 && error.message.length < 2000);
        validate(broken, broken);
      },
    ),
    { numRuns: 2000 },
  );
});
