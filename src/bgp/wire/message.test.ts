import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatAsPath, parseAsPath } from "./as-path.ts";
import { attributesOf } from "./attributes.ts";
import { formatCommunity, formatExtendedCommunity, formatLargeCommunity, parseCommunity } from "./communities.ts";
import { decodeMessage, encodeMessage, type Message } from "./message.ts";
import { entriesOf, nlriOf } from "./nlri.ts";
import { ceaseOf, describeNotification, wordsOf } from "./notification.ts";
import { AttributeMemo, type UpdateContext } from "./update.ts";

const MARKER = "ff".repeat(16);
const NEW: UpdateContext = { fourByteAs: true, external: true, families: [4, 6], addPath: [], extendedNextHop: true };
const INTERNAL: UpdateContext = { ...NEW, external: false };
const ADD_PATH: UpdateContext = { ...NEW, addPath: [4, 6] };

/** A whole message from its type and body in hex. */
function frame(type: number, body: string): Buffer {
  const hex = body.replace(/\s+/g, "");
  const length = 19 + hex.length / 2;
  return Buffer.from(`${MARKER}${length.toString(16).padStart(4, "0")}${type.toString(16).padStart(2, "0")}${hex}`, "hex");
}

/** An UPDATE from withdrawn routes, attributes and prefixes in hex. */
function update(withdrawn: string, attributes: string, nlri = ""): Buffer {
  const length = (hex: string) => (hex.replace(/\s+/g, "").length / 2).toString(16).padStart(4, "0");
  return frame(2, length(withdrawn) + withdrawn + length(attributes) + attributes + nlri);
}

const ORIGIN = "40 01 01 00";
const AS_PATH = "40 02 06 02 01 0000fde8";
const NEXT_HOP = "40 03 04 0a000001";
const announced = (family: 4 | 6, prefix: string, attributes: Parameters<typeof attributesOf>[0], pathId = 0): Message => ({
  type: "update",
  announced: [{ nlri: nlriOf(family, [{ prefix, pathId }]), attributes: attributesOf(attributes) }],
  withdrawn: [],
  problems: [],
});
const base = { asPath: parseAsPath("65000"), nextHop: "10.0.0.1" };

