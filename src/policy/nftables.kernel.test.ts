// The real kernel takes the written table, in a namespace of its own, and holds as many chains and sets as were written.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { plainSnapshot } from "../../test/plain-snapshot.ts";
import { randomCluster } from "../../test/random-policies.ts";
import { diffTable, type NftChain, type NftHook, type NftTable, type TableContribution } from "../kernel/index.ts";
import { planPolicy } from "./index.ts";

/** The contribution alone, with a base chain for each hook that it has. */
function tableOf({ chains, sets, hooks }: TableContribution): NftTable {
  const bases = [...Map.groupBy(hooks, ({ chain }) => chain)].map(([name, parts]): NftChain => {
    const hook = name.slice("filter-".length).replace("-again", "") as NftHook["hook"];
    const priority = name.endsWith("-again") ? 1 : 0;
    return { name, hook: { type: "filter", hook, priority, policy: "accept" }, rules: parts.flatMap(({ rules }) => rules) };
  });
  return { family: "inet", name: "fairlead", chains: [...bases, ...chains], sets };
}

test("the kernel takes the written tables", {
  skip: process.getuid?.() === 0 ? false : "NOT RUN: it needs root, or root of a user namespace",
}, () => {
  for (let seed = 1; seed <= 8; seed++) {
    const snapshot = plainSnapshot(randomCluster(seed, { pods: 12, policies: 10 }));
    const local = [...snapshot.pods.onNode("node-1")].map((pod, index) => ({
      podNamespace: pod.metadata.namespace ?? "",
      podName: pod.metadata.name,
      addresses: (pod.status?.podIPs ?? []).map(({ ip }) => ip),
      mac: `0a:58:00:00:00:${(16 + index).toString(16)}`,
    }));
    const unknown = { podNamespace: "nowhere", podName: "new", addresses: ["10.244.1.99/24"], mac: "0a:58:00:00:00:99" };
    const table = tableOf(planPolicy(snapshot, "node-1", [...local, unknown]).table);
    const text = diffTable(undefined, table);
    const run = spawnSync("unshare", ["--net", "sh", "-c", "nft -f - && nft -j list table inet fairlead"], {
      input: text,
      encoding: "utf8",
    });
    assert.equal(run.status, 0, `seed ${seed}: ${run.stderr}\n${text}`);
    const listed = (JSON.parse(run.stdout) as { nftables: Record<string, unknown>[] }).nftables;
    assert.equal(listed.filter((entry) => entry.chain).length, table.chains.length);
    assert.equal(listed.filter((entry) => entry.set || entry.map).length, table.sets.length);
    const rules = table.chains.flatMap((chain) => chain.rules);
    assert.equal(listed.filter((entry) => entry.rule).length, rules.length);
  }
});
