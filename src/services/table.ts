// The service table: Services and EndpointSlices as one list of what is balanced to where. Every writer works from it.
//
// An entry whose Service and slices did not change is the same object in the next table, so writers keep what they
// calculated from it.
import { type Family, parsePrefix, prefixContains, tryParseAddress } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { EndpointSlice, Service } from "../resources/index.ts";
import { type Fault, type ServiceEndpoint, type ServiceEntry, serviceEntries } from "./entry.ts";

export interface ServiceTable {
  readonly entries: readonly ServiceEntry[];
  /** The entry that an address, protocol and port belong to. Node ports are found with `nodePort`. */
  lookup(address: string, protocol: string, port: number): ServiceEntry | undefined;
  nodePort(family: Family, protocol: string, port: number): ServiceEntry | undefined;
  /** What in the objects is not followed, and why. */
  readonly faults: readonly Fault[];
  /** The same in text. */
  readonly remarks: readonly string[];
}

/** Where a connection to an entry may go on a node. */
export type Choice = { readonly use: readonly ServiceEndpoint[] } | { readonly refuse: "reject" | "drop" };

interface Kept {
  readonly slices: readonly EndpointSlice[];
  readonly entries: readonly ServiceEntry[];
  readonly faults: readonly Fault[];
}

const tables = new WeakMap<object, { slices: object; table: ServiceTable }>();
const kept = new WeakMap<Service, Kept>();

/** The table of a snapshot; the same object as long as Services and EndpointSlices stay the same. */
export function serviceTable(snapshot: ClusterSnapshot): ServiceTable {
  const before = tables.get(snapshot.services);
  if (before?.slices === snapshot.endpointSlices) return before.table;
  const entries: ServiceEntry[] = [];
  const faults: Fault[] = [];
  for (const service of snapshot.services.values()) {
    const part = entriesOf(snapshot, service);
    entries.push(...part.entries);
    faults.push(...part.faults);
  }
  const table = makeTable(entries, faults);
  tables.set(snapshot.services, { slices: snapshot.endpointSlices, table });
  return table;
}

function entriesOf(snapshot: ClusterSnapshot, service: Service): Kept {
  const slices = [...snapshot.endpointSlices.ofService(service.metadata.namespace ?? "", service.metadata.name)];
  const before = kept.get(service);
  if (before && before.slices.length === slices.length && before.slices.every((slice, index) => slice === slices[index])) return before;
  const faults: Fault[] = [];
  const made: Kept = { slices, entries: serviceEntries(service, slices, faults), faults };
  kept.set(service, made);
  return made;
}

/**
 * Gives every address and port to one entry: the first by namespace and name. Cluster addresses are given out before
 * external ones, so that nobody takes over another's ClusterIP by naming it in externalIPs (CVE-2020-8554).
 */
function makeTable(entries: readonly ServiceEntry[], found: readonly Fault[]): ServiceTable {
  const faults = [...found];
  const owners = new Map<string, ServiceEntry>();
  const claim = (key: string, what: string, entry: ServiceEntry) => {
    const owner = owners.get(key);
    if (!owner) owners.set(key, entry);
    else if (owner !== entry) {
      const { namespace, name } = entry;
      const says = `${what} is not served, it belongs to Service ${owner.namespace}/${owner.name} already`;
      faults.push({ namespace, name, reason: what.startsWith("node port") ? "NodePortInUse" : "AddressInUse", says });
    }
  };
  const addressKey = (address: string, protocol: string, port: number) => `${address} ${protocol} ${port}`;
  const claimAddress = (address: string, entry: ServiceEntry) =>
    claim(addressKey(address, entry.protocol, entry.port), `${address} port ${entry.port}/${entry.protocol}`, entry);
  const nodeKey = (family: Family, protocol: string, port: number) => `node${family} ${protocol} ${port}`;

  for (const entry of entries) if (entry.clusterIP !== undefined) claimAddress(entry.clusterIP, entry);
  for (const entry of entries) {
    for (const address of entry.externalAddresses) claimAddress(address, entry);
    if (entry.nodePort !== undefined)
      claim(nodeKey(entry.family, entry.protocol, entry.nodePort), `node port ${entry.nodePort}/${entry.protocol}`, entry);
  }
  return {
    entries,
    lookup: (address, protocol, port) => owners.get(addressKey(address, protocol.toLowerCase(), port)),
    nodePort: (family, protocol, port) => owners.get(nodeKey(family, protocol.toLowerCase(), port)),
    faults,
    remarks: faults.map(({ namespace, name, says }) => `Service ${namespace}/${name}: ${says}`),
  };
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