/** Checked both ways: these bytes are this message. */
const PAIRS: readonly (readonly [string, Buffer, Message, UpdateContext?])[] = [
  ["KEEPALIVE", frame(4, ""), { type: "keepalive" }],
  [
    "OPEN of a 2-byte speaker without capabilities",
    frame(1, "04 fde8 00b4 0a000001 00"),
    { type: "open", as: 65000, holdSeconds: 180, routerId: 0x0a000001, capabilities: [] },
  ],
  [
    "OPEN with every capability",
    frame(
      1,
      `04 5ba0 005a 01020304 4d 02 4b
       01 04 00010001  01 04 00020001  02 00  05 06 0001 0001 0002  06 00
       40 0a c078 000101 80 000201 00  41 04 fffffde8  45 08 000101 03 000201 01
       46 00  47 07 000101 80 000e10  49 07 02 6e31 03 6c6162 c0 01 aa`,
    ),
    {
      type: "open",
      as: 4294966760,
      holdSeconds: 90,
      routerId: 0x01020304,
      capabilities: [
        { type: "multiprotocol", family: 4 },
        { type: "multiprotocol", family: 6 },
        { type: "route-refresh" },
        { type: "extended-next-hop", family: 4, nextHop: 6 },
        { type: "extended-message" },
        {
          type: "graceful-restart",
          restarting: true,
          notification: true,
          restartSeconds: 120,
          families: [
            { family: 4, preserved: true },
            { family: 6, preserved: false },
          ],
        },
        { type: "four-byte-as", as: 4294966760 },
        {
          type: "add-paths",
          families: [
            { family: 4, mode: "both" },
            { family: 6, mode: "receive" },
          ],
        },
        { type: "enhanced-refresh" },
        { type: "long-lived-restart", families: [{ family: 4, preserved: true, staleSeconds: 3600 }] },
        { type: "host-name", host: "n1", domain: "lab" },
        { type: "other", code: 0xc0, value: Uint8Array.of(0xaa) },
      ],
    },
  ],
  ["UPDATE that announces", update("", ORIGIN + AS_PATH + NEXT_HOP, "18 0af401"), announced(4, "10.244.1.0/24", base), NEW],
  [
    "UPDATE that withdraws",
    update("18 0af401 00 20 0a000001", ""),
    {
      type: "update",
      announced: [],
      withdrawn: [nlriOf(4, [{ prefix: "10.244.1.0/24" }, { prefix: "0.0.0.0/0" }, { prefix: "10.0.0.1/32" }])],
      problems: [],
    },
    NEW,
  ],
  ["End-of-RIB for IPv4", update("", ""), { type: "update", announced: [], withdrawn: [], endOfRib: 4, problems: [] }, NEW],
  ["End-of-RIB for IPv6", update("", "80 0f 03 0002 01"), { type: "update", announced: [], withdrawn: [], endOfRib: 6, problems: [] }, NEW],
  [
    "UPDATE with all attributes of an internal neighbour",
    update(
      "",
      `40 01 01 02  40 02 0c 02 01 fffffde8 01 01 0000fde9  40 03 04 0a000001  80 04 04 00000064  40 05 04 000000c8  40 06 00
       c0 07 08 0000fde8 01020304  c0 08 08 fc000064 ffffff01  80 09 04 01010101  80 0a 08 02020202 03030303
       c0 10 08 0002fc0000000064  c0 20 0c 0000fc00 00000001 00000002  e0 63 02 beef`,
      "10 0af4",
    ),
    announced(4, "10.244.0.0/16", {
      origin: 2,
      asPath: parseAsPath("4294966760 {65001}"),
      nextHop: "10.0.0.1",
      med: 100,
      localPref: 200,
      atomicAggregate: true,
      aggregator: { as: 65000, routerId: 0x01020304 },
      communities: [0xfc000064, 0xffffff01],
      originatorId: 0x01010101,
      clusterList: [0x02020202, 0x03030303],
      extendedCommunities: [0x0002fc0000000064n],
      largeCommunities: [[64512, 1, 2]],
      others: [{ flags: 0xe0, type: 0x63, value: Uint8Array.of(0xbe, 0xef) }],
    }),
    INTERNAL,
  ],
  [
    "IPv6 with a link-local next hop",
    update(
      "",
      `80 0e 2c 0002 01 20 fd000000000000000000000000000001 fe800000000000000000000000000001 00 30 fd0000000001 ${ORIGIN}${AS_PATH}`,
    ),
    announced(6, "fd00:0:1::/48", { ...base, nextHop: "fd00::1", linkLocalNextHop: "fe80::1" }),
    NEW,
  ],
  [
    "IPv4 over an IPv6 next hop",
    update("", `80 0e 19 0001 01 10 fd000000000000000000000000000001 00 18 0af401 ${ORIGIN}${AS_PATH}`),
    announced(4, "10.244.1.0/24", { ...base, nextHop: "fd00::1" }),
    NEW,
  ],
  ["path identifiers", update("", ORIGIN + AS_PATH + NEXT_HOP, "00000007 18 0af401"), announced(4, "10.244.1.0/24", base, 7), ADD_PATH],
  [
    "4-byte numbers through a 2-byte session",
    update("", `${ORIGIN} 40 02 06 02 02 5ba0 fde9 ${NEXT_HOP} c0 11 0a 02 02 000186a0 0000fde9`, "08 0a"),
    announced(4, "10.0.0.0/8", { ...base, asPath: parseAsPath("100000 65001") }),
    { ...NEW, fourByteAs: false },
  ],
  ["NOTIFICATION", frame(3, "06 02 03 627965"), { type: "notification", code: 6, subcode: 2, data: Uint8Array.of(3, 0x62, 0x79, 0x65) }],
  ["ROUTE-REFRESH", frame(5, "0002 00 01"), { type: "route-refresh", family: 6, mark: "request" }],
  ["beginning of a refresh", frame(5, "0001 01 01"), { type: "route-refresh", family: 4, mark: "begin" }],
];

