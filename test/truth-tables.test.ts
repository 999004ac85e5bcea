// The truth tables of every policy language, by calculation and by a walk through the planned rules.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { snapshotOf } from "../src/cluster/index.ts";
import { isDenial } from "../src/policy/index.ts";
import { askThreeWays, planTables } from "./three-ways.ts";
import { SUITES } from "./truth/suites.ts";
import { namesOf, objectsOf, questionOf } from "./truth/table.ts";

for (const suite of SUITES)
  describe(suite.language, () => {
    for (const table of suite.tables)
      test(table.title, async () => {
        const snapshot = snapshotOf(objectsOf(suite, table));
        const answers = await askThreeWays(
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

test("every rule that a policy says leads back to it, by its own comment or by those of the elements that stand for many", () => {
  let rules = 0;
  for (const suite of SUITES)
    for (const table of suite.tables)
      for (const { chains, sets } of planTables(snapshotOf(objectsOf(suite, table)), namesOf(table)).values()) {
        const elements = new Map(sets.map((set) => [set.name, set.elements]));
        for (const chain of chains.filter(({ name }) => /^(ingress|egress|staged|log)-/.test(name)))
          for (const rule of chain.rules) {
            const decides = rule.matches.length > 0 || rule.statements.some(isDenial);
            if (!decides || rule.owner) continue;
            const many = rule.matches.flatMap((match) =>
              "opaque" in match || typeof match.right !== "object" || !("set" in match.right) ? [] : (elements.get(match.right.set) ?? []),
            );
            assert.ok(many.length > 0 && many.every(({ owner }) => owner), `${table.title}, ${chain.name}: ${JSON.stringify(rule)}`);
          }
        rules += chains.reduce((sum, chain) => sum + chain.rules.length, 0);
      }
  assert.ok(rules > 1000, `${rules} rules`);
});
