import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { chain, lines, tableHandler } from "../../../../test/dns-chain.ts";
import { reply } from "../../query.ts";

const directory = mkdtempSync(join(tmpdir(), "fairlead-zones-"));
after(() => rmSync(directory, { recursive: true, force: true }));

const ZONE = `$TTL 300
@ SOA ns1 admin 1 7200 1800 86400 60
@ NS ns1
@ MX 10 mail
ns1 A 192.0.2.1
ns1 AAAA 2001:db8::1
mail A 192.0.2.2
www CNAME web
web A 192.0.2.3
out CNAME www.example.com.
chain1 CNAME chain2
chain2 CNAME chain1
*.wild TXT "any"
*.wild A 192.0.2.9
there.wild A 192.0.2.10
deep.empty.between A 192.0.2.4
child NS ns.child
child NS ns.elsewhere.test.
child DS 1 8 2 00AB
ns.child A 192.0.2.5
old DNAME new
x.new A 192.0.2.6
_dns._udp SRV 0 0 53 ns1
`;
const SOA = "example.org. 300 IN SOA ns1.example.org. admin.example.org. 1 7200 1800 86400 60";
const NS = "example.org. 300 IN NS ns1.example.org.";
const com = reply("end", { answers: [{ name: "www.example.com.", class: 1, ttl: 9, data: { type: "A", address: "198.51.100.10" } }] });
const next = () => tableHandler({ "www.example.com. A": com }, reply("end", { rcode: 5 }));

function write(text = ZONE, name = "db.example.org"): string {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
}

const run = (options = "") => chain(`.:53 {\nfile ${write()} example.org {\n${options}\n}\n}`, { next: next() });

describe("what a zone answers: rcode and authority; answers; authority; additional", () => {
  type Row = [string, Parameters<Awaited<ReturnType<typeof chain>>["ask"]>[1], number, boolean, string[], string[], number];
  const rows: Row[] = [
    ["web.example.org.", "A", 0, true, ["web.example.org. 300 IN A 192.0.2.3"], [NS], 0],
    ["WEB.example.org.", "A", 0, true, ["web.example.org. 300 IN A 192.0.2.3"], [NS], 0],
    ["web.example.org.", "AAAA", 0, true, [], [SOA], 0],
    ["no.example.org.", "A", 3, true, [], [SOA], 0],
    ["example.org.", "SOA", 0, true, [SOA], [NS], 0],
    ["example.org.", "NS", 0, true, [NS], [], 2],
    ["example.org.", "MX", 0, true, ["example.org. 300 IN MX 10 mail.example.org."], [NS], 1],
    ["_dns._udp.example.org.", "SRV", 0, true, ["_dns._udp.example.org. 300 IN SRV 0 0 53 ns1.example.org."], [NS], 2],
    ["www.example.org.", "A", 0, true, ["www.example.org. 300 IN CNAME web.example.org.", "web.example.org. 300 IN A 192.0.2.3"], [NS], 0],
    ["www.example.org.", "CNAME", 0, true, ["www.example.org. 300 IN CNAME web.example.org."], [NS], 0],
    [
      "out.example.org.",
      "A",
      0,
      true,
      ["out.example.org. 300 IN CNAME www.example.com.", "www.example.com. 9 IN A 198.51.100.10"],
      [NS],
      0,
    ],
    ["a.wild.example.org.", "A", 0, true, ["a.wild.example.org. 300 IN A 192.0.2.9"], [NS], 0],
    ["a.b.wild.example.org.", "TXT", 0, true, ['a.b.wild.example.org. 300 IN TXT "any"'], [NS], 0],
    ["a.wild.example.org.", "MX", 0, true, [], [SOA], 0],
    ["there.wild.example.org.", "TXT", 0, true, [], [SOA], 0],
    ["below.there.wild.example.org.", "TXT", 3, true, [], [SOA], 0],
    ["wild.example.org.", "A", 0, true, [], [SOA], 0],
    ["between.example.org.", "A", 0, true, [], [SOA], 0],
    ["empty.between.example.org.", "TXT", 0, true, [], [SOA], 0],
    [
      "www.child.example.org.",
      "A",
      0,
      false,
      [],
      ["child.example.org. 300 IN NS ns.child.example.org.", "child.example.org. 300 IN NS ns.elsewhere.test."],
      1,
    ],
    ["child.example.org.", "DS", 0, true, ["child.example.org. 300 IN DS 1 8 2 00AB"], [NS], 0],
    [
      "x.old.example.org.",
      "A",
      0,
      true,
      [
        "old.example.org. 300 IN DNAME new.example.org.",
        "x.old.example.org. 300 IN CNAME x.new.example.org.",
        "x.new.example.org. 300 IN A 192.0.2.6",
      ],
      [NS],
      0,
    ],
    ["old.example.org.", "A", 0, true, [], [SOA], 0],
  ];
  for (const [name, type, rcode, authoritative, answers, authorities, additionals] of rows)
    test(`${name} ${type}`, async () => {
      const answer = await (await run()).ask(name, type);
      assert.ok(answer !== "dropped");
      assert.deepEqual(
        [answer.rcode, answer.authoritative, lines(answer), lines(answer, "authorities"), lines(answer, "additionals").length],
        [rcode, authoritative, answers, authorities, additionals],
      );
    });

  test("a loop of CNAMEs ends", async () => {
    assert.ok(lines(await (await run()).ask("chain1.example.org.")).length <= 10);
  });

  test("other zones go on; missing names too, with fallthrough", async () => {
    const { ask } = await run("fallthrough");
    for (const name of ["example.com.", "no.example.org."]) {
      const answer = await ask(name);
      assert.ok(answer !== "dropped" && answer.by === "end", name);
    }
  });
});

