import assert from "node:assert/strict";
import { test } from "node:test";
import { chain, lines } from "../../../../test/dns-chain.ts";
import { RCODE, type RecordData, type ResourceRecord } from "../../message.ts";
import { type Handler, type Outcome, type Query, type Reply, reply } from "../../query.ts";
import { Store } from "./store.ts";

const record = (name: string, ttl: number, data: RecordData): ResourceRecord => ({ name, class: 1, ttl, data });
const a = (name: string, ttl: number, address = "192.0.2.1") => record(name, ttl, { type: "A", address });
const soa = (ttl: number, minimum: number) =>
  record("org.", ttl, { type: "SOA", primary: "ns.org.", mailbox: "h.org.", serial: 1, refresh: 1, retry: 1, expire: 1, minimum });
const found = (name: string, ttl: number, address?: string) => reply("up", { answers: [a(name, ttl, address)] });
const denied = (ttl: number, minimum = ttl) => reply("up", { rcode: RCODE.NXDOMAIN, authorities: [soa(ttl, minimum)] });

/** Stands behind the cache; counts. */
function source(answer: (query: Query, count: number) => Outcome): Handler & { count: number } {
  const handler = {
    name: "up",
    count: 0,
    serve: (query: Query) => {
      handler.count++;
      return answer(query, handler.count);
    },
  };
  return handler;
}

const ttls = (given: Reply | "dropped") => lines(given).map((line) => Number(line.split(" ")[1]));

test("an answer is given again with the TTL that is left, then asked for anew", async () => {
  const next = source(() => found("x.", 60));
  const c = await chain("cache", { next });
  assert.deepEqual(ttls(await c.ask("x.")), [60]);
  c.clock += 10_900;
  assert.deepEqual(ttls(await c.ask("X.")), [50]);
  assert.equal(next.count, 1);
  c.clock += 50_000;
  assert.deepEqual(ttls(await c.ask("x.")), [60]);
  assert.equal(next.count, 2);
});

const LIFETIMES: readonly [what: string, corefile: string, given: Reply, first: number][] = [
  ["at most the given TTL", "cache 30", found("x.", 600), 30],
  ["at most an hour", "cache", found("x.", 86_400), 3600],
  ["a denial at most half an hour", "cache", denied(86_400), 1800],
  ["a denial as long as the SOA's last field", "cache", denied(600, 20), 20],
  ["at least five seconds", "cache", found("x.", 1), 5],
  ["at least as long as is asked for", "cache {\nsuccess 5000 3600 60\n}", found("x.", 1), 60],
  ["by part", "cache {\nsuccess 5000 10\ndenial 5000 20\n}", found("x.", 100), 10],
  ["by the shortest of its records", "cache", reply("up", { answers: [a("x.", 600), a("x.", 20, "192.0.2.2")] }), 20],
];

for (const [what, corefile, given, first] of LIFETIMES)
  test(`kept ${what}`, async () => {
    const next = source(() => given);
    const c = await chain(corefile, { next });
    const at = (reply: Reply | "dropped") => (reply === "dropped" ? [] : [...reply.answers, ...reply.authorities]).map((each) => each.ttl);
    assert.ok(at(await c.ask("x.")).every((ttl) => ttl === first));
    c.clock += (first - 1) * 1000;
    assert.ok(at(await c.ask("x.")).every((ttl) => ttl === 1));
    assert.equal(next.count, 1);
    c.clock += 1000;
    await c.ask("x.");
    assert.equal(next.count, 2);
  });

const NOT_KEPT: readonly [what: string, corefile: string, given: Reply][] = [
  ["what is cut off", "cache", { ...found("x.", 60), truncated: true }],
  ["a denial without SOA", "cache", reply("up", { rcode: RCODE.NXDOMAIN })],
  ["an alias that leads nowhere", "cache", reply("up", { answers: [record("x.", 60, { type: "CNAME", target: "y." })] })],
  ["a refusal", "cache", reply("up", { rcode: RCODE.REFUSED })],
  ["failures, where that is not wanted", "cache {\nservfail 0\n}", reply("up", { rcode: RCODE.SERVFAIL })],
  ["successes of a zone where they are not wanted", "cache {\ndisable success x\n}", found("x.", 60)],
  ["denials of a zone where they are not wanted", "cache {\ndisable denial\n}", denied(60)],
  ["names outside of its zones", "cache 30 other.org", found("x.", 60)],
  ["what the cluster's directory answers", "cache", { ...found("x.", 60), by: "kubernetes" }],
];

for (const [what, corefile, given] of NOT_KEPT)
  test(`not kept: ${what}`, async () => {
    const next = source(() => given);
    const c = await chain(corefile, { next });
    await c.ask("x.");
    await c.ask("x.");
    assert.equal(next.count, 2);
  });

test("failures are kept for five seconds", async () => {
  const next = source(() => reply("up", { rcode: RCODE.SERVFAIL, error: "no" }));
  const c = await chain("errors\ncache", { next });
  for (const later of [0, 4000, 1500]) {
    c.clock += later;
    const given = await c.ask("x.");
    assert.equal(given !== "dropped" && given.rcode, RCODE.SERVFAIL);
  }
  assert.equal(next.count, 2);
  // What is given again is not told again.
  assert.equal(c.logged.length, 2);
});

test("answers differ by type, DO, CD and class", async () => {
  const next = source(() => found("x.", 60));
  const c = await chain("cache", { next });
  const edns = { udpSize: 1232, version: 0, dnssecOk: true };
  for (let round = 0; round < 2; round++) {
    await c.ask("x.", "A");
    await c.ask("x.", "A", { edns });
    await c.ask("x.", "A", { checkingDisabled: true });
    await c.ask("x.", "ANY");
  }
  assert.equal(next.count, 4);
});

