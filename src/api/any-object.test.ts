// Random objects of many kinds, sound and unsound, over every verb: never a 5xx, never a hang.
//
//   RUNS=1000 node --test src/api/any-object.test.ts
import assert from "node:assert/strict";
import { Agent, request } from "node:https";
import { test } from "node:test";
import fc from "fast-check";
import { findKind } from "../resources/index.ts";
import { openClusterStore, startApiServer, startControllers } from "./index.ts";

const RUNS = Number(process.env.RUNS ?? 150);

const pod = {
  containers: [{ name: "a", image: "a", ports: [{ containerPort: 80 }], env: [{ name: "A", value: "1" }] }],
  volumes: [{ name: "v", emptyDir: {} }],
};
const template = { metadata: { labels: { app: "x" } }, spec: pod };
const selector = { matchLabels: { app: "x" } };

/** Sound objects of twenty-odd kinds, which are then bent. */
const SEEDS: readonly (readonly [apiVersion: string, kind: string, body: object])[] = [
  ["v1", "Pod", { spec: pod }],
  ["v1", "Service", { spec: { selector: { app: "x" }, ports: [{ port: 80, targetPort: "http", nodePort: 30_001 }], type: "NodePort" } }],
  ["v1", "ConfigMap", { data: { a: "b" } }],
  ["v1", "Secret", { stringData: { a: "b" }, type: "Opaque" }],
  ["v1", "ServiceAccount", {}],
  ["v1", "Endpoints", { subsets: [{ addresses: [{ ip: "10.0.0.1" }], ports: [{ port: 80 }] }] }],
  ["v1", "ResourceQuota", { spec: { hard: { pods: "100", "requests.cpu": "1" } } }],
  ["v1", "Namespace", {}],
  ["v1", "Node", { spec: { podCIDR: "10.1.0.0/24" }, status: { addresses: [{ type: "InternalIP", address: "10.0.0.1" }] } }],
  ["v1", "ReplicationController", { spec: { replicas: 1, selector: { app: "x" }, template } }],
  ["apps/v1", "Deployment", { spec: { replicas: 1, selector, template, strategy: { rollingUpdate: { maxSurge: "25%" } } } }],
  ["apps/v1", "StatefulSet", { spec: { serviceName: "x", selector, template } }],
  ["apps/v1", "DaemonSet", { spec: { selector, template } }],
  ["apps/v1", "ReplicaSet", { spec: { selector, template } }],
  ["batch/v1", "Job", { spec: { template: { spec: { ...pod, restartPolicy: "Never" } } } }],
  [
    "batch/v1",
    "CronJob",
    { spec: { schedule: "* * * * *", jobTemplate: { spec: { template: { spec: { ...pod, restartPolicy: "Never" } } } } } },
  ],
  [
    "networking.k8s.io/v1",
    "NetworkPolicy",
    {
      spec: { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }], ports: [{ port: 80 }] }] },
    },
  ],
  [
    "networking.k8s.io/v1",
    "Ingress",
    {
      spec: {
        rules: [
          { host: "a.b", http: { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "x", port: { number: 80 } } } }] } },
        ],
      },
    },
  ],
  ["policy/v1", "PodDisruptionBudget", { spec: { selector, minAvailable: "50%" } }],
  ["discovery.k8s.io/v1", "EndpointSlice", { addressType: "IPv4", endpoints: [{ addresses: ["10.0.0.1"] }], ports: [{ port: 80 }] }],
  ["rbac.authorization.k8s.io/v1", "Role", { rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }] }],
  [
    "rbac.authorization.k8s.io/v1",
    "RoleBinding",
    { roleRef: { kind: "Role", name: "x", apiGroup: "rbac.authorization.k8s.io" }, subjects: [{ kind: "User", name: "a" }] },
  ],
  ["projectcalico.org/v3", "GlobalNetworkPolicy", { spec: { selector: "all()", ingress: [{ action: "Allow" }] } }],
  ["cilium.io/v2", "CiliumNetworkPolicy", { spec: { endpointSelector: {}, ingress: [{ fromEndpoints: [{}] }] } }],
  [
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    {
      spec: {
        group: "x.y",
        names: { plural: "zs", kind: "Z" },
        scope: "Namespaced",
        versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
      },
    },
  ],
];

const ODD: readonly unknown[] = [
  null,
  "",
  "x",
  -1,
  1e99,
  true,
  [],
  {},
  [null],
  [[]],
  { a: null },
  "10.96.0.10",
  "../../etc",
  "\u0000",
  "x".repeat(300),
  { $patch: "replace" },
  65_536,
];

