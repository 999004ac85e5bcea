// Patterns of DNS names, and the addresses behind them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { nameBook, nameMatches } from "./names.ts";

test("a pattern's star stands for any part of one label", () => {
  for (const [pattern, name, matches] of [
    ["example.com", "example.com", true],
    ["example.com", "www.example.com", false],
    ["*.example.com", "www.example.com", true],
    ["*.example.com", "a.b.example.com", false],
    ["*.example.com", "example.com", false],
    ["www*.example.com", "www2.example.com", true],
    ["www*.example.com", "ww.example.com", false],
    ["a*b*c.example.com", "axbyc.example.com", true],
    ["a*b*c.example.com", "acb.example.com", false],
    ["*b.example.com", "bb.example.com", true],
    ["ab*ab.example.com", "ab.example.com", false],
    ["*", "a.b.example.com", true],
    ["**.example.com", "a.b.example.com", true],
    ["**.example.com", "b.example.com", true],
    ["**.example.com", "example.com", false],
    ["*.*", "example.com", true],
    ["*.*", "com", false],
  ] as const)
    assert.equal(nameMatches(pattern, name), matches, `${pattern} and ${name}`);
});

test("the book finds addresses by name and by pattern, each once and in canonical text", () => {
  const book = nameBook({ "a.example.com": ["203.0.113.1", "2001:DB8::1"], "b.example.com": ["203.0.113.1", "nonsense"], constructor: [] });
  assert.deepEqual(book.addressesOf("a.example.com"), ["2001:db8::1", "203.0.113.1"]);
  assert.deepEqual(book.addressesOf("*.example.com"), ["2001:db8::1", "203.0.113.1"]);
  assert.deepEqual(book.addressesOf("c.example.com"), []);
  assert.deepEqual(book.addressesOf("tostring"), []);
});
