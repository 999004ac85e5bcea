// Rules of iptables as the netfilter data that the walker evaluates, whoever wrote them. What is not understood becomes opaque.
import type { NftChain, NftField, NftHook, NftMatch, NftRule, NftSet, NftStatement, NftTable, NftType, Owner } from "../netfilter.ts";
import type { IpSet, IpSetType, IptablesChain, IptablesTable, KernelState } from "../state.ts";
import { splitGroups, splitWords } from "./rule.ts";
import { isBuiltin } from "./save.ts";

const PRIORITIES: Readonly<Record<string, number>> = { raw: -300, mangle: -150, nat: -100, filter: 0, security: 50 };
/** Where sources are translated, after everything else (NF_IP_PRI_NAT_SRC). */
const SOURCE_PRIORITY = 100;

const kept = new WeakMap<KernelState, readonly NftTable[]>();

/** All rules of a namespace: nftables' own, and those of iptables. */
export function netfilterTables(state: KernelState): readonly NftTable[] {
  if (state.iptables.length === 0) return state.tables;
  let tables = kept.get(state);
  if (!tables) {
    tables = [...state.tables, ...state.iptables.map((table) => translateTable(table, state.ipsets))];
    kept.set(state, tables);
  }
  return tables;
}

function translateTable(table: IptablesTable, ipsets: readonly IpSet[]): NftTable {
  const family = table.family === 4 ? "ip" : "ip6";
  const names = new Set(table.chains.map(({ name }) => name));
  const chains = table.chains.map((chain): NftChain => {
    const rules = chain.rules.map((rule) => new RuleReader(table, names).read(rule));
    return isBuiltin(chain) ? { name: chain.name, hook: hookOf(table.name, chain), rules } : { name: chain.name, rules };
  });
  return { family, name: table.name, chains, sets: ipsets.map(setOf) };
}

function hookOf(table: string, chain: IptablesChain): NftHook {
  const hook = chain.name.toLowerCase() as NftHook["hook"];
  const sources = table === "nat" && (hook === "postrouting" || hook === "input");
  return {
    type: table === "nat" ? "nat" : "filter",
    hook,
    priority: sources ? SOURCE_PRIORITY : (PRIORITIES[table] ?? 0),
    policy: chain.policy === "DROP" ? "drop" : "accept",
  };
}

const SET_KEYS: Readonly<Record<IpSetType, readonly ("address" | "place")[]>> = {
  "hash:ip": ["address"],
  "hash:ip,port": ["address", "place"],
  "hash:ip,port,ip": ["address", "place", "address"],
  "hash:ip,port,net": ["address", "place", "address"],
  "bitmap:port": ["place"],
};

function setOf(set: IpSet): NftSet {
  const address: NftType = set.family === 4 ? "ipv4_addr" : "ipv6_addr";
  const ports = set.type === "bitmap:port";
  const key = SET_KEYS[set.type].flatMap((part): NftType[] =>
    part === "address" ? [address] : ports ? ["inet_service"] : ["inet_proto", "inet_service"],
  );
  const elements = set.elements.map((element) => ({ key: element.split(/,|(?<=[a-z]):/) }));
  return { name: set.name, key, ...(set.type.endsWith("net") ? { flags: ["interval"] as const } : {}), elements };
}

/** Reads one rule, group by group. */
class RuleReader {
  readonly #table: IptablesTable;
  readonly #chains: ReadonlySet<string>;
  readonly #matches: NftMatch[] = [];
  readonly #statements: NftStatement[] = [];
  #owner: Owner | undefined;

  constructor(table: IptablesTable, chains: ReadonlySet<string>) {
    this.#table = table;
    this.#chains = chains;
  }

