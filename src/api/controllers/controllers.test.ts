// Controllers: lost nodes, cron jobs, quotas, budgets, Endpoints both ways, revisions; by a clock of the test's own where time counts.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EndpointSlice, KubeObject, Node, Pod } from "../../resources/index.ts";
import { kindRules } from "../kind-rules.ts";
import { quotaAdmission } from "../quota.ts";
import { SqliteStore } from "../sqlite-store.ts";
import type { ResourceRef } from "../store.ts";
import { type ControllerContext, PodIndex, REF } from "./context.ts";
import { cronJobController } from "./cron-jobs.ts";
import { type Event, eventRecorder, eventsInStore } from "./events.ts";
import { startControllers } from "./index.ts";
import { nodeController } from "./nodes.ts";

type Loose = KubeObject & Record<string, unknown>;

const tick = () => new Promise((resolve) => setTimeout(resolve, 5));

function storeWith(...namespaces: string[]): SqliteStore {
  const store = new SqliteStore({ path: ":memory:", rules: kindRules, hooks: [quotaAdmission] });
  for (const name of namespaces) store.create(REF.namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  return store;
}

function contextOf(store: SqliteStore, now: () => number): ControllerContext {
  return {
    store,
    pods: new PodIndex(),
    log: () => {},
    note: () => {},
    now: () => new Date(now()).toISOString().replace(/\.\d+Z$/, "Z"),
    watch: (resource, listener) => void store.watch(resource, {}, listener),
  };
}

test("a node that is not heard of any more: its pods leave the end points at once, and the node in time", async () => {
  const store = storeWith("default", "kube-node-lease");
  let now = Date.parse("2026-01-01T00:00:00Z");
  const conditions = [{ type: "Ready", status: "True" }];
  const node = store.create(REF.nodes, {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n1" },
    spec: {},
    status: { conditions },
  } as Loose);
  const pod = (name: string, spec: object) =>
    store.create(REF.pods, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default" },
      spec: { nodeName: "n1", containers: [{ name: "a", image: "a" }], ...spec },
    } as Loose);
  for (const [name, spec] of [
    ["plain", {}],
    ["stays", { tolerations: [{ operator: "Exists" }] }],
    ["short", { tolerations: [{ key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute", tolerationSeconds: 10 }] }],
  ] as const) {
    const made = pod(name, spec);
    store.update(REF.pods, { ...made, status: { phase: "Running", conditions } } as Loose, { subresource: "status" });
  }
  const renew = () => {
    const spec = { holderIdentity: "n1", renewTime: new Date(now).toISOString() };
    const lease = store.get<Loose>(REF.leases, "kube-node-lease", "n1");
    if (lease) store.update(REF.leases, { ...lease, spec } as Loose);
    else
      store.create(REF.leases, {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name: "n1", namespace: "kube-node-lease" },
        spec,
      } as Loose);
  };
  renew();
  const controller = nodeController(
    contextOf(store, () => now),
    () => now,
  );
  const look = async (seconds: number) => {
    now += seconds * 1000;
    // Whatever changes a node has it looked at.
    store.update(REF.nodes, {
      ...store.get<Node>(REF.nodes, undefined, "n1"),
      metadata: { ...node.metadata, annotations: { at: String(now) }, resourceVersion: "" },
    } as Loose);
    await tick();
  };
  const readyOf = (name: string) =>
    store.get<Pod>(REF.pods, "default", name)?.status?.conditions?.find(({ type }) => type === "Ready")?.status;
  const taints = () =>
    (store.get<Node>(REF.nodes, undefined, "n1")?.spec?.taints ?? []).map(({ key, effect }) => `${key.split("/")[1]}:${effect}`);
  await look(30);
  assert.deepEqual([readyOf("plain"), taints()], ["True", []]);
  await look(15);
  assert.equal(store.get<Node>(REF.nodes, undefined, "n1")?.status?.conditions?.[0]?.status, "Unknown");
  assert.deepEqual(taints(), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
  assert.equal(readyOf("plain"), "False");
  const leaving = (name: string) => store.get<Pod>(REF.pods, "default", name)?.metadata.deletionTimestamp !== undefined;
  await look(15);
  assert.deepEqual(["plain", "stays", "short"].map(leaving), [false, false, true]);
  await look(300);
  assert.deepEqual(["plain", "stays", "short"].map(leaving), [true, false, true]);
  renew();
  const heard = store.get<Node>(REF.nodes, undefined, "n1");
  store.update(REF.nodes, { ...heard, status: { conditions } } as Loose, { subresource: "status" });
  await look(1);
  assert.deepEqual(taints(), []);
  controller.close();
  store.close();
});

test("a cron job's Jobs come at its times, as its policy says", async () => {
  const store = storeWith("default");
  let now = Date.parse("2026-01-01T00:00:30Z");
  const spec = {
    schedule: "*/5 * * * *",
    concurrencyPolicy: "Forbid",
    jobTemplate: { spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "a", image: "a" }] } } } },
  };
  const made = store.create(REF.cronJobs, {
    apiVersion: "batch/v1",
    kind: "CronJob",
    metadata: { name: "c", namespace: "default" },
    spec,
  } as Loose);
  const cron = { ...made, metadata: { ...made.metadata } };
  const clock = () => now;
  const controller = cronJobController(contextOf(store, clock), clock);
  const poke = async (seconds: number, change: object = {}) => {
    now += seconds * 1000;
    const fresh = store.get<Loose>(REF.cronJobs, "default", "c") as Loose;
    store.update(REF.cronJobs, {
      ...fresh,
      metadata: { ...fresh.metadata, annotations: { at: String(now) } },
      spec: { ...(fresh.spec as object), ...change },
    } as Loose);
    await tick();
  };
  const jobs = () => store.list<Loose>(REF.jobs, { namespace: "default" }).items;
  assert.ok(cron.metadata.uid);
  // The object was made now, by the store's own clock: what lies before has no Job.
  store.update(
    REF.cronJobs,
    { ...(store.get<Loose>(REF.cronJobs, "default", "c") as Loose), status: { lastScheduleTime: "2026-01-01T00:00:00Z" } } as Loose,
    { subresource: "status" },
  );
  await poke(60);
  assert.equal(jobs().length, 0);
  await poke(240);
  assert.equal(jobs().length, 1, "00:05 has come");
  await poke(300);
  assert.equal(jobs().length, 1, "Forbid: the one before runs on");
  const [job] = jobs();
  store.update(
    REF.jobs,
    { ...job, status: { conditions: [{ type: "Complete", status: "True" }], completionTime: new Date(now).toISOString() } } as Loose,
    { subresource: "status" },
  );
  await poke(300);
  assert.equal(jobs().length, 2);
  await poke(600, { suspend: true });
  assert.equal(jobs().length, 2, "suspended");
  controller.close();
  store.close();
});

