// The store's promises: versions, conflicts, deletion, watches, hooks, restart. Numbers cite README.md.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { KubeObject } from "../resources/index.ts";
import { ApiError, SqliteStore } from "./index.ts";

const ref = (plural: string, group = "") => ({ group, version: "v1", plural });
const namespaces = ref("namespaces");
const pods = ref("pods");
const maps = ref("configmaps");

function begin(options: Partial<ConstructorParameters<typeof SqliteStore>[0]> = {}): SqliteStore {
  const store = new SqliteStore({ path: ":memory:", ...options });
  if (!store.get(namespaces, undefined, "default"))
    store.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
  return store;
}
const map = (name: string, more: object = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  ...more,
});
const reason = (wanted: string) => (error: unknown) => error instanceof ApiError && error.reason === wanted;

test("2: an outdated update conflicts, an empty one changes nothing", () => {
  const store = begin();
  const first = store.create(maps, map("a"));
  const second = store.update(maps, { ...first, data: { x: "1" } } as KubeObject);
  assert.throws(() => store.update(maps, first), reason("Conflict"));
  assert.equal(store.update(maps, second).metadata.resourceVersion, second.metadata.resourceVersion);
  assert.throws(() => store.create(maps, map("a")), reason("AlreadyExists"));
  assert.throws(() => store.create(maps, { ...map("b"), metadata: { name: "b", namespace: "none" } }), reason("NotFound"));
  assert.throws(() => store.create(maps, map("B_")), reason("Invalid"));
});

test("3: a pod on a node stays until its kubelet deletes it with grace 0; finalizers hold", () => {
  const store = begin();
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "default" }, spec: { nodeName: "n", containers: [] } };
  store.create(pods, pod);
  assert.ok(store.delete(pods, "default", "p").metadata.deletionTimestamp);
  assert.ok(store.get(pods, "default", "p"));
  store.delete(pods, "default", "p", { gracePeriodSeconds: 0 });
  assert.equal(store.get(pods, "default", "p"), undefined);
  const held = store.create(maps, { ...map("f"), metadata: { name: "f", namespace: "default", finalizers: ["x.io/y"] } });
  store.delete(maps, "default", "f");
  const now = store.get(maps, "default", "f") ?? held;
  store.update(maps, { ...now, metadata: { ...now.metadata, finalizers: [] } });
  assert.equal(store.get(maps, "default", "f"), undefined);
});

test("4: watchers hear in order, selectors turn moves into ADDED and DELETED, old versions are gone", () => {
  const store = begin({ historySize: 4 });
  const seen: string[] = [];
  const stop = store.watch(maps, { labelSelector: "a=1" }, ({ type }) => seen.push(type));
  const made = store.create(maps, { ...map("m"), metadata: { name: "m", namespace: "default", labels: { a: "1" } } });
  store.update(maps, { ...made, metadata: { ...made.metadata, labels: {} } });
  stop();
  assert.deepEqual(seen, ["ADDED", "DELETED"]);
  for (let n = 0; n < 12; n += 1) store.create(maps, map(`x${n}`));
  assert.throws(() => store.watch(maps, { resourceVersion: "2" }, () => {}), reason("Expired"));
});

test("5: a refused write gives back what hooks took", () => {
  let taken = 0;
  const store = begin({
    hooks: [
      {
        name: "take",
        appliesTo: (resource) => resource.kind === "ConfigMap",
        mutate: (_, context) => {
          taken += 1;
          context.onRollback(() => {
            taken -= 1;
          });
        },
        validate: (object) => {
          if (object.metadata.name === "no") throw new ApiError("Forbidden", "no");
        },
      },
    ],
  });
  assert.throws(() => store.create(maps, map("no")), reason("Forbidden"));
  store.create(maps, map("yes"));
  assert.equal(taken, 1);
});

test("6: objects and the version survive a restart", () => {
  const folder = mkdtempSync(join(tmpdir(), "api-store-"));
  const path = join(folder, "cluster.db");
  const before = begin({ path });
  before.create(maps, map("kept"));
  before.create(maps, map("gone"));
  before.delete(maps, "default", "gone");
  const version = before.resourceVersion;
  before.close();
  const after = begin({ path });
  assert.deepEqual([after.resourceVersion, after.list(maps).items.map((object) => object.metadata.name)], [version, ["kept"]]);
  after.close();
  rmSync(folder, { recursive: true });
});
