import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chain, lines, tableHandler } from "../../../../test/dns-chain.ts";
import { reply } from "../../query.ts";
import { compileTemplate } from "./go-template.ts";

const google = reply("table", { answers: [{ name: "google.com.", class: 1, ttl: 9, data: { type: "A", address: "192.0.2.1" } }] });
const run = (text: string) => chain(`.:53 {\n${text}\n}`, { next: tableHandler({ "google.com. A": google }, reply("end", { rcode: 5 })) });

test("everything is NXDOMAIN", async () => {
  const { ask } = await run("template ANY ANY {\nrcode NXDOMAIN\n}");
  const answer = await ask("any.thing.", "MX");
  assert.ok(answer !== "dropped" && answer.rcode === 3 && answer.authoritative);
});

test("addresses out of names, and names out of addresses", async () => {
  const { ask, metrics } = await run(`template IN A example {
    match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$
    answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
    fallthrough
  }
  template IN PTR in-addr.arpa {
    match ^(?P<d>[0-9]*)[.](?P<c>[0-9]*)[.](?P<b>[0-9]*)[.](?P<a>[0-9]*)[.]in-addr[.]arpa[.]$
    answer "{{ .Name }} 60 IN PTR ip-{{ .Group.a }}-{{ .Group.b }}-{{ .Group.c }}-{{ .Group.d }}.example."
  }`);
  assert.deepEqual(lines(await ask("web.ip-10-1-2-3.example.")), ["web.ip-10-1-2-3.example. 60 IN A 10.1.2.3"]);
  assert.deepEqual(lines(await ask("3.2.1.10.in-addr.arpa.", "PTR")), ["3.2.1.10.in-addr.arpa. 60 IN PTR ip-10-1-2-3.example."]);
  const other = await ask("other.example.");
  assert.ok(other !== "dropped" && other.by === "end", "falls through");
  const unmatched = await ask("x.in-addr.arpa.", "PTR");
  assert.ok(unmatched !== "dropped" && unmatched.rcode === 2, "and without fallthrough it fails");
  assert.match(metrics.print(), /coredns_template_matches_total\{server="dns:\/\/:53",zone="example\.",view="",class="IN",type="A"\} 1/);
});

test("hexadecimal, sections, extended errors, the question's class", async () => {
  const { ask } = await run(`template IN A example {
    match "^ip0a(?P<b>[a-f0-9]{2})(?P<c>[a-f0-9]{2})(?P<d>[a-f0-9]{2})[.]example[.]$"
    answer "{{ .Name }} 60 IN A 10.{{ parseInt .Group.b 16 8 }}.{{ parseInt .Group.c 16 8 }}.{{ parseInt .Group.d 16 8 }}"
    additional "ns.{{ .Zone }} 60 IN A 192.0.2.53"
    authority "{{ .Zone }} 60 IN NS ns.{{ .Zone }}"
  }
  template ANY ANY invalid {
    rcode NXDOMAIN
    authority "invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)"
    ederror 21 "Blocked"
  }`);
  const answer = await ask("ip0a0b7bff.example.");
  assert.deepEqual(
    [lines(answer), lines(answer, "authorities"), lines(answer, "additionals")],
    [["ip0a0b7bff.example. 60 IN A 10.11.123.255"], ["example. 60 IN NS ns.example."], ["ns.example. 60 IN A 192.0.2.53"]],
  );
  const invalid = await ask("x.invalid.", "TXT", { class: 3 });
  assert.ok(invalid !== "dropped");
  assert.deepEqual(lines(invalid, "authorities"), ["invalid. 60 CH SOA ns.invalid. hostmaster.invalid. 1 60 60 60 60"]);
  assert.deepEqual(
    [invalid.options?.[0]?.code, Buffer.from(invalid.options?.[0]?.bytes ?? []).toString("latin1")],
    [15, "\0\u0015Blocked"],
  );
});

test("the target of a made CNAME is resolved", async () => {
  const { ask } = await run('template IN ANY foogle.com {\nmatch "^foogle\\.com\\.$"\nanswer "foogle.com 60 IN CNAME google.com"\n}');
  assert.deepEqual(lines(await ask("foogle.com.")), ["foogle.com. 60 IN CNAME google.com.", "google.com. 9 IN A 192.0.2.1"]);
  assert.deepEqual(lines(await ask("foogle.com.", "CNAME")), ["foogle.com. 60 IN CNAME google.com."]);
});

test("what can't be made is SERVFAIL, counted and told", async () => {
  const { ask, metrics, logged } = await run(`errors
  template IN A bad {
    answer "{{ .Name }} 60 IN A nonsense"
  }
  template IN A worse {
    answer "{{ index .Match 7 }}"
  }`);
  const bad = await ask("x.bad.");
  assert.ok(bad !== "dropped" && bad.rcode === 2);
  await ask("x.worse.");
  assert.match(metrics.print(), /coredns_template_rr_failures_total\{.*section="answer".*\} 1/);
  assert.match(metrics.print(), /coredns_template_template_failures_total\{.*\} 1/);
  assert.ok(logged.some((line) => line.includes('"nonsense" is no IPv4 address')));
});

describe("templates", () => {
  const data = { Name: "x.", Match: ["whole", "one"], Group: { a: "1f" }, Meta: (label: string) => `<${label}>` };
  const cases: [string, string][] = [
    ["plain", "plain"],
    ["{{ .Name }}{{.Name}}", "x.x."],
    ["a {{- .Name -}} b", "ax.b"],
    ["{{ index .Match 1 }}", "one"],
    ['{{ printf "%02x-%s-%d" 5 .Name 7 }}', "05-x.-7"],
    ["{{ parseInt .Group.a 16 8 }}", "31"],
    ['{{ .Group.a | printf "<%s>" }}', "<1f>"],
    ["{{ len .Match }}", "2"],
    ['{{ .Meta "kubernetes/ns" }}', "<kubernetes/ns>"],
    ["{{ print (index .Match 0) 1 }}", "whole1"],
    ["{{/* a comment */}}x", "x"],
  ];
  for (const [text, expected] of cases) test(text, () => assert.equal(compileTemplate(text)(data), expected));
  for (const text of ["{{ .Name", "{{ range .Match }}", "{{ $x }}", "{{ }}", "{{ (.Name }}", "{{ nope .Name }}"])
    test(`${text} is refused`, () => assert.throws(() => compileTemplate(text)));
  for (const text of ["{{ .Nope }}", "{{ .Group.b }}", "{{ index .Match 9 }}", "{{ parseInt .Name 10 8 }}", "{{ .constructor }}"])
    test(`${text} has no value`, () => assert.throws(() => compileTemplate(text)(data)));
});

test("faults of the Corefile, at their places", async () => {
  await assert.rejects(run("template IN A {\nanswr x\n}"), /template has no option "answr" \(did you mean answer\?/);
  await assert.rejects(run("template XX A {\n}"), /"XX" is no class/);
  await assert.rejects(run("template IN NOPE {\n}"), /"NOPE" is no record type/);
  await assert.rejects(run('template IN A {\nanswer "{{ range }}"\n}'), /Corefile:3:8: .*not understood in a template/);
  await assert.rejects(run("template IN A {\nmatch (\n}"), /no regular expression/);
  await assert.rejects(run("template IN A {\nrcode NOPE\n}"), /"NOPE" is no response code/);
});
