import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fuzzing } from "../../../test/fuzz.ts";
import { CLASS, type Message, type RecordData, type ResourceRecord, TYPE, typeCode } from "../message.ts";
import { type FieldKind, RECORD_FIELDS } from "../record-fields.ts";
import { formatRecord } from "../text/format.ts";
import { decodeMessage, encodeMessage, queryMessage } from "./codec.ts";
import { DnsFormatError, DnsValueError } from "./errors.ts";
import { inZone, labelsOf, nameOf, toName } from "./names.ts";

/** Answers of another server, each as bytes and as its records' text; names are not compressed. */
const ANSWERS: readonly { readonly hex: string; readonly answers: readonly string[] }[] = [
  {
    hex: "123485000001000100000000076578616d706c65036f72670000060001076578616d706c65036f7267000006000100000e100036026e73076578616d706c65036f72670004686f7374076578616d706c65036f72670078c275f500001c2000000708000151800000012c",
    answers: ["example.org. 3600 IN SOA ns.example.org. host.example.org. 2026010101 7200 1800 86400 300"],
  },
  {
    hex: "123485000001000100000000076578616d706c65036f72670000020001076578616d706c65036f7267000002000100000e100010026e73076578616d706c65036f726700",
    answers: ["example.org. 3600 IN NS ns.example.org."],
  },
  {
    hex: "123485000001000200000000076578616d706c65036f726700000f0001076578616d706c65036f726700000f000100000e100014000a046d61696c076578616d706c65036f726700076578616d706c65036f726700000f000100000e1000150014056d61696c32076578616d706c65036e657400",
    answers: ["example.org. 3600 IN MX 10 mail.example.org.", "example.org. 3600 IN MX 20 mail2.example.net."],
  },
  {
    hex: "123485000001000100000000076578616d706c65036f72670001010001076578616d706c65036f7267000101000100000e100016000569737375656c657473656e63727970742e6f7267",
    answers: ['example.org. 3600 IN CAA 0 issue "letsencrypt.org"'],
  },
  {
    hex: "123485000001000100000000076578616d706c65036f72670000300001076578616d706c65036f7267000030000100000e1000440101030d99db2cc14cabdc33d6d77da63a2f15f71112584f234e8d1dc428e39e8a4a97e1aa271a555dc90701e17e2a4c4b6f120b7c32d44f4ac02bd894cf2d4be7778a19",
    answers: [
      "example.org. 3600 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==",
    ],
  },
  {
    hex: "12348500000100020000000004686f7374076578616d706c65036f7267000001000104686f7374076578616d706c65036f7267000001000100000e100004c000020304686f7374076578616d706c65036f7267000001000100000e100004c0000204",
    answers: ["host.example.org. 3600 IN A 192.0.2.3", "host.example.org. 3600 IN A 192.0.2.4"],
  },
  {
    hex: "12348500000100010000000003736978076578616d706c65036f726700001c000103736978076578616d706c65036f726700001c000100000e10001020010db80000000100000000000000ff",
    answers: ["six.example.org. 3600 IN AAAA 2001:db8:0:1::ff"],
  },
  {
    hex: "12348500000100030000000005616c696173076578616d706c65036f7267000001000105616c696173076578616d706c65036f726700000500010000003c001204686f7374076578616d706c65036f72670004686f7374076578616d706c65036f7267000001000100000e100004c000020304686f7374076578616d706c65036f7267000001000100000e100004c0000204",
    answers: [
      "alias.example.org. 60 IN CNAME host.example.org.",
      "host.example.org. 3600 IN A 192.0.2.3",
      "host.example.org. 3600 IN A 192.0.2.4",
    ],
  },
  {
    hex: "1234850000010001000000000474657874076578616d706c65036f726700001000010474657874076578616d706c65036f726700001000010000003c00230b763d73706631202d616c6c167365636f6e64202271756f74656422205c2070617274",
    answers: ['text.example.org. 60 IN TXT "v=spf1 -all" "second \\"quoted\\" \\\\ part"'],
  },
  {
    hex: "12348500000100010000000004696e666f076578616d706c65036f726700000d000104696e666f076578616d706c65036f726700000d00010000003c000c0541524d3634054c696e7578",
    answers: ['info.example.org. 60 IN HINFO "ARM64" "Linux"'],
  },
  {
    hex: "123485000001000100000000045f736970045f746370076578616d706c65036f72670000210001045f736970045f746370076578616d706c65036f726700002100010000003c00180005003c13c404686f7374076578616d706c65036f726700",
    answers: ["_sip._tcp.example.org. 60 IN SRV 5 60 5060 host.example.org."],
  },
  {
    hex: "123485000001000100000000056e61707472076578616d706c65036f72670000230001056e61707472076578616d706c65036f726700002300010000003c0026006400320173075349502b44325400045f736970045f746370076578616d706c65036f726700",
    answers: ['naptr.example.org. 60 IN NAPTR 100 50 "s" "SIP+D2T" "" _sip._tcp.example.org.'],
  },
  {
    hex: "12348500000100010000000003707472076578616d706c65036f726700000c000103707472076578616d706c65036f726700000c00010000003c001204686f7374076578616d706c65036f726700",
    answers: ["ptr.example.org. 60 IN PTR host.example.org."],
  },
  {
    hex: "12348500000100010000000003737562076578616d706c65036f726700002b000103737562076578616d706c65036f726700002b00010000003c002409430d021f987cc6583e92df0890718c42a54f6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a6a",
    answers: ["sub.example.org. 60 IN DS 2371 13 2 1F987CC6583E92DF0890718C42A54F6A6A6A6A6A6A6A6A6A6A6A6A6A6A6A6A6A"],
  },
  {
    hex: "123485000001000100000000045f343433045f746370076578616d706c65036f72670000340001045f343433045f746370076578616d706c65036f726700003400010000003c0023030101d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971",
    answers: ["_443._tcp.example.org. 60 IN TLSA 3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971"],
  },
  {
    hex: "12348500000100010000000003737663076578616d706c65036f7267000040000103737663076578616d706c65036f726700004000010000003c0024000104686f7374076578616d706c65036f726700000100060268320268330003000220fb",
    answers: ['svc.example.org. 60 IN SVCB 1 host.example.org. alpn="h2,h3" port=8443'],
  },
  {
    hex: "12348500000100010000000003776562076578616d706c65036f7267000041000103776562076578616d706c65036f726700004100010000003c00160001000001000302683200040008c0000203c0000204",
    answers: ['web.example.org. 60 IN HTTPS 1 . alpn="h2" ipv4hint=192.0.2.3,192.0.2.4'],
  },
  {
    hex: "12348500000100010000000003737368076578616d706c65036f726700002c000103737368076578616d706c65036f726700002c00010000003c00220402123456789abcdef67890123456789abcdef67890123456789abcdef123456789",
    answers: ["ssh.example.org. 60 IN SSHFP 4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789"],
  },
  {
    hex: "12348500000100010000000003757269076578616d706c65036f7267000100000103757269076578616d706c65036f726700010000010000003c001c000a000168747470733a2f2f6578616d706c652e6f72672f70617468",
    answers: ['uri.example.org. 60 IN URI 10 1 "https://example.org/path"'],
  },
  {
    hex: "123485000001000100000000036f6464076578616d706c65036f726700ff000001036f6464076578616d706c65036f726700ff0000010000003c00040a0b0c0d",
    answers: ["odd.example.org. 60 IN TYPE65280 \\# 4 0A0B0C0D"],
  },
  {
    hex: "123485000001000100000000046e736563076578616d706c65036f726700002f0001046e736563076578616d706c65036f726700002f00010000003c003704686f7374076578616d706c65036f7267000006400100000003041b000000000000000000000000000000000000000000000000000020",
    answers: ["nsec.example.org. 60 IN NSEC host.example.org. A MX RRSIG NSEC TYPE1234"],
  },
  {
    hex: "123485000001000100000000026e330174076578616d706c650000320001026e330174076578616d706c6500003200010000003c00260101000c04aabbccdd14174eb2409fe28bcb4887a1836f957f0a8425e27b0006400000000002",
    answers: ["n3.t.example. 60 IN NSEC3 1 1 12 AABBCCDD 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG"],
  },
  {
    hex: "123485000001000100000000026e330174076578616d706c650000330001026e330174076578616d706c6500003300010000003c00090100000c04aabbccdd",
    answers: ["n3.t.example. 60 IN NSEC3PARAM 1 0 12 AABBCCDD"],
  },
  {
    hex: "12348500000100010000000003736967076578616d706c65036f726700002e000103736967076578616d706c65036f726700002e00010000003c006000010d0300000e1069f3ed0069cc60000943076578616d706c65036f726700a090755ba58d1affa576f4375831b4310920e481218d18a9f164eb3d81afd3b875d3c75428631e0cf2a28d50875f70c329d7dbfafea807dc1fba1dc34c95d401f2",
    answers: [
      "sig.example.org. 60 IN RRSIG A 13 3 3600 20260501000000 20260401000000 2371 example.org. oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTrPYGv07h108dUKGMeDPKijVCHX3DDKdfb+v6oB9wfuh3DTJXUAfI=",
    ],
  },
  {
    hex: "1234850000010001000000000164076578616d706c65036f726700002700010164076578616d706c65036f726700002700010000003c0013056f74686572076578616d706c65036e657400",
    answers: ["d.example.org. 60 IN DNAME other.example.net."],
  },
  {
    hex: "123485030001000000010000046e6f7065076578616d706c65036f72670000010001076578616d706c65036f7267000006000100000e100036026e73076578616d706c65036f72670004686f7374076578616d706c65036f72670078c275f500001c2000000708000151800000012c",
    answers: [],
  },
  {
    hex: "12348500000100020001000104686f7374076578616d706c65036f7267000001000104686f7374076578616d706c65036f7267000001000100000e100004c000020304686f7374076578616d706c65036f7267000001000100000e100004c0000204076578616d706c65036f7267000002000100000e100010026e73076578616d706c65036f7267000000291000000080000000",
    answers: ["host.example.org. 3600 IN A 192.0.2.3", "host.example.org. 3600 IN A 192.0.2.4"],
  },
];

