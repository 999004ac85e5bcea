// nftables in memory: runs commands of nft's language as one transaction, and refuses what the kernel refuses.

import { KernelError } from "../errors.ts";
import type { Nftables } from "../kernel.ts";
import type { NftChain, NftElement, NftFamily, NftHook, NftRule, NftSet, NftTable, NftType, NftVerdict } from "../netfilter.ts";
import { parseOwner } from "../nft/owner.ts";
import { readListedRule, readParts, readRule, readVerdict, seconds } from "./nft-rule.ts";
import { Tokens, unquoted } from "./nft-tokens.ts";
import { refuse } from "./refuse.ts";

interface OpenChain {
  hook: NftHook | undefined;
  rules: NftRule[];
}

interface OpenSet {
  readonly head: Omit<NftSet, "elements">;
  readonly elements: Map<string, NftElement>;
}

interface OpenTable {
  readonly family: NftFamily;
  readonly name: string;
  readonly chains: Map<string, OpenChain>;
  readonly sets: Map<string, OpenSet>;
}

const TYPE_OF: Readonly<Record<string, NftType>> = {
  "ip daddr": "ipv4_addr",
  "ip6 daddr": "ipv6_addr",
  "meta l4proto": "inet_proto",
  "tcp dport": "inet_service",
  "udp dport": "inet_service",
  "sctp dport": "inet_service",
  "meta mark": "mark",
  "meta iifname": "ifname",
  "ether saddr": "ether_addr",
  "numgen random": "integer",
  verdict: "verdict",
};

const PRIORITIES: Readonly<Record<string, number>> = { raw: -300, mangle: -150, dstnat: -100, filter: 0, security: 50, srcnat: 100 };

export class FakeNftables implements Nftables {
  #tables = new Map<string, OpenTable>();
  readonly #lenient: boolean;

  /** `lenient`: reads what a kernel lists. What is not understood in it is kept as opaque text, and what it refers to is not checked. */
  constructor(options: { readonly lenient?: boolean } = {}) {
    this.#lenient = options.lenient ?? false;
  }