  read(rule: string): NftRule {
    for (const group of splitGroups(splitWords(rule))) this.#group(group);
    return { matches: this.#matches, statements: this.#statements, ...(this.#owner ? { owner: this.#owner } : {}) };
  }

  #group(words: readonly string[]): void {
    const negated = words[0] === "!";
    const [option = "", value = "", ...rest] = negated ? words.slice(1) : words;
    const op = negated ? "!=" : "==";
    switch (option) {
      case "-s":
      case "-d":
        this.#match(this.#address(option === "-s" ? "saddr" : "daddr"), op, value.split(",").map(withoutFullLength));
        return;
      case "-p":
        if (value !== "all") this.#match("meta l4proto", op, [value]);
        return;
      case "-i":
      case "-o":
        this.#match(option === "-i" ? "meta iifname" : "meta oifname", op, [value.replace(/\+$/, "*")]);
        return;
      case "-m":
        this.#module(value, rest);
        return;
      case "-j":
      case "-g":
        this.#statements.push(...this.#target(value, rest, option === "-g"));
        return;
    }
    this.#matches.push({ opaque: words.join(" ") });
  }

  #address(which: "saddr" | "daddr"): NftField {
    return `${this.#table.family === 4 ? "ip" : "ip6"} ${which}`;
  }

  #match(left: NftField | NftField[], op: "==" | "!=", values: readonly string[]): void {
    const [only] = values;
    this.#matches.push({ left, op, right: values.length === 1 && only !== undefined ? only : values });
  }

  /** A match's module with its options. */
  #module(name: string, words: readonly string[]): void {
    const options = optionsOf(words);
    const known = options.every(([negated, option, values]) => this.#option(name, option, values, negated ? "!=" : "=="));
    if (!known || (options.length === 0 && words.length > 0)) this.#matches.push({ opaque: `-m ${name} ${words.join(" ")}` });
  }

  #option(name: string, option: string, values: readonly string[], op: "==" | "!="): boolean {
    const [value = ""] = values;
    switch (`${name} ${option}`) {
      case "comment --comment":
        this.#owner = ownerOf(value);
        return true;
      case "tcp --dport":
      case "udp --dport":
      case "sctp --dport":
      case "multiport --dports":
        this.#match("th dport", op, portsOf(value));
        return true;
      case "tcp --sport":
      case "udp --sport":
      case "sctp --sport":
      case "multiport --sports":
        this.#match("th sport", op, portsOf(value));
        return true;
      case "mark --mark":
      case "connmark --mark":
        this.#mark(name === "mark" ? "meta mark" : "ct mark", op, value);
        return true;
      case "conntrack --ctstate":
      case "state --state":
        this.#match("ct state", op, value.toLowerCase().split(","));
        return true;
      case "conntrack --ctstatus":
        this.#match("ct status", op, value.toLowerCase().split(","));
        return true;
      case "addrtype --dst-type":
      case "addrtype --src-type":
        this.#match(option === "--dst-type" ? "fib daddr type" : "fib saddr type", op, value.toLowerCase().split(","));
        return true;
      case "statistic --mode":
      case "statistic --packet":
      case "statistic --every":
        return value === "random" || option !== "--mode";
      case "statistic --probability":
        this.#chance(Number(value));
        return true;
      case "set --match-set":
        return this.#inSet(value, values[1] ?? "", op);
    }
    return false;
  }

  #mark(field: "meta mark" | "ct mark", op: "==" | "!=", text: string): void {
    const [value = "", mask] = text.split("/");
    this.#match(mask === undefined ? field : { field, mask: Number(mask) >>> 0 }, op, [value]);
  }

  /** One of so many is taken: in a list of end points, those that are left. */
  #chance(probability: number): void {
    const mod = probability > 0 ? Math.max(1, Math.round(1 / probability)) : 1;
    if (mod > 1) this.#match({ numgen: "random", mod }, "==", ["0"]);
  }

  /** "dst,dst,src": which address, port, address of the packet is asked for. */
  #inSet(set: string, directions: string, op: "==" | "!="): boolean {
    const fields: NftField[] = [];
    for (const [at, direction] of directions.split(",").entries()) {
      const side = direction === "src" ? "saddr" : "daddr";
      const port: NftField = direction === "src" ? "th sport" : "th dport";
      if (at === 1) fields.push("meta l4proto", port);
      else fields.push(/PORT-(LOCAL-)?(TCP|UDP)$/.test(set) || set.endsWith("CHECK-NODE-PORT") ? port : this.#address(side));
    }
    const [only] = fields;
    if (only === undefined) return false;
    this.#matches.push({ left: fields.length === 1 ? only : fields, op, right: { set } });
    return true;
  }

  #target(name: string, words: readonly string[], goto: boolean): NftStatement[] {
    const options = new Map(optionsOf(words).map(([, option, values]) => [option, values[0] ?? ""]));
    if (this.#chains.has(name)) return [{ verdict: goto ? "goto" : "jump", chain: name }];
    const place = (option: string) => placeOf(options.get(option) ?? "");
    const { family } = this.#table;
    switch (name) {
      case "ACCEPT":
        return [{ verdict: "accept" }];
      case "DROP":
        return [{ verdict: "drop" }];
      case "RETURN":
        return [{ verdict: "return" }];
      case "REJECT":
        return [{ reject: REJECTIONS[options.get("--reject-with") ?? ""] ?? "icmpx port-unreachable" }];
      case "MARK":
        return options.has("--set-xmark") ? [markOf(options.get("--set-xmark") ?? "")] : [{ opaque: `-j MARK ${words.join(" ")}` }];
      case "MASQUERADE":
        return [{ masquerade: options.has("--random-fully") ? { fullyRandom: true } : {} }];
      case "DNAT":
        return [{ dnat: { family, ...place("--to-destination") } }];
      case "SNAT":
        return [{ snat: { family, ...place("--to-source") } }];
      case "REDIRECT":
        return [{ redirect: /^\d+$/.test(options.get("--to-ports") ?? "") ? { port: Number(options.get("--to-ports")) } : {} }];
      case "LOG":
        return [{ log: { prefix: options.get("--log-prefix") ?? "" } }];
      case "NOTRACK":
        return [{ notrack: true }];
    }
    return [{ opaque: `-j ${name} ${words.join(" ")}`.trim() }];
  }
}

