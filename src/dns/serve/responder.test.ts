// Bytes in, bytes out: what is read without a message agrees with the codec, and any bytes are survived.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fuzzing } from "../../../test/fuzz.ts";
import { type Message, RCODE, type ResourceRecord, TYPE } from "../message.ts";
import { type Origin, type Reply, reply } from "../query.ts";
import { decodeMessage, encodeMessage, queryMessage } from "../wire/codec.ts";
import { DnsFormatError } from "../wire/errors.ts";
import { nameOf } from "../wire/names.ts";
import type { Block, Listening } from "./configuration.ts";
import { readQuery, WireQuery } from "./query-reader.ts";
import { keep, writeReply } from "./reply-writer.ts";
import { Responder } from "./responder.ts";

const udp: Origin = { transport: "udp", address: "10.244.0.7", port: 40_000, server: "dns://:53" };
const tcp: Origin = { ...udp, transport: "tcp" };

const latin = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const letters = fc.string({ minLength: 1, maxLength: 20, unit: fc.constantFrom(..."abcABC019-_") });
const name = fc.array(fc.oneof(letters, letters, latin), { maxLength: 5 }).map(nameOf);
const edns = fc.option(
  fc.record(
    {
      udpSize: fc.nat(65_535),
      version: fc.constant(0),
      dnssecOk: fc.boolean(),
      options: fc.array(fc.record({ code: fc.nat(65_535), bytes: fc.uint8Array({ maxLength: 9 }) }, { noNullPrototype: true }), {
        maxLength: 2,
      }),
    },
    { noNullPrototype: true },
  ),
  { nil: undefined },
);

test("a query read without a message is what the codec reads", () => {
  fc.assert(
    fc.property(name, fc.nat(300), edns, fc.boolean(), fc.boolean(), (asked, type, given, recursionDesired, checkingDisabled) => {
      if (type === TYPE.AXFR || type === TYPE.IXFR) return;
      const message = queryMessage(
        { name: asked, type },
        { id: 77, recursionDesired, checkingDisabled, ...(given ? { edns: given } : {}) },
      );
      const query = readQuery(encodeMessage(message), udp, 1232);
      assert.ok(query instanceof WireQuery);
      assert.equal(query.spelled, asked);
      assert.equal(query.name, asked.toLowerCase());
      assert.deepEqual({ id: query.id, type: query.type, class: query.class }, { id: 77, type, class: 1 });
      assert.deepEqual([query.recursionDesired, query.checkingDisabled], [recursionDesired, checkingDisabled]);
      assert.deepEqual(
        [query.edns?.udpSize, query.edns?.dnssecOk, query.edns?.options?.length ?? 0],
        [given?.udpSize, given?.dnssecOk, given?.options.length ?? 0],
      );
      assert.equal(query.udpSize, Math.min(1232, Math.max(512, given?.udpSize ?? 512)));
    }),
    fuzzing(),
  );
});

const UNANSWERABLE: readonly [what: string, hex: string, rcode: number | undefined][] = [
  ["nothing", "", undefined],
  ["half a header", "1234010000010000", undefined],
  ["an answer", "123480000001000000000000016100000100" + "01", undefined],
  ["an update", "1234280000010000000000000161000001" + "0001", RCODE.NOTIMP],
  ["no question", "123401000000000000000000", RCODE.FORMERR],
  ["two questions", "12340100000200000000000001610000010001016200000100" + "01", RCODE.FORMERR],
  ["a question that is cut short", "1234010000010000000000000161000001", RCODE.FORMERR],
  ["a compressed question", "123401000001000000000000c00c00010001", RCODE.FORMERR],
  ["bytes after the end", "12340100000100000000000001610000010001ff", RCODE.FORMERR],
  ["two OPTs", "1234010000010000000000020161000001000100002904d000000000000000002904d0000000000000", RCODE.FORMERR],
  ["EDNS version 1", "1234010000010000000000010161000001000100002904d0000100000000", RCODE.BADVERS],
  ["a transfer", "1234010000010000000000000161" + "0000fc0001", RCODE.REFUSED],
];

for (const [what, hex, rcode] of UNANSWERABLE)
  test(`not answerable: ${what}`, () => {
    const read = readQuery(Buffer.from(hex, "hex"), udp, 1232);
    assert.ok(!(read instanceof WireQuery));
    assert.equal(read.rcode, rcode);
    const answer = responder(reply("x")).answer(Buffer.from(hex, "hex"), udp);
    if (rcode === undefined) assert.equal(answer, undefined);
    else assert.deepEqual([decodeMessage(answer as Uint8Array).id, decodeMessage(answer as Uint8Array).rcode], [0x1234, rcode]);
  });

function responder(given: Reply | (() => Reply)): Responder {
  const serve = () => (typeof given === "function" ? given() : given);
  const block = { chain: { name: "x", serve }, filters: [], observers: [], installed: [], site: {} } as unknown as Block;
  const listening: Listening = { address: "", port: 53, zones: new Map([[".", [block]]]) };
  return new Responder(listening, { queries: 0, waiting: 0, malformed: 0 }, { now: () => 0, log: () => {} });
}

const record = (owner: string, index: number): ResourceRecord => ({
  name: owner,
  class: 1,
  ttl: 5,
  data: { type: "A", address: `10.0.0.${index % 256}` },
});

