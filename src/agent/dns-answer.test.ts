// DNS answers as they lie in packets, and the book of what they tell.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readDnsAnswer, withUdpChecksum } from "./dns-answer.ts";
import { DnsBook } from "./dns-book.ts";

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"));
/** www.Example.com A? is a CNAME of example.com (TTL 300), which has 203.0.113.80 (TTL 60) and, of another type, a text. */
const MESSAGE = `
  1234 8180 0001 0003 0000 0000
  03777777 07457861 6d706c65 03636f6d 00 0001 0001
  c00c 0005 0001 0000012c 0002 c010
  c010 0001 0001 0000003c 0004 cb007150
  c010 0010 0001 0000003c 0002 0161`;
const udp = (message: Uint8Array) => {
  const length = message.length + 8;
  return Uint8Array.from([0, 53, 0x9c, 0x40, length >> 8, length & 255, 0, 0, ...message]);
};
function ipv4(datagram: Uint8Array): Uint8Array {
  const length = datagram.length + 20;
  return Uint8Array.from([0x45, 0, length >> 8, length & 255, 0, 1, 0, 0, 64, 17, 0, 0, 10, 244, 0, 3, 10, 244, 1, 2, ...datagram]);
}

test("an answer: the name that was asked for, its addresses, the shortest time", () => {
  assert.deepEqual(readDnsAnswer(ipv4(udp(hex(MESSAGE)))), { name: "www.example.com", addresses: ["203.0.113.80"], ttl: 60 });
});

test("IPv6, in packet and record", () => {
  const message = hex("0001 8180 0001 0001 0000 0000 01 61 00 001c 0001 c00c 001c 0001 0000000a 0010 20010db8000000000000000000000001");
  const head = [0x60, 0, 0, 0, 0, message.length + 8, 17, 64, ...new Array(32).fill(0)];
  assert.deepEqual(readDnsAnswer(Uint8Array.from([...head, ...udp(message)])), { name: "a", addresses: ["2001:db8::1"], ttl: 10 });
});

test("what is no answer tells nothing", () => {
  const changed = (from: string, to: string) => readDnsAnswer(ipv4(udp(hex(MESSAGE.replace(from, to)))));
  assert.equal(changed("8180", "0100"), undefined, "a query");
  assert.equal(changed("8180", "8183"), undefined, "no such name");
  assert.equal(changed("0001 0003", "0002 0003"), undefined, "two questions");
  assert.equal(changed("0001 0003", "0001 0000"), undefined, "no records");
  assert.equal(changed("c010 0001", "c0ff 0001"), undefined, "a pointer forwards");
  assert.equal(readDnsAnswer(ipv4(udp(hex(MESSAGE))).subarray(0, 60)), undefined, "cut off");
});

test("any bytes: an answer or none, in their own time", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      readDnsAnswer(bytes);
      const answer = readDnsAnswer(ipv4(udp(bytes)));
      assert.ok(answer === undefined || answer.addresses.length > 0);
    }),
    { numRuns: 3000 },
  );
});

test("the checksum that was left out is made, and sums up to nothing", () => {
  const packet = withUdpChecksum(ipv4(udp(hex(MESSAGE))));
  const datagram = packet.subarray(20);
  const pseudo = [...packet.subarray(12, 20), 0, 17, datagram.length >> 8, datagram.length & 255, ...datagram];
  if (pseudo.length % 2) pseudo.push(0);
  let sum = 0;
  for (let at = 0; at < pseudo.length; at += 2) sum += ((pseudo[at] ?? 0) << 8) | (pseudo[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  assert.equal(sum, 0xffff);
});

test("the book: what is new, what expires, what a restart finds", () => {
  const book = new DnsBook();
  assert.equal(book.learn({ name: "a", addresses: ["203.0.113.1"], ttl: 300 }, 0), true);
  const { answers } = book;
  assert.equal(book.learn({ name: "a", addresses: ["203.0.113.1"], ttl: 300 }, 1000), false);
  assert.equal(book.answers, answers, "nothing new: the same object");
  assert.equal(book.learn({ name: "a", addresses: ["203.0.113.2"], ttl: 0 }, 1000), true);
  assert.deepEqual({ ...book.answers }, { a: ["203.0.113.1", "203.0.113.2"] });
  assert.equal(book.expire(62_000), true, "a minute at least");
  assert.deepEqual({ ...book.answers }, { a: ["203.0.113.1"] });
  assert.deepEqual(book.ever.a?.toSorted(), ["203.0.113.1", "203.0.113.2"], "flows to it go on");
  assert.equal(book.expire(63_000), false);
  const again = new DnsBook();
  again.restore(JSON.parse(JSON.stringify(book)), 70_000);
  assert.deepEqual(again.answers, book.answers);
  again.restore([null, {}, { name: 1 }, "x"], 70_000);
  again.restore({ nonsense: true }, 70_000);
  assert.deepEqual(again.answers, book.answers);
});