  run(commands: string): void {
    const draft = new Transaction(this.#tables, this.#lenient);
    draft.run(new Tokens(commands));
    if (!this.#lenient) for (const table of draft.touched) checkReferences(table);
    this.#tables = draft.tables;
  }

  readTable(family: NftFamily, name: string): NftTable | undefined {
    const table = this.#tables.get(`${family} ${name}`);
    if (!table) return undefined;
    return {
      family,
      name,
      chains: [...table.chains].map(
        ([chain, { hook, rules }]): NftChain => ({ name: chain, ...(hook ? { hook } : {}), rules: [...rules] }),
      ),
      sets: [...table.sets.values()].map(({ head, elements }) => ({ ...head, elements: [...elements.values()] })),
    };
  }

  listTables(): { family: NftFamily; name: string }[] {
    return [...this.#tables.values()].map(({ family, name }) => ({ family, name }));
  }
}

/** Works on copies of the tables it touches; nothing is seen until it is done. */
class Transaction {
  readonly tables: Map<string, OpenTable>;
  readonly #copied = new Set<OpenTable>();
  readonly #lenient: boolean;

  constructor(tables: ReadonlyMap<string, OpenTable>, lenient: boolean) {
    this.tables = new Map(tables);
    this.#lenient = lenient;
  }

  get touched(): Iterable<OpenTable> {
    return [...this.#copied].filter((table) => this.tables.get(`${table.family} ${table.name}`) === table);
  }

  run(tokens: Tokens): void {
    for (tokens.skipEnds(); !tokens.done; tokens.skipEnds()) this.#command(tokens);
  }

  #command(tokens: Tokens): void {
    const verb = tokens.peek() === "table" ? "add" : tokens.next();
    const what = tokens.next();
    if (what === "ruleset" && verb === "flush") {
      this.tables.clear();
      return;
    }
    const family = tokens.next() as NftFamily;
    const name = tokens.next();
    if (what === "table") {
      this.#tableCommand(verb, family, name, tokens);
      return;
    }
    const table = this.#open(family, name);
    const object = tokens.next();
    if (what === "chain") this.#chainCommand(verb, table, object, tokens);
    else if (what === "set" || what === "map") this.#setCommand(verb, table, object, tokens);
    else if (what === "rule" && verb === "add") this.#addRule(table, object, tokens);
    else if (what === "element") this.#elementCommand(verb, table, object, tokens);
    else refuse("EINVAL", `syntax error, unexpected ${JSON.stringify(`${verb} ${what}`)}`);
  }

  #open(family: NftFamily, name: string): OpenTable {
    const key = `${family} ${name}`;
    const table = this.tables.get(key) ?? refuse("ENOENT", "No such file or directory", `table ${key}`);
    if (this.#copied.has(table)) return table;
    const copy: OpenTable = {
      ...table,
      chains: new Map([...table.chains].map(([chain, { hook, rules }]) => [chain, { hook, rules: [...rules] }])),
      sets: new Map([...table.sets].map(([set, { head, elements }]) => [set, { head, elements: new Map(elements) }])),
    };
    this.#copied.add(copy);
    this.tables.set(key, copy);
    return copy;
  }

  #tableCommand(verb: string, family: NftFamily, name: string, tokens: Tokens): void {
    const key = `${family} ${name}`;
    const there = this.tables.has(key);
    if (verb === "delete" || verb === "destroy") {
      if (!there && verb === "delete") refuse("ENOENT", "No such file or directory", `table ${key}`);
      this.tables.delete(key);
      return;
    }
    if (verb === "flush") {
      for (const chain of this.#open(family, name).chains.values()) chain.rules = [];
      return;
    }
    if (verb === "create" && there) refuse("EEXIST", "File exists", `table ${key}`);
    if (!there) {
      const table: OpenTable = { family, name, chains: new Map(), sets: new Map() };
      this.#copied.add(table);
      this.tables.set(key, table);
    }
    if (tokens.take("{")) this.#block(this.#open(family, name), tokens);
  }

  /** `table inet x { chain … set … map … }` */
  #block(table: OpenTable, tokens: Tokens): void {
    for (tokens.skipEnds(); !tokens.take("}"); tokens.skipEnds()) {
      const what = tokens.next();
      if (this.#lenient && what !== "chain" && what !== "set" && what !== "map") {
        // A counter, quota, flow table …: no rule that is understood needs it.
        tokens.line();
        continue;
      }
      const name = tokens.next();
      if (what === "chain") this.#chainCommand("add", table, name, tokens);
      else if (what === "set" || what === "map") this.#setCommand("add", table, name, tokens);
      else refuse("EINVAL", `syntax error, unexpected ${JSON.stringify(what)}`);
    }
  }

  #chainCommand(verb: string, table: OpenTable, name: string, tokens: Tokens): void {
    const chain = table.chains.get(name);
    if (verb === "add" || verb === "create") {
      if (chain && verb === "create") refuse("EEXIST", "File exists", `chain ${name}`);
      const kept = chain ?? { hook: undefined, rules: [] };
      table.chains.set(name, kept);
      if (tokens.take("{")) readChainBody(kept, tokens, this.#lenient);
      return;
    }
    if (!chain) {
      if (verb === "destroy") return;
      refuse("ENOENT", "No such file or directory", `chain ${table.name} ${name}`);
    }
    if (verb === "flush") chain.rules = [];
    else table.chains.delete(name);
  }

  #setCommand(verb: string, table: OpenTable, name: string, tokens: Tokens): void {
    const set = table.sets.get(name);
    if (verb === "add" || verb === "create") {
      const made = this.#lenient ? readListedSet(name, tokens) : readSetBody(name, tokens);
      if (set && verb === "create") refuse("EEXIST", "File exists", `set ${name}`);
      if (set && JSON.stringify(typeOf(set.head)) !== JSON.stringify(typeOf(made.head)))
        refuse("EEXIST", "the set exists with another type", `set ${name}`);
      if (!set) table.sets.set(name, { head: made.head, elements: new Map() });
      const target = table.sets.get(name);
      if (target) addElements(target, made.elements);
      return;
    }
    if (!set) {
      if (verb === "destroy") return;
      refuse("ENOENT", "No such file or directory", `set ${table.name} ${name}`);
    }
    if (verb === "flush") set.elements.clear();
    else table.sets.delete(name);
  }

  #addRule(table: OpenTable, name: string, tokens: Tokens): void {
    const chain = table.chains.get(name) ?? refuse("ENOENT", "No such file or directory", `chain ${table.name} ${name}`);
    chain.rules.push(owned(readRule(tokens)));
  }