for (const { hex, answers } of ANSWERS)
  test(`bytes and message: ${answers[0] ?? "no answer"}`, () => {
    const message = decodeMessage(Buffer.from(hex, "hex"));
    assert.deepEqual(message.answers.map(formatRecord), answers);
    assert.equal(Buffer.from(encodeMessage(message, undefined, false)).toString("hex"), hex);
    // Compressed it is another text of the same message.
    assert.deepEqual(decodeMessage(encodeMessage(message)), message);
  });

test("a query with EDNS0 is read and written to the byte, options and flags too", () => {
  const hex = "04d201300001000000000001036170690373766300000100010000291000000080000012000300000008000800012000c0a80000";
  const message = decodeMessage(Buffer.from(hex.replace("0012", "0010"), "hex"));
  assert.deepEqual(message.questions, [{ name: "api.svc.", type: TYPE.A, class: CLASS.IN }]);
  assert.deepEqual(
    { ad: message.authenticData, cd: message.checkingDisabled, rd: message.recursionDesired },
    { ad: true, cd: true, rd: true },
  );
  assert.deepEqual(message.edns, {
    udpSize: 4096,
    version: 0,
    dnssecOk: true,
    options: [
      { code: 3, bytes: new Uint8Array() },
      { code: 8, bytes: Uint8Array.of(0, 1, 32, 0, 192, 168, 0, 0) },
    ],
  });
  assert.equal(Buffer.from(encodeMessage(message)).toString("hex"), hex.replace("0012", "0010"));
});