test("an answer is what the codec would write, kept or not, in the asker's letter case", () => {
  fc.assert(
    fc.property(
      fc.array(letters, { minLength: 1, maxLength: 4 }).map(nameOf),
      fc.nat(60),
      edns,
      fc.boolean(),
      (asked, count, given, overTcp) => {
        const lower = asked.toLowerCase();
        const answers = Array.from({ length: count }, (_, index) => record(lower, index));
        const additionals = [record(`glue.${lower}`.slice(-200), 1)];
        const made = keep(reply("x", { authoritative: true, answers, additionals }));
        const { options: _options, ...plain } = given ?? {};
        const message = queryMessage(
          { name: asked, type: TYPE.A },
          { id: 9, ...(given ? { edns: plain as Message["edns"] & object } : {}) },
        );
        const query = readQuery(encodeMessage(message), overTcp ? tcp : udp, 1232);
        assert.ok(query instanceof WireQuery);
        const first = writeReply(query, made);
        assert.deepEqual(writeReply(query, made), first, "kept");
        const read = decodeMessage(first);
        const limit = overTcp ? 65_535 : query.udpSize;
        assert.ok(first.length <= limit);
        const expected = decodeMessage(
          encodeMessage(
            {
              ...message,
              response: true,
              authoritative: true,
              answers,
              additionals,
              ...(given ? { edns: { udpSize: query.udpSize, version: 0, dnssecOk: given.dnssecOk } } : {}),
            },
            limit,
          ),
        );
        const inLower = (of: Message) => ({
          ...of,
          answers: of.answers.map((each) => ({ ...each, name: each.name.toLowerCase() })),
          additionals: of.additionals.map((each) => ({ ...each, name: each.name.toLowerCase() })),
        });
        assert.deepEqual(inLower(read), inLower(expected));
        assert.equal(read.questions[0]?.name, asked);
        if (read.answers[0]) assert.equal(read.answers[0].name, asked);
      },
    ),
    fuzzing(),
  );
});

test("an answer that was cut for one asker is whole for the next", () => {
  const answers = Array.from({ length: 60 }, (_, index) => record("x.", index));
  const made = keep(reply("x", { answers }));
  const bytes = encodeMessage(queryMessage({ name: "x.", type: TYPE.A }));
  const small = readQuery(bytes, udp, 1232);
  const large = readQuery(bytes, tcp, 1232);
  assert.ok(small instanceof WireQuery && large instanceof WireQuery);
  assert.equal(decodeMessage(writeReply(small, made)).truncated, true);
  assert.equal(decodeMessage(writeReply(large, made)).answers.length, 60);
  assert.equal(decodeMessage(writeReply(small, made)).truncated, true);
});

test("what a plugin throws is SERVFAIL", () => {
  const broken = responder(() => {
    throw new Error("oh");
  });
  const answer = broken.answer(encodeMessage(queryMessage({ name: "x.", type: TYPE.A })), udp);
  assert.equal(decodeMessage(answer as Uint8Array).rcode, RCODE.SERVFAIL);
  const impossible = responder(reply("x", { answers: [{ name: "x.", class: 1, ttl: 5, data: { type: "A", address: "nonsense" } }] }));
  assert.equal(
    decodeMessage(impossible.answer(encodeMessage(queryMessage({ name: "x.", type: TYPE.A })), udp) as Uint8Array).rcode,
    RCODE.SERVFAIL,
  );
});

test("a fault of an observer loses that query, and says so", async () => {
  const told: string[] = [];
  const observers = [
    () => {
      throw new Error("oh");
    },
  ];
  for (const given of [reply("x"), Promise.resolve(reply("x"))]) {
    const block = { chain: { name: "x", serve: () => given }, filters: [], observers, installed: [], site: {} } as unknown as Block;
    const listening: Listening = { address: "", port: 53, zones: new Map([[".", [block]]]) };
    const counts = { queries: 0, waiting: 0, malformed: 0 };
    const to = new Responder(listening, counts, { now: () => 0, log: (_level, _plugin, text) => told.push(text) });
    assert.equal(await to.answer(encodeMessage(queryMessage({ name: "x.", type: TYPE.A })), udp), undefined);
    assert.equal(counts.waiting, 0);
  }
  assert.equal(told.length, 2);
  assert.match(told[0] ?? "", /^a query was lost: Error: oh/);
});

test("any bytes: an answer that is a message with the asker's id, or nothing", () => {
  const to = responder(reply("x", { answers: [record("x.", 1)] }));
  const seed = encodeMessage(
    queryMessage({ name: "www.example.org.", type: TYPE.A }, { edns: { udpSize: 1232, version: 0, dnssecOk: false } }),
  );
  const damaged = fc.array(fc.tuple(fc.nat(seed.length - 1), fc.nat(255)), { maxLength: 5 }).map((changes) => {
    const bytes = Uint8Array.from(seed);
    for (const [at, value] of changes) bytes[at] = value;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), damaged), (bytes) => {
      const answer = to.answer(bytes, udp) as Uint8Array | undefined;
      if (!answer) return;
      const read = decodeMessage(answer);
      assert.ok(read.response);
      assert.equal(read.id, ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0));
      if (read.rcode !== RCODE.FORMERR && read.rcode !== RCODE.NOTIMP && read.rcode !== RCODE.BADVERS)
        assert.doesNotThrow(() => decodeMessage(bytes), DnsFormatError);
    }),
    fuzzing(),
  );
});
