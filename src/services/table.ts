// The service table: Services and EndpointSlices as one list of what is balanced to where. Every writer works from it.
//
// An entry whose Service and slices did not change is the same object in the next table, and a table that follows another
// by a few changes is made from it: with fifty thousand Services, one more costs what one costs.
import { type Family, parsePrefix, prefixContains, tryParseAddress } from "../base/index.ts";
import { type ClusterSnapshot, type EndpointSlicePart, Names, type Part } from "../cluster/index.ts";
import type { EndpointSlice, Service } from "../resources/index.ts";
import { type Fault, type ServiceEndpoint, type ServiceEntry, serviceEntries } from "./entry.ts";
import { type Claim, Owners } from "./owners.ts";

export interface ServiceTable {
  /** Number of entries. */
  readonly size: number;
  /** Number of end points, of all entries. */
  readonly endpoints: number;
  /** In order of namespace and name. Made at the first call: of a large table that changes, see `entriesOf` and subset.ts. */
  readonly entries: readonly ServiceEntry[];
  /** Those of one Service. */
  entriesOf(namespace: string, name: string): readonly ServiceEntry[];
  /** The entry that an address, protocol and port belong to. Node ports are found with `nodePort`. */
  lookup(address: string, protocol: string, port: number): ServiceEntry | undefined;
  nodePort(family: Family, protocol: string, port: number): ServiceEntry | undefined;
  /** What in the objects is not followed, and why. */
  readonly faults: readonly Fault[];
  /** The same in text. */
  readonly remarks: readonly string[];
  /** The table that this was made from, and what is otherwise in it. */
  readonly origin: { readonly table: ServiceTable; readonly changes: TableChanges } | undefined;
}

/** Entries that are in one table only, and those (in both lists) that got or lost an address or node port. */
interface TableChanges {
  readonly removed: readonly ServiceEntry[];
  readonly added: readonly ServiceEntry[];
}

/** Where a connection to an entry may go on a node. */
export type Choice = { readonly use: readonly ServiceEndpoint[] } | { readonly refuse: "reject" | "drop" };

/** One Service's part of a table. */
interface Kept {
  readonly slices: readonly EndpointSlice[];
  readonly entries: readonly ServiceEntry[];
  readonly faults: readonly Fault[];
}

const tables = new WeakMap<Part<Service>, { readonly slices: EndpointSlicePart; readonly table: Table }>();
/** The parts that the newest tables were made from, to make the next from. */
let recent: readonly { readonly services: WeakRef<Part<Service>>; readonly slices: WeakRef<EndpointSlicePart> }[] = [];
const RECENT = 4;
/** With more changes, a table is made anew. */
const MOST_CHANGES = 200;

const kept = new WeakMap<Service, Kept>();
const NO_FAULTS: readonly Fault[] = [];

/** The table of a snapshot; the same object as long as Services and EndpointSlices stay the same. */
export function serviceTable(snapshot: ClusterSnapshot): ServiceTable {
  const before = tables.get(snapshot.services);
  if (before?.slices === snapshot.endpointSlices) return before.table;
  const table = nextTable(snapshot) ?? Table.of(snapshot);
  tables.set(snapshot.services, { slices: snapshot.endpointSlices, table });
  recent = [
    { services: new WeakRef(snapshot.services), slices: new WeakRef(snapshot.endpointSlices) },
    ...recent.filter(({ services }) => services.deref() !== undefined && services.deref() !== snapshot.services),
  ].slice(0, RECENT);
  return table;
}

/** The table made from a recent one, if it is known what changed since. */
function nextTable(snapshot: ClusterSnapshot): Table | undefined {
  for (const each of recent) {
    const [services, slices] = [each.services.deref(), each.slices.deref()];
    const base = services && tables.get(services);
    if (!base || base.slices !== slices || !base.table.isNewest) continue;
    const moved = snapshot.services.changedSince(services);
    const slicesMoved = snapshot.endpointSlices.changedSince(slices);
    if (!moved || !slicesMoved || moved.length + slicesMoved.length > MOST_CHANGES) continue;
    const touched = new Set<string>();
    for (const { before, after } of moved) for (const service of [before, after]) if (service) touched.add(keyOf(service));
    for (const { before, after } of slicesMoved)
      for (const slice of [before, after]) {
        const name = slice?.metadata.labels?.["kubernetes.io/service-name"];
        if (name !== undefined) touched.add(`${slice?.metadata.namespace ?? ""}/${name}`);
      }
    return base.table.next(snapshot, touched);
  }
  return undefined;
}

function keyOf({ metadata: { namespace = "", name } }: Service): string {
  return `${namespace}/${name}`;
}

function entriesOf(snapshot: ClusterSnapshot, service: Service): Kept {
  const slices = [...snapshot.endpointSlices.ofService(service.metadata.namespace ?? "", service.metadata.name)];
  const before = kept.get(service);
  if (before && before.slices.length === slices.length && before.slices.every((slice, index) => slice === slices[index])) return before;
  const faults: Fault[] = [];
  const entries = serviceEntries(service, slices, faults);
  // Lists of just their length: one that has grown holds room for seventeen.
  const made: Kept = { slices: slices.slice(), entries: entries.slice(), faults: faults.length > 0 ? faults : NO_FAULTS };
  kept.set(service, made);
  return made;
}