for (const [name, bytes, message, context = NEW] of PAIRS) {
  test(`both ways: ${name}`, () => {
    assert.deepEqual(decodeMessage(bytes, context), { ok: true, value: message });
    assert.equal(encodeMessage(message, context).toString("hex"), bytes.toString("hex"));
  });
}

const RESETS: readonly (readonly [string, Buffer, number, number, string?])[] = [
  ["a wrong marker", Buffer.from(`00${MARKER.slice(2)}001304`, "hex"), 1, 1],
  ["a length below the header", Buffer.from(`${MARKER}001204`, "hex"), 1, 2, "0012"],
  ["a long keepalive", frame(4, "00"), 1, 2, "0014"],
  ["a type that is none", frame(9, ""), 1, 3, "09"],
  ["BGP version 3", frame(1, "03 fde8 00b4 0a000001 00"), 2, 1, "0004"],
  ["AS 0", frame(1, "04 0000 00b4 0a000001 00"), 2, 2],
  ["identifier 0.0.0.0", frame(1, "04 fde8 00b4 00000000 00"), 2, 3],
  ["an optional parameter that is no capability", frame(1, "04 fde8 00b4 0a000001 03 01 01 00"), 2, 4],
  ["hold time of 2 s", frame(1, "04 fde8 0002 0a000001 00"), 2, 6],
  ["a capability beyond its parameter", frame(1, "04 fde8 00b4 0a000001 04 02 02 41 04"), 2, 0],
  ["withdrawn routes beyond the message", frame(2, "00ff 0000"), 3, 1],
  ["attributes beyond the message", frame(2, "0000 00ff"), 3, 1],
  ["a prefix of 33 bits", update("", ORIGIN + AS_PATH + NEXT_HOP, "21 0a00000100"), 3, 10],
  ["a prefix that is cut", update("", ORIGIN + AS_PATH + NEXT_HOP, "18 0a00"), 3, 10],
  ["an unknown well-known attribute", update("", `${ORIGIN + AS_PATH + NEXT_HOP} 40 63 01 00`, "08 0a"), 3, 2, "40630100"],
  ["MP_REACH_NLRI twice", update("", "80 0e 05 0002 01 00 00 80 0e 05 0002 01 00 00"), 3, 1],
  [
    "MP_REACH_NLRI with a next hop of 3 bytes",
    update("", `80 0e 08 0002 01 03 010203 00 ${ORIGIN}${AS_PATH}`),
    3,
    9,
    "800e080002010301020300",
  ],
  ["attributes that should be withdrawn, and no prefix", update("", `40 01 01 09 ${AS_PATH}${NEXT_HOP}`), 3, 1],
];

for (const [name, bytes, code, subcode, data] of RESETS) {
  test(`resets the session: ${name}`, () => {
    const decoded = decodeMessage(bytes, NEW);
    assert.ok(!decoded.ok);
    assert.deepEqual([decoded.error.code, decoded.error.subcode], [code, subcode]);
    if (data !== undefined) assert.equal(Buffer.from(decoded.error.data).toString("hex"), data);
  });
}