  #elementCommand(verb: string, table: OpenTable, name: string, tokens: Tokens): void {
    const set = table.sets.get(name) ?? refuse("ENOENT", "No such file or directory", `set ${table.name} ${name}`);
    const elements = readElements(set.head, tokens);
    if (verb === "add" || verb === "create") addElements(set, elements);
    else
      for (const element of elements) {
        const there = set.elements.delete(element.key.join(" . "));
        if (!there && verb === "delete") refuse("ENOENT", "No such file or directory", `element ${element.key.join(" . ")} of ${name}`);
      }
  }
}

function typeOf(head: Omit<NftSet, "elements">): unknown {
  return [head.key, head.value ?? null, [...(head.flags ?? [])].sort()];
}

function addElements(set: OpenSet, elements: readonly NftElement[]): void {
  for (const element of elements) {
    const key = element.key.join(" . ");
    const there = set.elements.get(key);
    if (there && JSON.stringify(there.value) !== JSON.stringify(element.value))
      refuse("EEXIST", "the key exists with another value", `element ${key} of ${set.head.name}`);
    if (!there) set.elements.set(key, element);
    if (set.head.size !== undefined && set.elements.size > set.head.size) refuse("ENFILE", "the set is full", set.head.name);
  }
}

function owned({ rule, comment }: ReturnType<typeof readRule>): NftRule {
  const owner = comment === undefined ? undefined : parseOwner(comment);
  return owner ? { ...rule, owner } : rule;
}

function readChainBody(chain: OpenChain, tokens: Tokens, lenient: boolean): void {
  for (tokens.skipEnds(); !tokens.take("}"); tokens.skipEnds()) {
    if (tokens.done) refuse("EINVAL", 'syntax error, unexpected end of the commands, expecting "}"');
    if (tokens.peek() === "type" && tokens.peek(2) === "hook") chain.hook = { ...readHook(tokens), policy: chain.hook?.policy ?? "accept" };
    else if (tokens.take("policy")) {
      const policy = tokens.next() === "drop" ? "drop" : "accept";
      if (chain.hook) chain.hook = { ...chain.hook, policy };
    } else chain.rules.push(owned(lenient ? readListedRule(tokens.line()) : readRule(tokens)));
  }
}

/** A set whose type or elements are not understood holds nothing, and its key fits no packet. */
function readListedSet(name: string, tokens: Tokens): ReturnType<typeof readSetBody> {
  const words = tokens.line();
  try {
    return readSetBody(name, new Tokens(words));
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return { head: { name, key: [] }, elements: [] };
  }
}

function readHook(tokens: Tokens): Omit<NftHook, "policy"> {
  tokens.expect("type");
  const type = tokens.next() as NftHook["type"];
  tokens.expect("hook");
  const hook = tokens.next() as NftHook["hook"];
  while (!tokens.take("priority")) tokens.next();
  const base = tokens.next();
  let priority = PRIORITIES[base] ?? Number(base);
  if (tokens.take("+")) priority += Number(tokens.next());
  else if (tokens.take("-")) priority -= Number(tokens.next());
  if (!Number.isInteger(priority)) refuse("EINVAL", `"${base}" is no priority`);
  return { type, hook, priority };
}

function readSetBody(name: string, tokens: Tokens): { head: Omit<NftSet, "elements">; elements: NftElement[] } {
  let head: Omit<NftSet, "elements"> = { name, key: [] };
  let elements: NftElement[] = [];
  tokens.expect("{");
  for (tokens.skipEnds(); !tokens.take("}"); tokens.skipEnds()) {
    const word = tokens.next();
    if (word === "type" || word === "typeof") {
      const readTypes = word === "type" ? () => readParts(tokens) as NftType[] : () => readTypesOf(tokens);
      const transport = word === "typeof" ? transportOf(tokens) : undefined;
      const key = readTypes();
      head = tokens.take(":") ? { ...head, key, value: readTypes() } : { ...head, key };
      if (transport) head = { ...head, transport };
    } else if (word === "flags") {
      const flags: string[] = [];
      do flags.push(tokens.next());
      while (tokens.take(","));
      head = { ...head, flags: flags as NonNullable<NftSet["flags"]> };
    } else if (word === "timeout") head = { ...head, timeout: seconds(tokens.next()) };
    else if (word === "size") head = { ...head, size: Number(tokens.next()) };
    else if (word === "gc-interval" || word === "policy" || word === "comment") tokens.next();
    else if (word === "elements") {
      tokens.expect("=");
      elements = readElements(head, tokens);
    } else if (word !== "auto-merge") refuse("EINVAL", `syntax error, unexpected ${JSON.stringify(word)} in a set`);
  }
  if (head.key.length === 0) refuse("EINVAL", "a set needs a type", `set ${name}`);
  return { head, elements };
}