async function running(t: { after(done: () => unknown): void }) {
  const store = storeWith();
  const controllers = startControllers({ store, podCidrs: ["10.244.0.0/16"], nodeMask: { 4: 24, 6: 64 }, log: () => {} });
  t.after(() => {
    controllers.close();
    store.close();
  });
  const settled = async () => {
    do await tick();
    while (!controllers.idle);
  };
  await settled();
  return { store, settled };
}

test("a quota refuses what is more, and tells what is used", async (t) => {
  const { store, settled } = await running(t);
  const quotas: ResourceRef = { group: "", version: "v1", plural: "resourcequotas" };
  const hard = { pods: "2", "requests.cpu": "1", "count/deployments.apps": "1", "services.nodeports": "1" };
  store.create(quotas, { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "q", namespace: "default" }, spec: { hard } } as Loose);
  const pod = (name: string, cpu: string) =>
    ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default" },
      spec: { containers: [{ name: "a", image: "a", resources: { requests: { cpu } } }] },
    }) as unknown as Loose;
  store.create(REF.pods, pod("a", "600m"));
  assert.throws(
    () => store.create(REF.pods, pod("b", "0.5")),
    /exceeded quota: q, requested: requests\.cpu=0\.5, used: requests\.cpu=0\.6, limited: requests\.cpu=1/,
  );
  store.create(REF.pods, pod("b", "100m"));
  assert.throws(() => store.create(REF.pods, pod("c", "1m")), /exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2/);
  await settled();
  assert.deepEqual((store.get<Loose>(quotas, "default", "q") as { status?: { used?: object } }).status?.used, {
    pods: "2",
    "requests.cpu": "0.7",
    "count/deployments.apps": "0",
    "services.nodeports": "0",
  });
});

