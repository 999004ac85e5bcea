// BFD at work, single hop (RFC 5881): sessions by neighbour address, over datagrams that are given from outside.
import { type Clock, systemClock } from "../speaker/transport.ts";
import { type BfdConfig, type BfdEffect, type BfdEvent, type BfdState, initialBfd, stepBfd } from "./bfd-session.ts";
import { type BfdSessionState, decodeBfd, encodeBfd } from "./packet.ts";

/** Datagrams to and from port 3784, sent with TTL 255 from a port of 49152 or more; those that come with less than TTL 255 must not be passed on. */
export interface BfdTransport {
  open(received: (bytes: Uint8Array, from: string) => void): { send(bytes: Uint8Array, to: string): void; close(): void };
}

export interface BfdPeer extends BfdConfig {
  readonly address: string;
}

export interface Bfd {
  /** Sets all neighbours; what did not change is not disturbed. */
  setPeers(peers: readonly BfdPeer[]): void;
  status(): { readonly address: string; readonly state: BfdSessionState; readonly diagnostic: number }[];
  /** Tells the neighbours that this is no failure. */
  close(): void;
}

interface Running {
  readonly peer: BfdPeer;
  state: BfdState;
  readonly timers: Map<"detection" | "transmit", { cancel(): void }>;
}

/** Starts BFD. `onChange` tells sessions that come up or go down. */
export function startBfd(options: {
  readonly transport: BfdTransport;
  readonly clock?: Clock;
  readonly onChange: (address: string, up: boolean, why: string) => void;
}): Bfd {
  const clock = options.clock ?? systemClock;
  const sessions = new Map<string, Running>();
  let discriminators = Math.floor(Math.random() * 0x7fffffff) + 1;
  const socket = options.transport.open((bytes, from) => {
    const session = sessions.get(from);
    const packet = decodeBfd(bytes);
    if (session && typeof packet !== "string") feed(session, { type: "packet", packet });
  });

  function feed(session: Running, event: BfdEvent): undefined {
    const { state, effects } = stepBfd(session.peer, session.state, event);
    session.state = state;
    for (const effect of effects) carryOut(session, effect);
  }

  function carryOut(session: Running, effect: BfdEffect): undefined {
    const { address } = session.peer;
    switch (effect.type) {
      case "send":
        socket.send(encodeBfd(effect.packet), address);
        return;
      case "set-detection":
        return arm(session, "detection", effect.ms, { type: "detection-expired" });
      case "set-transmit":
        // RFC 5880 §6.8.7: 75 to 100 % of the interval, so that neighbours do not fall in step.
        return arm(session, "transmit", effect.ms * (0.75 + Math.random() * 0.25), { type: "transmit" });
      case "clear-transmit":
        session.timers.get("transmit")?.cancel();
        return;
      case "up":
        options.onChange(address, true, "");
        return;
      case "down":
        options.onChange(address, false, effect.why);
        return;
    }
  }

  function arm(session: Running, timer: "detection" | "transmit", ms: number, event: BfdEvent): undefined {
    session.timers.get(timer)?.cancel();
    const expired = () => feed(session, event);
    session.timers.set(timer, timer === "detection" ? clock.silence(ms, expired) : clock.after(ms, expired));
  }

  function end(session: Running): undefined {
    feed(session, { type: "admin-down" });
    for (const timer of session.timers.values()) timer.cancel();
    sessions.delete(session.peer.address);
  }

  return {
    setPeers(peers) {
      for (const session of [...sessions.values()]) {
        const now = peers.find(({ address }) => address === session.peer.address);
        if (now?.intervalMs !== session.peer.intervalMs || now.multiplier !== session.peer.multiplier) end(session);
      }
      for (const peer of peers) {
        if (sessions.has(peer.address)) continue;
        const session: Running = { peer, state: initialBfd(discriminators++), timers: new Map() };
        sessions.set(peer.address, session);
        feed(session, { type: "transmit" });
      }
    },
    status: () =>
      [...sessions.values()].map(({ peer, state }) => ({ address: peer.address, state: state.session, diagnostic: state.diagnostic })),
    close() {
      for (const session of [...sessions.values()]) end(session);
      socket.close();
    },
  };
}
