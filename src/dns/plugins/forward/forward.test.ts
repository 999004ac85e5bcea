// Real upstreams on loopback: well, dead, slow, lying, cutting off.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Chain, chain, lines, tableHandler } from "../../../../test/dns-chain.ts";
import { startTlsUpstream } from "../../../../test/dns-tls.ts";
import { fromTable, startUpstream, type TestUpstream } from "../../../../test/dns-upstream.ts";
import { until } from "../../../../test/patience.ts";
import { type Message, RCODE } from "../../message.ts";
import { type Reply, reply } from "../../query.ts";
import { encodeMessage } from "../../wire/codec.ts";

async function upstreams(t: TestContext, count: number): Promise<TestUpstream[]> {
  const list: TestUpstream[] = [];
  for (let i = 0; i < count; i++) list.push(await startUpstream());
  t.after(() => Promise.all(list.map((each) => each.close())));
  return list;
}

async function forwarding(t: TestContext, text: string, options: Parameters<typeof chain>[1] = {}): Promise<Chain> {
  const made = await chain(`errors\nprometheus 127.0.0.1:0\n${text}`, { random: Math.random, ...options });
  t.after(() => {
    for (const { installed } of made.block.installed) installed.stop?.();
  });
  return made;
}

/** One that answers nobody yet: its port refuses questions by UDP. */
async function absentUpstream(t: TestContext): Promise<TestUpstream> {
  const upstream = await startUpstream();
  t.after(() => upstream.close());
  await upstream.leave();
  return upstream;
}

/** Health checks that failed. */
const failures = (c: Chain) => Number(/coredns_proxy_healthcheck_failures_total\{[^}]*\} (\d+)/.exec(c.metrics.print())?.[1] ?? 0);

const rcode = (given: Reply | "dropped") => (given === "dropped" ? given : given.rcode);
const servfail = (query: Message): Message => ({ ...query, response: true, rcode: RCODE.SERVFAIL });

test("a question goes to the upstream, its answer comes back, by the asker's transport", async (t) => {
  const [up] = await upstreams(t, 1);
  const c = await forwarding(t, `forward . 127.0.0.1:${up?.port}`);
  const given = await c.ask("www.example.org.");
  assert.deepEqual(lines(given), ["www.example.org. 60 IN CNAME web.example.org.", "web.example.org. 60 IN A 203.0.113.80"]);
  assert.equal(given !== "dropped" && given.recursionAvailable, true);
  assert.equal(rcode(await c.ask("nope.example.org.")), RCODE.NXDOMAIN);
  await c.ask("db.example.org.", "AAAA", { origin: { transport: "tcp" } });
  await c.ask("db.example.org.", "A", { origin: { transport: "tcp" } });
  assert.deepEqual(up?.asked, ["www.example.org. A udp", "nope.example.org. A udp", "db.example.org. AAAA tcp", "db.example.org. A tcp"]);
  const text = c.metrics.print();
  assert.match(
    text,
    new RegExp(`coredns_proxy_request_duration_seconds_count\\{proxy_name="forward",to="127.0.0.1:${up?.port}",rcode="NOERROR"\\} 3`),
  );
  assert.match(text, /coredns_proxy_conn_cache_hits_total\{[^}]*proto="tcp"\} 1/);
});

test("what the asker says with EDNS0 and flags goes on", async (t) => {
  const [up] = await upstreams(t, 1);
  const seen: Message[] = [];
  if (up)
    up.behave = (query) => {
      seen.push(query);
      return fromTable(query);
    };
  const c = await forwarding(t, `forward . 127.0.0.1:${up?.port}`);
  const edns = { udpSize: 4096, version: 0, dnssecOk: true, options: [{ code: 10, bytes: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }] };
  await c.ask("db.example.org.", "A", { edns, udpSize: 1232, checkingDisabled: true, recursionDesired: false });
  assert.deepEqual(seen[0]?.edns, { ...edns, udpSize: 1232 });
  assert.deepEqual({ cd: seen[0]?.checkingDisabled, rd: seen[0]?.recursionDesired }, { cd: true, rd: false });
});

