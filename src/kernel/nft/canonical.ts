// Rules in the form in which nft lists them, so that what is desired and what was read compare equal.

import type { NftField, NftMatch, NftRule, NftTable } from "../netfilter.ts";
import { ICMP_CODES, ICMP_TYPES, ICMPV6_CODES, ICMPV6_TYPES } from "./icmp.ts";

const canonical = new WeakMap<NftTable, NftTable>();

/** The table with every rule as the kernel would give it back, so that what is desired and what was read compare equal. */
export function canonicalTable(table: NftTable): NftTable {
  let result = canonical.get(table);
  if (!result) {
    result = { ...table, chains: table.chains.map((chain) => ({ ...chain, rules: canonicalRules(chain.rules) })) };
    canonical.set(table, result);
  }
  return result;
}

const canonicalLists = new WeakMap<readonly NftRule[], readonly NftRule[]>();

function canonicalRules(rules: readonly NftRule[]): readonly NftRule[] {
  let result = canonicalLists.get(rules);
  if (!result) {
    result = rules.map((rule) => ({ ...rule, matches: canonicalMatches(rule.matches) }));
    canonicalLists.set(rules, result);
    canonicalLists.set(result, result);
  }
  return result;
}

/** The names that nft prints for a field's numbers. */
const NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "icmp type": ICMP_TYPES,
  "icmp code": ICMP_CODES,
  "icmpv6 type": ICMPV6_TYPES,
  "icmpv6 code": ICMPV6_CODES,
};
const PROTOCOLS: Readonly<Record<string, string>> = {
  "1": "icmp",
  "6": "tcp",
  "17": "udp",
  "58": "ipv6-icmp",
  "132": "sctp",
  icmpv6: "ipv6-icmp",
};
/** The name that nft gives a protocol; numbers that it does not know stay. */
export function protocolName(text: string): string {
  return PROTOCOLS[text] ?? text;
}

const FAMILIES: Readonly<Record<string, string>> = { "2": "ipv4", "10": "ipv6" };

/** Names for numbers as nft prints them, lists in order; a match on the family that a later one implies is left out, as the kernel does. */
function canonicalMatches(matches: readonly NftMatch[]): readonly NftMatch[] {
  const result = matches.map((match): NftMatch => {
    if ("opaque" in match) return match;
    const left = Array.isArray(match.left) && match.left.length === 1 ? (match.left[0] ?? match.left) : match.left;
    const { right } = match;
    if (typeof right === "object" && "set" in right) return { ...match, left };
    const names =
      left === "meta nfproto"
        ? FAMILIES
        : left === "meta l4proto" || left === "ip protocol" || left === "ip6 nexthdr"
          ? PROTOCOLS
          : ((typeof left === "string" ? NAMES[left] : undefined) ?? {});
    const values = (typeof right === "string" ? [right] : right).map((value) => names[value] ?? hexOf(left, value)).sort();
    return { ...match, left, right: values.length === 1 ? (values[0] ?? "") : values };
  });
  const transport = namedTransport(result);
  return transport.filter((match, index) => !isImplied(match, transport.slice(index + 1)));
}

/** After `meta l4proto tcp`, `th dport` is listed as `tcp dport`. */
function namedTransport(matches: readonly NftMatch[]): readonly NftMatch[] {
  let protocol: string | undefined;
  return matches.map((match): NftMatch => {
    if ("opaque" in match) return match;
    if (match.left === "meta l4proto" && match.op === "==" && typeof match.right === "string" && /^(tcp|udp|sctp)$/.test(match.right))
      protocol = match.right;
    else if (protocol && (match.left === "th dport" || match.left === "th sport"))
      return { ...match, left: match.left.replace("th", protocol) as NftField };
    return match;
  });
}

function hexOf(left: unknown, value: string): string {
  const marked = left === "meta mark" || left === "ct mark" || (typeof left === "object" && left !== null && "mask" in left);
  return marked && /^(0x[0-9a-f]+|\d+)$/i.test(value) ? `0x${Number(value).toString(16).padStart(8, "0")}` : value;
}

function isImplied(match: NftMatch, later: readonly NftMatch[]): boolean {
  if ("opaque" in match || match.op !== "==") return false;
  const next = later[0];
  if (!next || "opaque" in next) return false;
  const fields = JSON.stringify(next.left);
  if (match.left === "meta nfproto" && match.right === "ipv4") return /"ip |"icmp /.test(fields);
  if (match.left === "meta nfproto" && match.right === "ipv6") return /"ip6 |"icmpv6 /.test(fields);
  if (match.left === "meta l4proto" && typeof match.right === "string") return fields.includes(`"${match.right} `);
  return false;
}
