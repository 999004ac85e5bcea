// What holds a port in a node's kernel, in the words of each mode: map and set elements, rules.
import { elementsOf } from "./elements.ts";
import type { ServiceEntry } from "./entry.ts";
import { iptablesRules } from "./iptables-rules.ts";
import type { ModeOptions } from "./mode.ts";
import type { Standpoint } from "./table.ts";

export interface Hold {
  /** The address, or "node port 30080". */
  readonly at: string;
  readonly entry: string;
}

/** The entries by which a packet finds the Service; where it goes from there is read from these. */
export function holdsOf(entry: ServiceEntry, standpoint: Standpoint, mode: ModeOptions["mode"]): readonly Hold[] {
  return mode === "iptables" ? rulesOf(entry, standpoint) : mapElements(entry, standpoint);
}

const placeOf = (entry: ServiceEntry, at: string) => (at === "node" ? `node port ${entry.nodePort}` : at);

function mapElements(entry: ServiceEntry, standpoint: Standpoint): Hold[] {
  return elementsOf(entry, standpoint).flatMap(({ at, elements, sets }) =>
    elements.flatMap((element, number) => {
      const set = sets[number] ?? "";
      if (at === undefined || !/^(at-|nodeports-|no-)/.test(set)) return [];
      const leads = set.startsWith("at-") ? ` → chain ${set.slice(3)}` : "";
      return [{ at: placeOf(entry, at), entry: `set ${set} { ${element.key.join(" . ")} }${leads}` }];
    }),
  );
}

function rulesOf(entry: ServiceEntry, standpoint: Standpoint): Hold[] {
  return iptablesRules(entry, standpoint, { networks: [] }).groups.flatMap(({ at, rules }) =>
    rules.map(([chain, rule]) => {
      const [table, name] = chain.split(" ");
      return { at: placeOf(entry, at), entry: `-t ${table} -A ${name} ${rule}` };
    }),
  );
}
