// The netlink codec: bytes checked both ways, and decoders that take any bytes.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { WatchTopic } from "../kernel.ts";
import { decodeAddress, encodeAddress } from "./address.ts";
import { decodeAttributes, encodeAttributes } from "./attribute.ts";
import { conntrackRequest, decodeFlow, matchesFlow, nameOfFlow } from "./conntrack.ts";
import { announcementOf } from "./event.ts";
import { decodeLink, encodeLink, linkOf, vethInfo } from "./link.ts";
import { decodeMessages, encodeMessage, verdictOf } from "./message.ts";
import { decodeFdb, decodeNeighbour, encodeFdb, encodeNeighbour } from "./neighbour.ts";
import { bindLogGroup, decodeLoggedPacket } from "./nflog.ts";
import { decodeRoute, encodeRoute } from "./route.ts";
import { decodeRule, encodeRule } from "./rule.ts";
import { decodeClsact, decodeProgramName, encodeClsact, encodeFilterKey, encodeProgram } from "./traffic-control.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
const name = (index: number) => `if${index}`;
const index = (text: string) => Number(text.slice(2));
const squeeze = (text: string) => text.replaceAll(" ", "");

// One row: the bytes as linux/rtnetlink.h lays them out, the value, and both ways between them.
const ROWS: readonly {
  readonly what: string;
  readonly hex: string;
  readonly value: unknown;
  encode(): Uint8Array;
  decode(body: Uint8Array): unknown;
}[] = [
  row(
    "address",
    "02180000 03000000 08000200 0a010001 08000100 0a010001",
    { link: "if3", address: "10.1.0.1/24", scope: "global" } as const,
    (v) => encodeAddress(v, 3),
    (b) => decodeAddress(b, name),
  ),
  row(
    "onlink route",
    "02180000 fe540001 04000000 08000100 0a020000 08000f00 fe000000 08000400 05000000 08000500 0a020000",
    {
      family: 4,
      destination: "10.2.0.0/24",
      type: "unicast",
      nexthops: [{ via: "10.2.0.0", link: "if5", onlink: true }],
      table: 254,
      protocol: 84,
      scope: "global",
    } as const,
    (v) => encodeRoute(v, index),
    (b) => decodeRoute(b, name),
  ),
  row(
    "route with two next hops",
    "02080000 fe540001 00000000 08000100 0a000000 08000f00 fe000000 24000900 10000000 02000000 08000500 0a010002 10000004 02000000 08000500 0a010003",
    {
      family: 4,
      destination: "10.0.0.0/8",
      type: "unicast",
      nexthops: [
        { via: "10.1.0.2", link: "if2", weight: 1 },
        { via: "10.1.0.3", link: "if2", weight: 5 },
      ],
      table: 254,
      protocol: 84,
      scope: "global",
    } as const,
    (v) => encodeRoute(v, index),
    (b) => decodeRoute(b, name),
  ),
  row(
    "rule",
    "02000800 00000001 00000000 08000200 0a000000 08000600 64000000 08000a00 10000000 08001000 f0000000 08000f00 2c010000 05001500 54000000",
    { family: 4, priority: 100, table: 300, from: "10.0.0.0/8", mark: 16, markMask: 240, protocol: 84 } as const,
    encodeRule,
    decodeRule,
  ),
  row(
    "neighbour",
    "02000000 07000000 80000000 08000100 0a090000 0a000200 02000000 00090000",
    { link: "if7", address: "10.9.0.0", mac: "02:00:00:00:00:09", state: "permanent" } as const,
    (v) => encodeNeighbour(v, 7),
    (b) => decodeNeighbour(b, name),
  ),
  row(
    "forwarding entry",
    "07000000 07000000 80000200 0a000200 02000000 00090000 08000100 0a010007",
    { link: "if7", mac: "02:00:00:00:00:09", destination: "10.1.0.7", table: "self", permanent: true } as const,
    (v) => encodeFdb(v, 7),
    (b) => decodeFdb(b, name),
  ),
];

function row<T>(what: string, text: string, value: T, encode: (value: T) => Uint8Array, decode: (body: Uint8Array) => unknown) {
  return { what, hex: squeeze(text), value, encode: () => encode(value), decode };
}

test("objects are encoded to, and decoded from, the same bytes", () => {
  for (const { what, hex: text, value, encode, decode } of ROWS) {
    assert.equal(hex(encode()), text, what);
    assert.deepEqual(decode(bytes(text)), value, what);
  }
});

