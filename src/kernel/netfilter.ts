// Netfilter rules as data: tables, chains, rules, sets and maps, in nft's own words.
//
// The model is what `nft` can say and what one walker can evaluate. It is printed for libnftables, parsed back from
// `nft -j`, and (foreign rules) read from `iptables-save`. What a reader does not understand becomes an "opaque" match
// or statement, so nothing of a foreign ruleset is lost.

export type NftFamily = "inet" | "ip" | "ip6" | "bridge" | "netdev" | "arp";

/** Key: family, name. */
export interface NftTable {
  readonly family: NftFamily;
  readonly name: string;
  readonly chains: readonly NftChain[];
  readonly sets: readonly NftSet[];
}

/** Key: name. A base chain has a hook. */
export interface NftChain {
  readonly name: string;
  readonly hook?: NftHook;
  readonly rules: readonly NftRule[];
}

export interface NftHook {
  readonly type: "filter" | "nat" | "route";
  readonly hook: "prerouting" | "input" | "forward" | "output" | "postrouting" | "ingress" | "egress";
  readonly priority: number;
  readonly policy: "accept" | "drop";
}

/** Matches are joined by "and"; then the statements run in order. */
export interface NftRule {
  readonly matches: readonly NftMatch[];
  readonly statements: readonly NftStatement[];
  /** What it comes from; printed as the rule's comment, parsed back from it. */
  readonly owner?: Owner;
}

/** The object and rule that a kernel object comes from: leads a person from a dropped packet to the line that decided. */
export interface Owner {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  /** Index of the rule within the object, from 0; a port name or number for Services. */
  readonly rule?: number | string;
}

/** Data type of a set's key or value, one per concatenated part. */
export type NftType = "ipv4_addr" | "ipv6_addr" | "inet_proto" | "inet_service" | "mark" | "ifname" | "ether_addr" | "integer" | "verdict";

/** A named set or map. Key: name. */
export interface NftSet {
  readonly name: string;
  readonly key: readonly NftType[];
  /** Present: it is a map (["verdict"]: a verdict map). */
  readonly value?: readonly NftType[];
  readonly flags?: readonly ("interval" | "timeout" | "dynamic" | "constant")[];
  /** Seconds; default timeout of dynamic elements. */
  readonly timeout?: number;
  readonly size?: number;
  /** Which protocol's ports an "inet_service" is, where the set must be declared by expressions (it has an "integer" part). */
  readonly transport?: "tcp" | "udp" | "sctp";
  readonly elements: readonly NftElement[];
}

/** Key: the key's parts. A part is an address, prefix, "low-high" range, protocol name or number in text. */
export interface NftElement {
  readonly key: readonly string[];
  readonly value?: readonly string[] | NftVerdict;
  readonly owner?: Owner;
}

/** Elements that leave a set and others that come into it; of the set, all but its elements is meant. */
export interface ElementChange {
  readonly family: NftFamily;
  readonly table: string;
  readonly set: NftSet;
  readonly removed: readonly NftElement[];
  readonly added: readonly NftElement[];
}

/** One transaction: in nft's language, or, where it is about elements alone, as what it is. */
export type NftTransaction = string | readonly ElementChange[];

export type NftVerdict =
  | { readonly verdict: "accept" | "drop" | "continue" | "return" }
  | { readonly verdict: "jump" | "goto"; readonly chain: string };

/** A field of the packet or its metadata, as nft spells it. */
export type NftField =
  | "ip saddr"
  | "ip daddr"
  | "ip protocol"
  | "ip6 saddr"
  | "ip6 daddr"
  | "ip6 nexthdr"
  | "ip dscp"
  | "ip6 dscp"
  | "th sport"
  | "th dport"
  | "tcp sport"
  | "tcp dport"
  | "tcp flags"
  | "udp sport"
  | "udp dport"
  | "sctp sport"
  | "sctp dport"
  | "icmp type"
  | "icmp code"
  | "icmpv6 type"
  | "icmpv6 code"
  | "ether saddr"
  | "ether daddr"
  | "meta l4proto"
  | "meta nfproto"
  | "meta mark"
  | "meta iifname"
  | "meta oifname"
  | "meta pkttype"
  | "meta ibrname"
  | "meta obrname"
  | "ct state"
  | "ct status"
  | "ct mark"
  | "ct direction"
  | "ct original ip saddr"
  | "ct original ip daddr"
  | "ct original ip6 saddr"
  | "ct original ip6 daddr"
  | "ct original proto-dst"
  | "fib daddr type"
  | "fib saddr type"
  | "fib saddr . iif oif"
  | { readonly numgen: "random" | "inc"; readonly mod: number; readonly offset?: number }
  | { readonly jhash: readonly NftField[]; readonly mod: number; readonly seed?: number; readonly offset?: number }
  | { readonly field: NftField; readonly mask: number };

