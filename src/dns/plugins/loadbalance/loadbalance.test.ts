import assert from "node:assert/strict";
import { test } from "node:test";
import { chain, lines, tableHandler } from "../../../../test/dns-chain.ts";
import type { ResourceRecord } from "../../message.ts";
import { reply } from "../../query.ts";

const a = (address: string): ResourceRecord => ({ name: "x.", class: 1, ttl: 5, data: { type: "A", address } });
const alias: ResourceRecord = { name: "y.", class: 1, ttl: 5, data: { type: "CNAME", target: "x." } };
const nothing = reply("table");

test("addresses change their order, CNAMEs stay first", async () => {
  const numbers = [0.9, 0.1, 0.5, 0.2];
  const next = tableHandler({ "x. A": reply("table", { answers: [a("10.0.0.1"), alias, a("10.0.0.2"), a("10.0.0.3")] }) }, nothing);
  const { ask } = await chain("loadbalance", { next, random: () => numbers.shift() ?? 0 });
  const first = lines(await ask("x."));
  const second = lines(await ask("x."));
  assert.equal(first[0], "y. 5 IN CNAME x.");
  assert.deepEqual([...first].sort(), [...second].sort());
  assert.notDeepEqual(first, second);
});

test("preferred prefixes come first, a lone record is given as it is", async () => {
  const one = reply("table", { answers: [a("10.0.0.1")] });
  const next = tableHandler({ "x. A": reply("table", { answers: [a("192.168.0.1"), a("10.0.0.2")] }), "one. A": one }, nothing);
  const { ask } = await chain("loadbalance round_robin {\nprefer 10.0.0.0/8\n}", { next, random: () => 0.99 });
  assert.deepEqual(lines(await ask("x.")), ["x. 5 IN A 10.0.0.2", "x. 5 IN A 192.168.0.1"]);
  assert.equal(await ask("one."), one);
});

test("what it does not know is refused at its place", async () => {
  await assert.rejects(chain("loadbalance fastest"), /Corefile:2:13: "fastest" is not one of round_robin/);
  await assert.rejects(chain("loadbalance {\nprefers 10.0.0.0\n}"), /Corefile:3:1: .*did you mean prefer\?/);
});
