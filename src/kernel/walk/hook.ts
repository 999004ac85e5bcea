// One hook of netfilter, evaluated for one packet: every base chain in order of priority, with each rule that decided something.
import type {
  NftChain,
  NftElement,
  NftField,
  NftHook,
  NftRule,
  NftStatement,
  NftTable,
  NftTarget,
  NftVerdict,
  Owner,
} from "../netfilter.ts";
import { type HookContext, readField } from "./field.ts";
import { matchHolds } from "./match.ts";
import type { Packet } from "./packet.ts";
import { findElement, setOf } from "./sets.ts";

/** A rule that did something to the packet: sent it elsewhere in the rules, decided about it, or changed it. */
export interface RuleStep {
  readonly table: string;
  readonly chain: string;
  /** Place of the rule in its chain, from 0; undefined for the policy of a base chain. */
  readonly rule: number | undefined;
  readonly does: "jump" | "allow" | "drop" | "reject" | "translate" | "masquerade" | "mark";
  /** Of the map's element that was used, else of the rule. */
  readonly owner?: Owner;
  /** Of the set's element by which the rule matched. */
  readonly subject?: Owner;
  /** Name of the map that was asked. */
  readonly map?: string;
  /** Chain that a jump leads to. */
  readonly to?: string;
  /** How many possibilities chance chose from. */
  readonly among?: number;
}

export interface HookResult {
  readonly verdict: "accept" | "drop" | "reject";
  /** As the hook leaves it. Masquerade is asked for, not carried out: the caller knows the outgoing device's address. */
  readonly packet: Packet;
  readonly masquerade: boolean;
  readonly steps: readonly RuleStep[];
  /** What in the rules was not understood, and passed over as if it did not match. */
  readonly doubts: readonly string[];
}

export type HookName = NftHook["hook"];

/** Sends a packet through one hook of all tables. */
export function evaluateHook(tables: readonly NftTable[], hook: HookName, packet: Packet, context: HookContext): HookResult {
  const walk = new HookWalk(packet, context);
  const family = packet.family === 4 ? "ip" : "ip6";
  const chains = tables
    .filter((table) => table.family === "inet" || table.family === family)
    .flatMap((table) => table.chains.flatMap((chain) => (chain.hook?.hook === hook ? [{ table, chain, hook: chain.hook }] : [])))
    .filter(({ hook: { priority } }) => priority >= (context.from ?? -Infinity) && priority < (context.below ?? Infinity))
    .sort((a, b) => a.hook.priority - b.hook.priority);
  for (const { table, chain, hook: base } of chains) {
    // A connection is translated once at a hook: later nat chains do not see it.
    if (base.type === "nat" && walk.translatedHere) continue;
    const verdict = walk.baseChain(table, chain, base);
    if (verdict !== "accept") return walk.result(verdict);
  }
  return walk.result("accept");
}

type Outcome = "accept" | "drop" | "reject" | "return" | "end";

/** Deeper than the kernel's own limit of jumps (NFT_JUMP_STACK_SIZE, nf_tables.h). */
const MAX_DEPTH = 16;

class HookWalk {
  translatedHere = false;
  #packet: Packet;
  #masquerade = false;
  readonly #context: HookContext;
  readonly #steps: RuleStep[] = [];
  readonly #doubts = new Set<string>();

  constructor(packet: Packet, context: HookContext) {
    this.#packet = packet;
    this.#context = context;
  }

  result(verdict: HookResult["verdict"]): HookResult {
    return { verdict, packet: this.#packet, masquerade: this.#masquerade, steps: this.#steps, doubts: [...this.#doubts] };
  }

  baseChain(table: NftTable, chain: NftChain, hook: NftHook): HookResult["verdict"] {
    const outcome = this.#chain(table, chain, 0);
    if (outcome !== "return" && outcome !== "end") return outcome;
    if (hook.policy === "drop") this.#step(table, chain, undefined, { does: "drop" });
    return hook.policy;
  }

  #chain(table: NftTable, chain: NftChain, depth: number): Outcome {
    for (const [index, rule] of chain.rules.entries()) {
      if (!this.#matches(table, chain, rule)) continue;
      for (const statement of rule.statements) {
        const outcome = this.#statement({ table, chain, rule, index, depth }, statement);
        if (outcome === "next statement") continue;
        if (outcome === "next rule") break;
        return outcome;
      }
    }
    return "end";
  }

  #matches(table: NftTable, chain: NftChain, rule: NftRule): boolean {
    for (const match of rule.matches) {
      const holds = matchHolds(match, this.#packet, this.#context, table);
      if (holds === "unknown") this.#doubt(table, chain, "opaque" in match ? match.opaque : JSON.stringify(match));
      if (holds !== true) return false;
    }
    return true;
  }

  #doubt(table: NftTable, chain: NftChain, text: string): void {
    this.#doubts.add(`${table.name} ${chain.name}: ${text}`);
  }

