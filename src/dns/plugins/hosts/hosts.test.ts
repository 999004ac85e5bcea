import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { chain, lines } from "../../../../test/dns-chain.ts";
import { reply } from "../../query.ts";

const directory = mkdtempSync(join(tmpdir(), "fairlead-hosts-"));
after(() => rmSync(directory, { recursive: true, force: true }));
const next = { name: "end", serve: () => reply("end", { rcode: 3 }) };
const write = (text: string) => writeFileSync(join(directory, "hosts"), text);
const run = (body: string) => chain(`.:53 {\nhosts ${join(directory, "hosts")} {\n${body}\n}\n}`, { next });
const rcode = (answer: Awaited<ReturnType<Awaited<ReturnType<typeof chain>>["ask"]>>) => (answer === "dropped" ? "dropped" : answer.rcode);

test("names, both families, several lines, comments, both ways", async () => {
  write("# comment\n10.0.0.1 Db.Example.org db # more\n10.0.0.2 db.example.org\nfd00::1 db.example.org\nnonsense x\n10.0.0.3\n");
  const { ask, metrics } = await run("10.9.9.9 inline.example.org\nttl 60\nfallthrough");
  assert.deepEqual(lines(await ask("db.example.org.")), ["db.example.org. 60 IN A 10.0.0.1", "db.example.org. 60 IN A 10.0.0.2"]);
  assert.deepEqual(lines(await ask("db.example.org.", "AAAA")), ["db.example.org. 60 IN AAAA fd00::1"]);
  assert.deepEqual(lines(await ask("inline.example.org.")), ["inline.example.org. 60 IN A 10.9.9.9"]);
  assert.deepEqual(lines(await ask("1.0.0.10.in-addr.arpa.", "PTR")), [
    "1.0.0.10.in-addr.arpa. 60 IN PTR db.example.org.",
    "1.0.0.10.in-addr.arpa. 60 IN PTR db.",
  ]);
  assert.match(
    lines(await ask("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", "PTR"))[0] ?? "",
    /PTR db\.example\.org\.$/,
  );
  assert.match(metrics.print(), /coredns_hosts_entries 5/);
});

test("a name with another family is there without data; one that is missing fails, or falls through", async () => {
  write("10.0.0.1 four.example.org\n");
  const { ask } = await run("fallthrough only.example");
  const none = await ask("four.example.org.", "AAAA");
  assert.deepEqual([rcode(none), lines(none)], [0, []]);
  assert.equal(rcode(await ask("missing.example.org.")), 2);
  assert.equal(rcode(await ask("a.only.example.")), 3);
  assert.equal(rcode(await ask("four.example.org.", "MX")), 0, "the name is there");
  assert.equal(rcode(await ask("9.9.9.9.in-addr.arpa.", "PTR")), 3, "reverse names always fall through");
});

test("no_reverse, and zones", async () => {
  write("10.0.0.1 a.example.org\n10.0.0.2 a.example.com\n");
  const { ask } = await chain(`.:53 {\nhosts ${join(directory, "hosts")} example.org {\nno_reverse\n}\n}`, { next });
  assert.deepEqual(lines(await ask("a.example.org.")).length, 1);
  assert.equal(rcode(await ask("a.example.com.")), 3);
  assert.equal(rcode(await ask("1.0.0.10.in-addr.arpa.", "PTR")), 3);
});

test("a changed file is taken, one that is gone leaves the table", async () => {
  write("10.0.0.1 a.example\n");
  const { ask, block, logged } = await run("reload 10ms");
  write("10.0.0.2 a.example\n10.0.0.3 b.example\n");
  const answersWith = async (name: string, text: string) => {
    for (let i = 0; i < 200; i++) {
      if (
        lines(await ask(name))
          .join()
          .includes(text)
      )
        return true;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return false;
  };
  assert.ok(await answersWith("a.example.", "10.0.0.2"));
  rmSync(join(directory, "hosts"));
  for (let i = 0; i < 200 && logged.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.match(logged[0] ?? "", /can't be read/);
  assert.ok(await answersWith("b.example.", "10.0.0.3"));
  for (const { installed } of block.installed) installed.stop?.();
});

test("what it does not know is refused at its place", async () => {
  await assert.rejects(run("tll 5"), /hosts has no option "tll" \(did you mean ttl\?/);
  await assert.rejects(run("10.0.0.1"), /10\.0\.0\.1 has no name/);
  await assert.rejects(run("ttl 0"), /"0" is no whole number/);
});
