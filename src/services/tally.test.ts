// Lists in order that are patched are the lists made anew.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { patched, Tally } from "./tally.ts";

test("a list that is patched is that of all that is named, in order; what did not change is the same list", () => {
  const steps = fc.array(fc.array(fc.record({ text: fc.constantFrom(..."abcdefgh"), less: fc.boolean() }), { maxLength: 6 }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(steps, (rounds) => {
      const tally = new Tally();
      const named = new Map<string, number>();
      let list: readonly string[] = [];
      for (const round of rounds) {
        for (const { text, less } of round) {
          const count = named.get(text) ?? 0;
          if (less && count === 0) continue;
          tally.count(text, less ? -1 : 1);
          if (less && count === 1) named.delete(text);
          else named.set(text, count + (less ? -1 : 1));
        }
        const next = patched(
          list,
          (text) => text,
          tally.turn(),
          (text) => (tally.has(text) ? text : undefined),
        );
        assert.deepEqual(next, [...named.keys()].sort());
        if (next.join() === list.join()) assert.equal(next, list);
        list = next;
      }
    }),
  );
});
