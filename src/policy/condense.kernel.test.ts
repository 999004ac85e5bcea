// The kernel takes condensed chains: sets of many keys, and blocks together with ports.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { randomChain, tableOf } from "../../test/random-chains.ts";
import { type NftChain, printTable } from "../kernel/index.ts";
import { condense } from "./condense.ts";

test("nft takes what is condensed", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { chain, sets } = randomChain(seed);
    const made = condense([chain], sets);
    const text = printTable(tableOf(made.chains[0] as NftChain, made.sets));
    const run = spawnSync("unshare", ["--net", "nft", "-f", "-"], { input: text, encoding: "utf8" });
    assert.equal(run.status, 0, `seed ${seed}: ${run.stderr}`);
  }
});
