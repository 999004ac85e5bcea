// Reads what iptables-save lists. Total: a line that is none of its own is left out.
import type { Family } from "../../base/index.ts";
import type { IptablesChain, IptablesTable } from "../state.ts";

/** The tables in a listing of iptables-save (family 4) or ip6tables-save (6). */
export function parseSave(listing: string, family: Family): IptablesTable[] {
  const tables: IptablesTable[] = [];
  let chains: Map<string, { name: string; rules: string[]; policy?: string }> | undefined;
  for (const line of listing.split("\n")) {
    if (line.startsWith("*")) {
      const made = new Map<string, { name: string; rules: string[]; policy?: string }>();
      chains = made;
      tables.push({ family, name: line.slice(1).trim(), chains: [] });
    } else if (line === "COMMIT") {
      const table = tables.at(-1);
      if (table && chains) tables[tables.length - 1] = { ...table, chains: [...chains.values()] };
      chains = undefined;
    } else if (chains) readLine(chains, line);
  }
  return tables;
}

function readLine(chains: Map<string, { name: string; rules: string[]; policy?: string }>, line: string): void {
  const declared = /^:(\S+) (\S+)/.exec(line);
  if (declared) {
    const [, name = "", policy = "-"] = declared;
    chains.set(name, { name, rules: [], ...(policy === "-" ? {} : { policy }) });
    return;
  }
  // With counters, "[packets:bytes]" stands in front.
  const rule = /^(?:\[\d+:\d+\] )?-A (\S+) ?(.*)$/.exec(line);
  if (rule) chains.get(rule[1] ?? "")?.rules.push(rule[2] ?? "");
}

/** Whether a chain is the kernel's own, with a hook and a policy, rather than one that somebody made. */
export function isBuiltin(chain: Pick<IptablesChain, "name">): boolean {
  return BUILTIN.has(chain.name);
}

const BUILTIN = new Set(["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]);

/** The tables that iptables keeps, by the names that they have in nftables too. */
const TABLES = new Set(["raw", "mangle", "nat", "filter", "security"]);

/** Whether a table of nftables is one in which iptables keeps its rules. */
export function isIptablesTable({ family, name }: { readonly family: string; readonly name: string }): boolean {
  return (family === "ip" || family === "ip6") && TABLES.has(name);
}
