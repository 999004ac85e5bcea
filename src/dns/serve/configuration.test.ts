import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { chain } from "../../../test/dns-chain.ts";
import { fuzzing } from "../../../test/fuzz.ts";
import { CorefileError } from "../corefile/index.ts";
import { PLUGINS } from "../plugins/order.ts";
import { readConfiguration } from "./configuration.ts";

const plugins = new URL("../plugins/", import.meta.url);

/** The words that a plugin's README writes in its syntax. */
function wordsOf(plugin: string): string[] {
  const text = readFileSync(new URL(`${plugin}/README.md`, plugins), "utf8");
  const syntax = [...text.matchAll(/```\n(.*?)```/gs)].map(([, block = ""]) => block).join("\n");
  return [...new Set(syntax.split(/[\s|[\]{}…]+/).filter(Boolean))];
}

const WORDS = new Map(
  readdirSync(plugins, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => [name, wordsOf(name)] as const),
);
const VALUES =
  '0 1 5 -1 65536 9999999999999 1.5 5s 10ms 1h -5s 0s 10.0.0.1 10.0.0.1:53 fd00::1 [fd00::1]:99 300.1.1.1 10.0.0.0/8 10.0.0.0/33 fd00::/8 . example.org *.org a..b svc.cluster.local in-addr.arpa A AAAA ANY TYPE65280 IN CH NOERROR SERVFAIL (.*) ([ ^a$ {1} {$X} "" { } true off on stop continue name exact regex é \u0000'.split(
    " ",
  );
const directive = fc.constantFrom(...PLUGINS.map(({ name }) => name)).chain((name) => {
  const word = fc.oneof(fc.constantFrom(...(WORDS.get(name) ?? [name]), name), fc.constantFrom(...VALUES), fc.string({ maxLength: 6 }));
  const line = fc.array(word, { maxLength: 5 }).map((words) => words.join(" "));
  return fc
    .tuple(line, fc.option(fc.array(line, { maxLength: 4 })))
    .map(([head, body]) => `${name} ${head}${body ? ` {\n${body.join("\n")}\n}` : ""}`);
});

test("every plugin's syntax is in its README", () => {
  for (const { name } of PLUGINS) assert.ok(WORDS.get(name)?.includes(name), name);
});

test("plugins take any words, or say at which line they do not", async () => {
  const { block } = await chain("whoami");
  let taken = 0;
  let refused = 0;
  fc.assert(
    fc.property(fc.array(directive, { minLength: 1, maxLength: 3 }), (directives) => {
      const text = `.:53 {\n${directives.join("\n")}\n}\n`;
      try {
        readConfiguration(text, { file: "Corefile", environment: {} }, block.site.host);
        taken++;
      } catch (error) {
        if (!(error instanceof CorefileError)) throw error;
        const lines = text.split("\n").length;
        assert.ok(error.place.line >= 1 && (error.place.file !== "Corefile" || error.place.line <= lines), error.message);
        refused++;
      }
    }),
    fuzzing(),
  );
  assert.ok(taken > 0 && refused > 0, `taken ${taken}, refused ${refused}`);
});