const GOOD = ORIGIN + AS_PATH + NEXT_HOP;
/** RFC 7606 §7: what becomes of a route with such an attribute. */
const REVISED: readonly (readonly [string, string, "treat-as-withdraw" | "attribute-discard", UpdateContext?])[] = [
  ["ORIGIN 3", `40 01 01 03 ${AS_PATH}${NEXT_HOP}`, "treat-as-withdraw"],
  ["ORIGIN of 2 bytes", `40 01 02 0000 ${AS_PATH}${NEXT_HOP}`, "treat-as-withdraw"],
  ["ORIGIN with the optional flag", `c0 01 01 00 ${AS_PATH}${NEXT_HOP}`, "treat-as-withdraw"],
  ["no ORIGIN", AS_PATH + NEXT_HOP, "treat-as-withdraw"],
  ["no AS_PATH", ORIGIN + NEXT_HOP, "treat-as-withdraw"],
  ["no NEXT_HOP", ORIGIN + AS_PATH, "treat-as-withdraw"],
  ["AS_PATH with segment type 9", `${ORIGIN} 40 02 06 09 01 0000fde8 ${NEXT_HOP}`, "treat-as-withdraw"],
  ["AS_PATH with an empty segment", `${ORIGIN} 40 02 02 02 00 ${NEXT_HOP}`, "treat-as-withdraw"],
  ["AS_PATH that overruns", `${ORIGIN} 40 02 06 02 02 0000fde8 ${NEXT_HOP}`, "treat-as-withdraw"],
  ["AS_PATH of a confederation, from outside", `${ORIGIN} 40 02 06 03 01 0000fde8 ${NEXT_HOP}`, "treat-as-withdraw"],
  ["NEXT_HOP of 5 bytes", `${ORIGIN + AS_PATH} 40 03 05 0a00000100`, "treat-as-withdraw"],
  ["NEXT_HOP 224.0.0.1", `${ORIGIN + AS_PATH} 40 03 04 e0000001`, "treat-as-withdraw"],
  ["MED of 3 bytes", `${GOOD} 80 04 03 000000`, "treat-as-withdraw"],
  ["LOCAL_PREF of 3 bytes inside", `${GOOD} 40 05 03 000000`, "treat-as-withdraw", INTERNAL],
  ["LOCAL_PREF from outside", `${GOOD} 40 05 04 00000064`, "attribute-discard"],
  ["ATOMIC_AGGREGATE with a byte", `${GOOD} 40 06 01 00`, "attribute-discard"],
  ["AGGREGATOR of 6 bytes", `${GOOD} c0 07 06 fde801020304`, "attribute-discard"],
  ["COMMUNITIES of 3 bytes", `${GOOD} c0 08 03 000000`, "treat-as-withdraw"],
  ["COMMUNITIES of no byte", `${GOOD} c0 08 00`, "treat-as-withdraw"],
  ["ORIGINATOR_ID of 3 bytes inside", `${GOOD} 80 09 03 000000`, "treat-as-withdraw", INTERNAL],
  ["ORIGINATOR_ID from outside", `${GOOD} 80 09 04 00000001`, "attribute-discard"],
  ["CLUSTER_LIST of 6 bytes inside", `${GOOD} 80 0a 06 000000000000`, "treat-as-withdraw", INTERNAL],
  ["CLUSTER_LIST from outside", `${GOOD} 80 0a 04 00000001`, "attribute-discard"],
  ["EXTENDED_COMMUNITIES of 7 bytes", `${GOOD} c0 10 07 00000000000000`, "treat-as-withdraw"],
  ["LARGE_COMMUNITIES of 11 bytes", `${GOOD} c0 20 0b 0000000000000000000000`, "treat-as-withdraw"],
  ["AS4_PATH from a 4-byte speaker", `${GOOD} c0 11 06 02 01 0000fde8`, "attribute-discard"],
  ["MED twice", `${GOOD} 80 04 04 00000001 80 04 04 00000002`, "attribute-discard"],
  ["an attribute that overruns", `${GOOD} c0 08 20 00`, "treat-as-withdraw"],
];

for (const [name, attributes, action, context = NEW] of REVISED) {
  test(`${action}: ${name}`, () => {
    for (const memo of [undefined, new AttributeMemo()]) {
      const decoded = decodeMessage(update("", attributes, "18 0af401"), memo ? { ...context, memo } : context);
      assert.ok(decoded.ok && decoded.value.type === "update", JSON.stringify(decoded));
      assert.ok(decoded.value.problems.some((problem) => problem.action === action));
      const [kept, gone] = action === "attribute-discard" ? [1, 0] : [0, 1];
      assert.deepEqual([decoded.value.announced.length, decoded.value.withdrawn.length], [kept, gone]);
    }
  });
}

test("the second MED counts nothing, and a remembered attribute set is the same object", () => {
  const decoded = decodeMessage(update("", `${GOOD} 80 04 04 00000001 80 04 04 00000002`, "18 0af401"), NEW);
  assert.ok(decoded.ok && decoded.value.type === "update");
  assert.equal(decoded.value.announced[0]?.attributes.med, 1);
  const context = { ...NEW, memo: new AttributeMemo() };
  const [a, b] = ["18 0af401", "18 0af402"].map((nlri) => decodeMessage(update("", GOOD, nlri), context));
  assert.ok(a?.ok && b?.ok && a.value.type === "update" && b.value.type === "update");
  assert.equal(a.value.announced[0]?.attributes, b.value.announced[0]?.attributes);
  assert.deepEqual(entriesOf(b.value.announced[0]?.nlri ?? nlriOf(4, [])), [{ prefix: "10.244.2.0/24" }]);
});

