// Calico's names of IP protocols, and their numbers.

const NUMBERS: ReadonlyMap<string, number> = new Map(Object.entries({ icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132, udplite: 136 }));

/** The number of "TCP", "ICMPv6", …, or of a number from 1 to 255 (also as text); undefined for anything else. */
export function protocolNumber(value: unknown): number | undefined {
  const named = typeof value === "string" ? NUMBERS.get(value.toLowerCase()) : undefined;
  if (named !== undefined) return named;
  const number = typeof value === "number" ? value : typeof value === "string" && /^\d{1,3}$/.test(value) ? Number(value) : 0;
  return Number.isInteger(number) && number >= 1 && number <= 255 ? number : undefined;
}
