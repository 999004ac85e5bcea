import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { attributesOf } from "../wire/attributes.ts";
import { encodeMessage, PLAIN_CONTEXT } from "../wire/message.ts";
import { nlriOf } from "../wire/nlri.ts";
import { replayMonitor } from "./replay.ts";

const open = (as: number) => ({
  type: "open" as const,
  as,
  holdSeconds: 90,
  routerId: 0x0a000000 + as,
  capabilities: [{ type: "multiprotocol", family: 4 } as const, { type: "four-byte-as", as } as const],
});
const hex = (message: Parameters<typeof encodeMessage>[0]) =>
  encodeMessage(message, { ...PLAIN_CONTEXT, fourByteAs: true }).toString("hex");
const announce = (prefix: string, as: number) =>
  hex({
    type: "update",
    announced: [
      { nlri: nlriOf(4, [{ prefix }]), attributes: attributesOf({ asPath: [{ type: "sequence", ases: [as] }], nextHop: "10.0.0.9" }) },
    ],
    withdrawn: [],
    problems: [],
  });
const line = (value: object) => JSON.stringify({ time: 1, ...value });
const SPEAKER = line({ type: "speaker", localAs: 1, routerId: "10.0.0.1", clusterId: "10.0.0.1", families: [4], multipath: 1, routes: [] });
const peer = (name: string, as: number) => [
  line({ type: "peer", peer: name, config: { name, address: `10.0.0.${as}`, as } }),
  line({ type: "message", direction: "out", peer: name, hex: hex(open(1)) }),
  line({ type: "message", direction: "in", peer: name, hex: hex(open(as)) }),
  line({ type: "phase", peer: name, phase: "Established" }),
];

test("replayed lines give the routes, the reasons, and what was said", () => {
  const lines = [
    SPEAKER,
    ...peer("a", 2),
    ...peer("b", 3),
    line({ type: "message", direction: "in", peer: "a", hex: announce("192.0.2.0/24", 2) }),
    line({ type: "message", direction: "in", peer: "b", hex: announce("192.0.2.0/24", 3) }),
    line({ type: "message", direction: "in", peer: "b", hex: announce("198.51.100.0/24", 3) }),
    line({ type: "routes", peer: "a", family: 4, what: "stale" }),
  ];
  const { routes, events, unread } = replayMonitor(lines);
  assert.deepEqual(unread, []);
  assert.deepEqual(routes.map(({ prefix, peer: from, reason, stale }) => [prefix, from, reason, stale]).sort(), [
    ["192.0.2.0/24", "a", "best", true],
    ["192.0.2.0/24", "b", "multipath", false],
    ["198.51.100.0/24", "b", "best", false],
  ]);
  assert.equal(events.at(-2)?.message?.type, "update");
  const swept = replayMonitor([...lines, line({ type: "routes", peer: "a", family: 4, what: "sweep" })]);
  assert.deepEqual(swept.routes.map(({ peer: from }) => from).sort(), ["b", "b"]);
});

test("lines that are none are told with their numbers, and nothing else suffers", () => {
  const { routes, unread } = replayMonitor([
    line({ type: "phase", peer: "a", phase: "Established" }),
    SPEAKER,
    "{",
    ...peer("a", 2),
    line({ type: "message", direction: "in", peer: "nobody", hex: "00" }),
    line({ type: "message", direction: "in", peer: "a", hex: "zz" }),
    "",
    line({ type: "message", direction: "in", peer: "a", hex: announce("192.0.2.0/24", 2) }),
  ]);
  assert.deepEqual(
    unread.map((each) => each.line),
    [1, 3, 8, 9],
  );
  assert.equal(routes.length, 1);
});

test("no line ends the replay", () => {
  const value = fc.oneof(
    fc.json(),
    fc.constantFrom(SPEAKER, ...peer("a", 2), line({ type: "peer", peer: "a", config: {} }), line({ type: "local", routes: 1 })),
  );
  fc.assert(
    fc.property(fc.array(value), (lines) => {
      replayMonitor(lines);
    }),
  );
});