/** The protocol whose ports the expressions speak of. */
function transportOf(tokens: Tokens): NftSet["transport"] {
  for (let ahead = 0; tokens.peek(ahead) !== undefined && tokens.peek(ahead) !== "\n" && tokens.peek(ahead) !== ";"; ahead++) {
    const word = tokens.peek(ahead);
    if ((word === "tcp" || word === "udp" || word === "sctp") && tokens.peek(ahead + 1) === "dport") return word;
  }
  return undefined;
}

/** Types described by expressions, as our printer does where a type has no name. */
function readTypesOf(tokens: Tokens): NftType[] {
  const types: NftType[] = [];
  do {
    let words = tokens.next();
    while (!tokens.atEnd && tokens.peek() !== "." && tokens.peek() !== ":") words += ` ${tokens.next()}`;
    types.push(TYPE_OF[words.replace(/ mod \d+$/, "")] ?? refuse("EINVAL", `"${words}" describes no type`));
  } while (tokens.take("."));
  return types;
}

function readElements(head: Omit<NftSet, "elements">, tokens: Tokens): NftElement[] {
  const elements: NftElement[] = [];
  const skipLines = () => {
    while (tokens.take("\n"));
  };
  tokens.expect("{");
  for (skipLines(); !tokens.take("}"); skipLines()) {
    const key = readParts(tokens);
    if (key.length !== head.key.length) refuse("EINVAL", `${head.name} has ${head.key.length} parts in its key`, key.join(" . "));
    for (const extra of ["timeout", "expires"]) if (tokens.take(extra)) tokens.next();
    if (tokens.take("counter", "packets")) for (let i = 0; i < 3; i++) tokens.next();
    const comment = tokens.take("comment") ? unquoted(tokens.next()) : undefined;
    let value: NftVerdict | string[] | undefined;
    if (tokens.take(":")) value = head.value?.[0] === "verdict" ? readVerdict(tokens) : readParts(tokens);
    const owner = comment === undefined ? undefined : parseOwner(comment);
    elements.push({ key, ...(value === undefined ? {} : { value }), ...(owner === undefined ? {} : { owner }) });
    skipLines();
    tokens.take(",");
  }
  return elements;
}

/** Every jump leads somewhere and every named set is there: a chain or set that is referred to can't be deleted. */
function checkReferences(table: OpenTable): void {
  const needChain = (verdict: unknown, where: string) => {
    if (typeof verdict !== "object" || verdict === null || !("chain" in verdict)) return;
    if (!table.chains.has(String(verdict.chain))) refuse("ENOENT", `chain ${verdict.chain} is referred to and not there`, where);
  };
  const needSet = (name: string, where: string) => {
    if (!table.sets.has(name)) refuse("ENOENT", `set ${name} is referred to and not there`, where);
  };
  for (const [name, chain] of table.chains) {
    for (const rule of chain.rules) {
      for (const match of rule.matches)
        if ("right" in match && typeof match.right === "object" && "set" in match.right) needSet(match.right.set, `chain ${name}`);
      for (const statement of rule.statements) {
        needChain(statement, `chain ${name}`);
        if ("vmap" in statement) {
          if (typeof statement.vmap.map === "string") needSet(statement.vmap.map, `chain ${name}`);
          else for (const element of statement.vmap.map) needChain(element.value, `chain ${name}`);
        }
        if ("update" in statement) needSet(statement.update.set, `chain ${name}`);
        if ("setCtMarkFrom" in statement) needSet(statement.setCtMarkFrom.map, `chain ${name}`);
        for (const target of ["snat" in statement && statement.snat, "dnat" in statement && statement.dnat]) {
          if (target && "map" in target) needSet(target.map, `chain ${name}`);
        }
      }
    }
  }
  for (const [name, set] of table.sets) {
    if (set.head.value?.[0] === "verdict") for (const element of set.elements.values()) needChain(element.value, `map ${name}`);
  }
}
