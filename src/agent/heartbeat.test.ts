// Who is lost, by what was heard when.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBeat, encodeBeat, type HearingEvent, hear, LOSS_MS, SILENCE } from "./heartbeat.ts";

const expect = (now: number, ...nodes: string[]): HearingEvent => ({ type: "expect", nodes: new Set(nodes), now });
const heard = (now: number, node: string): HearingEvent => ({ type: "heard", node, now });
const look = (now: number): HearingEvent => ({ type: "look", now });
/** A look every 100 ms. */
const looks = (from: number, to: number) =>
  Array.from({ length: Math.floor((to - from) / 100) + 1 }, (_, index) => look(from + index * 100));
const lostAfter = (...events: HearingEvent[]) => [...events.reduce(hear, SILENCE).lost].sort();

test("who is lost", () => {
  const rows: readonly [what: string, events: HearingEvent[], lost: string[]][] = [
    ["nobody is expected", [...looks(0, 2000)], []],
    ["just expected", [expect(0, "a"), ...looks(0, LOSS_MS)], []],
    ["never heard", [expect(0, "a"), ...looks(0, LOSS_MS + 100)], ["a"]],
    ["heard in time", [expect(0, "a"), ...looks(0, 500), heard(500, "a"), ...looks(600, 1000)], []],
    ["heard, then silent", [expect(0, "a"), heard(100, "a"), ...looks(100, 900)], ["a"]],
    ["lost, then back", [expect(0, "a"), ...looks(0, 900), heard(900, "a"), ...looks(1000, 1400)], []],
    ["not expected any more: stays lost until heard", [expect(0, "a"), ...looks(0, 900), expect(900, "b"), look(1000)], ["a"]],
    ["expected later", [expect(0), ...looks(0, 5000), expect(5000, "a"), ...looks(5100, 5500)], []],
    ["the process was held up: nobody's fault", [expect(0, "a"), look(100), look(5000)], []],
    ["held up, and then still silent", [expect(0, "a"), look(100), look(5000), ...looks(5100, 5900)], ["a"]],
    ["taken for lost, and heard", [{ type: "presume", nodes: new Set(["a", "b"]), now: 0 }, heard(10, "a")], ["b"]],
  ];
  for (const [what, events, lost] of rows) assert.deepEqual(lostAfter(...events), lost, what);
});

test("what is heard changes nothing that need not change", () => {
  const before = [expect(0, "a"), heard(100, "a"), look(150)].reduce(hear, SILENCE);
  assert.equal(hear(before, heard(200, "a")).lost, before.lost);
  assert.equal(hear(before, look(250)).lost, before.lost);
});

test("a heartbeat on the wire, and whatever else arrives", () => {
  const beat = { cluster: "c", node: "n" };
  assert.deepEqual(decodeBeat(encodeBeat(beat)), beat);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((text) => new TextEncoder().encode(text)),
      ),
      (bytes) => {
        const said = decodeBeat(bytes);
        assert.ok(said === undefined || typeof said.node === "string");
      },
    ),
  );
});
