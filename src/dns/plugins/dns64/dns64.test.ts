import assert from "node:assert/strict";
import { test } from "node:test";
import { chain, lines, tableHandler } from "../../../../test/dns-chain.ts";
import type { RecordData, ResourceRecord } from "../../message.ts";
import { reply } from "../../query.ts";

const of = (name: string, data: RecordData, ttl = 5000): ResourceRecord => ({ name, class: 1, ttl, data });
const SOA = of("x.", { type: "SOA", primary: "ns.x.", mailbox: "m.x.", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 300 });
const a = (name: string, address = "192.0.2.33") => of(name, { type: "A", address });
const next = () =>
  tableHandler(
    {
      "four.x. A": reply("table", { answers: [a("four.x.")] }),
      "four.x. AAAA": reply("table", { authorities: [SOA] }),
      "alias.x. A": reply("table", { answers: [of("alias.x.", { type: "CNAME", target: "four.x." }), a("four.x.")] }),
      "alias.x. AAAA": reply("table", { answers: [of("alias.x.", { type: "CNAME", target: "four.x." })] }),
      "six.x. AAAA": reply("table", { answers: [of("six.x.", { type: "AAAA", address: "2001:db8::1" })] }),
      "six.x. A": reply("table", { answers: [a("six.x.")] }),
      "mapped.x. AAAA": reply("table", { answers: [of("mapped.x.", { type: "AAAA", address: "::ffff:c000:221" })] }),
      "mapped.x. A": reply("table", { answers: [a("mapped.x.")] }),
      "broken.x. AAAA": reply("table", { rcode: 2 }),
      "broken.x. A": reply("table", { answers: [a("broken.x.")] }),
      "none.x. AAAA": reply("table"),
      "none.x. A": reply("table"),
    },
    reply("table", { rcode: 3 }),
  );
const six = { origin: { address: "fd00::1" } };

test("a name with A only gets AAAA, no longer than its denial lives", async () => {
  const { ask, metrics } = await chain("dns64", { next: next() });
  assert.deepEqual(lines(await ask("four.x.", "AAAA", six)), ["four.x. 300 IN AAAA 64:ff9b::c000:221"]);
  assert.deepEqual(lines(await ask("alias.x.", "AAAA", six)), ["alias.x. 5000 IN CNAME four.x.", "four.x. 600 IN AAAA 64:ff9b::c000:221"]);
  assert.match(metrics.print(), /coredns_dns64_requests_translated_total\{server="dns:\/\/:53"\} 2/);
});

test("what has AAAA, does not exist, comes by IPv4 or asks else goes on as it is", async () => {
  const table = next();
  const { ask } = await chain("dns64", { next: table });
  assert.deepEqual(lines(await ask("six.x.", "AAAA", six)), ["six.x. 5000 IN AAAA 2001:db8::1"]);
  const missing = await ask("no.x.", "AAAA", six);
  assert.ok(missing !== "dropped" && missing.rcode === 3);
  assert.deepEqual(lines(await ask("four.x.", "AAAA")), []);
  assert.deepEqual(lines(await ask("four.x.", "A", six)), ["four.x. 5000 IN A 192.0.2.33"]);
  assert.deepEqual(lines(await ask("none.x.", "AAAA", six)), []);
  assert.ok(!table.asked.includes("six.x. A") && !table.asked.includes("no.x. A"));
});

test("a mapped address counts as none, and a failure for AAAA is no answer for A", async () => {
  const { ask } = await chain("dns64", { next: next() });
  assert.match(lines(await ask("mapped.x.", "AAAA", six))[0] ?? "", /64:ff9b::c000:221/);
  assert.match(lines(await ask("broken.x.", "AAAA", six))[0] ?? "", /64:ff9b::c000:221/);
});

test("translate_all and allow_ipv4", async () => {
  const { ask } = await chain("dns64 {\ntranslate_all\nallow_ipv4\n}", { next: next() });
  assert.deepEqual(lines(await ask("six.x.", "AAAA")), ["six.x. 600 IN AAAA 64:ff9b::c000:221"]);
});

test("the prefixes of RFC 6052, section 2.4", async () => {
  const made: [string, string][] = [
    ["2001:db8::/32", "2001:db8:c000:221::"],
    ["2001:db8:100::/40", "2001:db8:1c0:2:21::"],
    ["2001:db8:122::/48", "2001:db8:122:c000:2:2100::"],
    ["2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"],
    ["2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"],
    ["2001:db8:122:344::/96", "2001:db8:122:344::c000:221"],
  ];
  for (const [prefix, address] of made) {
    const { ask } = await chain(`dns64 ${prefix}`, { next: next() });
    assert.equal(lines(await ask("four.x.", "AAAA", six))[0]?.split(" ")[4], address, prefix);
  }
  await assert.rejects(chain("dns64 64:ff9b::/80"), /32, 40, 48, 56, 64, 96 bits/);
  await assert.rejects(chain("dns64 10.0.0.0/8"), /no IPv6 prefix/);
});