test("only names of its zone, and none that are excepted; the others go on", async (t) => {
  const [up] = await upstreams(t, 1);
  const next = tableHandler({}, reply("table", { rcode: RCODE.NOTIMP }));
  const c = await forwarding(t, `forward example.org 127.0.0.1:${up?.port} {\nexcept private.example.org\n}`, { next });
  assert.equal(rcode(await c.ask("db.example.org.")), RCODE.NOERROR);
  assert.equal(rcode(await c.ask("db.private.example.org.")), RCODE.NOTIMP);
  assert.equal(rcode(await c.ask("example.com.")), RCODE.NOTIMP);
});

test("a server that refuses is left for the next at once; when it is well again it is asked again", async (t) => {
  const [well] = await upstreams(t, 1);
  const back = await absentUpstream(t);
  const c = await forwarding(
    t,
    `forward . 127.0.0.1:${back.port} 127.0.0.1:${well?.port} {\npolicy sequential\nhealth_check 20ms\nmax_fails 1\n}`,
  );
  for (let i = 0; i < 3; i++) assert.equal(rcode(await c.ask("db.example.org.")), RCODE.NOERROR);
  await until(() => failures(c) > 0);
  back.comeBack();
  await until(() => back.asked.includes(". NS udp"));
  // The check's answer is on its way.
  for (let i = 0; i < 500 && !back.asked.includes("db.example.org. A udp"); i++) await c.ask("db.example.org.");
  assert.ok(back.asked.includes("db.example.org. A udp"), back.asked.join());
});

test("of two questions that are sent at once neither waits for a server that refuses", async (t) => {
  const away = await absentUpstream(t);
  const c = await forwarding(t, `forward . 127.0.0.1:${away.port} {\nmax_connect_attempts 1\n}`);
  for (const given of await Promise.all([c.ask("db.example.org."), c.ask("www.example.org.")]))
    assert.match(given !== "dropped" ? (given.error ?? "") : "", /ECONNREFUSED/);
});

test("where every server is down, one is tried all the same, or not with failfast", async (t) => {
  const back = await absentUpstream(t);
  const text = (extra: string) => `forward . 127.0.0.1:${back.port} {\nhealth_check 10ms\nmax_fails 1\n${extra}\n}`;
  const c = await forwarding(t, text(""));
  const fast = await forwarding(t, text("failfast_all_unhealthy_upstreams"));
  for (const each of [c, fast]) {
    assert.equal(rcode(await each.ask("db.example.org.")), RCODE.SERVFAIL);
    await until(() => failures(each) > 0);
  }
  back.comeBack();
  // Before a check could find out that it is back.
  const [open, closed] = [rcode(await c.ask("db.example.org.")), rcode(await fast.ask("db.example.org."))];
  assert.equal(open, RCODE.NOERROR);
  assert.ok(closed === RCODE.SERVFAIL || back.asked.includes(". NS udp"));
  assert.match(c.metrics.print(), /coredns_forward_healthcheck_broken_total [1-9]/);
});

test("a slow server costs its time limit, and the next one answers", async (t) => {
  const [slow, well] = await upstreams(t, 2);
  if (slow) slow.behave = () => undefined;
  const c = await forwarding(t, `forward . 127.0.0.1:${slow?.port} 127.0.0.1:${well?.port} {\npolicy sequential\nread_timeout 50ms\n}`);
  assert.equal(rcode(await c.ask("db.example.org.")), RCODE.NOERROR);
  assert.ok(slow && slow.asked.length > 0);
  const alone = await forwarding(t, `forward . 127.0.0.1:${slow?.port} {\nread_timeout 30ms\nmax_connect_attempts 2\n}`);
  const given = await alone.ask("db.example.org.");
  assert.equal(rcode(given), RCODE.SERVFAIL);
  assert.match(given !== "dropped" ? (given.error ?? "") : "", /did not answer within 30 ms/);
});

const LIES: readonly [what: string, lie: (query: Message) => Uint8Array][] = [
  ["another id", (query) => encodeMessage({ ...fromTable(query), id: query.id ^ 1 })],
  ["another name", (query) => encodeMessage({ ...fromTable(query), questions: [{ name: "bank.example.", type: 1, class: 1 }] })],
  ["another type", (query) => encodeMessage({ ...fromTable(query), questions: query.questions.map((each) => ({ ...each, type: 28 })) })],
  ["a query", (query) => encodeMessage(query)],
  ["no question, yet records", (query) => encodeMessage({ ...fromTable(query), questions: [] })],
];

