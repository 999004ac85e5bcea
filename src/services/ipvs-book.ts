// A running account of what the entries of a table have in IPVS on one node, kept from table to table, so that a changed
// Service costs what concerns it.
import { type Family, familyOf } from "../base/index.ts";
import { deriveSet, type IpvsService, ipvsKey, listChanges, localRoute, type NftSet, type Route } from "../kernel/index.ts";
import type { ServiceEntry } from "./entry.ts";
import type { EntryServices } from "./ipvs-services.ts";
import { elementsAt, loopBacks, type SetElement } from "./ipvs-sets.ts";
import { FAMILIES } from "./matches.ts";
import { filled, ownerOf, sharedElement } from "./nftables.ts";
import type { ServiceTable, Standpoint } from "./table.ts";
import { patched, Tally } from "./tally.ts";

/** On which node, and where on it. */
export interface BookPlace {
  readonly standpoint: Standpoint;
  /** The node's own addresses at which it serves node ports. */
  readonly nodeAddresses: Readonly<Record<Family, readonly string[]>>;
  /** All of its own addresses. */
  readonly own: readonly string[];
  /** The device that Services' addresses are routed to. */
  readonly device: string;
}

/** What is to hold on the node; what did not change is the same object as the last time. All in order. */
export interface IpvsLists {
  readonly services: readonly IpvsService[];
  /** What makes Services' addresses the node's own. */
  readonly routes: readonly Route[];
  /** Elements of ipsets, by the set's name. */
  readonly elements: ReadonlyMap<string, readonly string[]>;
  /** External addresses that are the node's own by IPVS alone, in the nft sets that they are put into. */
  readonly external: Readonly<Record<Family, NftSet>>;
}

export class IpvsBook {
  readonly #place: BookPlace;
  readonly #entries = new Map<ServiceEntry, EntryServices>();
  /** By key: an entry may have it by an address, and another by its node port. The address goes first. */
  readonly #byAddress = new Map<string, IpvsService>();
  readonly #byNode = new Map<string, IpvsService>();
  readonly #moved = new Set<string>();
  readonly #virtual = new Tally();
  readonly #clusterIPs = new Tally();
  readonly #sets = new Map<string, Tally>();
  #lists: IpvsLists;

  /** `external`: the empty nft sets for external addresses. */
  constructor(place: BookPlace, external: Readonly<Record<Family, NftSet>>) {
    this.#place = place;
    this.#lists = { services: [], routes: [], elements: new Map(), external };
  }

  servicesOf(entry: ServiceEntry): EntryServices | undefined {
    return this.#entries.get(entry);
  }

  /** Enters an entry of the table with what it is balanced by. */
  add(table: ServiceTable, entry: ServiceEntry, services: EntryServices): void {
    this.#entries.set(entry, services);
    this.#count(table, entry, services, 1);
  }

  /** Takes out an entry; the table is the one that it was entered from. */
  remove(table: ServiceTable, entry: ServiceEntry): void {
    const services = this.#entries.get(entry);
    if (services) this.#count(table, entry, services, -1);
    this.#entries.delete(entry);
  }

  /** The lists with what has moved since the last time. */
  turn(): IpvsLists {
    const { services, routes, elements, external } = this.#lists;
    const virtual = this.#virtual.turn();
    const atAddress = virtual.union(this.#clusterIPs.turn());
    const stands = (address: string) => this.#virtual.has(address) && !this.#place.own.includes(address);
    this.#lists = {
      services: patched(services, ipvsKey, this.#moved, (key) => this.#byAddress.get(key) ?? this.#byNode.get(key)),
      routes: patched(
        routes,
        ({ destination }) => destination,
        new Set([...virtual].map((address) => routeTo(this.#place.device, address).destination)),
        (destination) => {
          const address = destination.slice(0, destination.indexOf("/"));
          return stands(address) ? routeTo(this.#place.device, address) : undefined;
        },
      ),
      elements: this.#turnSets(elements),
      external: Object.fromEntries(
        FAMILIES.map((family) => {
          const moved = new Set([...atAddress].filter((address) => familyOf(address) === family));
          const isExternal = (address: string) => stands(address) && !this.#clusterIPs.has(address);
          return [family, withAddresses(external[family], moved, isExternal)];
        }),
      ) as unknown as IpvsLists["external"],
    };
    this.#moved.clear();
    return this.#lists;
  }

  #turnSets(elements: IpvsLists["elements"]): IpvsLists["elements"] {
    const next = new Map(elements);
    for (const [name, tally] of this.#sets) {
      const moved = tally.turn();
      const find = (element: string) => (tally.has(element) ? element : undefined);
      next.set(
        name,
        patched(elements.get(name) ?? [], (element) => element, moved, find),
      );
    }
    return next;
  }

  #count(table: ServiceTable, entry: ServiceEntry, { groups }: EntryServices, by: 1 | -1): void {
    const { standpoint, nodeAddresses } = this.#place;
    this.#countElements(loopBacks(entry, standpoint), by);
    for (const { at, services } of groups) {
      if (ownerOf(table, entry, at) !== entry) continue;
      const standing = at === "node" ? this.#byNode : this.#byAddress;
      for (const service of services) {
        const key = ipvsKey(service);
        if (by > 0) standing.set(key, service);
        else standing.delete(key);
        this.#moved.add(key);
      }
      if (at !== "node") this.#virtual.count(at, by);
      if (at === entry.clusterIP) this.#clusterIPs.count(at, by);
      this.#countElements(elementsAt(entry, at, nodeAddresses[entry.family]), by);
    }
  }

  #countElements(elements: readonly SetElement[], by: 1 | -1): void {
    for (const [name, element] of elements) {
      let tally = this.#sets.get(name);
      if (!tally) {
        tally = new Tally();
        this.#sets.set(name, tally);
      }
      tally.count(element, by);
    }
  }
}

function withAddresses(set: NftSet, moved: ReadonlySet<string>, isExternal: (address: string) => boolean): NftSet {
  const find = (address: string) => (isExternal(address) ? sharedElement(address) : undefined);
  const list = patched(set.elements, ({ key }) => key[0] as string, moved, find);
  if (list === set.elements) return set;
  if (set.elements.length === 0) return filled(set, list);
  const { gone, come } = listChanges(set.elements, list);
  return deriveSet(set, () => list, { added: come, removed: gone });
}

const routesOf = new Map<string, Route>();
/** Beyond so many, those of Services that have gone are let go. */
const MOST_ROUTES = 1 << 17;

/** The same object for the same address, whichever node has it. */
function routeTo(device: string, address: string): Route {
  let made = routesOf.get(address);
  if (made?.nexthops[0]?.link !== device) {
    if (routesOf.size >= MOST_ROUTES) routesOf.clear();
    made = localRoute(device, address);
    routesOf.set(address, made);
  }
  return made;
}
