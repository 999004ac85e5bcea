// An API server with its controllers under churn, in a process of its own: objects of many kinds come, change and go, with watchers that
// join and leave and lists of which the rest is never asked for. Tells its heap after each round, when all that the round made is gone.
//
//   node --expose-gc api-churn.ts 16|600s [HISTORY]      that many rounds, or seconds; prints a Round as a JSON line after each
import { Agent, request } from "node:https";
import { setTimeout as pause } from "node:timers/promises";
import { parse } from "yaml";
import { openClusterStore, startApiServer, startControllers } from "../../src/api/index.ts";
import type { KubeObject } from "../../src/resources/index.ts";

/** What is told after a round. */
export interface Round {
  /** Seconds since the start. */
  readonly second: number;
  /** Megabytes: what the heap holds, and what the process has of the machine's memory. */
  readonly heap: number;
  readonly rss: number;
  /** Changes of objects, and bytes that watchers heard, since the start. */
  readonly changes: number;
  readonly watched: number;
}

const [length = "16", history = ""] = process.argv.slice(2);
const DEPLOYMENTS = 6;
const CONFIGS = 60;
const UPDATES = 4;
const LISTS = 10;
const WATCHED = ["pods", "configmaps", "services", "events"] as const;

const store = openClusterStore({
  path: ":memory:",
  serviceCidrs: ["10.96.0.0/12"],
  ...(history === "" ? {} : { historySize: Number(history) }),
});
const serving = startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
const controllers = startControllers({ store, podCidrs: ["10.244.0.0/16"], nodeMask: { 4: 24, 6: 64 }, log: () => {}, serving });
const server = await serving;
const { token } = (parse(server.kubeconfig("churn")) as { users: { user: { token: string } }[] }).users[0]?.user ?? { token: "" };
const agent = new Agent({ keepAlive: true, maxSockets: 4, rejectUnauthorized: false });

/** One request. @throws Error with the answer where that is no success */
function ask(method: string, path: string, body?: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const call = request(new URL(path, server.url), { method, agent, headers }, async (answer) => {
      let text = "";
      for await (const chunk of answer) text += chunk;
      if ((answer.statusCode ?? 500) < 300) resolve(text);
      else reject(new Error(`${method} ${path}: ${text.slice(0, 300)}`));
    });
    call.on("error", reject);
    call.end(body && JSON.stringify(body));
  });
}

let watched = 0;

/** Watches until the way back is called. */
function watch(path: string): () => void {
  const headers = { authorization: `Bearer ${token}` };
  const call = request(new URL(`${path}?watch=true`, server.url), { agent: false, headers, rejectUnauthorized: false }, (answer) => {
    answer.on("data", (chunk: Buffer) => {
      watched += chunk.length;
    });
    answer.on("error", () => {});
  });
  call.on("error", () => {});
  call.end();
  return () => void call.destroy();
}

const metadata = (name: string, namespace: string) => ({ name, namespace, labels: { app: name } });
const deployment = (name: string, namespace: string, replicas: number, image: string) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: metadata(name, namespace),
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "web", image }] } },
  },
});
const until = async (done: () => boolean) => {
  for (let tries = 0; !done(); tries++) {
    if (tries > 3000) throw new Error("the controllers are not done after half a minute");
    await pause(10);
  }
};
const PODS = { group: "", version: "v1", plural: "pods" } as const;

async function round(number: number): Promise<void> {
  const namespace = `round-${number}`;
  const core = `/api/v1/namespaces/${namespace}`;
  const apps = `/apis/apps/v1/namespaces/${namespace}/deployments`;
  await ask("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  const leave = WATCHED.map((kind) => watch(`${core}/${kind}`));
  const each = <T>(count: number, work: (name: string, index: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, index) => work(`${number}-${index}`, index)));
  await each(CONFIGS, (name) =>
    ask("POST", `${core}/configmaps`, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: metadata(name, namespace),
      data: { text: "x".repeat(500) },
    }),
  );
  await each(DEPLOYMENTS, async (name) => {
    await ask("POST", apps, deployment(`d-${name}`, namespace, 3, "web:0"));
    const spec = { selector: { app: `d-${name}` }, ports: [{ port: 80 }] };
    await ask("POST", `${core}/services`, { apiVersion: "v1", kind: "Service", metadata: metadata(`s-${name}`, namespace), spec });
  });
  for (let update = 1; update <= UPDATES; update++) {
    const stop = watch("/api/v1/configmaps");
    await each(CONFIGS, (name) =>
      ask("PUT", `${core}/configmaps/${name}`, {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: metadata(name, namespace),
        data: { text: `${update}`.repeat(500) },
      }),
    );
    await each(DEPLOYMENTS, (name) => ask("PUT", `${apps}/d-${name}`, deployment(`d-${name}`, namespace, 3, `web:${update}`)));
    for (let list = 0; list < LISTS; list++) await ask("GET", `${core}/configmaps?limit=3&labelSelector=app`);
    await ask("POST", `${core}/serviceaccounts/default/token`, { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} });
    stop();
  }
  await ask("DELETE", `/api/v1/namespaces/${namespace}`);
  await until(() => {
    // There is no kubelet that would end them.
    for (const pod of store.list<KubeObject>(PODS, { namespace }).items)
      if (pod.metadata.deletionTimestamp) store.delete(PODS, namespace, pod.metadata.name, { gracePeriodSeconds: 0 });
    return store.get({ group: "", version: "v1", plural: "namespaces" }, undefined, namespace) === undefined;
  });
  for (const stop of leave) stop();
}

await ask("POST", "/api/v1/nodes", {
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "node-1" },
  status: { allocatable: { pods: "10000" }, conditions: [{ type: "Ready", status: "True" }] },
});
const isOver = (rounds: number) =>
  length.endsWith("s") ? performance.now() / 1000 > Number(length.slice(0, -1)) : rounds >= Number(length);
for (let number = 0; !isOver(number); number++) {
  await round(number);
  await until(() => controllers.idle);
  for (let turn = 0; turn < 3; turn++) {
    await pause(10);
    globalThis.gc?.();
  }
  const { heapUsed, rss } = process.memoryUsage();
  const megabytes = (bytes: number) => Math.round(bytes / 1e4) / 100;
  const told: Round = {
    second: Math.round(performance.now() / 100) / 10,
    heap: megabytes(heapUsed),
    rss: megabytes(rss),
    changes: Number(store.list(PODS).resourceVersion),
    watched,
  };
  console.log(JSON.stringify(told));
}
process.exit(0);
