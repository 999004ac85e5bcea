import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { OpenMessage } from "../wire/open.ts";
import { negotiate, openOf, refusalOf, type SessionConfig } from "./negotiate.ts";
import {
  establishedOf,
  initialState,
  phaseOf,
  type SessionEffect,
  type SessionEvent,
  type SessionState,
  type Side,
  step,
  type TimerName,
} from "./session.ts";

const CONFIG: SessionConfig = {
  localAs: 64512,
  routerId: 10,
  peerAs: "external",
  families: [4, 6],
  holdSeconds: 90,
  connectRetrySeconds: 5,
  passive: false,
  addPath: { receive: true, send: false },
  extendedNextHop: false,
  gracefulRestart: undefined,
  hostName: undefined,
};
const THEIRS: SessionConfig = { ...CONFIG, localAs: 65001, routerId: 20, addPath: { receive: true, send: true } };
const open = (change: Partial<SessionConfig> = {}): OpenMessage => openOf({ ...THEIRS, ...change }, false);
const KEEPALIVE = { type: "keepalive" } as const;
const message = (side: Side, what: OpenMessage | typeof KEEPALIVE): SessionEvent => ({ type: "message", side, message: what });

/** Runs events; gives the end and all effects in short. */
function run(
  events: readonly SessionEvent[],
  config = CONFIG,
  from = initialState({ restarting: false }),
): { state: SessionState; did: string[] } {
  let state = from;
  const did: string[] = [];
  for (const event of events) {
    const made = step(config, state, event);
    state = made.state;
    did.push(...made.effects.map(short));
  }
  return { state, did };
}

function short(effect: SessionEffect): string {
  switch (effect.type) {
    case "send": {
      const { message: sent, side } = effect;
      return `send ${sent.type}${sent.type === "notification" ? ` ${sent.code}/${sent.subcode}` : ""} ${side}`;
    }
    case "set-timer":
      return `set ${effect.timer} ${effect.seconds}`;
    case "clear-timer":
      return `clear ${effect.timer}`;
    case "down":
      return `down keep ${effect.keep.join()}`;
    case "sweep":
    case "long-lived":
      return `${effect.type} ${effect.family}`;
    default:
      return "side" in effect ? `${effect.type} ${effect.side}` : effect.type;
  }
}

const START: SessionEvent = { type: "start" };
const up = (side: Side, what = open()): SessionEvent[] => [{ type: "connected", side }, message(side, what), message(side, KEEPALIVE)];

test("from Idle to Established, phase by phase", () => {
  const steps: readonly (readonly [SessionEvent, string, readonly string[]])[] = [
    [START, "Connect", ["connect", "set connect-retry 5"]],
    [{ type: "connected", side: "outgoing" }, "OpenSent", ["clear connect-retry", "send open outgoing", "set hold-outgoing 240"]],
    [
      message("outgoing", open({ holdSeconds: 30 })),
      "OpenConfirm",
      ["send keepalive outgoing", "set hold-outgoing 30", "set keepalive-outgoing 10"],
    ],
    [message("outgoing", KEEPALIVE), "Established", ["clear connect-retry", "set hold-outgoing 30", "up outgoing"]],
    [{ type: "timer", timer: "keepalive-outgoing" }, "Established", ["send keepalive outgoing", "set keepalive-outgoing 10"]],
    [
      { type: "timer", timer: "hold-outgoing" },
      "Active",
      [
        "send notification 4/0 outgoing",
        "clear hold-outgoing",
        "clear keepalive-outgoing",
        "close outgoing",
        "clear end-of-rib",
        "down keep ",
        "set connect-retry 5",
      ],
    ],
    [{ type: "timer", timer: "connect-retry" }, "Connect", ["connect", "set connect-retry 5"]],
  ];
  let state = initialState({ restarting: false });
  for (const [event, phase, effects] of steps) {
    const made = step(CONFIG, state, event);
    state = made.state;
    assert.equal(phaseOf(state), phase);
    assert.deepEqual(made.effects.map(short), effects);
  }
});

