// iptables in memory: iptables-restore --noflush, one transaction per table, with what the real one refuses.
import type { Family } from "../../base/index.ts";
import { KernelError } from "../errors.ts";
import { canonicalRule, targetOf } from "../iptables/rule.ts";
import { isBuiltin } from "../iptables/save.ts";
import type { Iptables } from "../kernel.ts";
import type { IptablesTable } from "../state.ts";

const BUILTIN: Readonly<Record<string, readonly string[]>> = {
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  raw: ["PREROUTING", "OUTPUT"],
  security: ["INPUT", "FORWARD", "OUTPUT"],
};

type Chains = Map<string, string[]>;

export class FakeIptables implements Iptables {
  readonly #tables = new Map<string, Chains>();

  lack(): undefined {
    return undefined;
  }

  stamp(): string {
    return "";
  }

  save(family: Family): IptablesTable[] {
    return [...this.#tables].flatMap(([key, chains]) => {
      const [own, name = ""] = key.split(" ");
      if (own !== String(family)) return [];
      const listed = [...chains].map(([chain, rules]) => ({
        name: chain,
        rules: [...rules],
        ...(isBuiltin({ name: chain }) ? { policy: "ACCEPT" } : {}),
      }));
      return [{ family, name, chains: listed }];
    });
  }

  restore(family: Family, commands: string): void {
    let draft: { readonly key: string; readonly chains: Chains } | undefined;
    for (const [at, line] of commands.split("\n").entries()) {
      if (line === "" || line.startsWith("#")) continue;
      if (line.startsWith("*")) draft = this.#open(family, line.slice(1).trim());
      else if (!draft) refuse(`line ${at + 1}: no table is open`);
      else if (line === "COMMIT") {
        checkTargets(draft.chains);
        this.#tables.set(draft.key, draft.chains);
        draft = undefined;
      } else execute(draft.chains, line);
    }
    if (draft) refuse("there is no COMMIT at the end");
  }

  #open(family: Family, table: string): { key: string; chains: Chains } {
    const key = `${family} ${table}`;
    const builtin = BUILTIN[table] ?? refuse(`there is no table ${table}`);
    const standing = this.#tables.get(key) ?? new Map(builtin.map((name) => [name, []]));
    return { key, chains: new Map([...standing].map(([name, rules]) => [name, [...rules]])) };
  }
}

function execute(chains: Chains, line: string): void {
  const declared = /^:(\S+) \S+/.exec(line);
  if (declared) {
    const name = declared[1] ?? "";
    if (!isBuiltin({ name })) chains.set(name, []);
    return;
  }
  const [, command = "", name = "", rest = ""] = /^(-[AIDXF]) (\S+) ?(.*)$/.exec(line) ?? refuse(`not understood: ${line}`);
  const rules = chains.get(name) ?? refuse(`no chain by that name: ${name}`);
  if (command === "-A") rules.push(rest);
  else if (command === "-F") rules.length = 0;
  else if (command === "-X") {
    if (rules.length > 0) refuse(`chain ${name} is not empty`);
    if ([...chains.values()].flat().some((rule) => targetOf(rule) === name)) refuse(`chain ${name} is jumped to`);
    chains.delete(name);
  } else if (command === "-D") {
    const at = rules.findIndex((rule) => canonicalRule(rule) === canonicalRule(rest));
    if (at < 0) refuse(`no such rule in ${name}: ${rest}`);
    rules.splice(at, 1);
  } else {
    const [, place = "1", rule = rest] = /^(\d+) (.*)$/.exec(rest) ?? [];
    if (Number(place) > rules.length + 1) refuse(`${name} has no place ${place}`);
    rules.splice(Number(place) - 1, 0, rule);
  }
}

/** Targets that are no chains are in capitals and have no hyphen, but for what a chain's name may have as well. */
const TARGETS = new Set([
  "ACCEPT",
  "DROP",
  "RETURN",
  "REJECT",
  "DNAT",
  "SNAT",
  "MASQUERADE",
  "MARK",
  "LOG",
  "REDIRECT",
  "NOTRACK",
  "CT",
  "NFLOG",
]);

function checkTargets(chains: Chains): void {
  for (const [name, rules] of chains)
    for (const rule of rules) {
      const target = targetOf(rule);
      if (target !== undefined && !TARGETS.has(target) && !chains.has(target)) refuse(`${name}: there is no chain ${target}`);
    }
}

function refuse(says: string): never {
  throw new KernelError({ code: "iptables", errno: "EINVAL", operation: "iptables-restore", says });
}
