// The session state machine (RFC 4271 §8): a pure step from state and event to state and effects.
//
//                 ┌── Active ◀──────────────┐ connect failed; a passive one stays here
//   Idle ──start──┴▶ Connect ──connected──▶ OpenSent ──OPEN──▶ OpenConfirm ──KEEPALIVE──▶ Established
//     ▲                                        │                   │                          │
//     └────────────────────────────── error, NOTIFICATION, close, timer ◀────────────────────┘
//
// A neighbour may be connected twice, once from either side, until the OPENs show which one stays (§6.8); so a state holds two
// connections. What a lost session leaves behind (graceful restart) is `kept`.
import type { Family } from "../../base/index.ts";
import type { Message } from "../wire/message.ts";
import { ceaseOf, describeNotification, type NotificationMessage, notificationOf } from "../wire/notification.ts";
import type { OpenMessage } from "../wire/open.ts";
import { CEASE, CODE, nameOfError, type ProtocolError } from "../wire/protocol-error.ts";
import { type Negotiated, negotiate, openOf, refusalOf, type SessionConfig } from "./negotiate.ts";

/** Who opened a connection: we or the neighbour. */
export type Side = "outgoing" | "incoming";
export type Phase = "Idle" | "Connect" | "Active" | "OpenSent" | "OpenConfirm" | "Established";

type Connection =
  | { readonly phase: "connecting" }
  | { readonly phase: "open-sent" }
  | { readonly phase: "open-confirm" | "established"; readonly negotiated: Negotiated };

export interface SessionState {
  readonly started: boolean;
  readonly outgoing: Connection | undefined;
  readonly incoming: Connection | undefined;
  /** Why the last session ended or the last attempt failed. */
  readonly lastError: string | undefined;
  /** The same for machines. */
  readonly lastFault: SessionFault | undefined;
  /** Failures since the last established session, for backing off. */
  readonly failures: number;
  /** Families whose routes of the lost session are still kept. */
  readonly kept: readonly KeptFamily[];
  /** We have just started, and the first sessions say so. */
  readonly restarting: boolean;
}

/** Who ended a session or an attempt: a NOTIFICATION of ours or of the neighbour's (RFC 4271 §4.5), or the connection. */
export type SessionFault =
  | { readonly by: "us" | "neighbour"; readonly code: number; readonly subcode: number }
  | { readonly by: "connection" };

interface KeptFamily {
  readonly family: Family;
  readonly longLivedSeconds: number;
  /** The neighbour is back and sends its routes again. */
  readonly returning: boolean;
  readonly longLived: boolean;
}

export type TimerName = "connect-retry" | "restart" | "end-of-rib" | `long-lived-${Family}` | `hold-${Side}` | `keepalive-${Side}`;

export type SessionEvent =
  | { readonly type: "start" }
  /** `words` are told to the neighbour (RFC 9003). Routes are dropped at once. */
  | { readonly type: "stop"; readonly subcode: number; readonly words?: string }
  /** Ends the session and lets it come again. */
  | { readonly type: "reset"; readonly subcode: number; readonly words?: string }
  | { readonly type: "connected"; readonly side: Side }
  | { readonly type: "closed"; readonly side: Side; readonly why: string }
  /** Not UPDATE in Established, which goes to the routes; it only counts as a sign of life. */
  | { readonly type: "message"; readonly side: Side; readonly message: Message }
  | { readonly type: "malformed"; readonly side: Side; readonly error: ProtocolError }
  | { readonly type: "timer"; readonly timer: TimerName }
  | { readonly type: "end-of-rib"; readonly family: Family }
  | { readonly type: "prefix-limit"; readonly family: Family; readonly limit: number }
  | { readonly type: "bfd-down" }
  /** The neighbour has not taken anything for the send hold time (RFC 9687). */
  | { readonly type: "send-stalled" }
  /** All that the restart waited for has come. */
  | { readonly type: "restarted" };

export type SessionEffect =
  | { readonly type: "connect" }
  | { readonly type: "send"; readonly side: Side; readonly message: Message }
  /** After what has been sent. */
  | { readonly type: "close"; readonly side: Side }
  | { readonly type: "set-timer"; readonly timer: TimerName; readonly seconds: number }
  | { readonly type: "clear-timer"; readonly timer: TimerName }
  | { readonly type: "up"; readonly side: Side; readonly negotiated: Negotiated }
  /** `keep`: families whose routes stay, marked stale; all others go. */
  | { readonly type: "down"; readonly why: string; readonly keep: readonly Family[] }
  /** Drops what is still marked stale. */
  | { readonly type: "sweep"; readonly family: Family }
  | { readonly type: "long-lived"; readonly family: Family }
  | { readonly type: "refresh"; readonly family: Family; readonly mark: "request" | "begin" | "end" };

