// Sources in this process: who follows them is told of every object, then of each change, once per turn.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../resources/index.ts";
import type { ObjectChange } from "./snapshot.ts";
import { createReplicaSource, sourceFromObjects } from "./source.ts";

const object = (name: string, resourceVersion = "1"): KubeObject => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, resourceVersion },
});
const turn = () => new Promise(setImmediate);
const told = (changes: readonly ObjectChange[]) => changes.map(({ type, object: { metadata } }) => `${type} ${metadata.name}`);

test("a follower of a synced source is told at once of what there is", () => {
  const batches: string[][] = [];
  sourceFromObjects([object("a"), object("b")]).follow((changes) => batches.push(told(changes)));
  assert.deepEqual(batches, [["ADDED a", "ADDED b"]]);
});

test("a copy has the revision of what it was made of, also where no object differs", async () => {
  const source = createReplicaSource();
  const revisions: number[] = [];
  source.subscribe(({ revision }) => revisions.push(revision));
  source.replace([object("a")], 7);
  await turn();
  source.replace([object("a")], 9);
  await turn();
  source.replace([object("a"), object("b")], 12);
  assert.equal(source.snapshot.revision, 12);
  await turn();
  assert.deepEqual(revisions, [7, 9, 12]);
});

test("a follower of a source that is not synced is told after the first sync; then of changes, together, until it stops", async () => {
  const source = createReplicaSource();
  const batches: string[][] = [];
  const stop = source.follow((changes) => batches.push(told(changes)));
  await turn();
  assert.deepEqual(batches, []);
  source.replace([object("a"), object("b")]);
  await turn();
  assert.deepEqual(batches.splice(0), [["ADDED a", "ADDED b"]]);
  source.replace([object("a", "2"), object("b")]);
  source.replace([object("a", "2"), object("c")]);
  await turn();
  assert.deepEqual(batches.splice(0), [["MODIFIED a", "ADDED c", "DELETED b"]]);
  stop();
  source.replace([]);
  await turn();
  assert.deepEqual(batches, []);
});
