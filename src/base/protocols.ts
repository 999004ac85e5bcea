// IP's protocols by number (IANA, "Assigned Internet Protocol Numbers"), by name ("tcp") and by IANA's keyword ("TCP").

/** Protocols with ports that a connection can be told by. */
export const TRANSPORTS = { tcp: 6, udp: 17, sctp: 132 } as const;
export type Transport = keyof typeof TRANSPORTS;

const NAMES = new Map<number, Transport>(Object.entries(TRANSPORTS).map(([name, number]) => [number, name as Transport]));

/** 6 → "tcp". Undefined for what is none of them. */
export function transportName(protocol: number | undefined): Transport | undefined {
  return protocol === undefined ? undefined : NAMES.get(protocol);
}

/** By keyword, "TCP" → 6. A map, for what is looked up may be anything that somebody wrote. */
export const PORT_PROTOCOLS: ReadonlyMap<unknown, number> = new Map(
  Object.entries(TRANSPORTS).map(([name, number]) => [name.toUpperCase(), number]),
);

const TITLES: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP", 136: "UDPLite" };

/** 6 → "TCP", 58 → "ICMPv6". Undefined for what has no name here. */
export function protocolTitle(protocol: number): string | undefined {
  return TITLES[protocol];
}