for (const [what, lie] of LIES)
  test(`an answer with ${what} does not count`, async (t) => {
    const [liar, well] = await upstreams(t, 2);
    if (liar) liar.behave = (query) => lie(query);
    const c = await forwarding(t, `forward . 127.0.0.1:${liar?.port} 127.0.0.1:${well?.port} {\npolicy sequential\nread_timeout 200ms\n}`);
    assert.deepEqual(lines(await c.ask("db.example.org.")), ["db.example.org. 300 IN A 203.0.113.10"]);
    assert.ok(well?.asked.includes("db.example.org. A udp"), "the lie was not taken");
  });

test("bytes that are no message fail that server, not the query", async (t) => {
  const [broken, well] = await upstreams(t, 2);
  if (broken) broken.behave = (query) => Buffer.concat([encodeMessage({ ...query, response: true }), Buffer.from([1, 2, 3])]);
  const c = await forwarding(t, `forward . 127.0.0.1:${broken?.port} 127.0.0.1:${well?.port} {\npolicy sequential\n}`);
  assert.equal(rcode(await c.ask("db.example.org.")), RCODE.NOERROR);
});

test("an answer that was cut off: passed on, or asked for again by TCP with prefer_udp; force_tcp never asks by UDP", async (t) => {
  const [up] = await upstreams(t, 1);
  const plain = await forwarding(t, `forward . 127.0.0.1:${up?.port}`);
  const cut = await plain.ask("big.example.org.", "TXT");
  assert.equal(cut !== "dropped" && cut.truncated, true);
  const prefer = await forwarding(t, `forward . 127.0.0.1:${up?.port} {\nprefer_udp\n}`);
  assert.equal(lines(await prefer.ask("big.example.org.", "TXT", { origin: { transport: "tcp" } })).length, 1);
  const force = await forwarding(t, `forward . 127.0.0.1:${up?.port} {\nforce_tcp\n}`);
  await force.ask("db.example.org.");
  assert.deepEqual(up?.asked, [
    "big.example.org. TXT udp",
    "big.example.org. TXT udp",
    "big.example.org. TXT tcp",
    "db.example.org. A tcp",
  ]);
});

test("policies: in order, in turn, by chance", async (t) => {
  const list = await upstreams(t, 3);
  const to = list.map(({ port }) => `127.0.0.1:${port}`).join(" ");
  const counts = async (policy: string, random = Math.random) => {
    const c = await forwarding(t, `forward . ${to} {\npolicy ${policy}\n}`, { random });
    for (const each of list) each.asked.length = 0;
    for (let i = 0; i < 9; i++) await c.ask("db.example.org.");
    return list.map(({ asked }) => asked.length);
  };
  assert.deepEqual(await counts("sequential"), [9, 0, 0]);
  assert.deepEqual(await counts("round_robin"), [3, 3, 3]);
  assert.deepEqual(await counts("random", () => 0), [0, 9, 0]);
});

test("max_concurrent: more are refused at once, and counted", async (t) => {
  const [up] = await upstreams(t, 1);
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  if (up) up.behave = (query) => gate.then(() => fromTable(query));
  const c = await forwarding(t, `forward . 127.0.0.1:${up?.port} {\nmax_concurrent 2\n}`);
  const first = [c.ask("db.example.org."), c.ask("www.example.org.")];
  assert.equal(rcode(await c.ask("web.example.org.")), RCODE.REFUSED);
  release();
  for (const each of await Promise.all(first)) assert.equal(rcode(each), RCODE.NOERROR);
  assert.equal(rcode(await c.ask("web.example.org.")), RCODE.NOERROR);
  assert.match(c.metrics.print(), /coredns_forward_max_concurrent_rejects_total 1/);
});

test("next and failover: another forward, or another server, for the rcodes that are named", async (t) => {
  const [one, two] = await upstreams(t, 2);
  const both = `forward . 127.0.0.1:${one?.port} {\nnext NXDOMAIN\n}\nforward . 127.0.0.1:${two?.port}`;
  if (one) one.behave = (query) => fromTable(query, []);
  const next = await forwarding(t, both);
  assert.equal(rcode(await next.ask("db.example.org.")), RCODE.NOERROR);
  if (one) one.behave = servfail;
  assert.equal(rcode(await next.ask("db.example.org.")), RCODE.SERVFAIL, "SERVFAIL is not among them");
  const over = await forwarding(t, `forward . 127.0.0.1:${one?.port} 127.0.0.1:${two?.port} {\npolicy sequential\nfailover SERVFAIL\n}`);
  assert.equal(rcode(await over.ask("db.example.org.")), RCODE.NOERROR);
});