test("an rcode of twelve bits is split over header and OPT, and needs EDNS0", () => {
  const edns = { udpSize: 1232, version: 0, dnssecOk: false };
  const bytes = encodeMessage(queryMessage({ name: "a.", type: TYPE.A }, { response: true, rcode: 16, edns }));
  assert.equal(decodeMessage(bytes).rcode, 16);
  assert.equal(decodeMessage(encodeMessage(queryMessage({ name: "a.", type: TYPE.A }, { response: true, rcode: 16 }))).rcode, 2);
});

test("what does not fit is left out; TC says so unless it is additional", () => {
  const record = (index: number): ResourceRecord => ({ name: "a.b.", class: 1, ttl: 5, data: { type: "A", address: `10.0.0.${index}` } });
  const many = Array.from({ length: 100 }, (_, index) => record(index));
  const edns = { udpSize: 512, version: 0, dnssecOk: false };
  const query = queryMessage({ name: "a.b.", type: TYPE.A }, { response: true, edns });
  const cut = decodeMessage(encodeMessage({ ...query, answers: many }, 512));
  assert.ok(cut.truncated && cut.answers.length > 10 && cut.edns);
  const glue = encodeMessage({ ...query, answers: [record(1)], additionals: many }, 512);
  assert.ok(glue.length <= 512 && !decodeMessage(glue).truncated && decodeMessage(glue).additionals.length > 10);
});

