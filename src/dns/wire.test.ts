import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Message, TYPE } from "./message.ts";
import { DnsFormatError, decodeMessage, encodeMessage, labelsOf } from "./wire.ts";

const QUERY = "04d2010000010000000000010361706903737663000001000100002904d0000000000000";
const query: Message = {
  id: 1234,
  response: false,
  opcode: 0,
  authoritative: false,
  truncated: false,
  recursionDesired: true,
  recursionAvailable: false,
  rcode: 0,
  questions: [{ name: "api.svc.", type: TYPE.A, class: 1 }],
  answers: [],
  authorities: [],
  additionals: [],
  edns: { udpSize: 1232, version: 0, dnssecOk: false, extendedRcode: 0 },
};

test("a query is read and written to the byte", () => {
  assert.deepEqual(decodeMessage(Buffer.from(QUERY, "hex")), query);
  assert.equal(Buffer.from(encodeMessage(query)).toString("hex"), QUERY);
});

test("every record type survives the way there and back, names compressed", () => {
  const name = "api.production.svc.cluster.local.";
  const record = (data: Message["answers"][number]["data"]) => ({ name, class: 1, ttl: 5, data });
  const { edns: _edns, ...plain } = query;
  const message: Message = {
    ...plain,
    response: true,
    answers: [
      record({ type: "A", address: "10.96.0.10" }),
      record({ type: "AAAA", address: "fd00:10:96::a" }),
      record({ type: "CNAME", target: "example.org." }),
      record({ type: "SRV", priority: 0, weight: 100, port: 80, target: name }),
      record({ type: "MX", preference: 10, target: name }),
      record({ type: "TXT", texts: ["1.1.0", ""] }),
      record({ type: "PTR", target: "a\\.b.c." }),
      record({ type: "other", code: 99, bytes: Uint8Array.of(1, 2, 3) }),
    ],
    authorities: [
      record({
        type: "SOA",
        primary: "ns.dns.cluster.local.",
        mailbox: "hostmaster.cluster.local.",
        serial: 1,
        refresh: 7200,
        retry: 1800,
        expire: 86400,
        minimum: 5,
      }),
    ],
  };
  const bytes = encodeMessage(message);
  assert.deepEqual(decodeMessage(bytes), message);
  assert.ok(bytes.length < 400, `names are compressed: ${bytes.length} bytes`);
});

test("what does not fit is left out and TC says so", () => {
  const answers = Array.from({ length: 100 }, (_, i) => ({
    name: "a.b.",
    class: 1,
    ttl: 5,
    data: { type: "A" as const, address: `10.0.0.${i}` },
  }));
  const bytes = encodeMessage({ ...query, response: true, answers }, 512);
  const read = decodeMessage(bytes);
  assert.ok(bytes.length <= 512 && read.truncated && read.answers.length > 10 && read.edns);
});

test("any bytes are a message or a DnsFormatError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        encodeMessage(decodeMessage(bytes));
      } catch (error) {
        if (!(error instanceof DnsFormatError)) throw error;
      }
    }),
    { numRuns: 5000 },
  );
  const damaged = Buffer.from(QUERY, "hex");
  for (let i = 0; i < damaged.length; i++) {
    for (const value of [0, 0x3f, 0xc0, 0xff]) {
      const bytes = Uint8Array.from(damaged);
      bytes[i] = value;
      try {
        decodeMessage(bytes);
      } catch (error) {
        assert.ok(error instanceof DnsFormatError);
      }
    }
  }
});

test("labels are split at dots that are not escaped", () => {
  assert.deepEqual(labelsOf("a\\.b.c."), ["a.b", "c"]);
  assert.deepEqual(labelsOf("."), []);
});
