// The real kernel takes the written table, in a namespace of its own, and holds as many chains and sets as were written.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { plainSnapshot } from "../../test/plain-snapshot.ts";
import { randomCluster } from "../../test/random-policies.ts";
import type { NftMatch, NftRule, NftSet, NftStatement, NftVerdict, TableContribution } from "../kernel/index.ts";
import { planPolicy } from "./index.ts";

function printTable(table: TableContribution): string {
  const verdict = (v: NftVerdict) => ("chain" in v ? `${v.verdict} ${v.chain}` : v.verdict);
  const match = (m: NftMatch): string => {
    if ("opaque" in m) return m.opaque;
    const left = (Array.isArray(m.left) ? m.left : [m.left]).join(" . ");
    const right =
      typeof m.right === "string" ? m.right : "set" in m.right ? `@${m.right.set}` : `{ ${(m.right as readonly string[]).join(", ")} }`;
    return `${left} ${m.op} ${right}`;
  };
  const statement = (s: NftStatement): string => {
    if ("verdict" in s) return verdict(s);
    if ("vmap" in s) return `${s.vmap.key.join(" . ")} vmap @${s.vmap.map as string}`;
    throw new Error(JSON.stringify(s));
  };
  const rule = (r: NftRule) => [...r.matches.map(match), ...r.statements.map(statement)].join(" ");
  const set = (s: NftSet) => {
    const elements = s.elements.map((e) => e.key.join(" . ") + (e.value && "verdict" in e.value ? ` : ${verdict(e.value)}` : ""));
    return `${s.value ? "map" : "set"} ${s.name} { type ${s.key.join(" . ")}${s.value ? ` : ${s.value.join()}` : ""};${s.flags ? ` flags ${s.flags.join()};` : ""}${elements.length ? ` elements = { ${elements.join(", ")} };` : ""} }`;
  };
  const chains = table.chains.map((c) => `chain ${c.name} {\n${c.rules.map(rule).join("\n")}\n}`);
  const hooks = table.hooks.map(
    (h) => `chain ${h.chain} { type filter hook ${h.chain.slice(7)} priority 0;\n${h.rules.map(rule).join("\n")}\n}`,
  );
  return `table inet fairlead {\n${[...table.sets.map(set), ...chains, ...hooks].join("\n")}\n}\n`;
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
    const { table } = planPolicy(snapshot, "node-1", [...local, unknown]);
    const text = printTable(table);
    const run = spawnSync("unshare", ["--net", "sh", "-c", "nft -f - && nft -j list table inet fairlead"], {
      input: text,
      encoding: "utf8",
    });
    assert.equal(run.status, 0, `seed ${seed}: ${run.stderr}\n${text}`);
    const listed = (JSON.parse(run.stdout) as { nftables: Record<string, unknown>[] }).nftables;
    assert.equal(listed.filter((entry) => entry.chain).length, table.chains.length + table.hooks.length);
    assert.equal(listed.filter((entry) => entry.set || entry.map).length, table.sets.length);
    const rules = [...table.chains, ...table.hooks].flatMap((part) => part.rules);
    assert.equal(listed.filter((entry) => entry.rule).length, rules.length);
  }
});
