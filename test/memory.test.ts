// Memory stays flat under churn: what came and went, and who watched or listed it, leaves nothing behind in the API server.
//
//   FAIRLEAD_MEMORY=3600s node --test test/memory.test.ts      an hour of it; a number is so many rounds
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import type { Round } from "./programs/api-churn.ts";

const LENGTH = process.env.FAIRLEAD_MEMORY ?? "16";
const IS_SHORT = process.env.FAIRLEAD_MEMORY === undefined;
/** Changes that can be resumed from: few in the short form, so that the history is full when the first half begins. */
const HISTORY = IS_SHORT ? ["2000"] : [];
/** Rounds until all that is bounded is full: history, kept lists, remembered events. */
const WARM_UP = IS_SHORT ? 6 : 20;
/** How much more the second half may hold than the first, in parts of it. */
const MORE = 0.1;

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;

test("the API server's heap does not grow under churn", async (t) => {
  const program = join(import.meta.dirname, "programs/api-churn.ts");
  const told = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, ["--expose-gc", program, LENGTH, ...HISTORY], { maxBuffer: 64 << 20 }, (error, out, err) =>
      error ? reject(new Error(err || error.message)) : resolve(out),
    );
  });
  const rounds = told
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Round);
  for (const { second, heap, rss } of IS_SHORT ? [] : rounds.filter((_, index) => index % 20 === 0))
    t.diagnostic(`${second} s: heap ${heap} MB, RSS ${rss} MB`);
  const steady = rounds.slice(WARM_UP);
  const half = steady.length >> 1;
  assert.ok(half >= 5, `${rounds.length} rounds are too few to tell`);
  const [first, second] = [steady.slice(0, half), steady.slice(half)].map((part) => median(part.map(({ heap }) => heap))) as [
    number,
    number,
  ];
  const { changes, watched } = rounds.at(-1) as Round;
  t.diagnostic(`${changes} changes, ${Math.round(watched / 1e6)} MB heard by watchers: heap ${first} MB, then ${second} MB`);
  assert.ok(changes > 1000 * rounds.length && watched > changes, "there was something to forget");
  assert.ok(second <= first * (1 + MORE), `the heap grew from ${first} to ${second} MB`);
});
