// The matrix of all pairs at once says what a walk of each pair says.
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomCalico } from "../../test/random-calico.ts";
import { randomCilium } from "../../test/random-cilium.ts";
import { randomCluster, randomClusterPolicies } from "../../test/random-policies.ts";
import { type Pair, snapshotOf } from "../cluster/index.ts";
import { createReach } from "./reach.ts";
import { predict, predictByTrace } from "./static-matrix.ts";
import { desiredWorld } from "./world.ts";

/** How many: FAIRLEAD_ROUNDS says it. */
const CLUSTERS = Number(process.env.FAIRLEAD_ROUNDS ?? 40);
const PORTS = [
  { protocol: "TCP", port: 80 },
  { protocol: "TCP", port: 8050 },
  { protocol: "UDP", port: 53 },
] as const;

test(`all pairs at once are as each by itself, over ${CLUSTERS} random clusters`, () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= CLUSTERS; seed++) {
    const languages = [randomClusterPolicies, randomCalico, randomCilium].filter((_, bit) => (seed >> bit) & 1);
    const snapshot = snapshotOf([...randomCluster(seed), ...languages.flatMap((add) => add(seed))]);
    assert.ok(createReach(snapshot, desiredWorld(snapshot)), `seed ${seed}: the tables are understood`);
    const names = [...snapshot.pods.values()].map((pod) => `${pod.metadata.namespace}/${pod.metadata.name}`);
    const pairs = names.flatMap((from) => names.flatMap((to): Pair[] => PORTS.map((port) => ({ from, to, ...port }))));
    for (const [index, prediction] of predict(snapshot, pairs).entries()) {
      const expected = predictByTrace(snapshot, pairs[index] as Pair);
      seen.add(expected.verdict);
      assert.deepEqual(JSON.parse(JSON.stringify(prediction)), expected, `seed ${seed}`);
    }
  }
  assert.deepEqual([...seen].sort(), ["connected", "refused", "timeout"]);
});
