import assert from "node:assert/strict";
import { test } from "node:test";
import { chain } from "../../../../test/dns-chain.ts";
import { reply } from "../../query.ts";

const next = { name: "end", serve: () => reply("end", { rcode: 0, authoritative: true }) };

test("the first rule that takes a question decides", async () => {
  const text = "acl example.org {\nallow net 10.0.0.0/8\nblock type A AAAA net *\nfilter type TXT\ndrop type MX net 192.0.2.1\n}";
  const { ask, metrics } = await chain(text, { next });
  const from = (address: string) => ({ origin: { address } });
  const verdict = async (name: string, type: "A" | "TXT" | "MX" | "NS", address: string) => {
    const answer = await ask(name, type, from(address));
    if (answer === "dropped") return "dropped";
    return answer.by === "end" ? "allowed" : answer.rcode === 5 ? "blocked" : "filtered";
  };
  assert.equal(await verdict("a.example.org.", "A", "10.1.1.1"), "allowed");
  assert.equal(await verdict("a.example.org.", "A", "192.0.2.1"), "blocked");
  assert.equal(await verdict("a.example.org.", "A", "fd00::1"), "blocked");
  assert.equal(await verdict("a.example.org.", "TXT", "192.0.2.1"), "filtered");
  assert.equal(await verdict("a.example.org.", "MX", "192.0.2.1"), "dropped");
  assert.equal(await verdict("a.example.org.", "MX", "192.0.2.2"), "allowed");
  assert.equal(await verdict("a.example.org.", "NS", "192.0.2.1"), "allowed");
  assert.equal(await verdict("other.example.", "A", "192.0.2.1"), "allowed", "another zone");
  const text2 = metrics.print();
  assert.match(text2, /coredns_acl_blocked_requests_total\{server="dns:\/\/:53",zone="example\.org\.",view=""\} 2/);
  assert.match(text2, /coredns_acl_filtered_requests_total\{.*\} 1/);
  assert.match(text2, /coredns_acl_dropped_requests_total\{.*\} 1/);
  assert.match(text2, /coredns_acl_allowed_requests_total\{.*zone="\."/);
});

test("a refusal says why (RFC 8914)", async () => {
  const { ask } = await chain("acl {\nblock\n}", { next });
  const answer = await ask("x.");
  assert.ok(answer !== "dropped");
  assert.deepEqual([answer.options?.[0]?.code, [...(answer.options?.[0]?.bytes ?? [])]], [15, [0, 15]]);
});

test("what it does not know is refused at its place", async () => {
  await assert.rejects(chain("acl {\ndeny\n}"), /Corefile:3:1: "deny" is not one of allow, block, filter, drop/);
  await assert.rejects(chain("acl {\nblock type NOPE\n}"), /Corefile:3:12: "NOPE" is no record type/);
  await assert.rejects(chain("acl {\nblock net 10.0.0.0/99\n}"), /neither a prefix nor an address/);
  await assert.rejects(chain("acl {\nblock 10.0.0.0\n}"), /neither type nor net/);
  await assert.rejects(chain("acl"), /acl has no rule/);
});