  #step(table: NftTable, chain: NftChain, rule: number | undefined, step: Omit<RuleStep, "table" | "chain" | "rule">): void {
    this.#steps.push({ table: table.name, chain: chain.name, rule, ...step });
  }

  #statement(at: Position, statement: NftStatement): Outcome | "next statement" | "next rule" {
    const { table, chain, rule, index } = at;
    const subject = this.#subject(table, rule);
    // A rule that stands for many has its owners on the elements.
    const own = rule.owner ?? subject.subject;
    const owner = { ...(own ? { owner: own } : {}), ...subject };
    if ("verdict" in statement) return this.#verdict(at, statement, owner);
    if ("reject" in statement) {
      this.#step(table, chain, index, { does: "reject", ...owner });
      return "reject";
    }
    if ("vmap" in statement) {
      const { key, map } = statement.vmap;
      const found = typeof map === "string" ? this.#lookup(at, map, key) : this.#anonymous(at, key, map);
      if (!found?.value || !("verdict" in found.value)) return "next rule";
      return this.#verdict(at, found.value, {
        ...(found.owner ? { owner: found.owner } : owner),
        ...(typeof map === "string" ? { map } : {}),
      });
    }
    if ("dnat" in statement) return this.#translate(at, statement.dnat, "destination");
    if ("snat" in statement) return this.#translate(at, statement.snat, "source");
    if ("redirect" in statement) return this.#redirect(at, statement.redirect.port);
    if ("masquerade" in statement) {
      this.#masquerade = true;
      this.translatedHere = true;
      this.#packet = { ...this.#packet, translated: [...this.#packet.translated, "source"] };
      this.#step(table, chain, index, { does: "masquerade", ...owner });
      return "accept";
    }
    if ("setMark" in statement) {
      const { value, mask = 0 } = statement.setMark;
      this.#packet = { ...this.#packet, mark: ((this.#packet.mark & mask) ^ value) >>> 0 };
      this.#step(table, chain, index, { does: "mark", ...owner });
      return "next statement";
    }
    if ("setCtMark" in statement) {
      const { value, mask = 0 } = statement.setCtMark;
      this.#packet = { ...this.#packet, connectionMark: ((this.#packet.connectionMark & mask) ^ value) >>> 0 };
      return "next statement";
    }
    if ("setCtMarkFrom" in statement) {
      const { map, key } = statement.setCtMarkFrom;
      const value = this.#lookup(at, map, key)?.value;
      if (!Array.isArray(value)) return "next rule";
      this.#packet = { ...this.#packet, connectionMark: Number(value[0]) >>> 0 };
      return "next statement";
    }
    if ("notrack" in statement) this.#packet = { ...this.#packet, untracked: true };
    if ("opaque" in statement) this.#doubt(table, chain, statement.opaque);
    return "next statement";
  }

  #verdict(at: Position, verdict: NftVerdict, extra: Pick<RuleStep, "owner" | "subject" | "map">): Outcome | "next rule" {
    const { table, chain, index, depth } = at;
    switch (verdict.verdict) {
      case "accept":
        this.#step(table, chain, index, { does: "allow", ...extra });
        return "accept";
      case "drop":
        this.#step(table, chain, index, { does: "drop", ...extra });
        return "drop";
      case "return":
        this.#step(table, chain, index, { does: "allow", ...extra });
        return "return";
      case "continue":
        return "next rule";
    }
    const next = table.chains.find(({ name }) => name === verdict.chain);
    this.#step(table, chain, index, { does: "jump", to: verdict.chain, ...extra });
    if (!next || depth >= MAX_DEPTH) {
      this.#doubt(table, chain, next ? `more than ${MAX_DEPTH} jumps` : `there is no chain ${verdict.chain}`);
      return "next rule";
    }
    const outcome = this.#chain(table, next, depth + 1);
    if (outcome !== "return" && outcome !== "end") return outcome;
    // After a goto, evaluation goes on behind the last jump, not behind this rule.
    return verdict.verdict === "goto" ? "return" : "next rule";
  }

  #translate(at: Position, target: NftTarget, which: "source" | "destination"): Outcome | "next rule" {
    const { table, chain, index, rule } = at;
    if (target.family !== this.#packet.family) return "next rule";
    let [address, port] = "map" in target ? [undefined, undefined] : [target.address, target.port];
    let owner = rule.owner;
    let among: number | undefined;
    if ("map" in target) {
      const found = this.#lookup(at, target.map, target.key);
      if (!Array.isArray(found?.value)) return "next rule";
      address = found.value[0];
      port = found.value[1] === undefined ? undefined : Number(found.value[1]);
      owner = found.owner ?? owner;
      among = target.key
        .map((field) => (typeof field === "object" && "numgen" in field ? field.mod : undefined))
        .find((mod) => mod !== undefined);
    }
    const packet = this.#packet;
    const translated = [...packet.translated, which];
    this.#packet =
      which === "source"
        ? { ...packet, source: address ?? packet.source, sourcePort: port ?? packet.sourcePort, translated }
        : {
            ...packet,
            original: packet.original ?? { destination: packet.destination, port: packet.destinationPort },
            destination: address ?? packet.destination,
            destinationPort: port ?? packet.destinationPort,
            translated,
          };
    this.translatedHere = true;
    this.#step(table, chain, index, {
      does: "translate",
      ...(owner ? { owner } : {}),
      ...("map" in target ? { map: target.map } : {}),
      ...(among === undefined ? {} : { among }),
    });
    return "accept";
  }

  #redirect({ table, chain, index, rule }: Position, port: number | undefined): Outcome {
    const packet = this.#packet;
    this.#packet = {
      ...packet,
      original: packet.original ?? { destination: packet.destination, port: packet.destinationPort },
      destination: packet.family === 4 ? "127.0.0.1" : "::1",
      destinationPort: port ?? packet.destinationPort,
      translated: [...packet.translated, "destination"],
    };
    this.translatedHere = true;
    this.#step(table, chain, index, { does: "translate", ...(rule.owner ? { owner: rule.owner } : {}) });
    return "accept";
  }

  /** What stands behind the element of a set by which a rule matched. */
  #subject(table: NftTable, rule: NftRule): { readonly subject?: Owner } {
    for (const match of rule.matches) {
      if ("opaque" in match || match.op !== "==" || typeof match.right !== "object" || !("set" in match.right)) continue;
      const set = setOf(table, match.right.set);
      const fields = (Array.isArray(match.left) ? match.left : [match.left]) as readonly NftField[];
      const values = fields.map((field) => readField(field, this.#packet, this.#context) ?? "");
      const subject = set && findElement(set, values)?.owner;
      if (subject) return { subject };
    }
    return {};
  }

  #lookup({ table, chain }: Position, name: string, key: readonly NftField[]): NftElement | undefined {
    const set = setOf(table, name);
    const values = this.#key(table, chain, key);
    return set && values ? findElement(set, values) : undefined;
  }

  #anonymous({ table, chain }: Position, key: readonly NftField[], elements: readonly NftElement[]): NftElement | undefined {
    const values = this.#key(table, chain, key);
    if (!values) return undefined;
    return elements.find((element) =>
      key.every((field, at) => matchHolds({ left: field, op: "==", right: element.key[at] ?? "" }, this.#packet, this.#context, table)),
    );
  }

  #key(table: NftTable, chain: NftChain, key: readonly NftField[]): string[] | undefined {
    const values: string[] = [];
    for (const field of key) {
      const value = readField(field, this.#packet, this.#context);
      if (value === undefined) {
        if (typeof field === "object" && "jhash" in field) this.#doubt(table, chain, "a hash of the packet");
        return undefined;
      }
      values.push(value);
    }
    return values;
  }
}

interface Position {
  readonly table: NftTable;
  readonly chain: NftChain;
  readonly rule: NftRule;
  readonly index: number;
  readonly depth: number;
}
