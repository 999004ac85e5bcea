import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chain, lines } from "../../../../test/dns-chain.ts";
import { typeName } from "../../message.ts";
import { type Handler, type Query, reply } from "../../query.ts";

/** Answers what it is asked: the name with an address, a CNAME to a name below it, and who is asked. */
function echo(): Handler & { readonly seen: Query[] } {
  const seen: Query[] = [];
  const serve = (query: Query) => {
    seen.push(query);
    return reply("echo", {
      rcode: query.name.startsWith("missing") ? 3 : 0,
      answers: [
        { name: query.name, class: 1, ttl: 100, data: { type: "CNAME", target: `to.${query.name}` } },
        { name: `to.${query.name}`, class: 1, ttl: 100, data: { type: "A", address: "10.0.0.1" } },
      ],
    });
  };
  return { name: "echo", seen, serve };
}

async function run(rules: string, name: string, type: "A" | "ANY" | "AAAA" = "A") {
  const next = echo();
  const { ask } = await chain(`.:53 {\n${rules}\n}`, { next });
  const answer = await ask(name, type);
  return { asked: next.seen.map((query) => `${query.name} ${typeName(query.type)}`).join(), answer, answers: lines(answer) };
}

describe("names", () => {
  const cases: [string, string, string, string[] | undefined][] = [
    [
      "rewrite name a.example b.example",
      "a.example.",
      "b.example.",
      ["a.example. 100 IN CNAME to.a.example.", "to.a.example. 100 IN A 10.0.0.1"],
    ],
    ["rewrite name exact a.example b.example", "x.a.example.", "x.a.example.", undefined],
    [
      "rewrite stop name prefix old- new-",
      "old-api.example.",
      "new-api.example.",
      ["new-api.example. 100 IN CNAME to.new-api.example.", "to.new-api.example. 100 IN A 10.0.0.1"],
    ],
    [
      "rewrite name prefix old- new- answer auto",
      "old-api.example.",
      "new-api.example.",
      ["old-api.example. 100 IN CNAME to.old-api.example.", "to.old-api.example. 100 IN A 10.0.0.1"],
    ],
    [
      "rewrite name suffix .my.domain .svc.cluster.local answer auto",
      "db.prod.my.domain.",
      "db.prod.svc.cluster.local.",
      ["db.prod.my.domain. 100 IN CNAME to.db.prod.my.domain.", "to.db.prod.my.domain. 100 IN A 10.0.0.1"],
    ],
    ["rewrite name substring .us-west-1. .consul.", "ftp.us-west-1.org.", "ftp.consul.org.", undefined],
    [
      "rewrite name regex (.*)-(us-west-1)\\.example\\.org {1}.service.{2}.consul",
      "ftp-us-west-1.example.org.",
      "ftp.service.us-west-1.consul.",
      undefined,
    ],
    [
      "rewrite stop {\nname regex (.*)-(us-west-1)\\.coredns\\.rocks {1}.service.{2}.consul\nanswer name (.*)\\.service\\.(us-west-1)\\.consul {1}-{2}.coredns.rocks\n}",
      "ftp-us-west-1.coredns.rocks.",
      "ftp.service.us-west-1.consul.",
      ["ftp-us-west-1.coredns.rocks. 100 IN CNAME to.ftp.service.us-west-1.consul.", "to.ftp-us-west-1.coredns.rocks. 100 IN A 10.0.0.1"],
    ],
    [
      "rewrite name regex (.*)\\.coredns\\.rocks {1}.internal answer name (.*)\\.internal {1}.coredns.rocks answer value (.*)\\.internal {1}.coredns.rocks",
      "a.coredns.rocks.",
      "a.internal.",
      ["a.coredns.rocks. 100 IN CNAME to.a.coredns.rocks.", "to.a.coredns.rocks. 100 IN A 10.0.0.1"],
    ],
    [
      "rewrite continue name a.example b.example\nrewrite name b.example c.example",
      "a.example.",
      "c.example.",
      ["a.example. 100 IN CNAME to.a.example.", "to.a.example. 100 IN A 10.0.0.1"],
    ],
    ["rewrite name a.example b.example\nrewrite name b.example c.example", "a.example.", "b.example.", undefined],
  ];
  for (const [rules, name, asked, answers] of cases)
    test(rules.replaceAll("\n", " / "), async () => {
      const result = await run(rules, name);
      assert.equal(result.asked, `${asked} A`);
      if (answers) assert.deepEqual(result.answers, answers);
    });

  test("a name that is none is a failure for the asker", async () => {
    const { answer, asked } = await run(`rewrite name prefix a ${"x".repeat(70)}`, "a.example.");
    assert.ok(answer !== "dropped" && answer.rcode === 2 && /is none/.test(answer.error ?? ""));
    assert.equal(asked, "");
  });
});

test("type and class", async () => {
  assert.equal((await run("rewrite type ANY HINFO", "a.", "ANY")).asked, "a. HINFO");
  assert.equal((await run("rewrite continue type AAAA A\nrewrite name a. b.", "a.", "AAAA")).asked, "b. A");
  const next = echo();
  const { ask } = await chain("rewrite class CH IN", { next });
  await ask("a.", "A", { class: 3 });
  assert.equal(next.seen[0]?.class, 1);
});

describe("TTLs of answers", () => {
  const cases: [string, number][] = [
    ["rewrite ttl example 15", 100],
    ["rewrite ttl a.example 15", 15],
    ["rewrite ttl suffix .example 15", 15],
    ["rewrite continue {\nttl regex (.*)\\.example 15\n}", 15],
    ["rewrite ttl a.example 200-300", 200],
    ["rewrite ttl a.example -30", 30],
    ["rewrite ttl a.example 200-", 200],
    ["rewrite ttl a.example 50-150", 100],
  ];
  for (const [rule, ttl] of cases)
    test(rule, async () => assert.ok((await run(rule, "a.example.")).answers.every((line) => line.includes(` ${ttl} IN `))));
});

test("rcodes of answers", async () => {
  const { answer } = await run("rewrite rcode prefix missing NXDOMAIN NOERROR", "missing.example.");
  assert.ok(answer !== "dropped" && answer.rcode === 0);
});

test("faults, at their places", async () => {
  const faults: [string, RegExp][] = [
    ["rewrite", /rewrite has no rule/],
    ["rewrite nam a b", /Corefile:2:9: "nam" is not one of name, type, class, ttl, rcode/],
    ["rewrite name a", /what to put there is missing/],
    ["rewrite name regex (a) {2}", /names a group that "\(a\)" has not/],
    ["rewrite name regex ( {1}", /no regular expression/],
    ["rewrite name a b c", /"c" is not one of auto, name, value/],
    ["rewrite name regex a b answer auto answer name a b", /exclude each other/],
    ["rewrite type A NOPE", /"NOPE" is no record type/],
    ["rewrite ttl a 9-3", /"9-3" is no TTL/],
    ["rewrite edns0 local set 0xffee 0x61", /rewrite edns0 is not here/],
  ];
  for (const [rule, says] of faults) await assert.rejects(chain(`.:53 {\n${rule}\n}`), says, rule);
});