const addressKey = (address: string, protocol: string, port: number) => `${address} ${protocol} ${port}`;
const nodeKey = (family: Family, protocol: string, port: number) => `node${family} ${protocol} ${port}`;

function claimsOf(entries: readonly ServiceEntry[]): Claim[] {
  return entries.flatMap((entry): Claim[] => {
    const { protocol, port, nodePort, family } = entry;
    const claims = entryAddresses(entry).map((address) => ({ key: addressKey(address, protocol, port), entry }));
    return nodePort === undefined ? claims : [...claims, { key: nodeKey(family, protocol, nodePort), entry }];
  });
}

/** Sorts by namespace, then by name. */
const placeOf = (namespace: string, name: string) => `${namespace}\0${name}`;
const endpointsOf = (entries: readonly ServiceEntry[]) => entries.reduce((sum, entry) => sum + entry.endpoints.length, 0);
const NO_ENTRIES: readonly ServiceEntry[] = [];

class Table implements ServiceTable {
  readonly size: number;
  readonly endpoints: number;
  /** By Service. */
  readonly #services: Names<readonly ServiceEntry[]>;
  #list: readonly ServiceEntry[] | undefined;
  readonly faults: readonly Fault[];
  readonly remarks: readonly string[];
  readonly #owners: Owners;
  /** What is at fault in itself, by Service. */
  readonly #faulty: ReadonlyMap<string, readonly Fault[]>;
  #made: { readonly from: WeakRef<ServiceTable>; readonly changes: TableChanges } | undefined;

