import assert from "node:assert/strict";
import { test } from "node:test";
import { type Chain, chain, tableHandler } from "../../../../test/dns-chain.ts";
import { RCODE, type ResourceRecord } from "../../message.ts";
import { reply } from "../../query.ts";

const a: ResourceRecord = { name: "x.org.", class: 1, ttl: 5, data: { type: "A", address: "10.0.0.1" } };
const soa: ResourceRecord = {
  name: "org.",
  class: 1,
  ttl: 5,
  data: { type: "SOA", primary: "a.", mailbox: "b.", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 1 },
};
const next = tableHandler(
  {
    "x.org. A": reply("table", { authoritative: true, answers: [a] }),
    "x.org. AAAA": reply("table", { authorities: [soa] }),
    "bad.org. A": reply("table", { rcode: RCODE.SERVFAIL }),
  },
  reply("table", { rcode: RCODE.NXDOMAIN }),
);

async function logged(text: string, ask: (c: Chain) => Promise<unknown>): Promise<string[]> {
  const c = await chain(text, { next });
  await ask(c);
  return c.logged.map((line) => line.replace(/^info log: /, ""));
}

async function all(c: Chain): Promise<void> {
  await c.ask("X.org.");
  await c.ask("x.org.", "AAAA");
  await c.ask("bad.org.");
  await c.ask("nope.org.");
}

test("each answer is a line in the common format", async () => {
  assert.deepEqual(await logged("log", all), [
    '10.244.0.7:40000 - 1 "A IN X.org. udp 40 false 512" NOERROR qr,aa,rd 100 0.001s',
    '10.244.0.7:40000 - 1 "AAAA IN x.org. udp 40 false 512" NOERROR qr,rd 100 0.001s',
    '10.244.0.7:40000 - 1 "A IN bad.org. udp 40 false 512" SERVFAIL qr,rd 100 0.001s',
    '10.244.0.7:40000 - 1 "A IN nope.org. udp 40 false 512" NXDOMAIN qr,rd 100 0.001s',
  ]);
});

test("a format of one's own, names and classes that are told", async () => {
  assert.deepEqual(await logged('log . "{remote} {name} {rcode}"', all), [
    "10.244.0.7 X.org. NOERROR",
    "10.244.0.7 x.org. NOERROR",
    "10.244.0.7 bad.org. SERVFAIL",
    "10.244.0.7 nope.org. NXDOMAIN",
  ]);
  const classes = async (of: string) => (await logged(`log . "{name} {type}" {\nclass ${of}\n}`, all)).join("; ");
  assert.equal(await classes("success"), "X.org. A");
  assert.equal(await classes("denial"), "x.org. AAAA; nope.org. A");
  assert.equal(await classes("denial error"), "x.org. AAAA; bad.org. A; nope.org. A");
  assert.deepEqual(await logged('log nope.org "one {name}"\nlog . "rest {name}" {\nclass error\n}', all), [
    "rest bad.org.",
    "one nope.org.",
  ]);
});

test("IPv6 clients stand in brackets, EDNS0 shows its size", async () => {
  const edns = { udpSize: 1400, version: 0, dnssecOk: true };
  assert.deepEqual(await logged("log", (c) => c.ask("x.org.", "A", { edns, origin: { address: "fd00::7", transport: "tcp" } })), [
    '[fd00::7]:40000 - 1 "A IN x.org. tcp 40 true 1400" NOERROR qr,aa,rd 100 0.001s',
  ]);
});

test("what makes no sense is refused at its place", async () => {
  for (const [text, says] of [
    ['log . "{name} {colour}"', /Corefile:2:7: a log line has no field \{colour\}/],
    ["log a..b", /neither a name nor a format/],
    ["log {\nclass loud\n}", /not one of success, denial, error, all/],
    ["log {\nclasses all\n}", /did you mean class/],
  ] as const)
    await assert.rejects(chain(text), says);
});
