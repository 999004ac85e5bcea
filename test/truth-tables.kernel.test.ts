// The truth tables of every policy language, by real packets through the planned rules.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { snapshotOf } from "../src/cluster/index.ts";
import { createLinuxKernel } from "../src/kernel/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { PacketRig } from "./packet-rig.ts";
import { askThreeWays, rigOf } from "./three-ways.ts";
import { SUITES } from "./truth/suites.ts";
import { namesOf, objectsOf, questionOf } from "./truth/table.ts";

for (const suite of SUITES)
  describe(suite.language, () => {
    let rig: PacketRig;
    before(() => {
      const { nodes, pods } = rigOf(snapshotOf(suite.cluster as KubeObject[]));
      rig = new PacketRig(createLinuxKernel(), nodes, pods);
    });
    after(() => rig.close());

    for (const table of suite.tables)
      test(table.title, async () => {
        const snapshot = snapshotOf(objectsOf(suite, table));
        const answers = await askThreeWays(
          snapshot,
          table.rows.map((row) => questionOf(snapshot, row)),
          { rig, names: namesOf(table) },
        );
        for (const [index, [from, to, what, may]] of table.rows.entries())
          assert.equal(answers[index]?.sent ?? may, may, `${from} → ${to} ${what}`);
      });
  });
