// One chain of rules evaluated for many packets at once, which differ in one address only: what a rule asks is answered for all of them together.
import { familyOf } from "../../base/index.ts";
import type { NftChain, NftField, NftMatch, NftRule, NftSet, NftTable } from "../netfilter.ts";
import { matchHolds } from "./match.ts";
import type { Protocol } from "./packet.ts";
import { canonicalValue } from "./value.ts";

/** The packets: from or to each of the addresses, the other end being `other` (asked for only where a rule looks at it). */
interface ManyPackets {
  readonly varies: "source" | "destination";
  readonly other?: string;
  readonly protocol: Protocol;
  readonly port: number;
}

/** For each address, whether its packet is dropped: 1 or 0. "other": a rule looks at the other end. "unknown": a rule does what is not followed here. */
export type Drops = Uint8Array | "other" | "unknown";

/** Deeper than the kernel's own limit of jumps. */
const MAX_DEPTH = 16;
/** What every packet of one question has in common. */
const CONSTANT: ReadonlySet<string> = new Set([
  "meta l4proto",
  "meta nfproto",
  "th dport",
  "tcp dport",
  "udp dport",
  "sctp dport",
  "ip protocol",
  "ip6 nexthdr",
  "icmp type",
  "icmpv6 type",
  "ct state",
]);

/** Answers for one table and one list of addresses (canonical, of one family); what two questions ask alike is calculated once. */
export class ManyWalk {
  readonly #addresses: readonly string[];
  readonly #chains: ReadonlyMap<string, NftChain>;
  readonly #sets: ReadonlyMap<string, NftSet>;
  readonly #table: NftTable;
  readonly #held = new Map<string, Uint8Array | undefined>();
  readonly #places = new Map<string, number[]>();

  constructor(table: NftTable, addresses: readonly string[]) {
    this.#table = table;
    this.#addresses = addresses;
    this.#chains = new Map(table.chains.map((chain) => [chain.name, chain]));
    this.#sets = new Map(table.sets.map((set) => [set.name, set]));
    for (const [index, address] of addresses.entries()) {
      const list = this.#places.get(address);
      if (list) list.push(index);
      else this.#places.set(address, [index]);
    }
  }

  /** What becomes of the packets that enter by a chain. One that leaves it by its end, or by a return, is not dropped. */
  drops(chain: string, packets: ManyPackets): Drops {
    const drops = new Uint8Array(this.#addresses.length);
    const all = Array.from(this.#addresses, (_, index) => index);
    const left = this.#run(chain, all, { packets, drops, depth: 0 });
    return typeof left === "string" ? left : drops;
  }

  /** Those of `alive` that come out at the chain's end. */
  #run(name: string, alive: readonly number[], question: Question): readonly number[] | "other" | "unknown" {
    const chain = this.#chains.get(name);
    if (!chain || question.depth > MAX_DEPTH) return "unknown";
    const ended: number[] = [];
    let here = alive;
    for (const rule of chain.rules) {
      if (here.length === 0) break;
      const split = this.#split(rule, here, question);
      if (typeof split === "string") return split;
      const { matched, rest } = split;
      if (matched.length === 0) continue;
      const effect = effectOf(rule);
      if (effect === "unknown") return "unknown";
      if (effect === "on") continue;
      here = rest;
      if (effect === "drop") for (const index of matched) question.drops[index] = 1;
      else if (effect === "return") ended.push(...matched);
      else {
        const left = this.#run(effect.chain, matched, { ...question, depth: question.depth + 1 });
        if (typeof left === "string") return left;
        if (effect.verdict === "goto") ended.push(...left);
        else here = [...here, ...left];
      }
    }
    return [...ended, ...here];
  }

  #split(
    rule: NftRule,
    alive: readonly number[],
    question: Question,
  ): { matched: readonly number[]; rest: readonly number[] } | "other" | "unknown" {
    let matched = alive;
    for (const match of rule.matches) {
      const held = this.#holds(match, question);
      if (typeof held === "string") return held;
      matched = matched.filter((index) => held[index] === 1);
    }
    if (rule.matches.length === 0) return { matched, rest: [] };
    const taken = new Set(matched);
    return { matched, rest: matched.length === 0 ? alive : alive.filter((index) => !taken.has(index)) };
  }

