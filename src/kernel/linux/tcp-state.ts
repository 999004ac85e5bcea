// What the kernel says of TCP in a namespace: its connections, and its counters of refused signatures.
import { readFileSync } from "node:fs";
import { addressFromBytes, type Family, formatAddress } from "../../base/index.ts";
import type { NetworkNamespace } from "../kernel.ts";

export interface TcpConnection {
  readonly family: Family;
  readonly local: { readonly address: string; readonly port: number };
  readonly remote: { readonly address: string; readonly port: number };
  readonly state: "ESTABLISHED" | "SYN-SENT" | "SYN-RECEIVED" | "LISTEN" | "other";
  /** How often the oldest segment that waits for an answer was sent again. */
  readonly retransmits: number;
  /** Bytes that wait to be taken by the other end. */
  readonly unacknowledged: number;
}

/** linux/tcp_states.h */
const STATES: Readonly<Record<string, TcpConnection["state"]>> = {
  "01": "ESTABLISHED",
  "02": "SYN-SENT",
  "03": "SYN-RECEIVED",
  "0A": "LISTEN",
};

/** All connections to or from a port. */
export function tcpConnections(namespace: NetworkNamespace, port: number): TcpConnection[] {
  const texts = namespace.run(() => (["tcp", "tcp6"] as const).map((name) => readText(`/proc/thread-self/net/${name}`)));
  return texts.flatMap(parseTcp).filter(({ local, remote }) => local.port === port || remote.port === port);
}

/** Reads /proc/net/tcp and tcp6; a line that is no connection is left out. */
export function parseTcp(text: string): TcpConnection[] {
  const connections: TcpConnection[] = [];
  for (const line of text.split("\n").slice(1)) {
    const [, local, remote, state = "", queues = "", , retransmits = "0"] = line.trim().split(/\s+/);
    const [from, to] = [parseEnd(local), parseEnd(remote)];
    if (!from || !to) continue;
    connections.push({
      family: from.address.includes(":") ? 6 : 4,
      local: from,
      remote: to,
      state: STATES[state] ?? "other",
      retransmits: Number.parseInt(retransmits, 16) || 0,
      unacknowledged: Number.parseInt(queues.split(":")[0] ?? "", 16) || 0,
    });
  }
  return connections;
}

/** "3500700A:00B3": words in the machine's order. */
function parseEnd(text: string | undefined): { readonly address: string; readonly port: number } | undefined {
  const [, hex, port] = /^((?:[0-9A-F]{8}){1,4}):([0-9A-F]{4})$/.exec(text ?? "") ?? [];
  if (hex === undefined || (hex.length !== 8 && hex.length !== 32)) return undefined;
  const bytes = Buffer.from(hex, "hex");
  bytes.swap32();
  return { address: formatAddress(addressFromBytes(bytes)).replace(/^::ffff:(?=\d+\.)/, ""), port: Number.parseInt(port ?? "", 16) };
}

export interface SignatureCounters {
  /** Segments that should have been signed and were not. */
  readonly missing: number;
  /** Segments that were signed though no password is known. */
  readonly unexpected: number;
  /** Segments whose signature was wrong. */
  readonly wrong: number;
}

/** The namespace's counters of TCP MD5 signatures since it was made. */
export function signatureCounters(namespace: NetworkNamespace): SignatureCounters {
  return parseSignatureCounters(namespace.run(() => readText("/proc/thread-self/net/netstat")));
}

/** Reads /proc/net/netstat. */
export function parseSignatureCounters(text: string): SignatureCounters {
  const [names = [], values = []] = text
    .split("\n")
    .filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(/\s+/));
  const value = (name: string) => Number(values[names.indexOf(name)] ?? 0) || 0;
  return { missing: value("TCPMD5NotFound"), unexpected: value("TCPMD5Unexpected"), wrong: value("TCPMD5Failure") };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A kernel without the family has no such file.
    return "";
  }
}