/** Puts an odd value somewhere in a copy. `at` chooses the way down. */
function bend(value: unknown, odd: unknown, at: readonly number[]): unknown {
  const [here = 0, ...rest] = at;
  if (typeof value !== "object" || value === null || at.length === 0) return odd;
  const keys = Object.keys(value);
  const key = keys[here % (keys.length + 1)];
  if (Array.isArray(value))
    return key === undefined ? [...value, odd] : value.map((each, index) => (String(index) === key ? bend(each, odd, rest) : each));
  const before = value as Record<string, unknown>;
  return key === undefined ? { ...before, extra: odd } : { ...before, [key]: bend(before[key], odd, rest) };
}

test(`${RUNS} random objects: an answer below 500 each time`, async (t) => {
  const store = openClusterStore({ path: ":memory:", serviceCidrs: ["10.96.0.0/12", "fd00:10:96::/112"] });
  const logged: string[] = [];
  const serving = startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
  const controllers = startControllers({
    store,
    podCidrs: ["10.244.0.0/16"],
    nodeMask: { 4: 24, 6: 64 },
    log: (message) => void logged.push(message),
    serving,
  });
  const server = await serving;
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  t.after(async () => {
    agent.destroy();
    controllers.close();
    await server.close();
    store.close();
  });
  const send = (method: string, path: string, body: string, type: string) =>
    new Promise<{ code: number; text: string }>((resolve, reject) => {
      const headers = { authorization: `Bearer ${server.token}`, "content-type": type };
      const call = request(`${server.url}${path}`, { method, ca: server.caPem, agent, headers, timeout: 10_000 }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("end", () => resolve({ code: response.statusCode ?? 0, text }));
      });
      call.on("timeout", () => call.destroy(new Error("no answer within 10 s")));
      call.on("error", reject);
      call.end(body);
    });
  const patches = [
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
  ];
  /** What the controllers told of that is a fault of theirs, since the last look. */
  const faults = () => logged.splice(0).filter((line) => /TypeError|RangeError|undefined/.test(line));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...SEEDS),
      fc.constantFrom(...ODD),
      fc.array(fc.nat(8), { maxLength: 7 }),
      fc.constantFrom(...patches),
      fc.nat(5),
      async ([apiVersion, kind, body], odd, at, patchType, number) => {
        const info = findKind(apiVersion, kind);
        assert.ok(info, kind);
        const root = info.group === "" ? "/api/v1" : `/apis/${info.group}/${info.version}`;
        const collection = `${root}${info.namespaced ? "/namespaces/default" : ""}/${info.plural}`;
        const name = kind === "CustomResourceDefinition" ? "zs.x.y" : `x${number}`;
        const sound = { apiVersion, kind, metadata: { name }, ...body };
        const bent = bend(sound, odd, at);
        const item = `${collection}/${name}`;
        const asks: readonly (readonly [string, string, unknown, string])[] = [
          ["POST", collection, bent, "application/json"],
          ["POST", collection, sound, "application/json"],
          ["PUT", item, bent, "application/json"],
          [
            "PATCH",
            `${item}?fieldManager=test&force=true`,
            patchType.includes("json-patch") ? [{ op: "replace", path: "/spec", value: odd }] : bent,
            patchType,
          ],
          ["PUT", `${item}/status`, bend({ ...sound, status: {} }, odd, at), "application/json"],
          ["GET", `${item}/scale`, "", "application/json"],
          ["GET", `${collection}?limit=1&labelSelector=${encodeURIComponent(String(odd))}`, "", "application/json"],
        ];
        for (const [method, path, given, type] of asks) {
          const { code, text } = await send(method, path, given === "" ? "" : JSON.stringify(given), type);
          assert.ok(code < 500, `${method} ${path} ${JSON.stringify(given)}: ${code} ${text}`);
          if (code >= 400) assert.equal((JSON.parse(text) as { kind?: string }).kind, "Status");
        }
        const deleted = await send("DELETE", `${item}?gracePeriodSeconds=0`, "", "application/json");
        assert.ok(deleted.code < 500, deleted.text);
        assert.deepEqual(faults(), []);
      },
    ),
    { numRuns: RUNS },
  );
  const health = await send("GET", "/readyz", "", "application/json");
  assert.equal(health.code, 200);
  assert.deepEqual(faults(), [], "nor later");
});