test("Endpoints follow slices, and slices follow Endpoints that somebody else keeps", async (t) => {
  const { store, settled } = await running(t);
  const service = (name: string, spec: object) =>
    store.create(REF.services, { apiVersion: "v1", kind: "Service", metadata: { name, namespace: "default" }, spec } as Loose);
  service("bare", { ports: [{ name: "http", port: 80 }] });
  const subsets = [
    { addresses: [{ ip: "10.1.2.3" }, { ip: "10.1.2.4" }], notReadyAddresses: [{ ip: "10.1.2.5" }], ports: [{ name: "http", port: 8080 }] },
  ];
  const made = store.create(REF.endpoints, {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: { name: "bare", namespace: "default" },
    subsets,
  } as Loose);
  await settled();
  const mirrored = () =>
    store.list<EndpointSlice>(REF.endpointSlices, { namespace: "default", labelSelector: "kubernetes.io/service-name=bare" }).items;
  assert.deepEqual(
    mirrored().flatMap(({ endpoints }) => (endpoints ?? []).map(({ addresses, conditions }) => `${addresses[0]} ${conditions?.ready}`)),
    ["10.1.2.3 true", "10.1.2.4 true", "10.1.2.5 false"],
  );
  store.update(REF.endpoints, { ...made, subsets: [] } as unknown as Loose);
  await settled();
  assert.deepEqual(mirrored(), []);
  service("selecting", { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] });
  const pod = store.create(REF.pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web", namespace: "default", labels: { app: "web" } },
    spec: { nodeName: "n", containers: [{ name: "a", image: "a" }] },
  } as unknown as Loose);
  const status = { phase: "Running", podIP: "10.244.0.9", podIPs: [{ ip: "10.244.0.9" }], conditions: [{ type: "Ready", status: "True" }] };
  store.update(REF.pods, { ...pod, status } as Loose, { subresource: "status" });
  await settled();
  const found = store.get<Loose>(REF.endpoints, "default", "selecting") as
    | { subsets?: { addresses?: { ip: string }[]; ports?: object[] }[] }
    | undefined;
  assert.deepEqual(
    [found?.subsets?.[0]?.addresses?.map(({ ip }) => ip), found?.subsets?.[0]?.ports],
    [["10.244.0.9"], [{ port: 8080, protocol: "TCP" }]],
  );
});

test("an orphan stays, a dependent goes with its owner", async (t) => {
  const { store, settled } = await running(t);
  const owner = (name: string) =>
    store.create<KubeObject>(REF.configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } });
  for (const [policy, stays] of [
    ["Orphan", true],
    ["Background", false],
    ["Foreground", false],
  ] as const) {
    const { metadata } = owner(`owner-${policy.toLowerCase()}`);
    const ownerReferences = [
      { apiVersion: "v1", kind: "ConfigMap", name: metadata.name, uid: metadata.uid ?? "", blockOwnerDeletion: true },
    ];
    const name = `child-${policy.toLowerCase()}`;
    store.create(REF.configMaps, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace: "default", ownerReferences },
    } as KubeObject);
    await settled();
    store.delete(REF.configMaps, "default", metadata.name, { propagationPolicy: policy });
    await settled();
    await settled();
    assert.equal(store.get(REF.configMaps, "default", metadata.name), undefined, policy);
    assert.equal(store.get(REF.configMaps, "default", name) !== undefined, stays, policy);
  }
});

test("events: the same again is counted, also after somebody took it away", () => {
  const store = storeWith("default");
  const note = eventRecorder(eventsInStore(store), "test", () => "2026-01-01T00:00:00Z");
  const events = { group: "", version: "v1", plural: "events" } as const;
  const object = { apiVersion: "v1", kind: "Pod", metadata: { name: "a", namespace: "default", uid: "u" } };
  const counts = () => store.list<Event>(events).items.map(({ count, message }) => `${message} ${count}`);
  for (const message of ["x", "x", "y"]) note(object, { type: "Normal", reason: "Test", message });
  assert.deepEqual(counts().sort(), ["x 2", "y 1"]);
  for (const { metadata } of store.list(events).items) store.delete(events, metadata.namespace, metadata.name);
  note(object, { type: "Normal", reason: "Test", message: "x" });
  assert.deepEqual(counts(), ["x 3"]);
});

test("many replicas are made in turns, between which requests are answered; and taken away likewise", async (t) => {
  const store = storeWith("default");
  const controllers = startControllers({ store, podCidrs: ["10.244.0.0/16"], nodeMask: { 4: 24, 6: 64 }, log: () => {} });
  t.after(() => controllers.close());
  const template = { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "a", image: "a" }] } };
  const count = () => store.list(REF.pods).items.length;
  const scale = async (replicas: number) => {
    const spec = { replicas, selector: { matchLabels: { a: "b" } }, template };
    const set = { apiVersion: "apps/v1", kind: "ReplicaSet", metadata: { name: "many", namespace: "default" }, spec } as Loose;
    if (store.get(REF.replicaSets, "default", "many")) store.update(REF.replicaSets, set);
    else store.create(REF.replicaSets, set);
    let most = 0;
    for (let turn = 0, before = count(); turn < 500 && before !== replicas; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, Math.abs(count() - before));
      before = count();
    }
    assert.equal(count(), replicas);
    return most;
  };
  assert.equal(await scale(450), 100);
  assert.ok((await scale(3)) <= 100);
});
