import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { fuzzing } from "../../../test/fuzz.ts";
import { CorefileError, type Directive, duration, hostPort, integer, parseCorefile, parseKey, tryDuration, zonesOf } from "./index.ts";

/** Cases of the fuzz test; set it high for a night's run. */

const parse = (text: string, environment: Record<string, string> = {}) => parseCorefile(text, { file: "Corefile", environment });
const word = (text: string) => ({ text, place: { file: "Corefile", line: 1, column: 1 } });

/** A directive as one line: name args { lines }. */
function flat({ name, args, body }: Directive): string {
  return [name, ...args.map(({ text }) => text), ...(body ? ["{", body.map(flat).join("; "), "}"] : [])].join(" ");
}
const flatBlocks = (text: string, environment?: Record<string, string>) =>
  parse(text, environment).map((block) => `${block.keys.map(({ text: key }) => key).join(" ")}: ${block.directives.map(flat).join(" | ")}`);

const READ: readonly [what: string, text: string, blocks: readonly string[]][] = [
  ["one block", ".:53 {\n  errors\n  cache 30\n}", [".:53: errors | cache 30"]],
  ["several keys, commas and lines", "a.org, b.org:1053,\n  c.org {\n whoami\n}", ["a.org b.org:1053 c.org: whoami"]],
  ["two blocks", "a {\nx\n}\n\nb {\ny\n}", ["a: x", "b: y"]],
  [
    "a block without braces goes to the end",
    "a.org\nerrors\nforward . 1.2.3.4 {\n expire 5s\n}\n",
    ["a.org: errors | forward . 1.2.3.4 { expire 5s }"],
  ],
  ["nested braces", "a {\n h {\n  i j {\n   k\n  }\n  l\n }\n}", ["a: h { i j { k }; l }"]],
  ["a block on one line", "a { x y { z } }", ["a: x y { z }"]],
  ["comments", "# c\na { # d\n x # e\n #y\n}", ["a: x"]],
  ["quotes", 'a {\n t "b c" "d \\" e" "{"\n}', ['a: t b c d " e {']],
  ["a quoted text over lines", 'a {\n t "b\nc" d\n e\n}', ["a: t b\nc d | e"]],
  ["snippets", "(s) {\n x 1\n y\n}\na {\n import s\n z\n}\nb {\n import s\n}", ["a: x 1 | y | z", "b: x 1 | y"]],
  ["snippets within snippets", "(s) {\n x\n}\n(t) {\n import s\n y\n}\na {\n import t\n}", ["a: x | y"]],
  ["a snippet within a directive", "(s) {\n expire 5s\n}\na {\n forward . x {\n  import s\n }\n}", ["a: forward . x { expire 5s }"]],
  ["a byte order mark and carriage returns", "\ufeffa {\r\n x\r\n}\r\n", ["a: x"]],
  ["nothing", "  # only a comment\n", []],
];

for (const [what, text, blocks] of READ) test(`read: ${what}`, () => assert.deepEqual(flatBlocks(text), blocks));

test("the environment is put in, in both spellings; what is not set is empty", () => {
  assert.deepEqual(flatBlocks("{$ZONE}:{$PORT} {\n f . {%UP%} x{$NONE}y\n}", { ZONE: "a.org", PORT: "53", UP: "1.2.3.4" }), [
    "a.org:53: f . 1.2.3.4 xy",
  ]);
});

const REFUSED: readonly [what: string, text: string, says: RegExp][] = [
  ["a brace that is not closed", ".:53 {\n errors\n", /^Corefile:1:6: this brace is not closed/],
  ["a brace too much", ".:53 {\n errors\n}\n}\n", /^Corefile:4:1: a closing brace without/],
  ["a quote that is not closed", 'a {\n t "b\n}', /^Corefile:2:4: this quote is not closed/],
  ["a block without a zone", "{\n errors\n}", /^Corefile:1:1: a server block without a zone/],
  ["a comma too much", "a, {\n errors\n}", /^Corefile:1:4: another zone was expected/],
  ["an import of nothing", "a {\n import\n}", /^Corefile:2:2: import of what/],
  ["an import of two", "a {\n import b c\n}", /^Corefile:2:11: import takes one name/],
  [
    "an import of what is not there",
    "a {\n import ./nothing-there\n}",
    /^Corefile:2:9: "\.\/nothing-there" is neither a snippet nor a file/,
  ],
  ["a snippet that imports itself", "(s) {\n import s\n}\na {\n import s\n}", /is imported again and again/],
  [
    "snippets that double each other",
    "(a) {\n import b\n import b\n}\n(b) {\n import a\n import a\n}\nx {\n import a\n}",
    /again and again/,
  ],
  ["a snippet that is there twice", "(s) {\n}\n(s) {\n}", /^Corefile:3:1: snippet \(s\) is there twice/],
  ["an opening brace alone", "a {\n {\n }\n}", /^Corefile:2:2: an opening brace with nothing before it/],
];