type Rejection = Extract<NftStatement, { reject: string }>["reject"];
const REJECTIONS: Readonly<Record<string, Rejection>> = {
  "tcp-reset": "tcp reset",
  "icmp-host-unreachable": "icmpx host-unreachable",
  "icmp6-addr-unreachable": "icmpx host-unreachable",
  "icmp-admin-prohibited": "icmpx admin-prohibited",
  "icmp6-adm-prohibited": "icmpx admin-prohibited",
};

/** Each option, whether "!" stood before it, and its values. */
function optionsOf(words: readonly string[]): (readonly [negated: boolean, option: string, values: readonly string[]])[] {
  const options: (readonly [boolean, string, string[]])[] = [];
  let negated = false;
  for (const word of words) {
    if (word === "!") negated = true;
    else if (word.startsWith("--")) {
      options.push([negated, word, []]);
      negated = false;
    } else options.at(-1)?.[2].push(word);
  }
  return options;
}

/** "80", "80:90", "80,443" */
function portsOf(text: string): string[] {
  return text.split(",").map((part) => part.replace(":", "-"));
}

function withoutFullLength(network: string): string {
  return network.replace(/^([0-9.]+)\/32$|^([0-9a-f:]+)\/128$/, (_, v4: string | undefined, v6: string | undefined) => v4 ?? v6 ?? "");
}

/** "10.0.0.1:80", "[fd00::1]:80", "10.0.0.1" */
function placeOf(text: string): { readonly address?: string; readonly port?: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]*|[0-9a-f:]+))(?::(\d+))?$/.exec(text) ?? [];
  const address = bracketed ?? plain;
  return { ...(address ? { address } : {}), ...(port === undefined ? {} : { port: Number(port) }) };
}

/** --set-xmark VALUE/MASK: what the mask names is cleared, then the value is flipped in. */
function markOf(text: string): NftStatement {
  const [value = "0", mask = "0xffffffff"] = text.split("/");
  return { setMark: { value: Number(value) >>> 0, mask: ~Number(mask) >>> 0 } };
}

/** kube-proxy's comments begin with "namespace/name:port". */
function ownerOf(comment: string): Owner | undefined {
  const [, namespace, name, rule] = /(?:^|for )([a-z0-9-]+)\/([a-z0-9.-]+?)(?::([a-z0-9-]+))?(?: |$)/.exec(comment) ?? [];
  if (namespace === undefined || name === undefined) return undefined;
  return { kind: "Service", namespace, name, ...(rule === undefined ? {} : { rule }) };
}
