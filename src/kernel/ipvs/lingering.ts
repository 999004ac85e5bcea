// Leaving gracefully: an end point of IPVS that is no longer wanted keeps its connections until they have ended.
//
// IPVS knows its connections by itself; a destination that is deleted drops them. So it stays with weight 0 (no new
// connections), its service stays with it, and the route that makes the service's address local, until the counters are 0.
// UDP and SCTP end at once: their clients do not notice that an end point has gone, and must be sent elsewhere.
import { ipvsKey } from "../netlink/ipvs.ts";
import { localRoute } from "../route-diff.ts";
import type { IpSet, IpvsDestination, IpvsService, KernelState, Link } from "../state.ts";

/** Who owns what in IPVS: all of it, where the dummy device that the services' addresses are routed to is ours. */
export interface IpvsOwnership {
  readonly device: string;
  /** The device's alias, by which a restarted agent knows it: a foreign kube-proxy's has none. */
  readonly alias: string;
  readonly sets: (name: string) => boolean;
  /** Which services are ours, where that is known beside the observed state: of this, then, only what may differ is there. */
  readonly isOurs?: (service: IpvsService) => boolean;
}

export const destinationKey = ({ address, port }: Pick<IpvsDestination, "address" | "port">): string => `${address} ${port}`;

/** Whether IPVS is ours: wanted, or left by us. */
export function ownsIpvs(desired: Partial<KernelState>, observed: Partial<KernelState>, { device, alias }: IpvsOwnership): boolean {
  const of = (state: Partial<KernelState>) => state.links?.find(({ name }) => name === device);
  return of(desired) !== undefined || of(observed)?.ifalias === alias;
}

/**
 * Which observed services are ours: those whose address is routed to the device, or stands on it (as kube-proxy has it), and
 * those at a port of the sets of node ports. A balancer that somebody else runs on the node is left alone.
 */
export function ownServices(observed: KernelState, owns: IpvsOwnership): (service: IpvsService) => boolean {
  if (owns.isOurs) return owns.isOurs;
  const addresses = servedAddresses(observed, owns.device);
  const ports = new Set(
    observed.ipsets.flatMap(({ name, elements }) => {
      const protocol = owns.sets(name) ? nodePortProtocol(name) : undefined;
      return protocol === undefined ? [] : elements.map((element) => `${protocol} ${/(\d+)$/.exec(element)?.[1] ?? ""}`);
    }),
  );
  return ({ address, protocol, port }) => addresses.has(address) || ports.has(`${protocol} ${port}`);
}

/** The addresses that are local by the device. */
function servedAddresses({ addresses, localRoutes }: Pick<KernelState, "addresses" | "localRoutes">, device: string): Set<string> {
  const standing = addresses.flatMap(({ link, address }) => (link === device ? [plain(address)] : []));
  const routed = localRoutes.flatMap(({ nexthops, destination }) => (nexthops[0]?.link === device ? [plain(destination)] : []));
  return new Set([...standing, ...routed]);
}

const plain = (text: string) => text.replace(/\/.*/, "");

/** The protocol of a set of node ports: "tcp" of KUBE-NODE-PORT-LOCAL-TCP. */
export function nodePortProtocol(set: string): string | undefined {
  return /NODE-PORT.*-(TCP|UDP|SCTP)/.exec(set)?.[1]?.toLowerCase();
}

/** The desired state with all that still has connections. */
export function withLingering(desired: KernelState, observed: KernelState, owns: IpvsOwnership): KernelState {
  if (observed.ipvs.length === 0 || !ownsIpvs(desired, observed, owns)) return desired;
  const wanted = new Map(desired.ipvs.map((service) => [ipvsKey(service), service]));
  const extra: IpvsService[] = [];
  let changed = false;
  const isOurs = ownServices(observed, owns);
  for (const service of observed.ipvs) {
    const key = ipvsKey(service);
    const want = wanted.get(key);
    if (!want && !isOurs(service)) continue;
    const left = leaving(service, want);
    if (left.length === 0) continue;
    changed = true;
    if (want) wanted.set(key, { ...want, destinations: [...want.destinations, ...left] });
    else extra.push({ ...service, destinations: left });
  }
  if (!changed) return desired;
  const ipvs = [...wanted.values(), ...extra];
  return { ...desired, ipvs, ipsets: withPorts(desired.ipsets, observed.ipsets, extra), ...staying(desired, observed, extra, owns.device) };
}

function leaving(service: IpvsService, want: IpvsService | undefined): IpvsDestination[] {
  if (service.protocol !== "tcp") return [];
  const kept = new Set((want?.destinations ?? []).map(destinationKey));
  return service.destinations
    .filter((destination) => !kept.has(destinationKey(destination)) && (destination.active ?? 0) + (destination.inactive ?? 0) > 0)
    .map(({ address, port }) => ({ address, port, weight: 0 }));
}

/** Sets keep the node ports of services that linger: by them a restarted agent knows that they are its own. */
function withPorts(desired: readonly IpSet[], observed: readonly IpSet[], extra: readonly IpvsService[]): readonly IpSet[] {
  const ports = new Set(extra.map(({ port }) => String(port)));
  if (ports.size === 0) return desired;
  const byName = new Map(desired.map((set) => [set.name, set]));
  for (const set of observed) {
    if (nodePortProtocol(set.name) === undefined) continue;
    const kept = set.elements.filter((element) => ports.has(/(\d+)$/.exec(element)?.[1] ?? ""));
    if (kept.length === 0) continue;
    const want = byName.get(set.name);
    byName.set(set.name, { ...(want ?? set), elements: [...new Set([...(want?.elements ?? []), ...kept])] });
  }
  return [...byName.values()];
}

/** The device, and routes to it for services that nobody wants any more. */
function staying(desired: KernelState, observed: KernelState, extra: readonly IpvsService[], device: string): Partial<KernelState> {
  if (extra.length === 0) return {};
  const served = servedAddresses(observed, device);
  const named = servedAddresses({ addresses: [], localRoutes: desired.localRoutes }, device);
  const needed = [...new Set(extra.map(({ address }) => address))].filter((address) => served.has(address) && !named.has(address));
  const link = desired.links.some(({ name }) => name === device) ? undefined : observed.links.find(({ name }) => name === device);
  return {
    localRoutes: [...desired.localRoutes, ...needed.map((address) => localRoute(device, address))],
    ...(link ? { links: [...desired.links, asItStands(link)] } : {}),
  };
}

function asItStands({ name, kind, ifalias }: Link): Link {
  return { name, kind, ...(ifalias === undefined ? {} : { ifalias }), up: true };
}
