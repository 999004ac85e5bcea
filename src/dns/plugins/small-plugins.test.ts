// The plugins that are a few lines each: any, bufsize, minimal, whoami, nsid, chaos, header, bind.
import assert from "node:assert/strict";
import { hostname } from "node:os";
import { describe, test } from "node:test";
import { chain, lines, tableHandler } from "../../../test/dns-chain.ts";
import type { ResourceRecord } from "../message.ts";
import { type Handler, type Query, reply } from "../query.ts";

const A: ResourceRecord = { name: "x.", class: 1, ttl: 5, data: { type: "A", address: "10.0.0.1" } };
const NS: ResourceRecord = { name: "x.", class: 1, ttl: 5, data: { type: "NS", target: "ns.x." } };
const NX = reply("table", { rcode: 3 });

/** Keeps the queries that reach the end of the chain. */
function recorder(answer = reply("end")): Handler & { readonly seen: Query[] } {
  const seen: Query[] = [];
  const serve = (query: Query) => {
    seen.push(query);
    return answer;
  };
  return { name: "end", seen, serve };
}

test("any: one small record for ANY, all else goes on", async () => {
  const next = tableHandler({ "x. A": reply("table", { answers: [A] }) }, NX);
  const { ask } = await chain("any", { next });
  assert.deepEqual(lines(await ask("x.", "ANY")), ['x. 8482 IN HINFO "ANY" "See RFC 8482"']);
  assert.deepEqual(lines(await ask("x.")), ["x. 5 IN A 10.0.0.1"]);
  await assert.rejects(chain("any much"), /"much" is too much: any takes no arguments/);
});

describe("bufsize", () => {
  const edns = (udpSize: number) => ({ edns: { udpSize, version: 0, dnssecOk: false }, udpSize: Math.min(1232, udpSize) });
  const cases: [string, number | undefined, number][] = [
    ["bufsize", 4096, 1232],
    ["bufsize 4096", 4096, 4096],
    ["bufsize 512", 4096, 512],
    ["bufsize 2000", 1000, 1000],
    ["bufsize 2000", 100, 512],
    ["bufsize 4096", undefined, 512],
  ];
  for (const [text, asked, given] of cases)
    test(`${text}, asked for ${asked ?? "nothing"}: ${given}`, async () => {
      const next = recorder();
      const { ask } = await chain(text, { next });
      await ask("x.", "A", asked === undefined ? {} : edns(asked));
      assert.equal(next.seen[0]?.udpSize, given);
    });

  test("a size out of range is refused", async () => {
    await assert.rejects(chain("bufsize 100"), /"100" is no whole number from 512 to 4096/);
  });
});

test("minimal: nothing beside an answer; denials and delegations stay whole", async () => {
  const table = {
    "x. A": reply("table", { answers: [A], authorities: [NS], additionals: [A] }),
    "x. MX": reply("table", { authorities: [NS], additionals: [A] }),
    "no. A": reply("table", { rcode: 3, authorities: [NS] }),
  };
  const { ask } = await chain("minimal", { next: tableHandler(table, NX) });
  const answer = await ask("x.");
  assert.deepEqual([lines(answer), lines(answer, "authorities"), lines(answer, "additionals")], [["x. 5 IN A 10.0.0.1"], [], []]);
  const delegation = await ask("x.", "MX");
  assert.deepEqual([lines(delegation, "authorities").length, lines(delegation, "additionals").length], [1, 1]);
  assert.equal(lines(await ask("no."), "authorities").length, 1);
});

test("whoami: address, port and protocol of the asker", async () => {
  const { ask } = await chain("whoami");
  assert.deepEqual(lines(await ask("who.example."), "additionals"), [
    "who.example. 0 IN A 10.244.0.7",
    "_udp.who.example. 0 IN SRV 0 0 40000 .",
  ]);
  const six = await ask(".", "A", { origin: { address: "fd00::7", transport: "tcp", port: 9 } });
  assert.deepEqual(lines(six, "additionals"), [". 0 IN AAAA fd00::7", "_tcp. 0 IN SRV 0 0 9 ."]);
});

test("nsid: for those who ask for it", async () => {
  const asking = { edns: { udpSize: 1232, version: 0, dnssecOk: false, options: [{ code: 3, bytes: new Uint8Array() }] } };
  const named = await chain("nsid replica 1", { next: recorder() });
  const answer = await named.ask("x.", "A", asking);
  assert.ok(answer !== "dropped");
  assert.equal(Buffer.from(answer.options?.[0]?.bytes ?? []).toString(), "replica 1");
  const plain = await named.ask("x.");
  assert.ok(plain !== "dropped" && plain.options === undefined);
  const unnamed = await (await chain("nsid", { next: recorder() })).ask("x.", "A", asking);
  assert.ok(unnamed !== "dropped");
  assert.equal(Buffer.from(unnamed.options?.[0]?.bytes ?? []).toString(), hostname());
});

test("chaos: what the server says of itself, in class CH only", async () => {
  const { ask } = await chain("chaos Fairlead-1 ann bob", { next: tableHandler({}, NX) });
  assert.deepEqual(lines(await ask("version.bind.", "TXT", { class: 3 })), ['version.bind. 0 CH TXT "Fairlead-1"']);
  assert.deepEqual(lines(await ask("version.server.", "TXT", { class: 3 })), ['version.server. 0 CH TXT "Fairlead-1"']);
  assert.deepEqual(lines(await ask("authors.bind.", "TXT", { class: 3 })), [
    'authors.bind. 0 CH TXT "ann"',
    'authors.bind. 0 CH TXT "bob"',
  ]);
  assert.deepEqual(lines(await ask("id.server.", "TXT", { class: 3 })), [`id.server. 0 CH TXT "${hostname()}"`]);
  for (const [name, type, klass] of [
    ["version.bind.", "TXT", 1],
    ["version.bind.", "A", 3],
    ["other.bind.", "TXT", 3],
  ] as const) {
    const answer = await ask(name, type, { class: klass });
    assert.ok(answer !== "dropped" && answer.rcode === 3, `${name} ${type} goes on`);
  }
});

test("header: flags of questions and answers", async () => {
  const next = recorder(reply("end", { authoritative: true }));
  const { ask } = await chain("header {\nresponse set ra\nclear aa\nquery clear rd\n}", { next });
  const answer = await ask("x.");
  assert.ok(answer !== "dropped");
  assert.deepEqual([answer.recursionAvailable, answer.authoritative], [true, false]);
  assert.deepEqual([next.seen[0]?.recursionDesired, next.seen[0]?.name], [false, "x."]);
  await assert.rejects(chain("header {\nresponse set ad\n}"), /"ad" is not one of aa, ra, rd/);
  await assert.rejects(chain("header"), /header has no rule/);
});

test("bind: addresses, those of interfaces, and not the excepted", async () => {
  const { block } = await chain("bind lo 192.0.2.1\nbind 192.0.2.2");
  const addresses = block.installed.flatMap(({ installed }) => installed.addresses ?? []);
  assert.ok(addresses.includes("127.0.0.1") && addresses.includes("192.0.2.1") && addresses.includes("192.0.2.2"));
  const except = (await chain("bind lo {\nexcept 127.0.0.1\n}")).block.installed.flatMap(({ installed }) => installed.addresses ?? []);
  assert.ok(!except.includes("127.0.0.1"));
  await assert.rejects(chain("bind no-such-link"), /"no-such-link" is neither an address nor an interface/);
});
