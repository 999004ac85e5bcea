// The truth tables of every policy language, by calculation and by a walk through the planned rules.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { snapshotOf } from "../src/cluster/index.ts";
import { askThreeWays } from "./three-ways.ts";
import { SUITES } from "./truth/suites.ts";
import { namesOf, objectsOf, questionOf } from "./truth/table.ts";

for (const suite of SUITES)
  describe(suite.language, () => {
    for (const table of suite.tables)
      test(table.title, () => {
        const snapshot = snapshotOf(objectsOf(suite, table));
        const answers = askThreeWays(
          snapshot,
          table.rows.map((row) => questionOf(snapshot, row)),
          { names: namesOf(table) },
        );
        for (const [index, [from, to, what, may]] of table.rows.entries()) {
          const { calculated, walked, says } = answers[index] ?? assert.fail();
          assert.deepEqual({ calculated, walked }, { calculated: may, walked: may }, `${from} → ${to} ${what}: ${says}`);
        }
      });
  });