  #holds(match: NftMatch, { packets }: Question): Uint8Array | "other" | "unknown" {
    if ("opaque" in match) return "unknown";
    const fields = (Array.isArray(match.left) ? match.left : [match.left]) as readonly NftField[];
    const asksOther = fields.some((field) => endOf(field) !== undefined && endOf(field) !== packets.varies);
    if (asksOther && packets.other === undefined) return "other";
    if (!fields.every((field) => endOf(field) !== undefined || isConstant(field))) return "unknown";
    const key = JSON.stringify([
      match.left,
      match.op,
      match.right,
      packets.varies,
      asksOther ? packets.other : "",
      packets.protocol,
      packets.port,
    ]);
    let held = this.#held.get(key);
    if (!held) {
      held = this.#fromSet(match, packets) ?? this.#eachPacket(match, packets);
      if (!held) return "unknown";
      this.#held.set(key, held);
    }
    return held;
  }

  /** A set of single addresses: its elements are fewer than what they would be compared with. */
  #fromSet(match: Exclude<NftMatch, { opaque: string }>, { varies }: ManyPackets): Uint8Array | undefined {
    const { left, op, right } = match;
    if (typeof right !== "object" || !("set" in right) || typeof left !== "string" || endOf(left) !== varies || op !== "==")
      return undefined;
    const set = this.#sets.get(right.set);
    if (!set || set.flags?.includes("interval")) return undefined;
    const held = new Uint8Array(this.#addresses.length);
    if (left.startsWith("ip6") !== this.#addresses[0]?.includes(":")) return held;
    for (const { key } of set.elements)
      for (const index of this.#places.get(canonicalValue("address", key[0] ?? "")) ?? []) held[index] = 1;
    return held;
  }

  #eachPacket(match: Exclude<NftMatch, { opaque: string }>, { varies, other, protocol, port }: ManyPackets): Uint8Array | undefined {
    const held = new Uint8Array(this.#addresses.length);
    const [first] = this.#addresses;
    if (first === undefined) return held;
    const family = familyOf(first);
    // Where the other end does not matter, any address of the family will do.
    const far = other ?? (family === 4 ? "0.0.0.0" : "::");
    const rest = { family, protocol, destinationPort: port, sourcePort: 0, mark: 0, connectionMark: 0, translated: [] } as const;
    const holds = (address: string) => {
      const packet = varies === "source" ? { ...rest, source: address, destination: far } : { ...rest, source: far, destination: address };
      return matchHolds(match, packet, CONTEXT, this.#table);
    };
    const fields = (Array.isArray(match.left) ? match.left : [match.left]) as readonly NftField[];
    if (!fields.some((field) => endOf(field) === varies)) {
      const all = holds(first);
      return all === "unknown" ? undefined : held.fill(all ? 1 : 0);
    }
    for (const [index, address] of this.#addresses.entries()) {
      const each = holds(address);
      if (each === "unknown") return undefined;
      held[index] = each ? 1 : 0;
    }
    return held;
  }
}

const CONTEXT = { inDevice: "", outDevice: "", isLocal: () => false, choose: () => 0 };

interface Question {
  readonly packets: ManyPackets;
  readonly drops: Uint8Array;
  readonly depth: number;
}

function endOf(field: NftField): "source" | "destination" | undefined {
  if (typeof field !== "string") return undefined;
  if (field === "ip saddr" || field === "ip6 saddr") return "source";
  return field === "ip daddr" || field === "ip6 daddr" ? "destination" : undefined;
}

function isConstant(field: NftField): boolean {
  // A number that chance has no choice about.
  return typeof field === "string" ? CONSTANT.has(field) : "numgen" in field && field.mod === 1;
}

/** What a rule does to the packets that it matches; "on": they go to the next rule. */
function effectOf(rule: NftRule): "drop" | "return" | "on" | "unknown" | { readonly verdict: "jump" | "goto"; readonly chain: string } {
  for (const statement of rule.statements) {
    if ("counter" in statement || "log" in statement) continue;
    if (!("verdict" in statement)) return "unknown";
    if (statement.verdict === "continue") return "on";
    if (statement.verdict === "drop" || statement.verdict === "return") return statement.verdict;
    return "chain" in statement ? statement : "unknown";
  }
  return "on";
}
