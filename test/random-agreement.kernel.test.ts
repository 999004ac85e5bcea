// Random policies of every language at once over random clusters: calculation, rules and real packets agree on every packet.
//
//   FAIRLEAD_ROUNDS=10000 FAIRLEAD_SEED=1 node --test test/random-agreement.kernel.test.ts     some minutes
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ClusterSnapshot, snapshotOf } from "../src/cluster/index.ts";
import { createLinuxKernel } from "../src/kernel/index.ts";
import { nameBook } from "../src/policy/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { PacketRig } from "./packet-rig.ts";
import { type Chance, chanceOf } from "./random.ts";
import { randomCalico } from "./random-calico.ts";
import { RANDOM_NAMES, randomCilium } from "./random-cilium.ts";
import { randomCluster, randomClusterPolicies } from "./random-policies.ts";
import { askThreeWays, differences, type Question, rigOf } from "./three-ways.ts";

const ROUNDS = Number(process.env.FAIRLEAD_ROUNDS ?? 150);
const SEED = Number(process.env.FAIRLEAD_SEED ?? 20_260_701);

/** What adds policies to a cluster, a language each; every round takes some of them. */
const LANGUAGES: readonly ((seed: number) => KubeObject[])[] = [
  (seed) => randomClusterPolicies(seed, 3),
  (seed) => randomCalico(seed),
  (seed) => randomCilium(seed),
];

function clusterOf(seed: number): ClusterSnapshot {
  const { often, below } = chanceOf(seed);
  const languages = LANGUAGES.filter(() => often(0.7));
  return snapshotOf([...randomCluster(seed, { policies: below(4) }), ...languages.flatMap((add) => add(seed))]);
}

/** Every pair of addresses, with some of all kinds of packets. */
function questionsOf(snapshot: ClusterSnapshot, chance: Chance): Question[] {
  const pods = [...snapshot.pods.values()].filter(({ spec }) => !spec.hostNetwork);
  const ends = [
    ...pods.flatMap(({ status }) => (status?.podIPs ?? []).map(({ ip }) => ip)),
    "203.0.113.9",
    "198.51.100.9",
    "10.112.0.52",
    "2001:db8::9",
  ];
  const questions: Question[] = [];
  for (const source of ends)
    for (const destination of ends) {
      if (source === destination || source.includes(":") !== destination.includes(":")) continue;
      if (!pods.some(({ status }) => status?.podIPs?.some(({ ip }) => ip === source || ip === destination))) continue;
      for (const what of kinds(chance, source.includes(":") ? 6 : 4)) {
        // A node answers what it understands, which is how a rig knows that it came in.
        if (destination === "10.112.0.52" && what.protocol !== 6 && what.protocol !== 17) continue;
        questions.push({ source, destination, ...what });
      }
    }
  return questions;
}

function kinds({ pick, often }: Chance, family: 4 | 6): Omit<Question, "source" | "destination">[] {
  const ported = (protocol: number, destinationPort: number, sourcePort = 40_000) => ({ protocol, destinationPort, sourcePort });
  const icmp =
    family === 4
      ? pick([
          [8, 0],
          [3, 1],
          [13, 0],
        ] as const)
      : pick([
          [128, 0],
          [1, 3],
        ] as const);
  return [
    ported(6, pick([80, 8080, 8050, 443])),
    ported(17, pick([53, 80, 8080]), pick([40_000, 5353])),
    ...(often(0.2) ? [ported(132, 80)] : []),
    ...(often(0.3) ? [{ protocol: family === 4 ? 1 : 58, icmp: { type: icmp[0], code: icmp[1] } }] : []),
    ...(often(0.003) ? [{ protocol: 99 }] : []),
  ];
}

test(`three ways agree over ${ROUNDS} random clusters`, { timeout: 600_000 + ROUNDS * 500 }, async () => {
  const { nodes, pods } = rigOf(snapshotOf(randomCluster(1)));
  const rig = new PacketRig(createLinuxKernel(), nodes, pods);
  const seen = { allow: 0, deny: 0 };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const seed = SEED + round;
      const snapshot = clusterOf(seed);
      const answers = await askThreeWays(snapshot, questionsOf(snapshot, chanceOf(seed ^ 0xbeef)), { rig, names: nameBook(RANDOM_NAMES) });
      assert.deepEqual(differences(answers), [], `seed ${seed}`);
      for (const { calculated } of answers) seen[calculated ? "allow" : "deny"]++;
    }
  } finally {
    rig.close();
  }
  assert.ok(seen.allow > 20 * ROUNDS && seen.deny > 20 * ROUNDS, `both verdicts occurred: ${JSON.stringify(seen)}`);
});
