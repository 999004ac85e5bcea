import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodeMessage, encodeMessage } from "../wire/codec.ts";
import { formatRecord } from "./format.ts";
import { parseRecord, parseZone } from "./parse.ts";
import { ZoneFileError } from "./words.ts";

const zone = (text: string, readFile?: (path: string) => string) =>
  parseZone(text, { origin: "example.org.", file: "db.example.org", ...(readFile ? { readFile } : {}) }).map(formatRecord);

describe("records in text", () => {
  const records = [
    "a.example. 60 IN A 10.0.0.1",
    "a.example. 60 IN AAAA 2001:db8::1",
    "a.example. 60 IN CNAME b.example.",
    "a.example. 60 IN NS ns.example.",
    "a.example. 60 IN PTR b.example.",
    "a.example. 60 IN DNAME b.example.",
    "a.example. 60 IN MX 10 mail.example.",
    "a.example. 60 IN SRV 0 100 53 b.example.",
    'a.example. 60 IN TXT "one" "two; with \\"quotes\\" and \\\\" ""',
    "a.example. 60 IN SOA ns.example. admin.example. 1 2 3 4 5",
    'a.example. 60 IN HINFO "cpu" "os"',
    'a.example. 60 IN NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .',
    'a.example. 60 IN CAA 0 issue "ca.example"',
    'a.example. 60 IN URI 10 1 "https://example.org/"',
    "a.example. 60 IN DS 1 8 2 00AB",
    "a.example. 60 IN SSHFP 1 1 00AB",
    "a.example. 60 IN DNSKEY 256 3 8 AQID",
    "a.example. 60 IN RRSIG A 8 2 300 20260101000000 20250101000000 12345 example. AQID",
    "a.example. 60 IN NSEC b.example. A MX RRSIG",
    "a.example. 60 IN NSEC3 1 0 10 AABB 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG",
    "a.example. 60 IN NSEC3PARAM 1 0 10 -",
    "a.example. 60 IN TLSA 3 1 1 00AB",
    'a.example. 60 IN HTTPS 1 . alpn="h2,h3" port=8443 ipv4hint=192.0.2.1,192.0.2.2',
    "a.example. 60 IN TYPE65280 \\# 3 010203",
    '*.example. 0 CH TXT "x"',
    "a\\.b.example. 60 IN A 10.0.0.1",
  ];
  for (const text of records)
    test(text, () => {
      const record = parseRecord(text);
      assert.equal(formatRecord(record), text);
      // And it is what goes on the wire.
      const bytes = encodeMessage({ ...decodeMessage(Buffer.from("000180000000000000000000", "hex")), answers: [record] });
      assert.deepEqual(decodeMessage(bytes).answers, [record]);
    });
});

test("a zone file: origin, TTL, owners left out, parentheses, comments", () => {
  assert.deepEqual(
    zone(`; the zone
$TTL 1h
@ IN SOA ns admin (
      2026010101 ; serial
      2h 30m 1w 300 )
  NS ns
  IN 60 MX 10 mail
ns 5 A 10.0.0.1
   AAAA fd00::1
$ORIGIN sub
www CNAME @
txt TXT plain "quoted ; no comment" esc\\059aped\\233
`),
    [
      "example.org. 3600 IN SOA ns.example.org. admin.example.org. 2026010101 7200 1800 604800 300",
      "example.org. 3600 IN NS ns.example.org.",
      "example.org. 60 IN MX 10 mail.example.org.",
      "ns.example.org. 5 IN A 10.0.0.1",
      "ns.example.org. 3600 IN AAAA fd00::1",
      "www.sub.example.org. 3600 IN CNAME sub.example.org.",
      'txt.sub.example.org. 3600 IN TXT "plain" "quoted ; no comment" "esc;aped\\233"',
    ],
  );
});

test("$INCLUDE, with an origin of its own", () => {
  const files: Record<string, string> = { "hosts.inc": "www A 10.0.0.2\n" };
  const read = (path: string) => files[path.split("/").at(-1) ?? ""] ?? "";
  assert.deepEqual(zone("$TTL 5\n$INCLUDE hosts.inc in\nafter A 10.0.0.3\n", read), [
    "www.in.example.org. 5 IN A 10.0.0.2",
    "after.example.org. 5 IN A 10.0.0.3",
  ]);
  assert.throws(() => zone("$INCLUDE self\n", () => "$INCLUDE self\n"), /more than 100 files/);
});

describe("faults, at their places", () => {
  const faults: [string, RegExp][] = [
    ["www A 10.0.0\n", /db\.example\.org:1:7: "10\.0\.0" is no IPv4 address/],
    ["www A\n", /address is missing in a record of type A/],
    ["www A 10.0.0.1 10.0.0.2\n", /1:16: "10\.0\.0\.2" is too much/],
    ["www NOPE x\n", /"NOPE" is no record type/],
    ["www 60\n", /has no type/],
    ["  A 10.0.0.1\n", /no owner/],
    ['www TXT "open\n', /a quote is not closed/],
    ["@ SOA a b ( 1 2\n3 4", /a parenthesis is not closed/],
    ["www A 10.0.0.1 )\n", /closed that was not opened/],
    ["$GENERATE 1-3 a A 10.0.0.1\n", /there is no directive \$GENERATE/],
    ["a..b A 10.0.0.1\n", /"a\.\.b" is no name/],
    ["a MX 99999999999 b\n", /preference is "99999999999"/],
    ["a TYPE65280 \\# 4 0102\n", /not as many bytes/],
  ];
  for (const [text, says] of faults) test(JSON.stringify(text), () => assert.throws(() => zone(text), says));
});

test("any text is a zone or a ZoneFileError", () => {
  const part = fc.constantFrom(
    "a",
    "@",
    " ",
    "\t",
    "\n",
    "IN",
    "60",
    "A",
    "10.0.0.1",
    "TXT",
    '"',
    "\\",
    "(",
    ")",
    ";",
    "$TTL",
    "$ORIGIN",
    "SOA",
    "HTTPS",
    "alpn=",
    "\\#",
    "NSEC3",
    "é",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ maxLength: 60 }),
        fc.array(part, { maxLength: 30 }).map((parts) => parts.join(" ")),
      ),
      (text) => {
        try {
          for (const record of parseZone(text, { origin: "example.", file: "x", readFile: () => "" })) formatRecord(record);
        } catch (error) {
          if (!(error instanceof ZoneFileError)) throw error;
        }
      },
    ),
    { numRuns: 3000 },
  );
});