export interface Step {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}

/** Seconds: RFC 4271 §8.2.2 suggests 4 minutes for the time in OpenSent. */
const OPEN_HOLD_SECONDS = 240;
const RETRY_LIMIT_SECONDS = 120;
const SIDES = ["outgoing", "incoming"] as const;
const otherOf = (side: Side): Side => (side === "outgoing" ? "incoming" : "outgoing");

export function initialState(options: { readonly restarting: boolean }): SessionState {
  return {
    started: false,
    outgoing: undefined,
    incoming: undefined,
    lastError: undefined,
    lastFault: undefined,
    failures: 0,
    kept: [],
    restarting: options.restarting,
  };
}

/** The state by its name in RFC 4271: that of the connection that is further. */
export function phaseOf({ started, outgoing, incoming }: SessionState): Phase {
  if (!started) return "Idle";
  const phases = [outgoing?.phase, incoming?.phase];
  if (phases.includes("established")) return "Established";
  if (phases.includes("open-confirm")) return "OpenConfirm";
  if (phases.includes("open-sent")) return "OpenSent";
  return phases.includes("connecting") ? "Connect" : "Active";
}

/** The side that is established, with what was negotiated. */
export function establishedOf(state: SessionState): { readonly side: Side; readonly negotiated: Negotiated } | undefined {
  for (const side of SIDES) {
    const connection = state[side];
    if (connection?.phase === "established") return { side, negotiated: connection.negotiated };
  }
  return undefined;
}

/** One step. Pure: the same state and event give the same step. */
export function step(config: SessionConfig, before: SessionState, event: SessionEvent): Step {
  const run = new Run(config, before);
  run.take(event);
  return { state: run.state, effects: run.effects };
}

/** One step being made; lives as long as the call. */
class Run {
  state: SessionState;
  readonly effects: SessionEffect[] = [];
  readonly #config: SessionConfig;

  constructor(config: SessionConfig, state: SessionState) {
    this.#config = config;
    this.state = state;
  }

