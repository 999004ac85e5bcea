import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applyDefaults } from "./defaults.ts";

const object = (apiVersion: string, kind: string, spec: unknown) => ({ apiVersion, kind, metadata: { name: "x" }, spec });

const cases: readonly (readonly [string, unknown, unknown])[] = [
  [
    "a Service gets its type, affinity, policy, and each port its protocol and target",
    object("v1", "Service", { ports: [{ port: 80 }, { port: 53, protocol: "UDP", targetPort: "dns" }] }),
    {
      type: "ClusterIP",
      sessionAffinity: "None",
      internalTrafficPolicy: "Cluster",
      ports: [
        { port: 80, protocol: "TCP", targetPort: 80 },
        { port: 53, protocol: "UDP", targetPort: "dns" },
      ],
    },
  ],
  [
    "a NodePort Service with affinity",
    object("v1", "Service", { type: "NodePort", sessionAffinity: "ClientIP" }),
    {
      type: "NodePort",
      sessionAffinity: "ClientIP",
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } },
      internalTrafficPolicy: "Cluster",
      externalTrafficPolicy: "Cluster",
    },
  ],
  [
    "an ExternalName Service has no traffic policy",
    object("v1", "Service", { type: "ExternalName", externalName: "a.example" }),
    { type: "ExternalName", externalName: "a.example", sessionAffinity: "None" },
  ],
  [
    "a NetworkPolicy without egress rules isolates ingress only",
    object("networking.k8s.io/v1", "NetworkPolicy", { podSelector: {}, egress: [], ingress: [{ ports: [{ port: 80 }] }] }),
    { podSelector: {}, egress: [], ingress: [{ ports: [{ port: 80, protocol: "TCP" }] }], policyTypes: ["Ingress"] },
  ],
  [
    "a NetworkPolicy with egress rules isolates both ways",
    object("networking.k8s.io/v1", "NetworkPolicy", { podSelector: {}, egress: [{}], policyTypes: [] }),
    { podSelector: {}, egress: [{}], policyTypes: ["Ingress", "Egress"] },
  ],
  [
    "a pod",
    object("v1", "Pod", {
      hostNetwork: true,
      containers: [{ name: "a", image: "reg:5000/a", ports: [{ containerPort: 80 }], readinessProbe: { httpGet: { port: 80 } } }],
    }),
    {
      hostNetwork: true,
      restartPolicy: "Always",
      dnsPolicy: "ClusterFirst",
      terminationGracePeriodSeconds: 30,
      schedulerName: "default-scheduler",
      securityContext: {},
      enableServiceLinks: true,
      containers: [
        {
          name: "a",
          image: "reg:5000/a",
          imagePullPolicy: "Always",
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "File",
          resources: {},
          ports: [{ containerPort: 80, hostPort: 80, protocol: "TCP" }],
          readinessProbe: {
            httpGet: { port: 80, path: "/", scheme: "HTTP" },
            timeoutSeconds: 1,
            periodSeconds: 10,
            successThreshold: 1,
            failureThreshold: 3,
          },
        },
      ],
    },
  ],
  [
    "a Deployment",
    object("apps/v1", "Deployment", { template: { spec: { containers: [] } } }),
    {
      replicas: 1,
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
      strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" } },
      template: {
        spec: {
          containers: [],
          restartPolicy: "Always",
          dnsPolicy: "ClusterFirst",
          terminationGracePeriodSeconds: 30,
          schedulerName: "default-scheduler",
          securityContext: {},
        },
      },
    },
  ],
  [
    "a strategy that recreates has no bounds",
    object("apps/v1", "Deployment", { replicas: 0, strategy: { type: "Recreate" }, revisionHistoryLimit: 0, progressDeadlineSeconds: 1 }),
    { replicas: 0, strategy: { type: "Recreate" }, revisionHistoryLimit: 0, progressDeadlineSeconds: 1 },
  ],
];

for (const [title, given, expected] of cases) {
  test(`defaults: ${title}`, () => {
    const before = structuredClone(given);
    const filled = applyDefaults(given) as { spec: unknown };
    assert.deepEqual(filled.spec, expected);
    assert.deepEqual(given, before, "what was given stays as it was");
    assert.equal(applyDefaults(filled), filled, "a full object is the same object");
  });
}

test("defaults: a Namespace carries its name as a label", () => {
  const filled = applyDefaults({ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", labels: { a: "b" } } });
  assert.deepEqual(filled.metadata.labels, { a: "b", "kubernetes.io/metadata.name": "shop" });
});

const kinds = ["v1/Service", "v1/Pod", "v1/Namespace", "apps/v1/Deployment", "apps/v1/StatefulSet", "batch/v1/CronJob"];
const names = ["spec", "metadata", "template", "ports", "containers", "strategy", "name", "labels", "livenessProbe", "port", "volumes"];

test("defaults: no shape makes them throw, and twice is as once", () => {
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom<unknown>(null, "", "x", 0, 80, true),
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie("tree"), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(fc.constantFrom(...kinds), fc.dictionary(fc.constantFrom(...names), tree), (path, rest) => {
      const slash = path.lastIndexOf("/");
      const once = applyDefaults({ ...rest, apiVersion: path.slice(0, slash), kind: path.slice(slash + 1) });
      assert.deepEqual(applyDefaults(once), once);
    }),
    { numRuns: 500 },
  );
});
