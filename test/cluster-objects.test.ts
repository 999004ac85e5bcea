// A cluster's objects near at hand: both implementations keep the same promises; the one over HTTPS also while the server is away.
import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { describe, type TestContext, test } from "node:test";
import { type ApiServer, SqliteStore, startApiServer } from "../src/api/index.ts";
import { type ClusterObjects, objectsFromKubernetes, objectsFromStore, readKubeconfig } from "../src/cluster/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { eventually } from "./patience.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const [MAPS, PODS, EVENTS] = [core("configmaps"), core("pods"), core("events")];
type Map = KubeObject & { readonly data?: Readonly<Record<string, string>> };
const map = (name: string, data: Readonly<Record<string, string>> = {}): Map => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  data,
});
const pod = (name: string): KubeObject & Record<string, unknown> => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default" },
  spec: { nodeName: "node-1", containers: [{ name: "main", image: "image" }] },
});

/** A way to the server that can be broken. */
async function makeWay(port: number) {
  const open = new Set<Socket>();
  let broken = false;
  const way = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => {}).on("close", () => open.delete(socket));
    if (broken) return void socket.destroy();
    const on = connect(port, "127.0.0.1");
    on.on("error", () => socket.destroy());
    socket.on("close", () => on.destroy());
    socket.pipe(on).pipe(socket);
  });
  await new Promise<void>((resolve) => way.listen(0, "127.0.0.1", resolve));
  return {
    port: (way.address() as { port: number }).port,
    set broken(is: boolean) {
      broken = is;
      if (is) for (const socket of open) socket.destroy();
    },
    close: () => {
      for (const socket of open) socket.destroy();
      way.close();
    },
  };
}

