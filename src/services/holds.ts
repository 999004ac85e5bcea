// What holds a port in a node's kernel, in the words of each mode: map and set elements, rules.
import { familyOf } from "../base/index.ts";
import { elementsOf } from "./elements.ts";
import type { ServiceEntry } from "./entry.ts";
import { iptablesRules } from "./iptables-rules.ts";
import type { ModeOptions } from "./mode.ts";
import { chooseEndpoints, entryAddresses, type Standpoint } from "./table.ts";

export interface Hold {
  /** The address, or "node port 30080". */
  readonly at: string;
  readonly entry: string;
}

/** The entries by which a packet finds the Service; where it goes from there is read from these. */
export function holdsOf(entry: ServiceEntry, standpoint: Standpoint, mode: ModeOptions["mode"]): readonly Hold[] {
  if (mode === "iptables") return rulesOf(entry, standpoint);
  return [...(mode === "ipvs" ? virtualServices(entry, standpoint) : []), ...mapElements(entry, standpoint)];
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

/** As ipvsadm names them. */
function virtualServices(entry: ServiceEntry, standpoint: Standpoint): Hold[] {
  const option = { tcp: "-t", udp: "-u", sctp: "--sctp-service" }[entry.protocol];
  const own = (standpoint.addresses ?? []).filter((address) => familyOf(address) === entry.family);
  const name = (address: string, port: number) => `ipvs ${option} ${address.includes(":") ? `[${address}]` : address}:${port}`;
  const internal = "use" in chooseEndpoints(entry, standpoint, true);
  const external = "use" in chooseEndpoints(entry, standpoint, false);
  return [
    ...entryAddresses(entry)
      .filter((address) => (address === entry.clusterIP ? internal : external))
      .map((address) => ({ at: address, entry: name(address, entry.port) })),
    ...(entry.nodePort === undefined || !external
      ? []
      : own.map((address) => ({ at: placeOf(entry, "node"), entry: name(address, entry.nodePort ?? 0) }))),
  ];
}

function rulesOf(entry: ServiceEntry, standpoint: Standpoint): Hold[] {
  return iptablesRules(entry, standpoint, { networks: [] }).groups.flatMap(({ at, rules }) =>
    rules.map(([chain, rule]) => {
      const [table, name] = chain.split(" ");
      return { at: placeOf(entry, at), entry: `-t ${table} -A ${name} ${rule}` };
    }),
  );
}
