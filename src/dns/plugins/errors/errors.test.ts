import assert from "node:assert/strict";
import { test } from "node:test";
import { chain, tableHandler } from "../../../../test/dns-chain.ts";
import { RCODE } from "../../message.ts";
import { reply } from "../../query.ts";

const failing = tableHandler(
  {
    "slow. A": reply("forward", { rcode: RCODE.SERVFAIL, error: "10.0.0.1:53 did not answer within 2000 ms" }),
    "odd. A": reply("forward", { rcode: RCODE.SERVFAIL, error: "what?" }),
  },
  reply("table"),
);

test("what went wrong is told with name, type and why; what went well is not", async () => {
  const c = await chain("errors", { next: failing });
  await c.ask("Slow.");
  await c.ask("fine.");
  assert.deepEqual(c.logged, ["error errors: 2 Slow. A: 10.0.0.1:53 did not answer within 2000 ms"]);
});

test("errors that are alike are told as one line with their number, the first at once where that is asked for", async () => {
  const c = await chain('errors {\nconsolidate 1h "did not answer" warning show_first\n}', { next: failing });
  for (let i = 0; i < 5; i++) await c.ask("slow.");
  await c.ask("odd.");
  assert.equal(c.logged.length, 2);
  c.block.site.installed("errors")?.stop?.();
  assert.equal(c.logged.at(-1), "warning errors: 5 errors like 'did not answer' occurred in last 3600s");
});

test("what makes no sense is refused at its place", async () => {
  for (const [text, says] of [
    ["errors everywhere", /not one of stdout/],
    ["errors {\nconsolidate 5m\n}", /needs at least 2/],
    ['errors {\nconsolidate 5m "("\n}', /Corefile:3:16: "\(" is no regular expression/],
    ["errors {\nconsolidated 5m x\n}", /did you mean consolidate/],
  ] as const)
    await assert.rejects(chain(text), says);
});
