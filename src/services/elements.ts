// The set and map elements of one entry of the service table on one node.
import { parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import type { NftElement, Owner } from "../kernel/index.ts";
import type { ServiceEndpoint, ServiceEntry } from "./entry.ts";
import { endpointIds, INSIDE_OFFSET, type Pick, pickMaps, pickName, pickSet, type Way } from "./pick.ts";
import { type Choice, chooseAnywhere, chooseEndpoints, entryAddresses, letsNodeIn, placeKey, type Standpoint } from "./table.ts";

/** Elements that belong together: all are written, or (when the address or node port is another Service's) none. */
export interface ElementGroup {
  /** The address, or "node" for the node port, or undefined for what no other Service can claim. */
  readonly at: string | undefined;
  readonly elements: readonly NftElement[];
  /** The set that each of them stands in. */
  readonly sets: readonly string[];
  readonly picks: readonly Pick[];
}

/** What was calculated for one place, and for others. There are many entries, and mostly one place: this is smaller than a map. */
interface Memo {
  readonly place: string;
  readonly groups: readonly ElementGroup[];
  readonly next: Memo | undefined;
}

const kept = new WeakMap<ServiceEntry, Memo>();
let lastPlace: { readonly standpoint: Standpoint; readonly text: string } | undefined;

/** The same string for the same object. */
function placeOf(standpoint: Standpoint): string {
  if (lastPlace?.standpoint !== standpoint) lastPlace = { standpoint, text: placeKey(standpoint) };
  return lastPlace.text;
}

/** The elements of one entry on one node; kept with the entry. */
export function elementsOf(entry: ServiceEntry, standpoint: Standpoint): readonly ElementGroup[] {
  const place = placeOf(standpoint);
  const first = kept.get(entry);
  for (let memo = first; memo; memo = memo.next) if (memo.place === place) return memo.groups;
  const groups = calculate(entry, standpoint);
  kept.set(entry, { place, groups, next: first });
  return groups;
}

function calculate(entry: ServiceEntry, standpoint: Standpoint): ElementGroup[] {
  const { node } = standpoint;
  const internal = chooseEndpoints(entry, standpoint, true);
  const external = chooseEndpoints(entry, standpoint, false);
  const anywhere = chooseAnywhere(entry, standpoint);
  const way: Way = entry.externalLocal ? "local" : "external";
  const groups: ElementGroup[] = [unclaimed(entry, node)];
  for (const address of entryAddresses(entry)) {
    const group = new Group(entry, address);
    if (entry.guardedAddresses.includes(address)) group.guard(entry.sourceRanges, letsNodeIn(entry.sourceRanges, standpoint));
    if (address === entry.clusterIP) group.serve("cluster", internal);
    else {
      group.serve(way, external);
      if (entry.externalLocal) group.serve("inside", anywhere);
    }
    groups.push(group);
  }
  if (entry.nodePort !== undefined) {
    const group = new Group(entry, "node");
    group.serve(way, external);
    if (entry.externalLocal) group.serve("inside", anywhere);
    groups.push(group);
  }
  return groups;
}

function unclaimed(entry: ServiceEntry, node: string): ElementGroup {
  const { family, clusterIP } = entry;
  const owner: Owner = { kind: "Service", namespace: entry.namespace, name: entry.name, rule: "clusterIP" };
  const hairpin = entry.endpoints.filter((endpoint) => endpoint.node === undefined || endpoint.node === node);
  const cluster = clusterIP === undefined ? [] : [{ key: [clusterIP], owner }];
  return {
    at: undefined,
    elements: [...cluster, ...hairpin.map(({ address }) => ({ key: [address, address] }))],
    sets: [...cluster.map(() => `cluster-ips${family}`), ...hairpin.map(() => `hairpin${family}`)],
    picks: NO_PICKS,
  };
}

const NO_PICKS: readonly Pick[] = [];
const TEXTS: string[] = [];

/** A port or number in text: the same string each time, for there are many. */
function textOf(number: number): string {
  TEXTS[number] ??= String(number);
  return TEXTS[number];
}

const PICKS = new Map<string, Pick>();

function samePick(pick: Pick): Pick {
  const name = pickName(pick);
  const known = PICKS.get(name);
  if (!known) PICKS.set(name, pick);
  return known ?? pick;
}

class Group implements ElementGroup {
  readonly at: string;
  readonly elements: NftElement[] = [];
  readonly sets: string[] = [];
  readonly picks: Pick[] = [];
  readonly #entry: ServiceEntry;
  readonly #owner: Owner;

  constructor(entry: ServiceEntry, at: string) {
    this.at = at;
    this.#entry = entry;
    this.#owner = { kind: "Service", namespace: entry.namespace, name: entry.name, rule: entry.portName };
  }

  serve(way: Way, choice: Choice): void {
    const { family, protocol, affinitySeconds } = this.#entry;
    const by = this.at === "node" ? "node" : "address";
    if ("refuse" in choice) {
      // Insiders of a Service without any end point are refused as outsiders are.
      if (way !== "inside") this.#add(this.#refusing(choice.refuse), this.#key());
      return;
    }
    const pick: Pick = {
      by,
      way,
      family,
      protocol,
      count: choice.use.length,
      ...(affinitySeconds === undefined ? {} : { sticky: affinitySeconds }),
    };
    this.picks.push(samePick(pick));
    this.#add(pickSet(pick), this.#key());
    if (pick.sticky === undefined) this.#number(pick, choice.use);
    else this.#identify(pick, choice.use);
  }

  /** Only clients in these ranges come in. Where the node has the address as its own, what it sends there has it as source: that is the node. */
  guard(ranges: readonly string[], node: boolean): void {
    const { family } = this.#entry;
    this.#add(`guarded${family}`, this.#key());
    for (const range of ranges) this.#add(`sources${family}`, [...this.#key(), range]);
    if (node && !ranges.some((range) => prefixContains(parsePrefix(range), parseAddress(this.at))))
      this.#add(`sources${family}`, [...this.#key(), this.at]);
  }

  #number(pick: Pick, endpoints: readonly ServiceEndpoint[]): void {
    const { numbered } = pickMaps(pick);
    for (const [index, { address, port }] of endpoints.entries())
      this.#add(numbered, this.#numberedKey(pick, index), [address, textOf(port)]);
  }

  #identify(pick: Pick, endpoints: readonly ServiceEndpoint[]): void {
    const { ids, byId } = pickMaps(pick);
    const marks = endpointIds(endpoints, pick.way);
    for (const [index, { address, port }] of endpoints.entries()) {
      const id = marks[index] ?? "";
      this.#add(ids, this.#numberedKey(pick, index), [id]);
      this.#add(byId, [...this.#key(), id], [address, textOf(port)]);
    }
  }

  #refusing(verdict: "reject" | "drop"): string {
    const { family } = this.#entry;
    if (this.at === "node") return `${verdict === "reject" ? "nodeports-rejected" : "nodeports-dropped"}${family}`;
    return `${verdict === "reject" ? "no-endpoints" : "no-local-endpoints"}${family}`;
  }

  /** Address, protocol and port; protocol and port for a node port. */
  #key(): string[] {
    const { protocol, port, nodePort } = this.#entry;
    return this.at === "node" ? [protocol, textOf(nodePort ?? 0)] : [this.at, protocol, textOf(port)];
  }

  #numberedKey({ way }: Pick, index: number): string[] {
    const { port, nodePort } = this.#entry;
    const number = textOf(index + (way === "inside" ? INSIDE_OFFSET : 0));
    return this.at === "node" ? [textOf(nodePort ?? 0), number] : [this.at, textOf(port), number];
  }

  #add(set: string, key: readonly string[], value?: NftElement["value"]): void {
    this.elements.push(value === undefined ? { key, owner: this.#owner } : { key, value, owner: this.#owner });
    this.sets.push(set);
  }
}