  private constructor(
    services: Names<readonly ServiceEntry[]>,
    { size, endpoints }: Pick<ServiceTable, "size" | "endpoints">,
    owners: Owners,
    faulty: ReadonlyMap<string, readonly Fault[]>,
  ) {
    this.#services = services;
    this.size = size;
    this.endpoints = endpoints;
    this.#owners = owners;
    this.#faulty = faulty;
    this.faults = [...[...faulty].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, faults]) => faults), ...owners.faults()];
    this.remarks = this.faults.map(({ namespace, name, says }) => `Service ${namespace}/${name}: ${says}`);
  }

  static of(snapshot: ClusterSnapshot): Table {
    const services = new Map<string, readonly ServiceEntry[]>();
    let [size, endpoints] = [0, 0];
    const faulty = new Map<string, readonly Fault[]>();
    const claims: Claim[] = [];
    for (const service of snapshot.services.values()) {
      const part = entriesOf(snapshot, service);
      if (part.entries.length > 0) services.set(placeOf(service.metadata.namespace ?? "", service.metadata.name), part.entries);
      size += part.entries.length;
      endpoints += endpointsOf(part.entries);
      for (const claim of claimsOf(part.entries)) claims.push(claim);
      if (part.faults.length > 0) faulty.set(keyOf(service), part.faults);
    }
    return new Table(Names.from(services), { size, endpoints }, Owners.empty().change([], claims).owners, faulty);
  }

  /** The table after these Services may have changed. This one can't be made another from any more. */
  next(snapshot: ClusterSnapshot, touched: ReadonlySet<string>): Table {
    const removed = new Set<ServiceEntry>();
    const added = new Set<ServiceEntry>();
    const faulty = new Map(this.#faulty);
    const [gone, come]: [Claim[], Claim[]] = [[], []];
    const services = new Map<string, readonly ServiceEntry[] | undefined>();
    let { size, endpoints } = this;
    for (const key of [...touched].sort()) {
      const service = snapshot.services.get(key);
      const part = service && entriesOf(snapshot, service);
      const slash = key.indexOf("/");
      const place = placeOf(key.slice(0, slash), key.slice(slash + 1));
      const before = this.#services.get(place) ?? NO_ENTRIES;
      const after = part?.entries ?? NO_ENTRIES;
      if (part?.faults.length) faulty.set(key, part.faults);
      else faulty.delete(key);
      if (before.length === after.length && before.every((entry, at) => entry === after[at])) continue;
      services.set(place, after.length > 0 ? after : undefined);
      size += after.length - before.length;
      endpoints += endpointsOf(after) - endpointsOf(before);
      gone.push(...claimsOf(before));
      come.push(...claimsOf(after));
      for (const entry of before) removed.add(entry);
      for (const entry of after) added.add(entry);
    }
    const { owners, shifted } = this.#owners.change(gone, come);
    const table = new Table(this.#services.with(services), { size, endpoints }, owners, faulty);
    const moved = [...shifted].filter((entry) => !removed.has(entry) && !added.has(entry));
    table.#made = { from: new WeakRef<ServiceTable>(this), changes: { removed: [...removed, ...moved], added: [...added, ...moved] } };
    return table;
  }

  get entries(): readonly ServiceEntry[] {
    this.#list ??= [...this.#services.values()].flat();
    return this.#list;
  }

  entriesOf(namespace: string, name: string): readonly ServiceEntry[] {
    return this.#services.get(placeOf(namespace, name)) ?? NO_ENTRIES;
  }

  get isNewest(): boolean {
    return this.#owners.isNewest;
  }

  lookup(address: string, protocol: string, port: number): ServiceEntry | undefined {
    return this.#owners.ownerOf(addressKey(address, protocol.toLowerCase(), port));
  }

  nodePort(family: Family, protocol: string, port: number): ServiceEntry | undefined {
    return this.#owners.ownerOf(nodeKey(family, protocol.toLowerCase(), port));
  }

  get origin(): ServiceTable["origin"] {
    const table = this.#made?.from.deref();
    return this.#made && table && { table, changes: this.#made.changes };
  }
}

/** The addresses at which an entry is reached: the cluster's, then the external ones. */
export function entryAddresses(entry: ServiceEntry): string[] {
  return [...(entry.clusterIP === undefined ? [] : [entry.clusterIP]), ...entry.externalAddresses];
}

/** Where on the map a connection reaches an entry: topology hints and Local policies are about it. */
export interface Standpoint {
  readonly node: string;
  /** The node's label topology.kubernetes.io/zone. */
  readonly zone?: string;
  /** Its own addresses (InternalIP). */
  readonly addresses?: readonly string[];
}

/** Where a node of the snapshot stands. */
export function standpointOf(snapshot: ClusterSnapshot, node: string): Standpoint {
  const zone = snapshot.nodes.get(node)?.metadata.labels?.["topology.kubernetes.io/zone"];
  const addresses = (snapshot.nodes.get(node)?.status?.addresses ?? []).flatMap(({ type, address }) =>
    type === "InternalIP" ? [address] : [],
  );
  return { node, ...(zone === undefined ? {} : { zone }), ...(addresses.length === 0 ? {} : { addresses }) };
}

/** A standpoint as text, by which what was calculated for it is kept. */
export function placeKey({ node, zone, addresses }: Standpoint): string {
  return `${node} ${zone ?? ""} ${addresses?.join() ?? ""}`;
}

/** Whether the node itself is among those that source ranges let in. */
export function letsNodeIn(ranges: readonly string[], { addresses = [] }: Standpoint): boolean {
  return addresses.some((text) => {
    const address = tryParseAddress(text);
    return address !== undefined && ranges.some((range) => prefixContains(parsePrefix(range), address));
  });
}

/** End points that take new connections: the ready ones, and only if there are none those that end but still serve (KEP-1669). */
function usableEndpoints(endpoints: readonly ServiceEndpoint[], publishNotReady: boolean): readonly ServiceEndpoint[] {
  if (publishNotReady) return endpoints;
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
}

/**
 * The ready end points that hints mean for a node or its zone; undefined where hints say nothing: they count only if every
 * ready end point has them, and one of them is for here (KEP-2433, KEP-3015). Node hints go before zone hints.
 */
function hintedEndpoints(entry: ServiceEntry, { node, zone }: Standpoint): readonly ServiceEndpoint[] | undefined {
  const ready = entry.endpoints.filter((endpoint) => endpoint.ready);
  if (ready.every((endpoint) => endpoint.forNodes !== undefined)) {
    const near = ready.filter((endpoint) => endpoint.forNodes?.includes(node));
    if (near.length > 0) return near;
  }
  if (zone === undefined || !ready.every((endpoint) => endpoint.forZones !== undefined)) return undefined;
  const near = ready.filter((endpoint) => endpoint.forZones?.includes(zone));
  return near.length > 0 ? near : undefined;
}

/** Where a connection may go, whatever the traffic policy: what pods and the node itself get at an external address or node port. */
export function chooseAnywhere(entry: ServiceEntry, standpoint?: Standpoint): Choice {
  const hinted = standpoint && !entry.publishNotReady ? hintedEndpoints(entry, standpoint) : undefined;
  const usable = hinted ?? usableEndpoints(entry.endpoints, entry.publishNotReady);
  return usable.length === 0 ? { refuse: "reject" } : { use: usable };
}

/**
 * Where a connection may go that reaches the entry on a node. `internal`: sent to the ClusterIP; otherwise sent to an
 * external address or node port from outside (for pods and the node itself, see chooseAnywhere).
 */
export function chooseEndpoints(entry: ServiceEntry, standpoint: Standpoint, internal: boolean): Choice {
  const anywhere = chooseAnywhere(entry, standpoint);
  if ("refuse" in anywhere || !(internal ? entry.internalLocal : entry.externalLocal)) return anywhere;
  const local = usableEndpoints(
    entry.endpoints.filter((endpoint) => endpoint.node === standpoint.node),
    entry.publishNotReady,
  );
  return local.length > 0 ? { use: local } : { refuse: "drop" };
}

/** Whether an end point still serves connections that it has, in a Service that still names it. */
export function keepsConnections(entry: ServiceEntry, address: string, port: number | undefined): boolean {
  return entry.endpoints.some(
    (endpoint) =>
      endpoint.address === address &&
      (port === undefined || endpoint.port === port) &&
      (entry.publishNotReady || endpoint.ready || endpoint.serving),
  );
}