for (const [what, text, says] of REFUSED)
  test(`refused: ${what}`, () =>
    assert.throws(
      () => parse(text),
      (error) => error instanceof CorefileError && says.test(error.message),
    ));

test("files are imported, relative to the one that imports, by a pattern too; errors name the file", () => {
  const folder = mkdtempSync(join(tmpdir(), "corefile-"));
  try {
    writeFileSync(join(folder, "one.conf"), "x 1\nimport two.txt\n");
    writeFileSync(join(folder, "two.txt"), "y {\n z\n}\n");
    writeFileSync(join(folder, "bad.txt"), 'y "\n');
    const file = join(folder, "Corefile");
    const [block] = parseCorefile("a {\n import *.conf\n import none*.conf\n w\n}", { file });
    assert.deepEqual(block?.directives.map(flat), ["x 1", "y { z }", "w"]);
    assert.throws(() => parseCorefile("a {\n import bad.txt\n}", { file }), new RegExp(`${join(folder, "bad.txt")}:1:3: this quote`));
    assert.throws(() => parseCorefile("a {\n import a*b*\n}", { file }), /more than one wildcard/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("keys: zone, port, scheme, and the reverse zones of a prefix", () => {
  assert.deepEqual(parseKey(word(".:53")), { zones: ["."], port: 53 });
  assert.deepEqual(parseKey(word("dns://Example.org:1053")), { zones: ["example.org."], port: 1053 });
  assert.deepEqual(parseKey(word("10.0.0.0/24")), { zones: ["0.0.10.in-addr.arpa."], port: 53 });
  assert.equal(parseKey(word("10.96.0.0/12")).zones.length, 16);
  assert.deepEqual(parseKey(word("10.96.0.0/15")).zones, ["96.10.in-addr.arpa.", "97.10.in-addr.arpa."]);
  assert.deepEqual(zonesOf("2001:db8::/32"), ["8.b.d.0.1.0.0.2.ip6.arpa."]);
  assert.deepEqual(zonesOf("0.0.0.0/0"), ["in-addr.arpa."]);
  assert.throws(() => parseKey(word("tls://.")), /tls:\/\/ is not served here/);
  assert.throws(() => parseKey(word("a:99999")), /is no port/);
  assert.throws(() => parseKey(word("a..b")), /is no zone/);
});

test("arguments: durations, numbers, addresses", () => {
  assert.equal(duration(word("1h2m3.5s")), 3_723_500);
  assert.equal(duration(word("100ms")), 100);
  for (const wrong of ["5", "s", "-5s", "5 s", ""]) assert.equal(tryDuration(wrong), undefined, wrong);
  assert.equal(integer(word("42"), 0, 42), 42);
  assert.throws(() => integer(word("43"), 0, 42), /no whole number from 0 to 42/);
  assert.throws(() => integer(word("4x")), /no whole number/);
  assert.deepEqual(hostPort(word(":9153")), { address: "", port: 9153 });
  assert.deepEqual(hostPort(word("localhost:9153")), { address: "127.0.0.1", port: 9153 });
  assert.deepEqual(hostPort(word("[::1]:53")), { address: "::1", port: 53 });
  assert.throws(() => hostPort(word("nowhere")), /no address and port/);
});

test("any text is blocks or a CorefileError", () => {
  const pieces = fc.constantFrom(
    "{",
    "}",
    "\n",
    " ",
    '"',
    "#",
    "import",
    "(s)",
    "s",
    "a",
    ",",
    "\\",
    "{$X}",
    ".:53",
    "\r",
    "\t",
    "{%",
    "é",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(pieces, { maxLength: 40 }).map((list) => list.join("")),
        fc.string({ maxLength: 60, unit: "binary" }),
      ),
      (text) => {
        try {
          for (const block of parse(text)) for (const key of block.keys) parseKey(key);
        } catch (error) {
          if (!(error instanceof CorefileError)) throw error;
          assert.ok(error.place.line >= 1 && error.place.column >= 1);
        }
      },
    ),
    fuzzing(),
  );
});
