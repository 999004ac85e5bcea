// The difference of two tables of iptables, carried out on the fake: it leads to what is desired, and touches nothing else.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createFakeKernel } from "../fake/kernel.ts";
import type { IptablesTable } from "../state.ts";
import { diffIptables, type IptablesOwnership } from "./diff.ts";

const MARK = "-m comment --comment ours";
const OWNS: IptablesOwnership = { chains: (name) => name.startsWith("KUBE-"), mark: { chain: "KUBE-CANARY", rule: MARK } };

type Chains = Readonly<Record<string, readonly string[]>>;
const table = (chains: Chains): IptablesTable => ({
  family: 4,
  name: "nat",
  chains: Object.entries(chains).map(([name, rules]) => ({ name, rules })),
});
const OURS = { "KUBE-CANARY": [MARK] };

function world(text: string) {
  const { iptables } = createFakeKernel().createNamespace();
  iptables.restore(4, `*nat\n${text}\nCOMMIT\n`);
  const read = () => iptables.save(4).find(({ name }) => name === "nat");
  return {
    read,
    chains: () => Object.fromEntries((read()?.chains ?? []).map(({ name, rules }) => [name, rules])) as Chains,
    reach(desired: IptablesTable | undefined) {
      const change = diffIptables(read(), desired, OWNS);
      for (const commands of [change.write, change.clean]) if (commands !== "") iptables.restore(4, commands);
      return change;
    },
  };
}

test("only changed chains are written, and the same again writes nothing", () => {
  const { reach, chains } = world("");
  const first = { ...OURS, "KUBE-A": ["-j ACCEPT"], "KUBE-B": ["-j KUBE-A"], PREROUTING: ["-j KUBE-B"] };
  reach(table(first));
  const again = reach(table(first));
  assert.equal(again.write + again.clean, "");
  const { write, clean } = reach(table({ ...first, "KUBE-A": ["-j DROP"] }));
  assert.equal(write, "*nat\n:KUBE-A - [0:0]\n-A KUBE-A -j DROP\nCOMMIT\n");
  assert.equal(clean, "");
  assert.deepEqual(chains()["KUBE-A"], ["-j DROP"]);
});

test("others' rules and chains stay, and ours go to the head of the kernel's chains", () => {
  const { reach, chains } = world(":DOCKER - [0:0]\n-A DOCKER -j RETURN\n-A PREROUTING -j DOCKER");
  reach(table({ ...OURS, "KUBE-A": ["-j ACCEPT"], PREROUTING: ["-j KUBE-A"] }));
  assert.deepEqual(chains().PREROUTING, ["-j KUBE-A", "-j DOCKER"]);
  reach(undefined);
  assert.deepEqual(chains(), { DOCKER: ["-j RETURN"], PREROUTING: ["-j DOCKER"], INPUT: [], OUTPUT: [], POSTROUTING: [] });
});

test("chains of our names that do not bear our mark are left alone, until the table is ours", () => {
  const { reach, chains } = world(":KUBE-SVC-X - [0:0]\n:KUBE-A - [0:0]\n-A KUBE-A -j KUBE-SVC-X\n-A PREROUTING -j KUBE-A");
  const before = chains();
  assert.equal(reach(undefined).clean, "");
  assert.deepEqual(chains(), before);
  reach(table({ ...OURS, "KUBE-A": ["-j ACCEPT"] }));
  assert.deepEqual(
    Object.keys(chains())
      .filter((name) => name.startsWith("KUBE"))
      .sort(),
    ["KUBE-A", "KUBE-CANARY"],
  );
});

const rules = (count: number, skip: readonly number[] = [], extra: readonly string[] = []) => [
  ...Array.from({ length: count }, (_, at) => at)
    .filter((at) => !skip.includes(at))
    .map((at) => `-d 10.0.0.${at}/32 -j ACCEPT`),
  ...extra,
];

test("a long chain is changed rule by rule", () => {
  const { reach, chains } = world("");
  reach(table({ ...OURS, "KUBE-A": rules(100) }));
  const { write } = reach(table({ ...OURS, "KUBE-A": rules(100, [7, 50], ["-j DROP"]) }));
  assert.equal(write, "*nat\n-D KUBE-A -d 10.0.0.7/32 -j ACCEPT\n-D KUBE-A -d 10.0.0.50/32 -j ACCEPT\n-I KUBE-A 99 -j DROP\nCOMMIT\n");
  assert.deepEqual(chains()["KUBE-A"], rules(100, [7, 50], ["-j DROP"]));
});

test("in a loose chain a rule is put in at the head, and the last stays last", () => {
  const { reach, chains } = world("");
  const loose = (list: readonly string[]): IptablesTable => ({
    family: 4,
    name: "nat",
    chains: [{ name: "KUBE-A", rules: list, loose: true }],
  });
  reach(loose([...rules(100), "-j DROP"]));
  const wanted = [
    ...rules(90, [7]),
    "-j RETURN -m mark --mark 1",
    ...rules(
      100,
      Array.from({ length: 90 }, (_, at) => at),
    ),
    "-j DROP",
  ];
  const { write } = reach(loose(wanted));
  assert.equal(write, "*nat\n-D KUBE-A -d 10.0.0.7/32 -j ACCEPT\n-I KUBE-A 1 -j RETURN -m mark --mark 1\nCOMMIT\n");
  assert.deepEqual([...(chains()["KUBE-A"] ?? [])].sort(), [...wanted].sort());
  assert.equal(chains()["KUBE-A"]?.at(-1), "-j DROP");
  assert.equal(reach(loose(wanted)).write, "", "another order is no difference");
});

test("many chains come in several transactions, jumped to first, and go the other way round", () => {
  const { reach, chains } = world("");
  const many: Record<string, readonly string[]> = { ...OURS };
  for (let at = 0; at < 700; at++) many[`KUBE-${at}`] = [at === 0 ? "-j ACCEPT" : `-j KUBE-${at - 1}`];
  const { write } = reach(table(many));
  assert.ok(write.split("COMMIT").length > 3);
  reach(undefined);
  assert.deepEqual(
    Object.keys(chains()).filter((name) => name.startsWith("KUBE")),
    [],
  );
});

test("whatever was there, what is desired is reached, in one step", () => {
  const chain = fc
    .array(fc.integer({ min: 0, max: 60 }), { maxLength: 60 })
    .map((numbers) => numbers.map((n) => `-d 10.0.0.${n}/32 -j ACCEPT`));
  const state = fc.record(
    { "KUBE-A": chain, "KUBE-B": chain, PREROUTING: fc.constantFrom([], ["-j KUBE-A"]) },
    { requiredKeys: ["KUBE-A"] },
  );
  fc.assert(
    fc.property(state, state, (before, after) => {
      const { reach, chains } = world("");
      const wanted = (chosen: Chains) => ({ ...OURS, ...chosen });
      reach(table(wanted(before)));
      const { cleaned } = reach(table(wanted(after)));
      const found = chains();
      for (const [name, list] of Object.entries(wanted(after))) assert.deepEqual(found[name], list);
      assert.deepEqual(found.PREROUTING, after.PREROUTING ?? []);
      assert.deepEqual(Object.fromEntries(cleaned.chains.map(({ name, rules: list }) => [name, list])), found, "what is believed");
    }),
  );
});
