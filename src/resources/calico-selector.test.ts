// Calico's selectors: what they select, and how they refuse what is none.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FairleadError } from "../base/index.ts";
import { compileCalicoSelector } from "./index.ts";

const LABELS = { rack: "a7", zone: "eu-1", "projectcalico.org/name": "shop", empty: "" };

test("every operator, precedence and negation", () => {
  const rows: readonly [string, boolean][] = [
    ["", true],
    ["has(constructor) || toString contains 'a'", false],
    ["all()", true],
    ["global()", false],
    ["has(rack)", true],
    ["!has(rack)", false],
    ["has(projectcalico.org/name)", true],
    ["rack == 'a7'", true],
    ['rack == "a8"', false],
    ["rack != 'a8'", true],
    ["other != 'x'", true],
    ["zone in {'eu-1', 'eu-2'}", true],
    ["zone in {}", false],
    ["zone not in {'eu-1'}", false],
    ["other not in {'x'}", true],
    ["zone starts with 'eu'", true],
    ["zone ends with '2'", false],
    ["zone contains 'u-'", true],
    ["empty == ''", true],
    ["has(none) || has(rack) && has(zone)", true],
    ["(has(none) || has(rack)) && has(none)", false],
    ["!(has(none) || has(rack))", false],
    ["!!has(rack)", true],
    ["  has( rack )&&zone=='eu-1' ", true],
  ];
  for (const [text, is] of rows) assert.equal(compileCalicoSelector(text)(LABELS), is, text);
});

test("what is no selector says where and why", () => {
  for (const text of [
    "has(",
    "rack",
    "rack == a7",
    "rack = 'a7'",
    "zone in {'a'",
    "a == 'b' c == 'd'",
    "&& has(a)",
    "rack == 'a",
    "(has(a)",
  ])
    assert.throws(() => compileCalicoSelector(text), /bad-selector|is not understood at character \d+/, text);
});

test("total over any text", () => {
  const piece = fc.constantFrom(
    "has(",
    ")",
    "(",
    "!",
    "&&",
    "||",
    "==",
    "!=",
    "in",
    "{",
    "}",
    "'x'",
    '"',
    "a/b",
    "not in",
    ",",
    " ",
    "all()",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece, { maxLength: 300 }).map((parts) => parts.join(" ")),
      ),
      (text) => {
        try {
          assert.equal(typeof compileCalicoSelector(text)(LABELS), "boolean");
        } catch (error) {
          assert.ok(error instanceof FairleadError && error.code === "bad-selector");
        }
      },
    ),
    { numRuns: 2000 },
  );
});
