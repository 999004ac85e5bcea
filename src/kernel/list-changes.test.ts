// What came and went between two lists.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { deriveList, listChanges } from "./list-changes.ts";

test("what came and went is told by identity, wherever it stands", () => {
  const list = fc.uniqueArray(fc.integer({ min: 0, max: 20 }));
  fc.assert(
    fc.property(list, list, (before, after) => {
      const { gone, come } = listChanges(before, after);
      assert.deepEqual([...gone].sort(), before.filter((each) => !after.includes(each)).sort());
      assert.deepEqual([...come].sort(), after.filter((each) => !before.includes(each)).sort());
    }),
  );
  const [a, b] = [{ name: "a" }, { name: "a" }];
  assert.deepEqual(listChanges([a], [a]), { gone: [], come: [] });
  assert.deepEqual(listChanges([a], [b]), { gone: [a], come: [b] });
  const [old, made] = [[a], [a, b]];
  const come = [b];
  deriveList(old, made, { gone: [], come });
  assert.equal(listChanges(old, made).come, come, "as its maker said");
  assert.deepEqual(listChanges([a], made).come, [b], "of another than it was made of");
});
