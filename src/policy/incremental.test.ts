// What is kept from plan to plan changes nothing: after every change the plan is the one that is calculated from nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomCalico } from "../../test/random-calico.ts";
import { randomCilium } from "../../test/random-cilium.ts";
import { randomCluster, randomClusterPolicies } from "../../test/random-policies.ts";
import { createSnapshotBuilder, type ObjectChange, snapshotOf } from "../cluster/index.ts";
import type { NftTable } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { evaluatePolicies, planPolicy } from "./index.ts";

/** How many: FAIRLEAD_ROUNDS says it. */
const CLUSTERS = Number(process.env.FAIRLEAD_ROUNDS ?? 8);
const CHANGES = 40;

/** Order says nothing about sets, chains and elements. */
function canonical(table: Pick<NftTable, "chains" | "sets">): unknown {
  const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : 1);
  return {
    chains: table.chains.toSorted(byName),
    sets: table.sets.toSorted(byName).map((set) => ({ ...set, elements: set.elements.map((element) => JSON.stringify(element)).sort() })),
  };
}

const keyOf = ({ apiVersion, kind, metadata }: KubeObject) => `${apiVersion}/${kind}/${metadata.namespace ?? ""}/${metadata.name}`;

test(`plans over changes are as from nothing, over ${CLUSTERS} clusters`, () => {
  for (let seed = 1; seed <= CLUSTERS; seed++) {
    const generations = [0, 1000, 2000].map((more) => [
      ...randomCluster(seed + more),
      ...[randomClusterPolicies, randomCalico, randomCilium].flatMap((add) => add(seed + more)),
    ]);
    const builder = createSnapshotBuilder();
    const there = new Map<string, KubeObject>();
    let state = seed;
    const below = (limit: number) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * limit);
    };
    const apply = (changes: readonly ObjectChange[]) => {
      builder.apply(changes);
      for (const { type, object } of changes) {
        if (type === "DELETED") there.delete(keyOf(object));
        else there.set(keyOf(object), object);
      }
    };
    apply((generations[0] ?? []).map((object) => ({ type: "ADDED", object })));
    for (let change = 0; change < CHANGES; change++) {
      const objects = generations[below(3)] ?? [];
      const object = objects[below(objects.length)] as KubeObject;
      const known = there.has(keyOf(object));
      apply([{ type: known && below(3) === 0 ? "DELETED" : known ? "MODIFIED" : "ADDED", object }]);
      const kept = builder.snapshot();
      const fresh = snapshotOf(structuredClone([...there.values()]));
      const wired = [{ podNamespace: "blue", podName: `pod-${below(8)}`, addresses: [`10.244.1.${40 + below(4)}`] }];
      for (const node of ["node-1", "node-2"]) {
        const [was, is] = [planPolicy(kept, node, wired), planPolicy(fresh, node, wired)];
        assert.deepEqual(canonical(was.table), canonical(is.table), `seed ${seed}, change ${change}, ${node}`);
        assert.deepEqual(was.remarks.toSorted(), is.remarks.toSorted());
      }
      const [from, to] = [...kept.pods.values()].map((pod) => ({ pod: `${pod.metadata.namespace}/${pod.metadata.name}` }));
      if (!from || !to) continue;
      const ask = { from, to, protocol: "TCP", port: 80 };
      assert.deepEqual(evaluatePolicies(kept, ask), evaluatePolicies(fresh, ask));
    }
  }
});