const REFUSED: readonly [why: string, hex: string][] = [
  ["nothing", ""],
  ["half a header", "0000010000010000"],
  ["a question that is cut short", "0000010000010000000000000161"],
  ["a label longer than 63 bytes", `00000100000100000000000040${"61".repeat(64)}0000010001`],
  ["a label of another kind", `00000100000100000000000080${"61".repeat(4)}0000010001`],
  ["a pointer to itself", "000001000001000000000000c00c00010001"],
  ["a pointer forwards", "000001000001000000000000c01000010001"],
  ["a name longer than 255 bytes", `000001000001000000000000${`3f${"61".repeat(63)}`.repeat(4)}0000010001`],
  ["bytes after the end", "00000100000100000000000001610000010001ff"],
  ["an address of five bytes", "00008000000000010000000000000100010000000500050a00000101"],
  ["a text without a string", "0000800000000001000000000000100001000000050000"],
  ["data that is shorter than its length", "00008000000000010000000000000f000100000005000800010000"],
  ["an OPT among the answers", "00008000000000010000000000002904d0000000000000"],
  ["two OPTs", "00008000000000000000000200002904d000000000000000002904d0000000000000"],
  ["an OPT of a name", "000080000000000000000001016100002904d0000000000000"],
  ["an option beyond its OPT", "00008000000000000000000100002904d0000000000004000a0005"],
];

for (const [why, hex] of REFUSED)
  test(`refused: ${why}`, () => assert.throws(() => decodeMessage(Buffer.from(hex, "hex")), DnsFormatError));

test("values that no field holds are refused", () => {
  const write = (data: RecordData, name = "a.") =>
    encodeMessage(queryMessage({ name: "a.", type: 1 }, { answers: [{ name, class: 1, ttl: 5, data }] }));
  assert.throws(() => write({ type: "A", address: "fd00::1" }), DnsValueError);
  assert.throws(() => write({ type: "A", address: "10.0.0.256" }), DnsValueError);
  assert.throws(() => write({ type: "MX", preference: 65_536, target: "b." }), DnsValueError);
  assert.throws(() => write({ type: "TXT", texts: ["x".repeat(256)] }), DnsValueError);
  assert.throws(() => write({ type: "TXT", texts: ["\u20ac"] }), DnsValueError);
  assert.throws(() => write({ type: "A", address: "10.0.0.1" }, `${"a".repeat(64)}.`), DnsValueError);
  assert.throws(() => write({ type: "A", address: "10.0.0.1" }, "a..b."), DnsValueError);
  assert.throws(() => write({ type: "A", address: "10.0.0.1" }, `${"b".repeat(60)}.`.repeat(5)), DnsValueError);
  assert.throws(() => write({ type: "other", code: 99, bytes: new Uint8Array(65_536) }), DnsValueError);
});

/** Compression takes a name that stands there already in whatever letter case. */
const anyCase = (message: Message) => JSON.stringify(message).toLowerCase();

test("any bytes are a message or a DnsFormatError, and a message is written again", () => {
  const seeds = ANSWERS.map(({ hex }) => Buffer.from(hex, "hex"));
  const damaged = fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }), fc.nat(400))
    .map(([seed, changes, cut]) => {
      const bytes = Uint8Array.from(seed);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      return cut < bytes.length && cut > 12 ? bytes.subarray(0, cut) : bytes;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged, damaged), (bytes) => {
      let message: Message;
      try {
        message = decodeMessage(bytes);
      } catch (error) {
        if (error instanceof DnsFormatError) return;
        throw error;
      }
      assert.deepEqual(decodeMessage(encodeMessage(message, undefined, false)), message);
      assert.equal(anyCase(decodeMessage(encodeMessage(message))), anyCase(message));
      message.answers.map(formatRecord);
    }),
    fuzzing(),
  );
});

