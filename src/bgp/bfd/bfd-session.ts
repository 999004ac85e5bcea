// The BFD state machine (RFC 5880 §6.8), asynchronous mode: a pure step.
//
//   Down ──neighbour Down──▶ Init ──neighbour Init or Up──▶ Up
//     ▲──────── nothing heard for the detection time, neighbour Down or AdminDown ────────┘
import type { BfdPacket, BfdSessionState } from "./packet.ts";

export interface BfdConfig {
  /** Milliseconds between packets, ours and the least we take. */
  readonly intervalMs: number;
  /** How many may be missing. */
  readonly multiplier: number;
}

export interface BfdState {
  readonly session: BfdSessionState;
  readonly diagnostic: number;
  readonly discriminator: number;
  readonly remoteDiscriminator: number;
  readonly remoteState: BfdSessionState;
  /** Microseconds. */
  readonly remoteMinRx: number;
  readonly remoteDesiredTx: number;
  readonly remoteMultiplier: number;
  /** Our intervals have changed and the neighbour has not yet confirmed (§6.5). */
  readonly polling: boolean;
}

export type BfdEvent =
  | { readonly type: "packet"; readonly packet: BfdPacket }
  | { readonly type: "detection-expired" }
  | { readonly type: "transmit" }
  | { readonly type: "admin-down" };

export type BfdEffect =
  | { readonly type: "send"; readonly packet: BfdPacket }
  /** Anew from now; jitter is the owner's. */
  | { readonly type: "set-detection"; readonly ms: number }
  | { readonly type: "set-transmit"; readonly ms: number }
  | { readonly type: "clear-transmit" }
  | { readonly type: "up" }
  | { readonly type: "down"; readonly why: string };

/** RFC 5880 §6.8.3: while a session is not Up, at most one packet a second. */
const SLOW_US = 1_000_000;
const EXPIRED = 1;
const NEIGHBOUR_DOWN = 3;
const ADMIN_DOWN = 7;

export function initialBfd(discriminator: number): BfdState {
  return {
    session: "Down",
    diagnostic: 0,
    discriminator,
    remoteDiscriminator: 0,
    remoteState: "Down",
    remoteMinRx: 1,
    remoteDesiredTx: 0,
    remoteMultiplier: 0,
    polling: false,
  };
}

/** One step. Pure. */
export function stepBfd(
  config: BfdConfig,
  state: BfdState,
  event: BfdEvent,
): { readonly state: BfdState; readonly effects: readonly BfdEffect[] } {
  switch (event.type) {
    case "transmit": {
      // §6.8.7: a neighbour that wants none gets none.
      if (state.remoteMinRx === 0) return { state, effects: [{ type: "clear-transmit" }] };
      return {
        state,
        effects: [
          { type: "send", packet: packetOf(config, state, false) },
          { type: "set-transmit", ms: transmitMs(config, state) },
        ],
      };
    }
    case "detection-expired": {
      if (state.session !== "Init" && state.session !== "Up") return { state, effects: [] };
      const next: BfdState = {
        ...state,
        session: "Down",
        diagnostic: EXPIRED,
        remoteDiscriminator: 0,
        remoteState: "Down",
        polling: false,
      };
      const effects: BfdEffect[] = [{ type: "send", packet: packetOf(config, next, false) }];
      if (state.session === "Up") effects.push({ type: "down", why: "nothing heard for the detection time" });
      return { state: next, effects };
    }
    case "admin-down": {
      const next: BfdState = { ...state, session: "AdminDown", diagnostic: ADMIN_DOWN };
      return { state: next, effects: [{ type: "send", packet: packetOf(config, next, false) }, { type: "clear-transmit" }] };
    }
    case "packet":
      return received(config, state, event.packet);
  }
}

function received(
  config: BfdConfig,
  before: BfdState,
  packet: BfdPacket,
): { readonly state: BfdState; readonly effects: readonly BfdEffect[] } {
  if (packet.yourDiscriminator !== 0 && packet.yourDiscriminator !== before.discriminator) return { state: before, effects: [] };
  if (before.session === "AdminDown") return { state: before, effects: [] };
  let state: BfdState = {
    ...before,
    remoteDiscriminator: packet.myDiscriminator,
    remoteState: packet.state,
    remoteMinRx: packet.requiredMinRx,
    remoteDesiredTx: packet.desiredMinTx,
    remoteMultiplier: packet.detectMultiplier,
    polling: before.polling && !packet.final,
  };
  const effects: BfdEffect[] = [];
  const session = nextSession(before.session, packet.state);
  if (session !== before.session) {
    const lost = before.session === "Up";
    state = { ...state, session, diagnostic: session === "Down" ? NEIGHBOUR_DOWN : 0, polling: session === "Up" };
    if (session === "Up") effects.push({ type: "up" });
    if (lost)
      effects.push({
        type: "down",
        why: packet.state === "AdminDown" ? "the neighbour shut BFD down" : "the neighbour says that it is down",
      });
  }
  if (packet.poll) effects.push({ type: "send", packet: packetOf(config, state, true) });
  else if (session !== before.session) effects.push({ type: "send", packet: packetOf(config, state, false) });
  effects.push({ type: "set-detection", ms: detectionMs(config, state) });
  const faster = transmitMs(config, state) < transmitMs(config, before);
  if (session !== before.session || faster || before.remoteMinRx === 0)
    effects.push({ type: "set-transmit", ms: transmitMs(config, state) });
  return { state, effects };
}

function nextSession(ours: BfdSessionState, theirs: BfdSessionState): BfdSessionState {
  if (theirs === "AdminDown") return "Down";
  if (ours === "Down") return theirs === "Down" ? "Init" : theirs === "Init" ? "Up" : "Down";
  if (ours === "Init") return theirs === "Init" || theirs === "Up" ? "Up" : "Init";
  return theirs === "Down" ? "Down" : ours;
}

function desiredTx({ intervalMs }: BfdConfig, { session }: BfdState): number {
  return session === "Up" ? intervalMs * 1000 : Math.max(intervalMs * 1000, SLOW_US);
}

/** Milliseconds between our packets. */
function transmitMs(config: BfdConfig, state: BfdState): number {
  return Math.max(desiredTx(config, state), state.remoteMinRx) / 1000;
}

/** §6.8.4: after how long without a packet the neighbour counts as gone. */
function detectionMs({ intervalMs }: BfdConfig, { remoteMultiplier, remoteDesiredTx }: BfdState): number {
  return (remoteMultiplier * Math.max(intervalMs * 1000, remoteDesiredTx)) / 1000;
}

function packetOf(config: BfdConfig, state: BfdState, final: boolean): BfdPacket {
  return {
    diagnostic: state.diagnostic,
    state: state.session,
    poll: state.polling && !final,
    final,
    demand: false,
    detectMultiplier: config.multiplier,
    myDiscriminator: state.discriminator,
    yourDiscriminator: state.remoteDiscriminator,
    desiredMinTx: desiredTx(config, state),
    requiredMinRx: config.intervalMs * 1000,
  };
}
