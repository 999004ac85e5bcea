// What holds a port in a node's kernel, in the words of each mode: map and set elements, rules.
import type { IpvsService } from "../kernel/index.ts";
import { elementsOf } from "./elements.ts";
import type { ServiceEntry } from "./entry.ts";
import { iptablesRules } from "./iptables-rules.ts";
import type { ModeOptions } from "./mode.ts";
import { entryAddresses, type Standpoint } from "./table.ts";

export interface Hold {
  /** The address, or "node port 30080". */
  readonly at: string;
  readonly entry: string;
}

/** How a node serves: its mode, and what stands in its IPVS. */
export interface Serving {
  readonly standpoint: Standpoint;
  readonly mode: ModeOptions["mode"];
  readonly virtual: readonly IpvsService[];
}

/** The entries by which a packet finds the Service; where it goes from there is read from these. */
export function holdsOf(entry: ServiceEntry, { standpoint, mode, virtual }: Serving): readonly Hold[] {
  if (mode === "iptables") return rulesOf(entry, standpoint);
  const elements = mapElements(entry, standpoint);
  if (mode === "nftables") return elements.map(({ at, entry: text }) => ({ at, entry: text }));
  // What insiders have of a Local Service, and refusals, are nftables' in the IPVS mode too.
  const beside = elements.filter(({ set }) => !set.startsWith("at-") || set.startsWith("at-inside"));
  return [...virtualServers(entry, virtual), ...beside.map(({ at, entry: text }) => ({ at, entry: text }))];
}

/** The virtual servers of an entry: at its addresses, and at the node's for its node port. */
export function virtualOf(entry: ServiceEntry, virtual: readonly IpvsService[]): readonly IpvsService[] {
  const addresses = new Set(entryAddresses(entry));
  return virtual.filter(
    ({ family, protocol, address, port }) =>
      family === entry.family && protocol === entry.protocol && (addresses.has(address) ? port === entry.port : port === entry.nodePort),
  );
}

function virtualServers(entry: ServiceEntry, virtual: readonly IpvsService[]): Hold[] {
  return virtualOf(entry, virtual).map(({ address, port, protocol, scheduler, destinations }) => {
    const place = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    return {
      at: port === entry.port ? address : `node port ${port}`,
      entry: `virtual server ${protocol.toUpperCase()} ${place} ${scheduler}, ${destinations.length} real servers`,
    };
  });
}

const placeOf = (entry: ServiceEntry, at: string) => (at === "node" ? `node port ${entry.nodePort}` : at);

function mapElements(entry: ServiceEntry, standpoint: Standpoint): (Hold & { readonly set: string })[] {
  return elementsOf(entry, standpoint).flatMap(({ at, elements, sets }) =>
    elements.flatMap((element, number) => {
      const set = sets[number] ?? "";
      if (at === undefined || !/^(at-|nodeports-|no-)/.test(set)) return [];
      const leads = set.startsWith("at-") ? ` → chain ${set.slice(3)}` : "";
      return [{ set, at: placeOf(entry, at), entry: `set ${set} { ${element.key.join(" . ")} }${leads}` }];
    }),
  );
}

function rulesOf(entry: ServiceEntry, standpoint: Standpoint): Hold[] {
  return iptablesRules(entry, standpoint, { networks: [], brief: false }).groups.flatMap(({ at, rules }) =>
    rules.map(([chain, rule]) => {
      const [table, name] = chain.split(" ");
      return { at: placeOf(entry, at), entry: `-t ${table} -A ${name} ${rule}` };
    }),
  );
}
