// What a responder says of itself, and how a probe reads it.

/** The answer of a responder: one JSON line over TCP and UDP, the body over HTTP. */
export interface Identity {
  /** "namespace/name" */
  readonly pod: string;
  readonly node: string;
  readonly port: number;
  readonly protocol: "TCP" | "UDP";
  /** The client's address and port as this end saw them. */
  readonly source: string;
  readonly sourcePort: number;
}

/** What a probe sends first, so that a responder (and a log) knows it. */
export const PROBE_LINE = "fairlead-probe\n";

/** Finds an identity in what came back (a line, or an HTTP answer's body); undefined if another kind of server answered. */
export function parseIdentity(text: string): Identity | undefined {
  const start = text.indexOf('{"pod":');
  const end = text.indexOf("}", start);
  if (start < 0 || end < 0) return undefined;
  try {
    return JSON.parse(text.slice(start, end + 1)) as Identity;
  } catch {
    return undefined;
  }
}

/** An IPv4 address that a dual-stack socket reports as ::ffff:a.b.c.d, as itself. */
export function plainAddress(address: string | undefined): string {
  return (address ?? "").replace(/^::ffff:/, "");
}
