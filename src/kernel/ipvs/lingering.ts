// Leaving gracefully: an end point of IPVS that is no longer wanted keeps its connections until they have ended.
//
// IPVS knows its connections by itself; a destination that is deleted drops them. So it stays with weight 0 (no new
// connections), its service stays with it, and the service's address on the dummy device, until the counters are 0.
// UDP and SCTP end at once: their clients do not notice that an end point has gone, and must be sent elsewhere.
import { ipvsKey } from "../netlink/ipvs.ts";
import type { IpvsDestination, IpvsService, KernelState, LinkAddress } from "../state.ts";

/** Who owns what in IPVS: all of it, where the dummy device with the services' addresses is ours. */
export interface IpvsOwnership {
  readonly device: string;
  /** The device's alias, by which a restarted agent knows it: a foreign kube-proxy's has none. */
  readonly alias: string;
  readonly sets: (name: string) => boolean;
}

export const destinationKey = ({ address, port }: Pick<IpvsDestination, "address" | "port">): string => `${address} ${port}`;

/** Whether IPVS is ours: wanted, or left by us. */
export function ownsIpvs(desired: Partial<KernelState>, observed: Partial<KernelState>, { device, alias }: IpvsOwnership): boolean {
  const of = (state: Partial<KernelState>) => state.links?.find(({ name }) => name === device);
  return of(desired) !== undefined || of(observed)?.ifalias === alias;
}

/** The desired state with all that still has connections. */
export function withLingering(desired: KernelState, observed: KernelState, owns: IpvsOwnership): KernelState {
  if (observed.ipvs.length === 0 || !ownsIpvs(desired, observed, owns)) return desired;
  const wanted = new Map(desired.ipvs.map((service) => [ipvsKey(service), service]));
  const extra: IpvsService[] = [];
  let changed = false;
  for (const service of observed.ipvs) {
    const key = ipvsKey(service);
    const want = wanted.get(key);
    const left = leaving(service, want);
    if (left.length === 0) continue;
    changed = true;
    if (want) wanted.set(key, { ...want, destinations: [...want.destinations, ...left] });
    else extra.push({ ...service, destinations: left });
  }
  if (!changed) return desired;
  const ipvs = [...wanted.values(), ...extra];
  return { ...desired, ipvs, ...staying(desired, observed, extra, owns.device) };
}

function leaving(service: IpvsService, want: IpvsService | undefined): IpvsDestination[] {
  if (service.protocol !== "tcp") return [];
  const kept = new Set((want?.destinations ?? []).map(destinationKey));
  return service.destinations
    .filter((destination) => !kept.has(destinationKey(destination)) && (destination.active ?? 0) + (destination.inactive ?? 0) > 0)
    .map(({ address, port }) => ({ address, port, weight: 0 }));
}

/** The device and the addresses of services that nobody wants any more. */
function staying(desired: KernelState, observed: KernelState, extra: readonly IpvsService[], device: string): Partial<KernelState> {
  const needed = new Set(extra.map(({ address }) => address));
  if (needed.size === 0) return {};
  const named = new Set(desired.addresses.flatMap(({ link, address }) => (link === device ? [address] : [])));
  const addresses = observed.addresses.filter(
    (each: LinkAddress) => each.link === device && !named.has(each.address) && needed.has(each.address.replace(/\/.*/, "")),
  );
  const link = desired.links.some(({ name }) => name === device) ? undefined : observed.links.find(({ name }) => name === device);
  return {
    addresses: [...desired.addresses, ...addresses],
    ...(link ? { links: [...desired.links, { name: link.name, kind: link.kind }] } : {}),
  };
}
