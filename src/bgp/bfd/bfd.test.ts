import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { startBfd } from "./bfd.ts";
import { initialBfd, stepBfd } from "./bfd-session.ts";
import { type BfdPacket, decodeBfd, encodeBfd } from "./packet.ts";

const PACKET: BfdPacket = {
  diagnostic: 1,
  state: "Up",
  poll: true,
  final: false,
  demand: false,
  detectMultiplier: 3,
  myDiscriminator: 0x11223344,
  yourDiscriminator: 5,
  desiredMinTx: 300_000,
  requiredMinRx: 200_000,
};
const HEX = "21e003181122334400000005000493e000030d4000000000";

test("a packet both ways", () => {
  assert.equal(Buffer.from(encodeBfd(PACKET)).toString("hex"), HEX);
  assert.deepEqual(decodeBfd(Buffer.from(HEX, "hex")), PACKET);
});

test("what RFC 5880 §6.8.6 discards", () => {
  const changed = (at: number, value: number) => {
    const bytes = Buffer.from(HEX, "hex");
    bytes[at] = value;
    return decodeBfd(bytes);
  };
  for (const [at, value] of [
    [0, 0x41],
    [1, 0xe4],
    [1, 0xe1],
    [2, 0],
    [3, 23],
    [3, 25],
  ] as const)
    assert.equal(typeof changed(at, value), "string", `${at} ${value}`);
  assert.equal(typeof decodeBfd(encodeBfd({ ...PACKET, myDiscriminator: 0 })), "string");
  assert.equal(typeof decodeBfd(encodeBfd({ ...PACKET, yourDiscriminator: 0 })), "string");
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => ["string", "object"].includes(typeof decodeBfd(bytes))));
});

/** Time by hand. */
class ManualClock {
  time = 0;
  readonly #waiting: { at: number; action: () => void; gone: boolean }[] = [];
  now = () => this.time;
  after(ms: number, action: () => void) {
    const entry = { at: this.time + ms, action, gone: false };
    this.#waiting.push(entry);
    return {
      cancel: () => {
        entry.gone = true;
      },
    };
  }
  silence = (ms: number, action: () => void) => this.after(ms, action);
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = this.#waiting.filter(({ gone, at }) => !gone && at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      due.gone = true;
      this.time = due.at;
      due.action();
    }
    this.time = end;
  }
}

test("two ends come up, and a dead one is noticed within its detection time", () => {
  const clock = new ManualClock();
  const receivers = new Map<string, (bytes: Uint8Array, from: string) => void>();
  let cut = false;
  const changes: string[] = [];
  const end = (own: string) =>
    startBfd({
      clock,
      transport: {
        open: (received) => {
          receivers.set(own, received);
          return { send: (bytes, to) => (cut ? undefined : receivers.get(to)?.(bytes, own)), close: () => undefined };
        },
      },
      onChange: (address, up, why) => changes.push(`${own}: ${address} ${up ? "up" : `down, ${why}`}`),
    });
  const [a, b] = [end("a"), end("b")];
  a.setPeers([{ address: "b", intervalMs: 100, multiplier: 3 }]);
  b.setPeers([{ address: "a", intervalMs: 200, multiplier: 3 }]);
  clock.advance(5000);
  assert.deepEqual(changes.splice(0).sort(), ["a: b up", "b: a up"]);
  cut = true;
  clock.advance(599);
  clock.advance(1);
  assert.deepEqual(changes.splice(0).sort(), [
    "a: b down, nothing heard for the detection time",
    "b: a down, nothing heard for the detection time",
  ]);
  assert.equal(clock.time, 5600);
  cut = false;
  clock.advance(5000);
  assert.deepEqual(changes.splice(0).sort(), ["a: b up", "b: a up"]);
  a.close();
  assert.deepEqual(changes, ["b: a down, the neighbour shut BFD down"]);
});

test("what came while the process stood still is read before a neighbour counts as dead; a dead one is noticed then", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const changes: string[] = [];
  let receive = (_: Uint8Array, __: string): void => undefined;
  let sent: Uint8Array = new Uint8Array();
  const bfd = startBfd({
    transport: {
      open: (received) => {
        receive = received;
        return {
          send: (bytes) => {
            sent = bytes;
          },
          close: () => undefined,
        };
      },
    },
    onChange: (_, up, why) => changes.push(up ? "up" : why),
  });
  bfd.setPeers([{ address: "b", intervalMs: 300, multiplier: 3 }]);
  const ours = decodeBfd(sent);
  assert.ok(typeof ours !== "string");
  const hear = (state: "Init" | "Up") => receive(encodeBfd({ ...PACKET, state, yourDiscriminator: ours.myDiscriminator }), "b");
  const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
  hear("Init");
  assert.deepEqual(changes.splice(0), ["up"]);
  for (let times = 0; times < 10; times++) {
    // All timers that are due come before what waits in the socket.
    t.mock.timers.tick(5000);
    hear("Up");
    await nextTurn();
  }
  assert.deepEqual(changes, []);
  for (let ms = 0; ms < 900; ms++) t.mock.timers.tick(1);
  await nextTurn();
  assert.deepEqual(changes, ["nothing heard for the detection time"]);
  bfd.close();
});

test("a poll is answered with final at once; a foreign discriminator means nothing", () => {
  const config = { intervalMs: 100, multiplier: 3 };
  const state = { ...initialBfd(5), session: "Up" as const };
  const { effects } = stepBfd(config, state, { type: "packet", packet: PACKET });
  const [sent] = effects;
  assert.ok(sent?.type === "send" && sent.packet.final && !sent.packet.poll);
  assert.deepEqual(stepBfd(config, state, { type: "packet", packet: { ...PACKET, yourDiscriminator: 6 } }), { state, effects: [] });
});
