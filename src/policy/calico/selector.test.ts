// Calico's selector language: what is legal, its canonical form, and where an error is.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chanceOf } from "../../../test/random.ts";
import { selector as randomSelector } from "../../../test/random-calico.ts";
import { testLabels } from "../labels.ts";
import { readCondition } from "./condition.ts";
import { formatSelector, parseSelector } from "./selector.ts";

function canonical(text: string): string {
  const read = parseSelector(text);
  if ("error" in read) return `error at ${read.error.at}: ${read.error.says}`;
  return formatSelector(read.selector);
}

/** Text, and its canonical form. */
const FORMS: readonly (readonly [string, string])[] = [
  ["", "all()"],
  [" \t ", "all()"],
  ["all()", "all()"],
  ["all( \t)", "all()"],
  ["global()", "global()"],
  ["has(a)", "has(a)"],
  ["has( a )", "has(a)"],
  ["a=='b'", 'a == "b"'],
  ["a == ''", 'a == ""'],
  [`a == 'say "x"'`, `a == 'say "x"'`],
  ['a == "it\'s"', 'a == "it\'s"'],
  ["a != 'b'", 'a != "b"'],
  ["a contains'b'", 'a contains "b"'],
  ["a starts with 'b'", 'a starts with "b"'],
  ["a startswith 'b'", 'a starts with "b"'],
  ["a starts \t with 'b'", 'a starts with "b"'],
  ["a endswith 'b'", 'a ends with "b"'],
  ["a in {'b'}", 'a in {"b"}'],
  ["a in{'c','b','b'}", 'a in {"b", "c"}'],
  ["a in {'b',}", 'a in {"b"}'],
  ["a in {}", "a in {}"],
  ["a notin {'b'}", 'a not in {"b"}'],
  ["a not in {}", "a not in {}"],
  ["in in {'in'}", 'in in {"in"}'],
  ["has == 'x'", 'has == "x"'],
  ["all == 'x' && global == 'y'", '(all == "x" && global == "y")'],
  ["not not in {'x'}", 'not not in {"x"}'],
  ["contains contains 'x'", 'contains contains "x"'],
  ["!a == 'b'", '!a == "b"'],
  ["!!has(a)", "!!has(a)"],
  ["! ( has(a) )", "!has(a)"],
  ["has(a)&&has(b)||has(c)", "((has(a) && has(b)) || has(c))"],
  ["has(a) && (has(b) || has(c))", "(has(a) && (has(b) || has(c)))"],
  ["has(a) && has(b) && has(c)", "(has(a) && has(b) && has(c))"],
  ["((has(a)))", "has(a)"],
  ["projectcalico.org/name == 'x'", 'projectcalico.org/name == "x"'],
  ["a-b_c.d/e == 'x'", 'a-b_c.d/e == "x"'],
  [`${"a".repeat(512)} == 'x'`, `${"a".repeat(512)} == "x"`],
];

test("legal selectors have one canonical form, which is its own", () => {
  for (const [text, form] of FORMS) {
    assert.equal(canonical(text), form, text);
    assert.equal(canonical(form), form, `the form of ${text}`);
  }
});

/** Text, and the character (from 0) at which it goes wrong. */
const ERRORS: readonly (readonly [string, number])[] = [
  ["a", 1],
  ["a = 'b'", 2],
  ["a == b", 5],
  ["a == 'b", 5],
  ["a == 'b' 'c'", 9],
  ["a == 'b'\n&& has(c)", 8],
  ["has (a)", 4],
  ["has(a", 0],
  ["has()", 0],
  ["all(a)", 0],
  ["a in 'b'", 5],
  ["a in {'b' 'c'}", 10],
  ["a in {,}", 6],
  ["a in {'b'", 9],
  ["a starts 'b'", 2],
  ["a is 'b'", 2],
  ["a b", 2],
  ["(has(a)", 7],
  ["has(a))", 6],
  ["has(a) &", 7],
  ["has(a) &&", 9],
  ["|| has(a)", 0],
  ["!", 1],
  ["a == 'b' || ", 12],
  ["ü == 'b'", 0],
  ["{", 0],
  [`${"a".repeat(513)} == 'x'`, 0],
  [`a == '${"x".repeat(1024)}'`, 1024],
];

test("an error has its place", () => {
  for (const [text, at] of ERRORS) {
    const read = parseSelector(text);
    assert.ok("error" in read, text);
    assert.equal(read.error.at, at, `${text}: ${read.error.says}`);
    assert.ok(read.error.says.length > 10);
  }
  assert.deepEqual(readCondition("app = 'x'", "ends"), { wrong: `character 5 of "app = 'x'": a single = is no operator: write ==` });
  assert.deepEqual(readCondition("global()", "ends"), { wrong: "global() can stand in the namespaceSelector of a rule only" });
});

test("any text gives a selector or an error within it", () => {
  const words = fc.constantFrom(
    "a",
    "has(",
    "all()",
    "global()",
    "==",
    "!=",
    "'x'",
    '"',
    "in",
    "not",
    "{",
    "}",
    ",",
    "(",
    ")",
    "!",
    "&&",
    "||",
    " ",
    "\t",
    "\n",
    "starts",
    "with",
  );
  const texts = fc.oneof(
    fc.string({ maxLength: 60 }),
    fc.array(words, { maxLength: 40 }).map((list) => list.join("")),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const read = parseSelector(text);
      if ("error" in read) assert.ok(read.error.at >= 0 && read.error.at <= text.length, text);
      else assert.equal(canonical(formatSelector(read.selector)), formatSelector(read.selector));
    }),
    { numRuns: 5000 },
  );
  for (const text of ["(".repeat(1024), "!".repeat(1024), `${"(".repeat(508)}has(a)${")".repeat(508)}`, "a in {".repeat(170)])
    parseSelector(text);
});

test("the canonical form means the same", () => {
  for (let seed = 1; seed <= 2000; seed++) {
    const chance = chanceOf(seed);
    const text = randomSelector(chance);
    const [said, again] = [readCondition(text, "ends"), readCondition(canonical(text), "ends")];
    assert.ok("test" in said && "test" in again, text);
    for (let round = 0; round < 8; round++) {
      const labels = Object.fromEntries(
        ["app", "role", "pcns.team"].filter(() => chance.often(0.6)).map((key) => [key, chance.pick(["a", "b", ""])]),
      );
      assert.equal(testLabels(said.test, labels), testLabels(again.test, labels), `${text} over ${JSON.stringify(labels)}`);
    }
  }
});