test("a collision is decided by the identifiers, the same on both sides", () => {
  for (const [theirId, survivor] of [
    [20, "incoming"],
    [5, "outgoing"],
  ] as const) {
    const { state, did } = run([
      START,
      { type: "connected", side: "outgoing" },
      { type: "connected", side: "incoming" },
      message("outgoing", open({ routerId: theirId })),
      message("incoming", open({ routerId: theirId })),
      message(survivor, KEEPALIVE),
    ]);
    assert.equal(establishedOf(state)?.side, survivor);
    const loser = survivor === "incoming" ? "outgoing" : "incoming";
    assert.ok(did.includes(`send notification 6/7 ${loser}`));
    assert.equal(state[loser], undefined);
  }
});

test("a second connection beside an established one is refused, unless the neighbour restarted gracefully", () => {
  const plain = run([START, ...up("outgoing"), { type: "connected", side: "incoming" }, message("incoming", open())]);
  assert.ok(plain.did.includes("send notification 6/7 incoming"));
  assert.equal(establishedOf(plain.state)?.side, "outgoing");
  const gracefulRestart = { restartSeconds: 60, staleSeconds: 300, longLivedSeconds: 0, notification: true };
  const config = { ...CONFIG, gracefulRestart };
  const back = openOf({ ...THEIRS, gracefulRestart }, true);
  const graceful = run([START, ...up("outgoing", back), ...up("incoming", back)], config);
  assert.ok(graceful.did.includes("down keep 4,6"));
  assert.equal(establishedOf(graceful.state)?.side, "incoming");
  assert.deepEqual(run([{ type: "end-of-rib", family: 4 }], config, graceful.state).did, ["sweep 4"]);
});

test("routes are kept only where the neighbour kept forwarding, and swept when it does not come back", () => {
  const config = { ...CONFIG, gracefulRestart: { restartSeconds: 60, staleSeconds: 300, longLivedSeconds: 100, notification: true } };
  const theirs = { ...THEIRS, gracefulRestart: { restartSeconds: 30, staleSeconds: 300, longLivedSeconds: 50, notification: true } };
  const lost = run([START, ...up("outgoing", openOf(theirs, true)), { type: "closed", side: "outgoing", why: "ECONNRESET" }], config);
  assert.ok(lost.did.includes("set restart 30"));
  assert.ok(run(up("outgoing", openOf(theirs, false)), config, lost.state).did.includes("sweep 4"));
  assert.ok(!run(up("outgoing", openOf(theirs, true)), config, lost.state).did.includes("sweep 4"));
  const late = run(
    [
      { type: "timer", timer: "restart" },
      { type: "timer", timer: "long-lived-6" },
    ],
    config,
    lost.state,
  );
  assert.deepEqual(late.did, [
    "long-lived 4",
    "set long-lived-4 50",
    "long-lived 6",
    "set long-lived-6 50",
    "clear long-lived-6",
    "sweep 6",
  ]);
});

test("each unexpected message and each refused OPEN ends its connection with the right words", () => {
  const rows: readonly (readonly [string, SessionConfig, SessionEvent[], string])[] = [
    ["KEEPALIVE before OPEN", CONFIG, [message("outgoing", KEEPALIVE)], "5/1"],
    ["OPEN twice", CONFIG, [message("outgoing", open()), message("outgoing", open())], "5/2"],
    ["OPEN in Established", CONFIG, [message("outgoing", open()), message("outgoing", KEEPALIVE), message("outgoing", open())], "5/3"],
    ["another AS", { ...CONFIG, peerAs: 65002 }, [message("outgoing", open())], "2/2"],
    ["our AS", CONFIG, [message("outgoing", open({ localAs: 64512 }))], "2/2"],
    ["our identifier", { ...CONFIG, peerAs: "internal" }, [message("outgoing", open({ localAs: 64512, routerId: 10 }))], "2/3"],
    ["no family in common", { ...CONFIG, families: [6] }, [message("outgoing", open({ families: [4] }))], "2/7"],
  ];
  for (const [name, config, events, code] of rows) {
    const { state, did } = run([START, { type: "connected", side: "outgoing" }, ...events], config);
    assert.ok(did.includes(`send notification ${code} outgoing`), `${name}: ${did}`);
    assert.equal(phaseOf(state), "Active");
    assert.ok(state.lastError);
  }
});

