// One packet as the rules of a kernel see it: its headers, and what the kernel knows of it besides.
import { type Family, familyOf, formatAddress, parseAddress } from "../../base/index.ts";

/** Others by their number. */
export type Protocol = "tcp" | "udp" | "sctp" | "icmp" | "ipv6-icmp" | `${number}`;

/** The first packet of a connection, at one point of its way. Addresses are canonical text. */
export interface Packet {
  readonly family: Family;
  readonly source: string;
  readonly destination: string;
  readonly protocol: Protocol;
  /** Of ICMP: an echo request where it is not given. */
  readonly icmp?: { readonly type: number; readonly code: number };
  /** 0 for protocols without ports. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Source MAC address of the frame, where it is known. */
  readonly sourceMac?: string;
  /** The packet's mark (`meta mark`), unsigned. */
  readonly mark: number;
  /** Rules keep it out of connection tracking. */
  readonly untracked?: true;
  /** The connection's mark. */
  readonly connectionMark: number;
  /** Destination and port before any translation on this node. */
  readonly original?: { readonly destination: string; readonly port: number };
  /** Which translations the connection has on this node. */
  readonly translated: readonly ("source" | "destination")[];
}

/** A packet as it leaves its sender. @throws FairleadError if an address can't be read */
export function makePacket(
  fields: Pick<Packet, "source" | "destination" | "protocol"> & {
    readonly sourcePort?: number;
    readonly destinationPort?: number;
    readonly icmp?: Packet["icmp"];
  },
): Packet {
  return {
    family: familyOf(fields.destination),
    source: formatAddress(parseAddress(fields.source)),
    destination: formatAddress(parseAddress(fields.destination)),
    protocol: fields.protocol,
    sourcePort: fields.sourcePort ?? 40_000,
    destinationPort: fields.destinationPort ?? 0,
    ...(fields.icmp ? { icmp: fields.icmp } : {}),
    mark: 0,
    connectionMark: 0,
    translated: [],
  };
}

/** What another node sees of it: marks and translations stay behind. */
export function onTheWire({ original: _original, sourceMac: _mac, untracked: _untracked, ...packet }: Packet): Packet {
  return { ...packet, mark: 0, connectionMark: 0, translated: [] };
}
