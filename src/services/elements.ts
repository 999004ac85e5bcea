// The set and map elements of one entry of the service table on one node.
import { type Family, parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
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
  const groups = calculate(entry, standpoint).slice();
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
    groups.push(group.done());
  }
  if (entry.nodePort !== undefined) {
    const group = new Group(entry, "node");
    group.serve(way, external);
    if (entry.externalLocal) group.serve("inside", anywhere);
    groups.push(group.done());
  }
  return groups;
}

function unclaimed(entry: ServiceEntry, node: string): ElementGroup {
  const { family, clusterIP } = entry;
  const owner: Owner = { kind: "Service", namespace: entry.namespace, name: entry.name, rule: "clusterIP" };
  const hairpin = entry.endpoints.filter((endpoint) => endpoint.node === undefined || endpoint.node === node);
  const cluster: NftElement[] = clusterIP === undefined ? [] : [{ key: [clusterIP], owner }];
  return {
    at: undefined,
    elements: cluster.concat(hairpin.map(({ address }) => hairpinElement(address))),
    sets: sameList([...cluster.map(() => CLUSTER_IPS[family]), ...hairpin.map(() => HAIRPIN[family])]),
    picks: NO_PICKS,
  };
}

const CLUSTER_IPS = { 4: "cluster-ips4", 6: "cluster-ips6" } as const;
const HAIRPIN = { 4: "hairpin4", 6: "hairpin6" } as const;

const hairpins = new Map<string, NftElement>();
/** Beyond so many, the addresses of pods that have gone are let go. */
const MOST_HAIRPINS = 4096;

/** The element of a pod that may reach itself: one for all Services that it is in. */
function hairpinElement(address: string): NftElement {
  let element = hairpins.get(address);
  if (!element) {
    if (hairpins.size >= MOST_HAIRPINS) hairpins.clear();
    element = { key: [address, address] };
    hairpins.set(address, element);
  }
  return element;
}

const lists = new Map<string, readonly string[]>();
/** Of longer lists there are few alike. */
const SHORT = 16;

/** A list of names: the same for all entries that have the same ones. */
function sameList(names: readonly string[]): readonly string[] {
  if (names.length > SHORT) return names;
  const key = names.join();
  const known = lists.get(key);
  if (!known) lists.set(key, names);
  return known ?? names;
}

const NO_PICKS: readonly Pick[] = [];
const TEXTS: string[] = [];

/** A port or number in text: the same string each time, for there are many. */
function textOf(number: number): string {
  TEXTS[number] ??= String(number);
  return TEXTS[number];
}

/** A pick with the names that go with it: made once, for there are many entries of each. */
interface KnownPick {
  readonly pick: Pick;
  /** The pick alone, as a list. */
  readonly list: readonly Pick[];
  readonly set: string;
  readonly maps: ReturnType<typeof pickMaps>;
}

const PICKS = new Map<string, KnownPick>();

function knownPick(pick: Pick): KnownPick {
  const name = pickName(pick);
  let known = PICKS.get(name);
  if (!known) {
    known = { pick, list: [pick], set: pickSet(pick), maps: pickMaps(pick) };
    PICKS.set(name, known);
  }
  return known;
}

/**
 * Clients that the load balancer's addresses of a protocol let in. A set for each: libnftables before 1.1 turns the one byte of
 * "meta l4proto" around where it is part of intervals, which Linux 7 refuses.
 */
export const sourcesOf = (family: Family, transport: string): string => `sources${family}-${transport}`;

class Group {
  readonly #at: string;
  readonly #elements: NftElement[] = [];
  readonly #sets: string[] = [];
  readonly #picks: KnownPick[] = [];
  readonly #entry: ServiceEntry;
  readonly #owner: Owner;

  constructor(entry: ServiceEntry, at: string) {
    this.#at = at;
    this.#entry = entry;
    this.#owner = { kind: "Service", namespace: entry.namespace, name: entry.name, rule: entry.portName };
  }

  /** What was gathered, in lists that hold no more than that. */
  done(): ElementGroup {
    const [only, ...more] = this.#picks;
    const picks = only === undefined ? NO_PICKS : more.length === 0 ? only.list : this.#picks.map(({ pick }) => pick);
    return { at: this.#at, elements: this.#elements.slice(), sets: sameList(this.#sets.slice()), picks };
  }

  serve(way: Way, choice: Choice): void {
    const { family, protocol, affinitySeconds } = this.#entry;
    const by = this.#at === "node" ? "node" : "address";
    if ("refuse" in choice) {
      // Insiders of a Service without any end point are refused as outsiders are.
      if (way !== "inside") this.#add(this.#refusing(choice.refuse), this.#key());
      return;
    }
    const known = knownPick({
      by,
      way,
      family,
      protocol,
      count: choice.use.length,
      ...(affinitySeconds === undefined ? {} : { sticky: affinitySeconds }),
    });
    this.#picks.push(known);
    this.#add(known.set, this.#key());
    if (affinitySeconds === undefined) this.#number(known, choice.use);
    else this.#identify(known, choice.use);
  }

  /** Only clients in these ranges come in. Where the node has the address as its own, what it sends there has it as source: that is the node. */
  guard(ranges: readonly string[], node: boolean): void {
    const { family, protocol, port } = this.#entry;
    this.#add(`guarded${family}`, this.#key());
    const letIn = (range: string) => this.#add(sourcesOf(family, protocol), [this.#at, textOf(port), range]);
    for (const range of ranges) letIn(range);
    if (node && !ranges.some((range) => prefixContains(parsePrefix(range), parseAddress(this.#at)))) letIn(this.#at);
  }

  #number({ pick, maps }: KnownPick, endpoints: readonly ServiceEndpoint[]): void {
    for (const [index, { address, port }] of endpoints.entries())
      this.#add(maps.numbered, this.#numberedKey(pick, index), [address, textOf(port)]);
  }

  #identify({ pick, maps }: KnownPick, endpoints: readonly ServiceEndpoint[]): void {
    const marks = endpointIds(endpoints, pick.way);
    for (const [index, { address, port }] of endpoints.entries()) {
      const id = marks[index] ?? "";
      this.#add(maps.ids, this.#numberedKey(pick, index), [id]);
      this.#add(maps.byId, [...this.#key(), id], [address, textOf(port)]);
    }
  }

  #refusing(verdict: "reject" | "drop"): string {
    const { family } = this.#entry;
    if (this.#at === "node") return `${verdict === "reject" ? "nodeports-rejected" : "nodeports-dropped"}${family}`;
    return `${verdict === "reject" ? "no-endpoints" : "no-local-endpoints"}${family}`;
  }

  /** Address, protocol and port; protocol and port for a node port. */
  #key(): string[] {
    const { protocol, port, nodePort } = this.#entry;
    return this.#at === "node" ? [protocol, textOf(nodePort ?? 0)] : [this.#at, protocol, textOf(port)];
  }

  #numberedKey({ way }: Pick, index: number): string[] {
    const { port, nodePort } = this.#entry;
    const number = textOf(index + (way === "inside" ? INSIDE_OFFSET : 0));
    return this.#at === "node" ? [textOf(nodePort ?? 0), number] : [this.#at, textOf(port), number];
  }

  #add(set: string, key: readonly string[], value?: NftElement["value"]): void {
    this.#elements.push(value === undefined ? { key, owner: this.#owner } : { key, value, owner: this.#owner });
    this.#sets.push(set);
  }
}
