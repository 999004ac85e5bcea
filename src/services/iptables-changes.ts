// What a changed table of Services changes in the tables of iptables: chains of its own entries, and rules of the shared ones.
import type { Family } from "../base/index.ts";
import type { ChainChanges, IptablesChain } from "../kernel/index.ts";
import type { ServiceEntry } from "./entry.ts";
import { iptablesRules, type RuleOptions, type SharedChain } from "./iptables-rules.ts";
import { ownerOf } from "./nftables.ts";
import type { ServiceTable, Standpoint } from "./table.ts";

interface Here {
  readonly standpoint: Standpoint;
  readonly options: RuleOptions;
  readonly family: Family;
}

/** The shared chain whose rules may stand in any order: the only one that is long in every large cluster. */
const LOOSE: SharedChain = "nat KUBE-SERVICES";

/**
 * The changes of a family's tables; undefined for a table that stays, and undefined altogether where a shared chain changes
 * whose rules are in order.
 */
export function changesOf(
  table: ServiceTable,
  origin: NonNullable<ServiceTable["origin"]>,
  here: Here,
): { readonly nat?: ChainChanges; readonly filter?: ChainChanges } | undefined {
  const ofFamily = (entries: readonly ServiceEntry[]) => entries.filter(({ family }) => family === here.family);
  const [removed, added] = [ofFamily(origin.changes.removed), ofFamily(origin.changes.added)];
  const old = sharedRules(origin.table, removed, here);
  const now = sharedRules(table, added, here);
  for (const chain of new Set([...old.keys(), ...now.keys()]))
    if (chain !== LOOSE && !sameRules(old.get(chain) ?? [], now.get(chain) ?? [])) return undefined;
  const [gone, come] = [new Set(old.get(LOOSE)), new Set(now.get(LOOSE))];
  const edit = { chain: "KUBE-SERVICES", removed: [...gone.difference(come)], added: [...come.difference(gone)] };
  // Who only got or lost an address keeps its chains.
  const stays = new Set(removed).intersection(new Set(added));
  const oldChains = ownChains(removed, stays, here);
  const chains = ownChains(added, stays, here);
  const changes: ChainChanges = {
    chains: [...chains.values()].filter((chain) => !sameRules(oldChains.get(chain.name)?.rules ?? [], chain.rules)),
    gone: [...oldChains.keys()].filter((name) => !chains.has(name)).reverse(),
    edits: edit.removed.length + edit.added.length > 0 ? [edit] : [],
  };
  return changes.chains.length + changes.gone.length + changes.edits.length > 0 ? { nat: changes } : {};
}

function sharedRules(table: ServiceTable, entries: readonly ServiceEntry[], { standpoint, options }: Here): Map<SharedChain, string[]> {
  const found = new Map<SharedChain, string[]>();
  for (const entry of entries)
    for (const { at, rules } of iptablesRules(entry, standpoint, options).groups) {
      if (ownerOf(table, entry, at) !== entry) continue;
      for (const [chain, rule] of rules) {
        const list = found.get(chain);
        if (list) list.push(rule);
        else found.set(chain, [rule]);
      }
    }
  return found;
}

/** Of two ports that bear the same name, the first has the chain. */
function ownChains(
  entries: readonly ServiceEntry[],
  but: ReadonlySet<ServiceEntry>,
  { standpoint, options }: Here,
): ReadonlyMap<string, IptablesChain> {
  const chains = new Map<string, IptablesChain>();
  for (const entry of entries) {
    if (but.has(entry)) continue;
    for (const chain of iptablesRules(entry, standpoint, options).chains) if (!chains.has(chain.name)) chains.set(chain.name, chain);
  }
  return chains;
}

function sameRules(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((rule, at) => rule === b[at]);
}