test("the same question is asked once at a time", async () => {
  const releases: ((reply: Reply) => void)[] = [];
  const next = source(() => new Promise<Reply>((resolve) => releases.push(resolve)));
  const c = await chain("cache", { next });
  const asked = [c.ask("x."), c.ask("x."), c.ask("X.")];
  // TCP is asked for itself: UDP's answer may be cut off.
  asked.push(c.ask("x.", "A", { origin: { transport: "tcp" } }));
  assert.equal(next.count, 2);
  for (const release of releases) release(found("x.", 60));
  for (const given of await Promise.all(asked)) assert.deepEqual(ttls(given), [60]);
});

test("prefetch: what is popular is asked for before its end, once", async () => {
  const next = source((_query, count) => found("x.", 100, `192.0.2.${count}`));
  const c = await chain("cache {\nprefetch 3 1m 20%\n}", { next });
  for (let i = 0; i < 4; i++) await c.ask("x.");
  assert.equal(next.count, 1);
  c.clock += 50_000;
  await c.ask("x.");
  assert.equal(next.count, 1, "not near its end");
  c.clock += 31_000;
  assert.deepEqual(ttls(await c.ask("x.")), [19], "the old answer is given at once");
  assert.equal(next.count, 2);
  assert.deepEqual(lines(await c.ask("x.")), ["x. 100 IN A 192.0.2.2"]);
});

test("serve_stale: what is over is given with TTL 0 while it is asked for; a failure changes nothing", async () => {
  let down = false;
  const next = source((_query, count) => (down ? reply("up", { rcode: RCODE.SERVFAIL }) : found("x.", 10, `192.0.2.${count}`)));
  const c = await chain("cache {\nserve_stale 1h\n}", { next });
  await c.ask("x.");
  down = true;
  c.clock += 60_000;
  assert.deepEqual(lines(await c.ask("x.")), ["x. 0 IN A 192.0.2.1"]);
  await new Promise(setImmediate);
  down = false;
  assert.deepEqual(lines(await c.ask("x.")), ["x. 0 IN A 192.0.2.1"]);
  await new Promise(setImmediate);
  assert.deepEqual(lines(await c.ask("x.")), ["x. 10 IN A 192.0.2.3"]);
  c.clock += 3_700_000;
  assert.deepEqual(ttls(await c.ask("x.")), [10], "older than the hour: asked for anew");
});

test("serve_stale verify: the source is asked first, and what is stale is given where that fails", async () => {
  let down = true;
  const next = source((_query, count) =>
    down && count > 1 ? Promise.resolve(reply("up", { rcode: RCODE.SERVFAIL })) : Promise.resolve(found("x.", 10, `192.0.2.${count}`)),
  );
  const c = await chain("cache {\nserve_stale 1h verify\n}", { next });
  await c.ask("x.");
  c.clock += 60_000;
  assert.deepEqual(lines(await c.ask("x.")), ["x. 0 IN A 192.0.2.1"]);
  down = false;
  assert.deepEqual(lines(await c.ask("x.")), ["x. 10 IN A 192.0.2.3"]);
});

test("serve_stale verify with a time limit does not wait longer", async () => {
  const next = source((_query, count) => (count > 1 ? new Promise<Reply>(() => {}) : found("x.", 10)));
  const c = await chain("cache {\nserve_stale 1h verify 20ms\n}", { next });
  await c.ask("x.");
  c.clock += 60_000;
  assert.deepEqual(ttls(await c.ask("x.")), [0]);
});

test("keepttl: the TTL stays, the entry ends all the same", async () => {
  const next = source(() => found("x.", 60));
  const c = await chain("cache {\nkeepttl\n}", { next });
  await c.ask("x.");
  c.clock += 30_000;
  assert.deepEqual(ttls(await c.ask("x.")), [60]);
  c.clock += 31_000;
  await c.ask("x.");
  assert.equal(next.count, 2);
});

test("a capacity is not exceeded, and metrics say what goes", async () => {
  const next = source((query) => found(query.name, 60));
  const c = await chain("cache {\nsuccess 1024\n}", { next });
  for (let i = 0; i < 3000; i++) await c.ask(`n${i}.`);
  const text = c.metrics.print();
  assert.match(text, /coredns_cache_entries\{server="dns:\/\/:53",type="success",zones="\.",view=""\} 1024/);
  assert.match(text, /coredns_cache_evictions_total\{server="dns:\/\/:53",type="success",zones="\.",view=""\} 1976/);
  await c.ask("n2999.");
  assert.match(c.metrics.print(), /coredns_cache_hits_total\{server="dns:\/\/:53",type="success",zones="\.",view=""\} 1\n/);
});

test("the store forgets empty variants, so that odd types leave nothing", () => {
  let evicted = 0;
  const store = new Store<number>(100, (count) => {
    evicted += count;
  });
  for (let type = 0; type < 10_000; type++) store.set(type, "x.", type);
  assert.equal(store.size, 100);
  assert.equal(evicted, 9900);
  assert.equal(store.get(9999, "x."), 9999);
  store.delete(9999, "x.");
  assert.equal(store.get(9999, "x."), undefined);
});

test("options that it does not know, or values that make no sense, are refused at their place", async () => {
  for (const [text, says] of [
    ["cache {\nprefech 3\n}", /Corefile:3:1: .*did you mean prefetch/],
    ["cache {\nprefetch 3 1m 5%\n}", /no whole number from 10 to 90/],
    ["cache {\nservfail 10m\n}", /five minutes/],
    ["cache\ncache", /may stand once/],
    ["cache {\nserve_stale 1h sometimes\n}", /not one of immediate, verify/],
  ] as const)
    await assert.rejects(chain(text), says);
});
