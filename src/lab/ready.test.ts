import assert from "node:assert/strict";
import { test } from "node:test";
import type { Lab } from "./lab.ts";
import { readiness } from "./ready.ts";

/** A lab without pods, at revision 5, with one node whose agent says this. */
function labWith(status: { readonly ready: boolean; readonly revision: number }): Lab {
  return {
    snapshot: { revision: 5, pods: new Map() },
    objects: { list: () => ({ items: [] }) },
    nodes: new Map([["node-1", { name: "node-1", agent: { status }, unheard: undefined }]]),
    plane: { missing: [] },
    controllersIdle: true,
  } as unknown as Lab;
}

test("a node is in sync when its agent, wherever it runs, follows the newest revision", () => {
  assert.deepEqual(readiness(labWith({ ready: true, revision: 4 })).missing, ["node-1: not at the newest revision yet"]);
  assert.equal(readiness(labWith({ ready: true, revision: 5 })).ready, true);
  assert.deepEqual(readiness(labWith({ ready: false, revision: 5 })).missing, ["node-1: not ready"]);
});