test("a veth request nests its peer with a header of its own", () => {
  const text =
    "00000000 00000000 00000000 00000000 07000300 76300000 38001280 09000100 76657468 00000000 28000200 24000100 00000000 00000000 00000000 00000000 07000300 76310000 08001c00 09000000";
  const body = encodeLink({ attributes: { name: "v0", info: vethInfo({ attributes: { name: "v1", namespaceFd: 9 } }) } });
  assert.equal(hex(body), squeeze(text));
  const link = decodeLink(bytes(text));
  assert.ok(link);
  assert.deepEqual(linkOf(link, name), { name: "v0", index: 0, kind: { type: "veth" }, up: false });
});

test("programs at a device: the hooks, a filter that is one, and its name", () => {
  const hooks = "00000000 07000000 0000ffff f1ffffff 00000000 0b000100 636c7361 63740000";
  assert.equal(hex(encodeClsact(7)), squeeze(hooks));
  assert.equal(decodeClsact(bytes(hooks)), 7);
  const filter = { ifindex: 7, hook: "egress", priority: 84, handle: 1 } as const;
  const key = "00000000 07000000 01000000 f3ffffff 00035400 08000100 62706600";
  assert.equal(hex(encodeFilterKey(filter)), squeeze(key));
  const program = `${key} 20000280 08000600 09000000 0a000700 6c656172 6e000000 08000800 01000000`;
  assert.equal(hex(encodeProgram(filter, { fd: 9, name: "learn" })), squeeze(program));
  assert.equal(decodeProgramName(bytes(program)), "learn");
  assert.equal(decodeProgramName(bytes(key)), "", "a filter without a name");
  assert.equal(decodeProgramName(bytes(hooks.replace("0000ffff", "00000000"))), undefined, "no filter, but a priority's chain");
  assert.equal(decodeClsact(bytes(key)), undefined);
});

test("an acknowledgement gives errno and the kernel's words, capped or with the request in it", () => {
  const words = "0c000100 746f6f2062616400";
  const answer = (flags: string, rest: string) =>
    decodeMessages(bytes(`${(16 + bytes(rest).length).toString(16).padStart(2, "0")}000000 0200 ${flags} 01000000 02000000 ${rest}`))[0];
  const capped = answer("0003", `efffffff 24000000 10000506 01000000 00000000 ${words}`);
  const whole = answer("0002", `efffffff 14000000 10000506 01000000 00000000 aabbccdd ${words}`);
  const done = answer("0000", "00000000 14000000 10000506 01000000 00000000");
  assert.deepEqual(
    [capped, whole, done].map((message) => message && verdictOf(message)),
    [{ errno: 17, says: "too bad" }, { errno: 17, says: "too bad" }, { errno: 0 }].map((v) => (v.errno === 0 ? { errno: -0 } : v)),
  );
});

test("a flow is decoded with what names it; a filter matches what it gives", () => {
  const tuple = (id: string, a: string, b: string, p: string, q: string) =>
    `3400${id}80 14000180 08000100 ${a} 08000200 ${b} 1c000280 05000100 11000000 06000200 ${p}0000 06000300 ${q}0000`;
  const text = `02000000 ${tuple("01", "0a000001", "0a600001", "8000", "0035")} ${tuple("02", "0af40107", "0a000001", "0035", "8000")} 08000300 0000000a 08000800 00000007 08000c00 12345678`;
  const flow = decodeFlow(bytes(text));
  assert.ok(flow);
  assert.deepEqual(flow, {
    protocol: 17,
    source: "10.0.0.1",
    destination: "10.96.0.1",
    sourcePort: 32768,
    destinationPort: 53,
    replySource: "10.244.1.7",
    replyDestination: "10.0.0.1",
    replySourcePort: 53,
    replyDestinationPort: 32768,
    replied: true,
    mark: 7,
  });
  assert.equal(hex(nameOfFlow(bytes(text))), squeeze(`02000000 ${tuple("01", "0a000001", "0a600001", "8000", "0035")} 08000c00 12345678`));
  assert.equal(matchesFlow({ family: 4, protocol: 17, replySource: "10.244.1.7" }, flow), true);
  for (const filter of [{ family: 6 }, { protocol: 6 }, { destinationPort: 54 }, { replied: false }] as const)
    assert.equal(matchesFlow(filter, flow), false);
});

test("a filter of flows says which parts of the tuples it means", () => {
  const request = (filter: Parameters<typeof conntrackRequest>[0]) => hex(conntrackRequest(filter));
  assert.equal(request({}), "00000000");
  assert.equal(request({ family: 6 }), "0a000000");
  const flags = (original: string, reply: string) => `14001980 08000100 ${original} 08000200 ${reply}`;
  assert.equal(
    request({ replySource: "10.244.1.7" }),
    squeeze(`02000000 10000280 0c000180 08000100 0af40107 ${flags("00000000", "01000000")}`),
  );
  assert.equal(
    request({ family: 4, protocol: 6, destinationPort: 80, replied: false }),
    squeeze(
      `02000000 18000180 14000280 05000100 06000000 06000300 00500000 08000300 00000000 ${flags("28000000", "00000000")} 08001a00 00000002`,
    ),
  );
  assert.equal(
    request({ protocol: 6, replied: false }),
    squeeze("00000000 08000300 00000000 08001a00 00000002"),
    "a tuple is of one family",
  );
  assert.equal(request({ family: 4, destinationPort: 80 }), "02000000", "a port means nothing without its protocol");
});

