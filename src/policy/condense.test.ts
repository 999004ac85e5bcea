// Condensed chains decide as those that they were made of, and say whose rule decides.
import assert from "node:assert/strict";
import { test } from "node:test";
import { randomChain, tableOf } from "../../test/random-chains.ts";
import { evaluateHook, makePacket, type NftRule, type NftSet, type NftTable } from "../kernel/index.ts";
import { condense } from "./condense.ts";

/** How many: FAIRLEAD_ROUNDS says it. */
const ROUNDS = Number(process.env.FAIRLEAD_ROUNDS ?? 40);

const CONTEXT = { inDevice: "a", outDevice: "b", isLocal: () => false, choose: () => 0 };

function decide(table: NftTable, source: string, protocol: "tcp" | "udp", destinationPort: number) {
  const { verdict, steps } = evaluateHook(
    [table],
    "forward",
    makePacket({ source, destination: "10.1.0.1", protocol, destinationPort }),
    CONTEXT,
  );
  return { verdict, owner: steps.at(-1)?.owner };
}

test(`a condensed chain decides as before, over ${ROUNDS} chains`, () => {
  let condensed = 0;
  for (let seed = 1; seed <= ROUNDS; seed++) {
    const { chain, sets } = randomChain(seed);
    const made = condense([chain], sets);
    const [smaller] = made.chains;
    assert.ok(smaller);
    if (smaller.rules.length < chain.rules.length / 2) condensed++;
    const [before, after] = [tableOf(chain, sets), tableOf(smaller, made.sets)];
    for (let last = 0; last < 32; last++)
      for (const protocol of ["tcp", "udp"] as const)
        for (const port of [53, 80, 443, 8050, 9000]) {
          const [was, is] = [before, after].map((table) => decide(table, `10.0.0.${last}`, protocol, port)) as [
            ReturnType<typeof decide>,
            ReturnType<typeof decide>,
          ];
          assert.equal(is.verdict, was.verdict, `seed ${seed}: 10.0.0.${last} ${protocol} ${port}`);
          // Of the rules that would decide alike another may be named, but never one of another row.
          assert.equal(is.owner?.name, was.owner?.name, `seed ${seed}: 10.0.0.${last} ${protocol} ${port}`);
        }
  }
  assert.ok(condensed > ROUNDS / 4, `${condensed} of ${ROUNDS} got shorter`);
});

test("sets that no rule asks any more are left out, and few rules are left as they are", () => {
  const set = (name: string): NftSet => ({ name, key: ["ipv4_addr"], elements: [{ key: [`10.0.0.${name.slice(1)}`] }] });
  const rule = (name: string): NftRule => ({
    matches: [{ left: "ip saddr", op: "==", right: { set: name } }],
    statements: [{ verdict: "return" }],
    owner: { kind: "NetworkPolicy", namespace: "shop", name },
  });
  const names = Array.from({ length: 40 }, (_, index) => `s${index}`);
  const many = condense([{ name: "ingress-1", rules: names.map(rule) }], names.map(set));
  assert.equal(many.chains[0]?.rules.length, 1);
  assert.deepEqual(
    many.sets.map(({ elements }) => elements.map(({ key, owner }) => `${key} ${owner?.name}`)),
    [names.map((name) => `10.0.0.${name.slice(1)} ${name}`)],
  );
  const few = condense([{ name: "ingress-2", rules: names.slice(0, 5).map(rule) }], names.map(set));
  assert.equal(few.chains[0]?.rules.length, 5);
  assert.deepEqual(
    few.sets.map(({ name }) => name),
    names.slice(0, 5),
  );
});