  take(event: SessionEvent): undefined {
    switch (event.type) {
      case "start":
        if (this.state.started) return;
        this.#set({ started: true, failures: 0 });
        return this.#connect();
      case "stop":
        return this.#stop(event.subcode, event.words);
      case "reset":
        return this.#endAll(ceaseOf(event.subcode, event.words), { keep: false, retry: true });
      case "connected":
        return this.#connected(event.side);
      case "closed":
        if (this.state[event.side] === undefined) return;
        return this.#lose(event.side, event.why, { keep: true, tell: undefined });
      case "message":
        return this.#message(event.side, event.message);
      case "malformed":
        return this.#fail(event.side, event.error);
      case "timer":
        return this.#timer(event.timer);
      case "end-of-rib":
        if (this.state.kept.some(({ family, returning }) => family === event.family && returning)) this.#sweep([event.family]);
        return;
      case "prefix-limit":
        return this.#endAll(ceaseOf(CEASE.prefixLimit), {
          keep: false,
          retry: true,
          why: `more than ${event.limit} IPv${event.family} prefixes`,
        });
      case "bfd-down":
        // A process that restarts closes its connection first; where that still stands, the machine or the way to it is gone, and so are
        // its routes (RFC 5882 §4.3).
        return this.#endAll(ceaseOf(CEASE.bfdDown), { keep: false, retry: true, why: "BFD noticed that the neighbour is gone" });
      case "send-stalled": {
        const up = establishedOf(this.state);
        if (up) this.#lose(up.side, "the neighbour takes nothing any more", { keep: true, tell: undefined });
        return;
      }
      case "restarted":
        return this.#set({ restarting: false });
    }
  }

  #set(change: Partial<SessionState>): undefined {
    this.state = { ...this.state, ...change };
  }

  #do(effect: SessionEffect): undefined {
    this.effects.push(effect);
  }

  #connect(): undefined {
    if (this.#config.passive) return;
    this.#set({ outgoing: { phase: "connecting" } });
    this.#do({ type: "connect" });
    this.#do({ type: "set-timer", timer: "connect-retry", seconds: Math.max(this.#config.connectRetrySeconds, 1) });
  }

  /** Tries again later: longer after each failure, so that two speakers that refuse each other do not spin. */
  #retryLater(): undefined {
    if (this.#config.passive || !this.state.started || this.state.outgoing) return;
    const seconds = Math.min(
      RETRY_LIMIT_SECONDS,
      this.#config.connectRetrySeconds * 2 ** Math.min(6, Math.max(0, this.state.failures - 3)),
    );
    this.#do({ type: "set-timer", timer: "connect-retry", seconds });
  }

  #connected(side: Side): undefined {
    const there = this.state[side];
    if (!this.state.started) return this.#do({ type: "close", side });
    if (side === "incoming" && there !== undefined) {
      // The neighbour connects anew: its old connection is of no use to it.
      if (there.phase === "established") {
        this.#lose(side, "the neighbour connected anew", { keep: true, tell: undefined, retry: false });
      } else this.#drop(side);
    }
    this.#set({ [side]: { phase: "open-sent" } });
    if (side === "outgoing") this.#do({ type: "clear-timer", timer: "connect-retry" });
    this.#do({ type: "send", side, message: openOf(this.#config, this.state.restarting) });
    this.#do({ type: "set-timer", timer: `hold-${side}`, seconds: OPEN_HOLD_SECONDS });
  }

  #message(side: Side, message: Message): undefined {
    const connection = this.state[side];
    if (connection === undefined || connection.phase === "connecting") return;
    if (message.type === "notification") return this.#notified(side, message);
    if (connection.phase === "open-sent") {
      if (message.type === "open") return this.#opened(side, message);
      return this.#fail(side, { code: CODE.stateMachine, subcode: 1, data: typeByte(message), says: `${message.type} before OPEN` });
    }
    const { negotiated } = connection;
    if (connection.phase === "open-confirm") {
      if (message.type === "keepalive") return this.#establish(side, negotiated);
      return this.#fail(side, { code: CODE.stateMachine, subcode: 2, data: typeByte(message), says: `${message.type} in OpenConfirm` });
    }
    if (message.type === "open") {
      return this.#fail(side, { code: CODE.stateMachine, subcode: 3, data: typeByte(message), says: "OPEN in Established" });
    }
    this.#holdAgain(side, negotiated);
    if (
      message.type === "route-refresh" &&
      message.family !== undefined &&
      negotiated.families.includes(message.family) &&
      message.mark !== "unknown"
    ) {
      this.#do({ type: "refresh", family: message.family, mark: message.mark });
    }
  }

  #opened(side: Side, open: OpenMessage): undefined {
    const refusal = refusalOf(this.#config, open);
    if (refusal) return this.#fail(side, refusal);
    const negotiated = negotiate(this.#config, open);
    if (!this.#survivesCollision(side, open, negotiated)) return;
    this.#set({ [side]: { phase: "open-confirm", negotiated } });
    this.#do({ type: "send", side, message: { type: "keepalive" } });
    this.#holdAgain(side, negotiated);
    if (negotiated.keepaliveSeconds > 0) this.#do({ type: "set-timer", timer: `keepalive-${side}`, seconds: negotiated.keepaliveSeconds });
  }

  /** RFC 4271 §6.8, and RFC 4724 §5 for a neighbour that comes back before its death was noticed. */
  #survivesCollision(side: Side, open: OpenMessage, negotiated: Negotiated): boolean {
    const otherSide = otherOf(side);
    const other = this.state[otherSide];
    if (other?.phase === "established") {
      if (other.negotiated.restart && negotiated.restart) {
        this.#lose(otherSide, "the neighbour restarted", { keep: true, tell: undefined, retry: false });
        return true;
      }
      this.#drop(side, ceaseOf(CEASE.collision));
      return false;
    }
    if (other?.phase === "open-confirm") {
      const { routerId, localAs } = this.#config;
      const weAreHigher = routerId === open.routerId ? localAs > open.as : routerId > open.routerId;
      const survivor: Side = weAreHigher ? "outgoing" : "incoming";
      this.#drop(otherOf(survivor), ceaseOf(CEASE.collision));
      return survivor === side;
    }
    return true;
  }

  #establish(side: Side, negotiated: Negotiated): undefined {
    const other = otherOf(side);
    if (this.state[other]) this.#drop(other, ceaseOf(CEASE.collision));
    this.#do({ type: "clear-timer", timer: "connect-retry" });
    this.#set({ [side]: { phase: "established", negotiated }, failures: 0, lastError: undefined, lastFault: undefined });
    this.#holdAgain(side, negotiated);
    this.#do({ type: "up", side, negotiated });
    if (this.state.kept.length === 0) return;
    // RFC 4724 §4.2: what was kept stays only where the neighbour kept forwarding.
    this.#do({ type: "clear-timer", timer: "restart" });
    const returning = (family: Family) => negotiated.restart?.families.some((each) => each.family === family && each.preserved);
    this.#sweep(this.state.kept.flatMap(({ family }) => (returning(family) ? [] : [family])));
    this.#set({ kept: this.state.kept.map((each) => ({ ...each, returning: true })) });
    const seconds = this.#config.gracefulRestart?.staleSeconds ?? 0;
    if (this.state.kept.length > 0) this.#do({ type: "set-timer", timer: "end-of-rib", seconds });
  }

  #notified(side: Side, message: NotificationMessage): undefined {
    const established = this.state[side]?.phase === "established";
    const why = `the neighbour ended the session: ${describeNotification(message)}`;
    // A refused version or a collision says nothing about the other connection.
    const hard = message.code === CODE.cease && message.subcode === CEASE.hardReset;
    const negotiated = establishedOf(this.state)?.negotiated;
    const fault = { by: "neighbour", code: message.code, subcode: message.subcode } as const;
    this.#lose(side, why, { keep: established && !hard && negotiated?.restart?.notification === true, tell: undefined, fault });
  }

  /** Ends a connection because of an error of the neighbour's. */
  #fail(side: Side, error: ProtocolError): undefined {
    if (this.state[side] === undefined) return;
    const why = `${nameOfError(error.code, error.subcode)}: ${error.says}`;
    this.#lose(side, why, { keep: false, tell: notificationOf(error) });
  }

  /** Ends one connection; if it was established, the session. */
  #lose(
    side: Side,
    why: string,
    options: {
      readonly keep: boolean;
      readonly tell: NotificationMessage | undefined;
      readonly fault?: SessionFault;
      readonly retry?: boolean;
    },
  ): undefined {
    const connection = this.state[side];
    const { tell } = options;
    const collision = tell === undefined && why.includes("collision");
    this.#drop(side, tell);
    // Who is not there is tried again as before: only who refuses what we say is left alone for longer.
    const failures = this.state.failures + (connection?.phase === "connecting" ? 0 : 1);
    const fault: SessionFault = options.fault ?? (tell ? { by: "us", code: tell.code, subcode: tell.subcode } : { by: "connection" });
    if (!collision) this.#set({ lastError: why, lastFault: fault, failures });
    if (connection?.phase === "established") this.#down(connection.negotiated, why, options.keep);
    if (options.retry !== false) this.#retryLater();
  }

  #down({ restart }: Negotiated, why: string, mayKeep: boolean): undefined {
    const keep = mayKeep && restart && this.#config.gracefulRestart ? restart.families : [];
    // RFC 4724 §4.2: what was stale already is not kept a second time; the routes' own marks tell which.
    this.#do({ type: "clear-timer", timer: "end-of-rib" });
    this.#do({ type: "down", why, keep: keep.map(({ family }) => family) });
    this.#set({
      kept: keep.map(({ family, longLivedSeconds }) => ({ family, longLivedSeconds, returning: false, longLived: false })),
    });
    if (keep.length === 0 || !restart) return;
    if (restart.restartSeconds > 0) this.#do({ type: "set-timer", timer: "restart", seconds: restart.restartSeconds });
    else this.#timer("restart");
  }

  #drop(side: Side, tell?: NotificationMessage): undefined {
    if (tell && this.state[side] && this.state[side].phase !== "connecting") this.#do({ type: "send", side, message: tell });
    this.#do({ type: "clear-timer", timer: `hold-${side}` });
    this.#do({ type: "clear-timer", timer: `keepalive-${side}` });
    this.#do({ type: "close", side });
    this.#set({ [side]: undefined });
  }

  #endAll(tell: NotificationMessage, options: { readonly keep: boolean; readonly retry: boolean; readonly why?: string }): undefined {
    const why = options.why ?? `ended by us: ${describeNotification(tell)}`;
    for (const side of SIDES) if (this.state[side]) this.#lose(side, why, { keep: options.keep, tell, retry: false });
    if (options.retry) this.#retryLater();
  }

  #stop(subcode: number, words: string | undefined): undefined {
    if (!this.state.started) return;
    // RFC 8538 §3.1: what is meant for good is a hard reset.
    const cease = ceaseOf(subcode, words);
    const hard = establishedOf(this.state)?.negotiated.restart?.notification === true;
    const tell = hard ? { ...cease, subcode: CEASE.hardReset, data: Uint8Array.of(cease.code, cease.subcode, ...cease.data) } : cease;
    this.#endAll(tell, { keep: false, retry: false, why: `ended by us: ${describeNotification(cease)}` });
    this.#sweep(this.state.kept.map(({ family }) => family));
    for (const timer of ["connect-retry", "restart", "end-of-rib", "long-lived-4", "long-lived-6"] as const)
      this.#do({ type: "clear-timer", timer });
    this.#set({ started: false });
  }

  #timer(timer: TimerName): undefined {
    switch (timer) {
      case "connect-retry":
        if (!this.state.started || establishedOf(this.state) || this.#config.passive) return;
        if (this.state.outgoing?.phase === "connecting") {
          this.#do({ type: "close", side: "outgoing" });
          this.#set({ lastError: "connecting took too long", lastFault: { by: "connection" } });
        } else if (this.state.outgoing) return;
        return this.#connect();
      case "hold-outgoing":
      case "hold-incoming": {
        const side = timer === "hold-outgoing" ? "outgoing" : "incoming";
        const error = { code: CODE.holdTimer, subcode: 0, data: new Uint8Array(0) };
        const connection = this.state[side];
        if (connection === undefined) return;
        // RFC 4724 §5: what ends with a NOTIFICATION keeps nothing, unless both know RFC 8538.
        const keep = "negotiated" in connection && connection.negotiated.restart?.notification === true;
        return this.#lose(side, nameOfError(CODE.holdTimer, 0), { keep, tell: { type: "notification", ...error } });
      }
      case "keepalive-outgoing":
      case "keepalive-incoming": {
        const side = timer === "keepalive-outgoing" ? "outgoing" : "incoming";
        const connection = this.state[side];
        if (connection?.phase !== "established" && connection?.phase !== "open-confirm") return;
        this.#do({ type: "send", side, message: { type: "keepalive" } });
        return this.#do({ type: "set-timer", timer, seconds: connection.negotiated.keepaliveSeconds });
      }
      case "restart":
        // The neighbour did not return in time: long-lived routes stay as a last resort (RFC 9494 §4.2).
        this.#sweep(this.state.kept.flatMap(({ family, longLivedSeconds }) => (longLivedSeconds > 0 ? [] : [family])));
        for (const { family, longLivedSeconds } of this.state.kept) {
          this.#do({ type: "long-lived", family });
          this.#do({ type: "set-timer", timer: `long-lived-${family}`, seconds: longLivedSeconds });
        }
        return this.#set({ kept: this.state.kept.map((each) => ({ ...each, longLived: true })) });
      case "end-of-rib":
        return this.#sweep(this.state.kept.map(({ family }) => family));
      case "long-lived-4":
        return this.#sweep([4]);
      case "long-lived-6":
        return this.#sweep([6]);
    }
  }

  #sweep(families: readonly Family[]): undefined {
    const gone = this.state.kept.filter(({ family }) => families.includes(family));
    if (gone.length === 0) return;
    this.#set({ kept: this.state.kept.filter(({ family }) => !families.includes(family)) });
    for (const { family, longLived } of gone) {
      if (longLived) this.#do({ type: "clear-timer", timer: `long-lived-${family}` });
      this.#do({ type: "sweep", family });
    }
    if (this.state.kept.length === 0) this.#do({ type: "clear-timer", timer: "end-of-rib" });
  }

  #holdAgain(side: Side, { holdSeconds }: Negotiated): undefined {
    const timer: TimerName = `hold-${side}`;
    this.#do(holdSeconds > 0 ? { type: "set-timer", timer, seconds: holdSeconds } : { type: "clear-timer", timer });
  }
}

const TYPE_NUMBER: Readonly<Record<Message["type"], number>> = { open: 1, update: 2, notification: 3, keepalive: 4, "route-refresh": 5 };

function typeByte(message: Message): Uint8Array {
  return Uint8Array.of(TYPE_NUMBER[message.type]);
}