test("a log group is bound, and what it brings is decoded", () => {
  assert.deepEqual(bindLogGroup(84, 128).map(hex), [
    squeeze("00000054 05000100 01000000"),
    squeeze("00000054 0a000200 00000080 02000000 08000400 00000005 08000500 00000032"),
  ]);
  const packet = "02000054 08000100 08000300 08000400 00000007 09000a00 696e2078 00000000 08000900 45000014";
  assert.deepEqual(decodeLoggedPacket(bytes(packet)), { prefix: "in x", bytes: bytes("45000014"), inDevice: 7 });
  assert.equal(decodeLoggedPacket(bytes("02000054 08000400 00000007")), undefined, "no packet in it");
});

test("the kernel's own learning and address derivation are no news", () => {
  const about = (type: number, port: number, body: string): WatchTopic | undefined =>
    announcementOf(0, { type, flags: 0, sequence: 0, port, body: bytes(body) })?.topic;
  assert.equal(about(28, 0, "02000000 07000000 02000000"), undefined, "a neighbour became reachable");
  assert.equal(about(28, 5, "02000000 07000000 04000000"), "neighbour", "someone made it stale");
  assert.equal(about(29, 0, "02000000 07000000 04000000"), undefined, "the kernel collected what it had learned");
  assert.equal(about(29, 0, "0a000000 07000000 40000005"), undefined, "the kernel collected what it sends to a group by");
  assert.equal(about(29, 0, "02000000 07000000 00000000"), "neighbour", "it is gone with its device");
  assert.equal(about(29, 5, "02000000 07000000 20000000"), "neighbour", "someone deleted it");
  assert.equal(about(28, 0, "07000000 07000000 02000000"), undefined, "a bridge learned");
  assert.equal(about(28, 0, "07000000 07000000 80000000"), "neighbour", "a lasting entry");
  assert.equal(about(24, 0, "02180000 fe020001 00000000"), undefined, "a route derived from an address");
  assert.equal(about(25, 0, "02180000 fe540001 00000000"), "route", "a route lost with its link");
});

test("decoders take any bytes, and attributes come back as they went", () => {
  const decoders = [
    decodeRule,
    decodeFlow,
    decodeLoggedPacket,
    decodeClsact,
    decodeProgramName,
    (b: Uint8Array) => decodeRoute(b, name),
    (b: Uint8Array) => decodeAddress(b, name),
    (b: Uint8Array) => decodeNeighbour(b, name),
    (b: Uint8Array) => decodeFdb(b, name),
  ];
  const seeds = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .tuple(fc.constantFrom(...ROWS), fc.nat(80), fc.nat(255))
      .map(([{ hex: text }, at, value]) => bytes(text).with(at % bytes(text).length, value)),
  );
  fc.assert(
    fc.property(seeds, fc.nat(65535), (body, type) => {
      for (const decode of decoders) decode(body);
      const link = decodeLink(body);
      if (link) linkOf(link, name);
      for (const message of decodeMessages(body)) verdictOf(message);
      for (const protocol of [0, 12] as const)
        announcementOf(protocol, { type: protocol ? type : type % 100, flags: type, sequence: 0, port: 0, body });
      verdictOf({ type: 2 + (type % 2), flags: type, sequence: 0, port: 0, body });
      const message = { type, flags: 1, sequence: 2, port: 3, body };
      assert.deepEqual(decodeMessages(encodeMessage(message)), [message]);
    }),
    { numRuns: 2000 },
  );
  const table = {
    a: [1, "u8"],
    b: [2, "be16"],
    c: [3, "u32"],
    d: [4, "be32"],
    e: [5, "string"],
    f: [6, { g: [1, "text"] }],
    h: [7, "flag"],
  } as const;
  const text = fc.string({ unit: "grapheme-ascii" });
  const values = fc.record({
    a: fc.nat(255),
    b: fc.nat(65535),
    c: fc.nat(0xffffffff),
    d: fc.nat(0xffffffff),
    e: text,
    f: fc.record({ g: text }),
    h: fc.constant(true as const),
  });
  fc.assert(
    fc.property(values, (value) =>
      assert.deepEqual(decodeAttributes(table, encodeAttributes(table, value)), { ...value, f: { ...value.f } }),
    ),
  );
});