test("a passive speaker waits; a stopped one takes nothing; who is not there is retried as before, who refuses ever later", () => {
  assert.equal(phaseOf(run([START], { ...CONFIG, passive: true }).state), "Active");
  assert.deepEqual(run([{ type: "connected", side: "incoming" }]).did, ["close incoming"]);
  let state = run([START]).state;
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    const unanswered = step(CONFIG, state, { type: "closed", side: "outgoing", why: "ECONNREFUSED" });
    assert.ok(unanswered.effects.some((effect) => effect.type === "set-timer" && effect.seconds === waits.at(-1)) || waits.length === 0);
    const connected = step(CONFIG, state, { type: "connected", side: "outgoing" });
    const failed = step(CONFIG, connected.state, { type: "closed", side: "outgoing", why: "ECONNRESET" });
    for (const effect of failed.effects) if (effect.type === "set-timer") waits.push(effect.seconds);
    state = step(CONFIG, failed.state, { type: "timer", timer: "connect-retry" }).state;
  }
  assert.deepEqual(waits, [5, 5, 5, 10, 20, 40, 80, 120, 120]);
});

test("add-paths, hold time and restart are what both can", () => {
  const agreed = negotiate(CONFIG, open({ holdSeconds: 9 }));
  assert.deepEqual(
    [agreed.holdSeconds, agreed.keepaliveSeconds, agreed.addPathReceive, agreed.addPathSend, agreed.restart],
    [9, 3, [4, 6], [], undefined],
  );
  assert.equal(refusalOf(CONFIG, open()), undefined);
});

test("no sequence of events has two established connections, or timers of a connection that is gone", () => {
  const side = fc.constantFrom<Side>("outgoing", "incoming");
  const timer = fc.constantFrom<TimerName>(
    "connect-retry",
    "restart",
    "end-of-rib",
    "hold-outgoing",
    "hold-incoming",
    "keepalive-outgoing",
    "long-lived-4",
  );
  const event: fc.Arbitrary<SessionEvent> = fc.oneof(
    fc.constantFrom<SessionEvent>(
      START,
      { type: "bfd-down" },
      { type: "send-stalled" },
      { type: "stop", subcode: 2 },
      { type: "reset", subcode: 4 },
    ),
    side.map((each): SessionEvent => ({ type: "connected", side: each })),
    side.map((each): SessionEvent => ({ type: "closed", side: each, why: "x" })),
    fc
      .tuple(
        side,
        fc.constantFrom(
          open(),
          KEEPALIVE,
          open({ gracefulRestart: { restartSeconds: 9, staleSeconds: 9, longLivedSeconds: 9, notification: true } }),
        ),
      )
      .map(([each, what]) => message(each, what)),
    timer.map((each): SessionEvent => ({ type: "timer", timer: each })),
  );
  const config = { ...CONFIG, gracefulRestart: { restartSeconds: 9, staleSeconds: 9, longLivedSeconds: 9, notification: true } };
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      let state = initialState({ restarting: false });
      const timers = new Set<TimerName>();
      let ups = 0;
      for (const each of events) {
        if (each.type === "timer") timers.delete(each.timer);
        const made = step(config, state, each);
        state = made.state;
        for (const effect of made.effects) {
          if (effect.type === "set-timer") timers.add(effect.timer);
          if (effect.type === "clear-timer") timers.delete(effect.timer);
          if (effect.type === "up") ups++;
          if (effect.type === "down") ups--;
        }
        assert.ok(!(state.outgoing?.phase === "established" && state.incoming?.phase === "established"));
        assert.equal(ups, establishedOf(state) ? 1 : 0);
        for (const each of ["outgoing", "incoming"] as const)
          if (!state[each]) assert.ok(!timers.has(`hold-${each}`) && !timers.has(`keepalive-${each}`));
      }
    }),
    { numRuns: 2000 },
  );
});