const label = fc.uint8Array({ minLength: 1, maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const name = fc.array(label, { maxLength: 4 }).map(nameOf);
const latin = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const address = (groups: number) => fc.array(fc.nat(groups === 4 ? 255 : 0xfffe), { minLength: groups, maxLength: groups });
const VALUES: { readonly [K in FieldKind]: fc.Arbitrary<unknown> } = {
  u8: fc.nat(255),
  u16: fc.nat(65_535),
  u32: fc.nat(0xffff_ffff),
  type: fc.nat(65_535),
  time: fc.nat(0xffff_ffff),
  name,
  "plain-name": name,
  ipv4: address(4).map((parts) => parts.join(".")),
  // No run of zeros, so that the text is canonical as it is.
  ipv6: address(8).map((parts) => parts.map((part) => (part + 1).toString(16)).join(":")),
  string: latin(255),
  word: latin(255),
  strings: fc.array(latin(60), { minLength: 1, maxLength: 4 }),
  text: latin(100),
  hex: fc.uint8Array({ maxLength: 60 }),
  base64: fc.uint8Array({ maxLength: 60 }),
  hex8: fc.uint8Array({ maxLength: 255 }),
  base32: fc.uint8Array({ maxLength: 255 }),
  types: fc.uniqueArray(fc.nat(65_535), { maxLength: 8 }).map((types) => [...types].sort((a, b) => a - b)),
  params: fc
    .uniqueArray(fc.record({ key: fc.nat(65_535), bytes: fc.uint8Array({ maxLength: 20 }) }, { noNullPrototype: true }), {
      maxLength: 4,
      selector: ({ key }) => key,
    })
    .map((list) => [...list].sort((a, b) => a.key - b.key)),
};
const dataOf = Object.entries(RECORD_FIELDS).map(([type, fields]) => {
  const values = Object.entries(fields).map(([field, kind]) => [field, VALUES[kind as FieldKind]] as const);
  return fc.record(Object.fromEntries([["type", fc.constant(type)] as const, ...values]), { noNullPrototype: true });
});
const record = fc.record(
  { name, class: fc.nat(65_535), ttl: fc.nat(0xffff_ffff), data: fc.oneof(...dataOf) },
  { noNullPrototype: true },
) as fc.Arbitrary<ResourceRecord>;

test("any message survives the way there and back", () => {
  fc.assert(
    fc.property(
      name,
      fc.array(record, { maxLength: 6 }),
      fc.array(record, { maxLength: 3 }),
      fc.nat(65_535),
      (asked, answers, additionals, id) => {
        const message = queryMessage({ name: asked, type: TYPE.A }, { id, response: true, answers, additionals });
        assert.deepEqual(decodeMessage(encodeMessage(message, undefined, false)), message);
        assert.equal(anyCase(decodeMessage(encodeMessage(message))), anyCase(message));
      },
    ),
    fuzzing(),
  );
});

test("names: escapes, zones, letters", () => {
  assert.deepEqual(labelsOf("a\\.b.c."), ["a.b", "c"]);
  assert.deepEqual(labelsOf("."), []);
  assert.equal(nameOf(["a.b", "\u0000"]), "a\\.b.\\000.");
  assert.equal(toName("Example.ORG"), "example.org.");
  assert.equal(toName("a..b"), undefined);
  assert.equal(toName(""), undefined);
  assert.equal(toName("\u0236.org"), undefined);
  assert.equal(toName(`${"a".repeat(60)}.`.repeat(5)), undefined);
  assert.ok(inZone("a.example.org.", "example.org.") && inZone("example.org.", ".") && !inZone("aexample.org.", "example.org."));
  assert.ok(!inZone("a\\.example.org.", "example.org.") && inZone("a\\\\.example.org.", "example.org."));
  assert.equal(typeCode("https"), 65);
  assert.equal(typeCode("TYPE65280"), 65_280);
  assert.equal(typeCode("toString"), undefined);
});
