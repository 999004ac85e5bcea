// The three kinds of patches, as tables of document, patch, result.
import assert from "node:assert/strict";
import { test } from "node:test";
import { applyJsonPatch } from "./json-patch.ts";
import { applyMergePatch } from "./merge-patch.ts";
import { applyStrategicMerge } from "./strategic-merge.ts";

test("JSON patch, RFC 6902", () => {
  const rows: readonly (readonly [unknown, unknown, unknown])[] = [
    [{ a: [1, 3] }, [{ op: "add", path: "/a/1", value: 2 }], { a: [1, 2, 3] }],
    [{ a: [1] }, [{ op: "add", path: "/a/-", value: 2 }], { a: [1, 2] }],
    [{ "a/b": 1 }, [{ op: "remove", path: "/a~1b" }], {}],
    [
      { a: 1 },
      [
        { op: "move", from: "/a", path: "/b" },
        { op: "copy", from: "/b", path: "/c" },
      ],
      { b: 1, c: 1 },
    ],
  ];
  for (const [document, patch, result] of rows) assert.deepEqual(applyJsonPatch(document, patch), result);
  for (const op of [
    { op: "remove", path: "/x" },
    { op: "test", path: "/a", value: 2 },
    { op: "add", path: "/__proto__/x", value: 1 },
  ]) {
    assert.throws(() => applyJsonPatch({ a: 1 }, [op]));
  }
});

test("merge patch, RFC 7386", () => {
  assert.deepEqual(applyMergePatch({ a: { b: 1, c: 2 }, d: [1] }, { a: { b: null }, d: [2] }), { a: { c: 2 }, d: [2] });
});

test("strategic merge patch", () => {
  const rows: readonly (readonly [object, object, object])[] = [
    [
      { containers: [{ name: "a", image: "1" }] },
      { containers: [{ name: "a", image: "2" }, { name: "b" }] },
      { containers: [{ name: "a", image: "2" }, { name: "b" }] },
    ],
    [{ containers: [{ name: "a" }, { name: "b" }] }, { containers: [{ name: "a", $patch: "delete" }] }, { containers: [{ name: "b" }] }],
    [{ tolerations: [{ key: "a" }] }, { tolerations: [{ key: "b" }] }, { tolerations: [{ key: "b" }] }],
    [{ finalizers: ["a", "b"] }, { "$deleteFromPrimitiveList/finalizers": ["a"] }, { finalizers: ["b"] }],
    [
      { strategy: { type: "R", rollingUpdate: {} } },
      { strategy: { $retainKeys: ["type"], type: "Recreate" } },
      { strategy: { type: "Recreate" } },
    ],
    [
      { env: [{ name: "a" }, { name: "b" }] },
      { "$setElementOrder/env": [{ name: "b" }, { name: "a" }] },
      { env: [{ name: "b" }, { name: "a" }] },
    ],
  ];
  for (const [document, patch, result] of rows) assert.deepEqual(applyStrategicMerge("Pod", document as never, patch), result);
});
