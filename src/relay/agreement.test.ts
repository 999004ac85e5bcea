// A node that knows the cluster by a relay alone writes the same rules as one that knows all of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomCalico } from "../../test/random-calico.ts";
import { randomCilium } from "../../test/random-cilium.ts";
import { randomCluster, randomClusterPolicies } from "../../test/random-policies.ts";
import { type ClusterSnapshot, createSnapshotBuilder, type ObjectChange } from "../cluster/index.ts";
import { isVersionChain, planPolicy, policyNeeds } from "../policy/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import { Fanout } from "./fanout.ts";
import { keyOf, objectOfKey, readLine } from "./lines.ts";
import { Needs } from "./needs.ts";

const ROUNDS = Number(process.env.FAIRLEAD_RELAY_ROUNDS ?? 30);

function rulesOf(snapshot: ClusterSnapshot, node: string): unknown {
  const local = [...snapshot.pods.onNode(node)].filter((pod) => !pod.spec.hostNetwork && pod.status?.podIPs);
  const pods = local.map((pod) => ({
    podNamespace: pod.metadata.namespace ?? "",
    podName: pod.metadata.name,
    addresses: (pod.status?.podIPs ?? []).map(({ ip }) => ip),
  }));
  const own = new Set(pods.flatMap(({ addresses }) => addresses));
  const { table } = planPolicy(snapshot, node, pods);
  // The number of a version is made of all that is planned, also of what does not count here.
  const sets = table.sets
    .filter(({ name }) => name !== "policy-version")
    .map(({ elements, ...set }) => {
      const keys = (elements ?? []).map(({ key }) => key.join(" ")).sort();
      // Which port a name stands for is asked of the policy's own pods, too; of those, only the node's count here.
      const isPorts = set.key.length > 1;
      return [set.name, isPorts ? keys.filter((key) => own.has(key.split(" ")[0] ?? "")) : keys];
    });
  return { chains: table.chains.filter(({ name }) => !isVersionChain(name)), sets };
}

const LANGUAGES: Readonly<Record<string, (seed: number) => KubeObject[]>> = {
  NetworkPolicy: () => [],
  "cluster-wide policies": (seed) => randomClusterPolicies(seed),
  "Calico's": (seed) => randomCalico(seed),
  "Cilium's": (seed) => randomCilium(seed),
};

for (const [language, more] of Object.entries(LANGUAGES)) {
  test(`${language}: the same rules on every node, from the start and as the cluster changes`, () => {
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const objects = [...randomCluster(seed), ...more(seed)];
      const builder = createSnapshotBuilder();
      const fanout = new Fanout(new Needs(policyNeeds));
      const apply = (changes: readonly ObjectChange[]) => {
        builder.apply(changes);
        fanout.apply(changes, builder.snapshot());
      };
      const half = Math.floor(objects.length / 2);
      apply(objects.slice(0, half).map((object) => ({ type: "ADDED", object })));
      const agents = ["node-1", "node-2"].map((node) => {
        const known = createSnapshotBuilder();
        const write = (text: string) => {
          for (const each of text.split("\n")) {
            const line = readLine(each);
            if (line?.type === "put") known.apply([{ type: "MODIFIED", object: JSON.parse(line.json) }]);
            else if (line?.type === "gone") known.apply([{ type: "DELETED", object: objectOfKey(line.key) }]);
          }
          return true;
        };
        return { node, known, member: fanout.join(node, { write }) };
      });
      for (const object of objects.slice(half)) apply([{ type: "ADDED", object }]);
      const [gone] = [...builder.snapshot().pods.values()].filter((_, at) => at % 5 === seed % 5);
      if (gone) apply([{ type: "DELETED", object: gone }]);
      const [moved] = [...builder.snapshot().pods.values()];
      if (moved) apply([{ type: "MODIFIED", object: { ...moved, metadata: { ...moved.metadata, labels: { app: "b" } } } as Pod }]);
      for (const { node, known, member } of agents) {
        member.drained();
        const whole = builder.snapshot();
        assert.deepEqual(rulesOf(known.snapshot(), node), rulesOf(whole, node), `seed ${seed}, ${node}`);
        const own = [...whole.pods.onNode(node)].map(keyOf).sort();
        assert.deepEqual([...known.snapshot().pods.onNode(node)].map(keyOf).sort(), own);
      }
    }
  });
}