export type NftMatch =
  | {
      readonly left: NftField | readonly NftField[];
      readonly op: "==" | "!=" | "<" | ">" | "<=" | ">=";
      /** One value, a list (any of them), or a named set. Concatenations join their parts with " . ". */
      readonly right: string | readonly string[] | { readonly set: string };
    }
  | { readonly opaque: string };

export type NftStatement =
  | NftVerdict
  | {
      readonly reject:
        | "icmp port-unreachable"
        | "icmpx port-unreachable"
        | "icmpx admin-prohibited"
        | "icmpx host-unreachable"
        | "tcp reset";
    }
  | { readonly counter: true }
  | { readonly log: { readonly prefix?: string; readonly group?: number } }
  | {
      readonly masquerade: {
        readonly fullyRandom?: boolean;
        /** "32768-65535"; a match on the transport protocol comes before. */
        readonly ports?: string;
      };
    }
  | { readonly snat: NftTarget }
  | { readonly dnat: NftTarget }
  | { readonly redirect: { readonly port?: number } }
  /** `expression vmap @map`, or with the elements written in the rule. */
  | { readonly vmap: { readonly key: readonly NftField[]; readonly map: string | readonly NftElement[] } }
  /** mark := (mark & mask) ^ value; without mask: mark := value. */
  | { readonly setMark: { readonly value: number; readonly mask?: number } }
  | { readonly setCtMark: { readonly value: number; readonly mask?: number } }
  /** The connection's mark becomes what a map answers for the key; a key that is not there ends the rule. */
  | { readonly setCtMarkFrom: { readonly map: string; readonly key: readonly NftField[] } }
  /** 0 to 63; of IPv4 packets, if not said otherwise. */
  | { readonly setDscp: number; readonly family?: 6 }
  /** Adds the packet's key to a dynamic set or map (a map gets `value`: fields or literals), or takes it out. "update" also renews the timeout, never a value. */
  | {
      readonly update: {
        readonly set: string;
        readonly key: readonly NftField[];
        readonly value?: readonly (NftField | { readonly literal: string })[];
        /** Seconds. */
        readonly timeout?: number;
        readonly mode: "add" | "update" | "delete";
      };
    }
  | { readonly notrack: true }
  | { readonly opaque: string };

/** Where NAT goes: a fixed address and port, or what a map answers for a key (its value is address [. port]). */
export type NftTarget =
  | { readonly family: 4 | 6; readonly address?: string; readonly port?: number }
  | { readonly family: 4 | 6; readonly map: string; readonly key: readonly NftField[] };

/** What one room adds to the node's table: its own chains and sets, and rules in the shared base chains, lower order first. */
export interface TableContribution {
  readonly chains: readonly NftChain[];
  readonly sets: readonly NftSet[];
  readonly hooks: readonly { readonly chain: BaseChainName; readonly order: number; readonly rules: readonly NftRule[] }[];
}

/** Those of raw and mangle, and "again", which come behind the others of their hook, stand in the table only where something uses them. */
export type BaseChainName =
  | "prerouting-nat"
  | "output-nat"
  | "prerouting-nat-again"
  | "output-nat-again"
  | "postrouting-nat"
  | "filter-input"
  | "filter-forward"
  | "filter-output"
  | "filter-input-again"
  | "filter-forward-again"
  | "filter-output-again"
  | "postrouting-mangle"
  | "prerouting-raw"
  | "output-raw"
  | "prerouting-mangle";