async function makeWorld(t: TestContext, kind: "store" | "HTTPS") {
  const store = new SqliteStore({ path: ":memory:" });
  store.create(core("namespaces"), { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
  const problems: string[] = [];
  const tell = (problem: string) => void problems.push(problem);
  let server: ApiServer | undefined;
  let way: Awaited<ReturnType<typeof makeWay>> | undefined;
  let objects: ClusterObjects;
  if (kind === "store") objects = objectsFromStore(store, tell);
  else {
    server = await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
    const { port } = new URL(server.url);
    way = await makeWay(Number(port));
    const access = readKubeconfig(server.kubeconfig("test").replace(`:${port}`, `:${way.port}`));
    objects = await objectsFromKubernetes({ access, resources: [MAPS, PODS], onProblem: tell });
  }
  t.after(async () => {
    objects.close();
    way?.close();
    await server?.close();
    store.close();
  });
  const data = (name: string) => store.get<Map>(MAPS, "default", name)?.data;
  const until = async (holds: () => boolean, what: string) => assert.ok(await eventually(async () => holds()), what);
  return { store, objects, problems, way, data, until };
}

const place = (name: string) => ({ resource: MAPS, namespace: "default", name });
const put = (key: string, value: string) => (now: Map) => ({ ...now, data: { ...now.data, [key]: value } });

for (const kind of ["store", "HTTPS"] as const)
  describe(`objects by ${kind}`, () => {
    test("what is applied is known here at once, made or changed; watchers hear it from the first object on", async (t) => {
      const { store, objects, until } = await makeWorld(t, kind);
      store.create(MAPS, map("before"));
      await until(() => objects.get(MAPS, "default", "before") !== undefined, "heard");
      const heard: string[] = [];
      const stop = objects.watch(MAPS, {}, ({ type, object }) => heard.push(`${type} ${object.metadata.name}`));
      await objects.apply(MAPS, map("a", { x: "1" }));
      assert.deepEqual(objects.get<Map>(MAPS, "default", "a")?.data, { x: "1" });
      await objects.apply(MAPS, map("a", { y: "2" }));
      assert.deepEqual(objects.get<Map>(MAPS, "default", "a")?.data, { y: "2" });
      assert.deepEqual(
        objects
          .list(MAPS, { namespace: "default" })
          .items.map(({ metadata }) => metadata.name)
          .sort(),
        ["a", "before"],
      );
      assert.deepEqual(objects.list(MAPS, { namespace: "other" }).items, []);
      store.delete(MAPS, "default", "a");
      await until(() => objects.get(MAPS, "default", "a") === undefined, "gone");
      assert.deepEqual(heard, ["ADDED before", "ADDED a", "MODIFIED a", "DELETED a"]);
      stop();
    });

    test("changes of one object are made in their order, of the newest there is", async (t) => {
      const { store, objects, data, until } = await makeWorld(t, kind);
      await objects.apply(MAPS, map("a"));
      for (let i = 0; i < 20; i++) {
        objects.change<Map>(place("a"), `own ${i}`, put("order", `${objects.get<Map>(MAPS, "default", "a")?.data?.order ?? ""}${i} `));
        objects.change<Map>(place("a"), "count", put("count", String(i)));
        // Others write meanwhile.
        store.update(MAPS, put(`theirs-${i}`, "x")(store.get<Map>(MAPS, "default", "a") as Map));
      }
      await until(() => objects.idle && data("a")?.count === "19", "the last one");
      const found = data("a") ?? {};
      for (let i = 0; i < 20; i++) assert.equal(found[`theirs-${i}`], "x", "others' writes stay");
      assert.match(found.order ?? "", /19 $/);
    });

    test("undefined changes nothing; what is not there is no error; a status is written alone", async (t) => {
      const { store, objects, problems, until } = await makeWorld(t, kind);
      await objects.apply(PODS, pod("a"));
      const before = store.get(PODS, "default", "a")?.metadata.resourceVersion;
      objects.change({ resource: PODS, namespace: "default", name: "a" }, "none", () => undefined);
      objects.change(place("nobody"), "none", put("x", "y"));
      await until(() => objects.idle, "idle");
      assert.equal(store.get(PODS, "default", "a")?.metadata.resourceVersion, before);
      const running = (now: KubeObject) => ({
        ...now,
        metadata: { ...now.metadata, labels: { not: "this" } },
        status: { phase: "Running" },
      });
      objects.change({ resource: PODS, namespace: "default", name: "a" }, "status", running, "status");
      const read = () => store.get<KubeObject & { status?: { phase?: string } }>(PODS, "default", "a");
      await until(() => read()?.status?.phase === "Running", "running");
      assert.equal(read()?.metadata.labels, undefined);
      assert.deepEqual(problems, []);
    });

    test("only the object that was meant is removed, and a pod without grace", async (t) => {
      const { store, objects, until } = await makeWorld(t, kind);
      await objects.apply(PODS, pod("a"));
      const at = { resource: PODS, namespace: "default", name: "a" };
      objects.remove(at, "another");
      await until(() => objects.idle, "idle");
      const uid = store.get(PODS, "default", "a")?.metadata.uid ?? assert.fail("it was another that was meant");
      objects.remove(at, uid);
      await until(() => store.get(PODS, "default", "a") === undefined, "gone");
    });

    test("kinds are found by their names, and those that are not served are not", async (t) => {
      const { objects } = await makeWorld(t, kind);
      const { plural, group } = (await objects.resourceOf("apps/v1", "Deployment")) ?? assert.fail();
      assert.deepEqual([group, plural], ["apps", "deployments"]);
      assert.equal(await objects.resourceOf("apps/v1", "Nonsense"), undefined);
      assert.equal(await objects.resourceOf("nobody.example/v1", "Thing"), undefined);
    });
  });

test("while the server is away, what is known stays, and the newest of each kind of write comes about when it is back", async (t) => {
  const { store, objects, problems, way, data, until } = await makeWorld(t, "HTTPS");
  assert.ok(way);
  await objects.apply(MAPS, map("a"));
  await objects.apply(MAPS, map("gone"));
  const writes: string[] = [];
  way.broken = true;
  for (const value of ["1", "2", "3"])
    objects.change<Map>(place("a"), "status", (now) => {
      writes.push(value);
      return put("value", value)(now);
    });
  objects.change<Map>(place("a"), "other", put("other", "x"));
  objects.change<Map>({ resource: EVENTS, namespace: "default", name: "nothing" }, "count", () => assert.fail("there is no such event"));
  await until(() => problems.length > 0, "told of");
  assert.equal(objects.idle, false);
  store.delete(MAPS, "default", "gone");
  assert.ok(objects.get(MAPS, "default", "gone"), "known as it was");
  way.broken = false;
  await until(() => objects.idle, "written");
  assert.deepEqual(data("a"), { value: "3", other: "x" });
  assert.ok(!writes.includes("2"), "an older one was dropped");
  await until(() => objects.get(MAPS, "default", "gone") === undefined, "caught up");
});