test("a kept TCP connection that the server closed is replaced without a failure", async (t) => {
  const [up] = await upstreams(t, 1);
  const c = await forwarding(t, `forward . 127.0.0.1:${up?.port} {\nforce_tcp\nmax_connect_attempts 1\n}`);
  assert.equal(rcode(await c.ask("db.example.org.")), RCODE.NOERROR);
  up?.hangUp();
  assert.equal(rcode(await c.ask("db.example.org.")), RCODE.NOERROR);
  assert.deepEqual(up?.asked, ["db.example.org. A tcp", "db.example.org. A tcp"], "and without a check of the server's health");
});

test("two hundred questions at once all come back, each with its own answer", async (t) => {
  const [up] = await upstreams(t, 1);
  if (up)
    up.behave = (query) => {
      const name = query.questions[0]?.name ?? "";
      return fromTable(query, [
        {
          name,
          class: 1,
          ttl: 5,
          data: { type: "A", address: `10.0.${Number.parseInt(name, 10) >> 8}.${Number.parseInt(name, 10) & 255}` },
        },
      ]);
    };
  const c = await forwarding(t, `forward . 127.0.0.1:${up?.port}`);
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => c.ask(`${i * 7}.example.org.`)));
  for (const [i, given] of answers.entries()) {
    const number = i * 7;
    assert.deepEqual(lines(given), [`${number}.example.org. 5 IN A 10.0.${number >> 8}.${number & 255}`]);
  }
});

test("upstreams from a file like resolv.conf", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "forward-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "resolv.conf"), "# c\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch x\n");
  const c = await forwarding(t, "forward . ./resolv.conf", { path: join(folder, "Corefile") });
  assert.deepEqual(c.logged, []);
});

test("upstreams by TLS: kept connections, the server's name, and no answer from one that cannot prove itself", async (t) => {
  const up = await startTlsUpstream(["dns.example", "127.0.0.1"]);
  const folder = mkdtempSync(join(tmpdir(), "forward-"));
  t.after(async () => {
    rmSync(folder, { recursive: true });
    await up.close();
  });
  writeFileSync(join(folder, "ca.pem"), up.caPem);
  const path = join(folder, "Corefile");
  const named = await forwarding(t, `forward . tls://127.0.0.1%dns.example:${up.port} {\ntls ca.pem\n}`, { path });
  for (let i = 0; i < 3; i++) assert.equal(rcode(await named.ask("db.example.org.")), RCODE.NOERROR);
  assert.deepEqual([up.connections(), up.names], [1, ["dns.example"]]);
  assert.match(named.metrics.print(), /coredns_proxy_conn_cache_hits_total\{[^}]*proto="tcp-tls"\} 2/);
  const common = await forwarding(t, `forward . tls://127.0.0.1:${up.port} {\ntls ca.pem\ntls_servername dns.example\n}`, { path });
  assert.equal(rcode(await common.ask("db.example.org.", "AAAA")), RCODE.NOERROR);
  for (const text of [`tls://127.0.0.1%other.example:${up.port} {\ntls ca.pem\n}`, `tls://127.0.0.1%dns.example:${up.port}`]) {
    const given = await (await forwarding(t, `forward . ${text}`, { path })).ask("db.example.org.");
    assert.equal(rcode(given), RCODE.SERVFAIL);
    assert.match(given !== "dropped" ? (given.error ?? "") : "", /certificate|altnames/i);
  }
});

test("what makes no sense is refused at its place", async () => {
  for (const [text, says] of [
    ["forward .", /needs at least 2/],
    ["forward . nowhere.example", /Corefile:2:11: "nowhere.example" is neither an address nor a file/],
    ["forward . https://9.9.9.9", /cannot be asked by https/],
    [`forward . ${"192.0.2.1 ".repeat(16)}`, /16 upstreams/],
    ["forward . 192.0.2.1 {\npolcy random\n}", /did you mean policy/],
    ["forward . 192.0.2.1 {\nnext MAYBE\n}", /is no rcode/],
    ["forward . 192.0.2.1 {\nexpire 10ms\n}", /shorter than 1000 ms/],
    ["forward . tls://9.9.9.9%dns.quad9.net {\ntls_servername x\n}", /both in tls_servername and behind %/],
  ] as const)
    await assert.rejects(chain(text), says);
});
