// The service table: Services and EndpointSlices as one list of what is balanced to where. Every writer works from it.
//
// An entry whose Service and slices did not change is the same object in the next table, so writers keep what they
// calculated from it.
import { type Family, familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { EndpointSlice, Service, ServicePort } from "../resources/index.ts";

export interface ServiceEndpoint {
  readonly address: string;
  readonly port: number;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node?: string;
  readonly zone?: string;
  /** "namespace/name" of the pod behind it. */
  readonly pod?: string;
}

/** One port of a Service in one address family. */
export interface ServiceEntry {
  readonly namespace: string;
  readonly name: string;
  /** The port's name, else its number in text. */
  readonly portName: string;
  readonly family: Family;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly port: number;
  readonly clusterIP?: string;
  readonly nodePort?: number;
  /** externalIPs and the load balancer's addresses. */
  readonly externalAddresses: readonly string[];
  /** Seconds that a client keeps its end point; undefined: no affinity. */
  readonly affinitySeconds?: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  readonly publishNotReady: boolean;
  readonly endpoints: readonly ServiceEndpoint[];
}

export interface ServiceTable {
  readonly entries: readonly ServiceEntry[];
  /** The entry that an address, protocol and port belong to. Node ports are found with `nodePort`. */
  lookup(address: string, protocol: string, port: number): ServiceEntry | undefined;
  nodePort(family: Family, protocol: string, port: number): ServiceEntry | undefined;
}

/** Where a connection to an entry may go on a node. */
export type Choice = { readonly use: readonly ServiceEndpoint[] } | { readonly refuse: "reject" | "drop" };

const AFFINITY_DEFAULT_SECONDS = 10_800;
const tables = new WeakMap<object, { slices: object; table: ServiceTable }>();
const kept = new WeakMap<Service, { slices: readonly EndpointSlice[]; entries: readonly ServiceEntry[] }>();

/** The table of a snapshot; kept as long as Services and EndpointSlices stay the same. */
export function serviceTable(snapshot: ClusterSnapshot): ServiceTable {
  const before = tables.get(snapshot.services);
  if (before?.slices === snapshot.endpointSlices) return before.table;
  const entries: ServiceEntry[] = [];
  for (const service of snapshot.services.values()) entries.push(...entriesOf(snapshot, service));
  const table = makeTable(entries);
  tables.set(snapshot.services, { slices: snapshot.endpointSlices, table });
  return table;
}

function makeTable(entries: readonly ServiceEntry[]): ServiceTable {
  const byAddress = new Map<string, ServiceEntry>();
  const byNodePort = new Map<string, ServiceEntry>();
  for (const entry of entries) {
    for (const address of entryAddresses(entry)) byAddress.set(`${address} ${entry.protocol} ${entry.port}`, entry);
    if (entry.nodePort !== undefined) byNodePort.set(`${entry.family} ${entry.protocol} ${entry.nodePort}`, entry);
  }
  return {
    entries,
    lookup: (address, protocol, port) => byAddress.get(`${address} ${protocol.toLowerCase()} ${port}`),
    nodePort: (family, protocol, port) => byNodePort.get(`${family} ${protocol.toLowerCase()} ${port}`),
  };
}

/** The addresses at which an entry is reached: the cluster's, then the external ones. */
export function entryAddresses(entry: ServiceEntry): string[] {
  return [...(entry.clusterIP === undefined ? [] : [entry.clusterIP]), ...entry.externalAddresses];
}

function entriesOf(snapshot: ClusterSnapshot, service: Service): readonly ServiceEntry[] {
  const { namespace = "", name } = service.metadata;
  if (service.spec.type === "ExternalName" || service.spec.clusterIP === "None" || !service.spec.clusterIP) return [];
  const slices = [...snapshot.endpointSlices.ofService(namespace, name)];
  const before = kept.get(service);
  if (before && before.slices.length === slices.length && before.slices.every((slice, index) => slice === slices[index]))
    return before.entries;
  const addresses = service.spec.clusterIPs ?? [service.spec.clusterIP];
  const entries = addresses.flatMap((clusterIP) => (service.spec.ports ?? []).map((port) => entryOf(service, port, clusterIP, slices)));
  kept.set(service, { slices, entries });
  return entries;
}

function entryOf(service: Service, port: ServicePort, clusterIP: string, slices: readonly EndpointSlice[]): ServiceEntry {
  const { spec, metadata, status } = service;
  const family = familyOf(clusterIP);
  const balanced = (status?.loadBalancer?.ingress ?? []).flatMap((ingress) =>
    ingress.ip && ingress.ipMode !== "Proxy" ? [ingress.ip] : [],
  );
  const external = [...(spec.externalIPs ?? []), ...balanced].filter((address) => familyOf(address) === family);
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    portName: port.name ?? String(port.port),
    family,
    protocol: (port.protocol ?? "TCP").toLowerCase() as ServiceEntry["protocol"],
    port: port.port,
    clusterIP,
    ...(port.nodePort ? { nodePort: port.nodePort } : {}),
    externalAddresses: [...new Set(external)],
    ...(spec.sessionAffinity === "ClientIP"
      ? { affinitySeconds: spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_DEFAULT_SECONDS }
      : {}),
    internalLocal: spec.internalTrafficPolicy === "Local",
    externalLocal: spec.externalTrafficPolicy === "Local",
    publishNotReady: spec.publishNotReadyAddresses === true,
    endpoints: endpointsOf(port, family, slices),
  };
}

function endpointsOf(port: ServicePort, family: Family, slices: readonly EndpointSlice[]): ServiceEndpoint[] {
  const found = new Map<string, ServiceEndpoint>();
  for (const slice of slices) {
    if (slice.addressType !== (family === 4 ? "IPv4" : "IPv6")) continue;
    const match = slice.ports?.find(
      (candidate) => (candidate.name ?? "") === (port.name ?? "") && (candidate.protocol ?? "TCP") === (port.protocol ?? "TCP"),
    );
    if (match?.port === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ready = endpoint.conditions?.ready ?? true;
      const pod = endpoint.targetRef?.kind === "Pod" ? `${endpoint.targetRef.namespace}/${endpoint.targetRef.name}` : undefined;
      for (const address of endpoint.addresses) {
        found.set(`${address} ${match.port}`, {
          address,
          port: match.port,
          ready,
          serving: endpoint.conditions?.serving ?? ready,
          terminating: endpoint.conditions?.terminating ?? false,
          ...(endpoint.nodeName === undefined ? {} : { node: endpoint.nodeName }),
          ...(endpoint.zone === undefined ? {} : { zone: endpoint.zone }),
          ...(pod === undefined ? {} : { pod }),
        });
      }
    }
  }
  return [...found.values()].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port));
}

/** End points that take new connections: the ready ones, and only if there are none those that end but still serve (KEP-1669). */
function usableEndpoints(endpoints: readonly ServiceEndpoint[], publishNotReady: boolean): readonly ServiceEndpoint[] {
  if (publishNotReady) return endpoints;
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
}

/** Where a connection may go that reaches the entry on a node. `internal`: sent to the ClusterIP from within the cluster. */
export function chooseEndpoints(entry: ServiceEntry, node: string, internal: boolean): Choice {
  const usable = usableEndpoints(entry.endpoints, entry.publishNotReady);
  if (usable.length === 0) return { refuse: "reject" };
  if (!(internal ? entry.internalLocal : entry.externalLocal)) return { use: usable };
  const local = usableEndpoints(
    entry.endpoints.filter((endpoint) => endpoint.node === node),
    entry.publishNotReady,
  );
  return local.length > 0 ? { use: local } : { refuse: "drop" };
}