test("bits beyond a prefix's length mean nothing", () => {
  const decoded = decodeMessage(update("", GOOD, "0c 0aff 14 0affff"), NEW);
  assert.ok(decoded.ok && decoded.value.type === "update");
  assert.deepEqual(entriesOf(decoded.value.announced[0]?.nlri ?? nlriOf(4, [])), [
    { prefix: "10.240.0.0/12" },
    { prefix: "10.255.240.0/20" },
  ]);
});

test("any bytes give a message or an error, and what decodes without a problem encodes to what decodes the same", () => {
  const context = fc.record({
    fourByteAs: fc.boolean(),
    external: fc.boolean(),
    families: fc.constantFrom<UpdateContext["families"]>([4], [6], [4, 6]),
    addPath: fc.constantFrom<UpdateContext["addPath"]>([], [4], [4, 6]),
    extendedNextHop: fc.boolean(),
  });
  const framed = fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.uint8Array({ maxLength: 200 }))
    .map(([type, body]) => frame(type, Buffer.from(body).toString("hex")));
  // A good message with some bytes changed comes closer than noise.
  const mutated = fc
    .tuple(fc.constantFrom(...PAIRS.map(([, bytes]) => bytes)), fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 6 }))
    .map(([bytes, changes]) => {
      const copy = Buffer.from(bytes);
      for (const [at, value] of changes) copy[19 + (at % Math.max(1, copy.length - 19))] = value;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), framed, mutated), context, (bytes, how) => {
      const decoded = decodeMessage(bytes, how);
      if (!decoded.ok) return assert.ok(decoded.error.code >= 1 && decoded.error.code <= 7);
      const message = decoded.value;
      if (message.type === "update" && (message.problems.length > 0 || message.announced.length > 1 || message.withdrawn.length > 1))
        return;
      if (message.type === "open" && message.capabilities.some(({ type }) => type === "host-name" || type === "other")) return;
      if (message.type === "route-refresh" && (message.family === undefined || message.mark === "unknown")) return;
      if (message.type === "update" && message.announced.length + message.withdrawn.length === 0 && message.endOfRib === undefined) return;
      if (message.type === "update" && message.announced.some(({ nlri }) => nlri.count === 0)) return;
      const again = decodeMessage(encodeMessage(message, how, 65535), how);
      assert.deepEqual(again, decoded);
    }),
    { numRuns: 20000 },
  );
});

test("a shutdown communication is cut to whole characters and freed of control characters", () => {
  assert.equal(wordsOf(ceaseOf(2, "é".repeat(200))), "é".repeat(127));
  assert.equal(describeNotification(ceaseOf(4, "new\nrelease")), 'cease: administrative reset, "new release"');
  assert.equal(wordsOf({ type: "notification", code: 6, subcode: 2, data: Uint8Array.of(2, 0xff, 0xfe) }), undefined);
});

test("communities and AS paths in text", () => {
  for (const text of ["64512:100", "no-export", "64512:1:2", "rt:64512:100", "ro:10.0.0.1:5", "rt:100000:7", "0x4300000000000001"]) {
    const community = parseCommunity(text);
    const format = { standard: formatCommunity, large: formatLargeCommunity, extended: formatExtendedCommunity }[community.kind];
    assert.equal((format as (value: unknown) => string)(community.value), text);
  }
  for (const text of ["", "65536:1", "1:2:3:4", "rt:x:1", "1:-1"]) assert.throws(() => parseCommunity(text), { code: "bad-community" });
  for (const text of ["64512 65001", "64512 {1 2} 3", "(64513) 64512", ""]) assert.equal(formatAsPath(parseAsPath(text)), text);
  assert.equal(formatAsPath(parseAsPath("1.10")), "65546");
});