test("a file is taken again when its serial rises; a bad one leaves the zone", async () => {
  const { ask, block, logged } = await run("reload 10ms");
  const until = async (what: () => boolean | Promise<boolean>) => {
    for (let i = 0; i < 300; i++) {
      if (await what()) return true;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return false;
  };
  const web = async () =>
    lines(await ask("web.example.org."))[0]
      ?.split(" ")
      .at(-1);
  write(ZONE.replace("192.0.2.3", "192.0.2.33"));
  assert.ok(await until(() => logged.some((line) => line.includes("serial 1 did not"))));
  assert.equal(await web(), "192.0.2.3");
  write(`${ZONE.replace("192.0.2.3", "192.0.2.33").replace("admin 1 ", "admin 2 ")}bad A nonsense\n`);
  assert.ok(
    await until(() => logged.some((line) => /db\.example\.org:\d+:\d+: "nonsense" is no IPv4 address.*stays as it was/.test(line))),
  );
  write(ZONE.replace("192.0.2.3", "192.0.2.33").replace("admin 1 ", "admin 2 "));
  assert.ok(await until(async () => (await web()) === "192.0.2.33"));
  for (const { installed } of block.installed) installed.stop?.();
});

test("a bad file at the start refuses the Corefile; one that is missing is waited for", async () => {
  write("@ A 10.0.0.1\n", "no-soa");
  await assert.rejects(chain(`file ${join(directory, "no-soa")} example.org`), /Corefile:2:6: .*has no SOA record/);
  const { ask } = await chain(`file ${join(directory, "missing")} example.org`, { next: next() });
  const answer = await ask("a.example.org.");
  assert.ok(answer !== "dropped" && answer.rcode === 2);
});

test("auto: zones come and go with the files of a directory", async () => {
  const zones = join(directory, "zones");
  mkdirSync(zones);
  const put = (name: string) => writeFileSync(join(zones, name), "@ SOA a b 1 1 1 1 1\nwww A 10.0.0.1\n");
  put("db.one.example");
  put("not-a-zone");
  writeFileSync(join(zones, "db.bad.example"), "nonsense\n");
  const { ask, block, logged } = await chain(`.:53 {\nauto {\ndirectory ${zones}\nreload 10ms\n}\n}`, { next: next() });
  const serves = async (name: string) => lines(await ask(name)).length === 1;
  assert.ok(await serves("www.one.example."));
  assert.ok(!(await serves("www.bad.example.")) && logged.some((line) => line.includes("db.bad.example")));
  put("db.two.example");
  rmSync(join(zones, "db.one.example"));
  for (let i = 0; i < 300 && !((await serves("www.two.example.")) && !(await serves("www.one.example."))); i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok((await serves("www.two.example.")) && !(await serves("www.one.example.")));
  for (const { installed } of block.installed) installed.stop?.();
  const named = await chain(`.:53 {\nauto example {\ndirectory ${zones} db\\.(\\w+)\\.example {1}.example\n}\n}`, { next: next() });
  assert.equal(lines(await named.ask("www.two.example.")).length, 1);
  await assert.rejects(chain("auto"), /auto has no directory/);
});
