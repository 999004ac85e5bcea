// Values of nft's data types in one canonical text each, so that a packet's field and an element's part compare equal.
import { formatAddress, parseAddress, prefixSize, tryParseAddress, tryParsePrefix } from "../../base/index.ts";
import type { NftField, NftType } from "../netfilter.ts";
import { ICMP_CODES, ICMP_TYPES, ICMPV6_CODES, ICMPV6_TYPES, icmpNumber } from "../nft/icmp.ts";

const PROTOCOLS: Readonly<Record<string, string>> = {
  "1": "icmp",
  "2": "igmp",
  "6": "tcp",
  "17": "udp",
  "47": "gre",
  "50": "esp",
  "58": "ipv6-icmp",
  icmpv6: "ipv6-icmp",
  "132": "sctp",
};
const NFPROTO: Readonly<Record<string, string>> = { "2": "ipv4", "10": "ipv6" };

/** What kind of value a field has. */
export type ValueKind = "address" | "protocol" | "family" | "number" | "text" | keyof typeof ICMP_NAMES;

const ICMP_NAMES = { "icmp type": ICMP_TYPES, "icmp code": ICMP_CODES, "icmpv6 type": ICMPV6_TYPES, "icmpv6 code": ICMPV6_CODES } as const;

export function kindOfField(field: NftField): ValueKind {
  if (typeof field === "object") return "number";
  if (Object.hasOwn(ICMP_NAMES, field)) return field as keyof typeof ICMP_NAMES;
  if (/saddr$|daddr$/.test(field)) return field.startsWith("ether") ? "text" : "address";
  if (/sport$|dport$|mark$|dscp$|proto-dst$/.test(field)) return "number";
  if (field === "meta l4proto" || field === "ip protocol" || field === "ip6 nexthdr") return "protocol";
  return field === "meta nfproto" ? "family" : "text";
}

export function kindOfType(type: NftType): ValueKind {
  if (type === "ipv4_addr" || type === "ipv6_addr") return "address";
  if (type === "inet_proto") return "protocol";
  return type === "inet_service" || type === "mark" || type === "integer" ? "number" : "text";
}

/** The canonical text of one value; a text that can't be read stays as it is. */
export function canonicalValue(kind: ValueKind, text: string): string {
  if (kind === "protocol") return PROTOCOLS[text] ?? text;
  if (kind === "family") return NFPROTO[text] ?? text;
  if (kind === "number") return /^(0x[0-9a-f]+|\d+)$/i.test(text) ? String(Number(text)) : text;
  if (kind === "address") {
    const address = tryParseAddress(text);
    return address ? formatAddress(address) : text;
  }
  if (Object.hasOwn(ICMP_NAMES, kind)) return icmpNumber(ICMP_NAMES[kind as keyof typeof ICMP_NAMES], text);
  return text;
}

/** The bounds, both within, of a value, a prefix ("10.0.0.0/8") or a range ("80-90"); undefined for what has no order. */
export function boundsOf(kind: ValueKind, text: string): { readonly low: bigint; readonly high: bigint } | undefined {
  const value = orderOf(kind, text);
  if (value !== undefined) return { low: value, high: value };
  if (kind === "address" && text.includes("/")) {
    const prefix = tryParsePrefix(text);
    if (!prefix) return undefined;
    const low = (prefix.value / prefixSize(prefix)) * prefixSize(prefix);
    return { low, high: low + prefixSize(prefix) - 1n };
  }
  const dash = text.indexOf("-");
  if (dash <= 0) return undefined;
  const low = orderOf(kind, text.slice(0, dash));
  const high = orderOf(kind, text.slice(dash + 1));
  return low === undefined || high === undefined ? undefined : { low, high };
}

/** A value as a number, by which it is ordered; undefined for text. */
export function orderOf(kind: ValueKind, text: string): bigint | undefined {
  if (kind === "number") return /^(0x[0-9a-f]+|\d+)$/i.test(text) ? BigInt(text) : undefined;
  return kind === "address" ? tryParseAddress(text)?.value : undefined;
}

/** Whether a canonical value lies in what a rule or element says: a value, a prefix, a range, or a name with "*" at its end. */
export function valueMatches(kind: ValueKind, said: string, value: string): boolean {
  if (said === value) return true;
  if (kind === "text") return said.endsWith("*") && value.startsWith(said.slice(0, -1));
  if (canonicalValue(kind, said) === value) return true;
  const order = orderOf(kind, value);
  const bounds = order === undefined ? undefined : boundsOf(kind, said);
  if (!bounds || order === undefined) return false;
  if (kind === "address" && isIpv4(said) !== isIpv4(value)) return false;
  return bounds.low <= order && order <= bounds.high;
}

function isIpv4(text: string): boolean {
  return !text.includes(":");
}

/** Whether an address lies in a prefix; both must be valid. */
export function isWithin(prefix: string, address: string): boolean {
  return isIpv4(prefix) === isIpv4(address) && valueMatches("address", prefix, formatAddress(parseAddress(address)));
}
