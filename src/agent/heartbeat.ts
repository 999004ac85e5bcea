// Which nodes are still there, as heard: the state of one node's listening. Pure; sockets and timers are in announcer.ts.
//
// Only nodes that announce addresses are heard, and only they need be: whoever announces sends a heartbeat to its link, so
// that the others know within a second when it is gone. The API tells of a lost node half a minute later.

/** Milliseconds between two heartbeats. */
export const BEAT_MS = 150;
/** Without a heartbeat for so many milliseconds, a node counts as lost. */
export const LOSS_MS = 600;

export interface Hearing {
  /** Nodes that should be heard, each with the millisecond of its last sign of life, or since when it is expected. */
  readonly expected: ReadonlyMap<string, number>;
  readonly lost: ReadonlySet<string>;
  /** The last look at the clock. */
  readonly looked: number;
}

export type HearingEvent =
  /** These nodes announce something, by this node's calculation. */
  | { readonly type: "expect"; readonly nodes: ReadonlySet<string>; readonly now: number }
  | { readonly type: "heard"; readonly node: string; readonly now: number }
  /** These are taken for lost until they are heard. */
  | { readonly type: "presume"; readonly nodes: ReadonlySet<string>; readonly now: number }
  | { readonly type: "look"; readonly now: number };

export const SILENCE: Hearing = { expected: new Map(), lost: new Set(), looked: 0 };

/** The next state. `lost` is the same object as long as nothing changed about it. */
export function hear(state: Hearing, event: HearingEvent): Hearing {
  const { expected, lost } = state;
  switch (event.type) {
    case "expect":
      return { ...state, expected: new Map([...event.nodes].map((node) => [node, expected.get(node) ?? event.now])) };
    case "heard": {
      const left = lost.has(event.node) ? new Set([...lost].filter((node) => node !== event.node)) : lost;
      return { ...state, expected: expected.has(event.node) ? new Map(expected).set(event.node, event.now) : expected, lost: left };
    }
    case "presume":
      return { ...state, lost: new Set([...lost, ...event.nodes]) };
    case "look": {
      const { now } = event;
      // A process that was held up has heard nobody: the time that it lost is no one's silence.
      const held = state.looked > 0 && now - state.looked > 2 * BEAT_MS ? now - state.looked : 0;
      const heard = held > 0 ? new Map([...expected].map(([node, at]) => [node, at + held])) : expected;
      const silent = [...heard].filter(([node, at]) => now - at > LOSS_MS && !lost.has(node)).map(([node]) => node);
      return { expected: heard, lost: silent.length > 0 ? new Set([...lost, ...silent]) : lost, looked: now };
    }
  }
}

/** What a heartbeat says. */
export interface Beat {
  /** The cluster, so that two on one link do not listen to each other. */
  readonly cluster: string;
  readonly node: string;
}

export function encodeBeat({ cluster, node }: Beat): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ fairlead: 1, cluster, node }));
}

/** Undefined for whatever is no heartbeat. */
export function decodeBeat(bytes: Uint8Array): Beat | undefined {
  try {
    const said: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof said !== "object" || said === null) return undefined;
    const { fairlead, cluster, node } = said as Record<string, unknown>;
    return fairlead === 1 && typeof cluster === "string" && typeof node === "string" ? { cluster, node } : undefined;
  } catch {
    return undefined;
  }
}
