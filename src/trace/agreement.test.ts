// What the written rules do to a packet is what the policies say: the walk and the calculation agree over random clusters.
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomCluster, randomClusterPolicies } from "../../test/random-policies.ts";
import { snapshotOf } from "../cluster/index.ts";
import { evaluatePolicies } from "../policy/index.ts";
import { trace } from "./index.ts";

/** How many: FAIRLEAD_ROUNDS says it. */
const CLUSTERS = Number(process.env.FAIRLEAD_ROUNDS ?? 60);

test(`the walk and the policies agree over ${CLUSTERS} random clusters`, () => {
  const seen = { allow: 0, deny: 0 };
  for (let seed = 1; seed <= CLUSTERS; seed++) {
    const snapshot = snapshotOf([...randomCluster(seed), ...(seed % 2 === 0 ? randomClusterPolicies(seed) : [])]);
    const pods = [...snapshot.pods.values()].map((pod) => `${pod.metadata.namespace}/${pod.metadata.name}`);
    for (const from of pods)
      for (const to of pods) {
        if (from === to) continue;
        for (const [protocol, port] of [
          ["tcp", 80],
          ["tcp", 8050],
          ["udp", 53],
        ] as const) {
          const said = evaluatePolicies(snapshot, { from: { pod: from }, to: { pod: to }, protocol: protocol.toUpperCase(), port });
          const { verdict, hops, reason, doubts } = trace(snapshot, { from, to: `${to}:${port}`, protocol });
          const does = verdict === "dropped" ? "deny" : "allow";
          seen[does]++;
          assert.equal(
            does,
            said.verdict,
            `seed ${seed}, ${from} → ${to}:${port}/${protocol}: ${verdict} (${reason}), policies: ${said.says}`,
          );
          assert.equal(verdict === "unroutable", false, `seed ${seed}, ${from} → ${to}: ${reason}`);
          assert.equal(doubts, undefined);
          assert.ok(
            !hops.some((hop) => hop.says.includes("not in sync")),
            `seed ${seed}, ${from} → ${to}: explained otherwise than decided`,
          );
        }
      }
  }
  assert.ok(seen.allow > 500 && seen.deny > 500, `both verdicts occurred: ${JSON.stringify(seen)}`);
});
