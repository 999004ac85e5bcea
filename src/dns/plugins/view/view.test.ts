import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { chain } from "../../../../test/dns-chain.ts";
import { reply } from "../../query.ts";
import { compileExpression, ExpressionError } from "./expression.ts";

const next = { name: "end", serve: () => reply("end") };
const takes = async (expression: string, name = "api.example.org.", type: "A" | "AAAA" = "A", address = "10.244.0.7") => {
  const { ask } = await chain(`.:53 {\nview v {\nexpr ${expression}\n}\n}`, { next });
  return (await ask(name, type, { origin: { address } })) !== "dropped";
};

describe("expressions", () => {
  const cases: [string, boolean][] = [
    ["type() == 'A'", true],
    ["type() in ['AAAA', 'A']", true],
    ["type() not in ['AAAA', 'A']", false],
    ["not (type() == 'A')", false],
    ["!(type() == 'A') || name() == 'api.example.org.'", true],
    ["type() == 'AAAA' or incidr(client_ip(), '10.244.0.0/16')", true],
    ["incidr(client_ip(), '10.245.0.0/16')", false],
    ["name() matches '^api\\\\..*\\\\.org\\\\.$'", true],
    ["name() startsWith 'api.' && name() endsWith '.org.'", true],
    ["name() contains 'example'", true],
    ["port() == '40000' and proto() == 'udp'", true],
    ["bufsize() >= 512 and bufsize() < 513", true],
    ["1 + 2 * 3 == 7", true],
    ["(1 + 2) * 3 == 9", true],
    ["-1 < 0", true],
    ["7 % 4 - 3 == 0", true],
    ["'a' + 'b' == 'ab'", true],
    ["do()", false],
    ["class() == 'IN' and server_port() == '53'", true],
    ["true and not false", true],
    ["type() == 'A' and type() == 'B' or true", true],
  ];
  for (const [expression, expected] of cases) test(expression, async () => assert.equal(await takes(expression), expected));

  test("IPv6 askers, in brackets", async () => {
    assert.equal(await takes("client_ip() == '[fd00::1]' and incidr(client_ip(), 'fd00::/64')", "x.", "A", "fd00::1"), true);
  });

  test("what can't be decided takes no query", async () => {
    assert.equal(await takes("incidr('nonsense', '10.0.0.0/8')"), false);
    assert.equal(await takes("type() < 1"), false);
    assert.equal(await takes("bufsize()"), false, "a number is no truth");
  });
});

test("what is no expression is refused at its place", async () => {
  for (const [expression, says] of [
    ["", /no condition|cut short/],
    ["type() ==", /cut short/],
    ["kind() == 'A'", /there is no function "kind"; there are bufsize, class/],
    ["type( == 'A'", /not expected here|missing/],
    ["type() == 'A' 'B'", /too much/],
    ["name() matches '('", /no regular expression/],
    ["type() ~ 'A'", /no part of an expression/],
  ] as const)
    await assert.rejects(chain(`.:53 {\nview v {\nexpr ${expression}\n}\n}`), says, expression);
  await assert.rejects(chain("view v"), /view has no condition/);
});

test("any text is an expression or an ExpressionError", () => {
  const words = fc.constantFrom("type()", "'A'", "==", "in", "[", "]", "(", ")", "not", "and", "1", "-", ",", "matches", "'('", " ", "x");
  fc.assert(
    fc.property(fc.array(words, { maxLength: 12 }), (parts) => {
      try {
        compileExpression(parts.join(" "), ["type"])({ type: () => "A" });
      } catch (error) {
        if (!(error instanceof ExpressionError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
  assert.throws(() => compileExpression("(".repeat(10_000), ["type"]), /too deep|cut short/);
});
