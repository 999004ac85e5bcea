// Addresses of load balancers: which Service has which of the pools' addresses. Pure; whoever writes the status acts on it.
//
// What stands in the statuses is the only book. A Service keeps what it has as long as it may have it, so the calculation
// gives the same however often it is made, and a change is only what a Service newly needs or no longer has a right to.
import { type Family, familyOf, formatAddress, tryParseAddress } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Service } from "../resources/index.ts";
import type { Fault } from "./entry.ts";
import { type AddressRange, inPools, isWithin, type ServiceSettings, serviceSettings } from "./settings.ts";

/** Services that name this class, or none, get their addresses here. */
const BALANCER_CLASS = "fairlead.dev/pool";
/** Addresses that a Service asks for, separated by commas; as spec.loadBalancerIP, which holds one. */
export const REQUEST = "fairlead.dev/load-balancer-ips";

interface Ingress {
  readonly ip: string;
  readonly ipMode: "VIP";
}

export interface BalancerPlan {
  /** Services whose status must become this; an empty list takes the addresses away. */
  readonly changes: readonly { readonly service: Service; readonly ingress: readonly Ingress[] }[];
  /** Services that get no address, or not the one that they ask for. */
  readonly faults: readonly Fault[];
}

/**
 * What must change so that every load balancer has its addresses. `written`: statuses ("namespace/name" → addresses) that
 * were written and are not in the snapshot yet.
 */
export function planBalancers(snapshot: ClusterSnapshot, written: ReadonlyMap<string, readonly string[]> = new Map()): BalancerPlan {
  const settings = serviceSettings(snapshot);
  if (settings.pools.length === 0) return { changes: [], faults: [] };
  return new Allocation(snapshot, settings, written).plan();
}

/** Whether this room gives out and announces the Service's addresses. */
export function isOurs({ spec }: Service): boolean {
  return spec.type === "LoadBalancer" && (spec.loadBalancerClass === undefined || spec.loadBalancerClass === BALANCER_CLASS);
}

class Allocation {
  readonly #services: readonly Service[];
  readonly #settings: ServiceSettings;
  readonly #written: ReadonlyMap<string, readonly string[]>;
  /** Who has an address of the pools. */
  readonly #holders = new Map<string, string>();
  readonly #cursors = new Map<AddressRange, bigint>();
  readonly #faults: Fault[] = [];

  constructor(snapshot: ClusterSnapshot, settings: ServiceSettings, written: ReadonlyMap<string, readonly string[]>) {
    this.#settings = settings;
    this.#written = written;
    this.#services = [...snapshot.services.values()].sort(olderFirst);
    for (const node of snapshot.nodes.values())
      for (const { address } of node.status?.addresses ?? []) this.#hold(address, `node ${node.metadata.name}`);
    for (const service of this.#services)
      for (const address of service.spec.externalIPs ?? []) this.#hold(address, `Service ${keyOf(service)}`);
  }

  #hold(address: string, holder: string): void {
    const parsed = tryParseAddress(address);
    if (parsed && this.#settings.pools.some((pool) => isWithin(pool, parsed)) && !this.#holders.has(formatAddress(parsed)))
      this.#holders.set(formatAddress(parsed), holder);
  }

  plan(): BalancerPlan {
    const changes: { service: Service; ingress: readonly Ingress[] }[] = [];
    const wanting = this.#services.filter(isOurs);
    // Who has an address by right keeps it; only then others choose.
    const kept = new Map(wanting.map((service) => [service, this.#keep(service)]));
    for (const service of this.#services) {
      const has = this.#has(service);
      const gets = isOurs(service) ? this.#complete(service, kept.get(service) ?? []) : has.filter((ip) => !this.#isPooled(ip));
      if (gets.join() !== has.join()) changes.push({ service, ingress: gets.map((ip) => ({ ip, ipMode: "VIP" })) });
    }
    return { changes, faults: this.#faults };
  }

  #has(service: Service): readonly string[] {
    const written = this.#written.get(keyOf(service));
    return written ?? (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip ? [ip] : []));
  }

  #isPooled(ip: string): boolean {
    return inPools(this.#settings.pools, ip);
  }

  /** What a Service has and may keep: of a pool, asked for if it asks, nobody else's, one per family. */
  #keep(service: Service): string[] {
    const asked = requested(service);
    const families = familiesOf(service);
    const kept: string[] = [];
    for (const ip of this.#has(service)) {
      const address = tryParseAddress(ip);
      // An address of no pool is another's work, and stays.
      const may =
        address !== undefined &&
        this.#isPooled(ip) &&
        families.includes(address.family) &&
        !this.#holders.has(ip) &&
        !kept.some((other) => familyOf(other) === address.family) &&
        (asked.length === 0 || asked.includes(ip));
      if (!may) continue;
      this.#holders.set(ip, `Service ${keyOf(service)}`);
      kept.push(ip);
    }
    return kept;
  }

  #complete(service: Service, kept: readonly string[]): readonly string[] {
    const has = this.#has(service);
    // A cloud's controller gave it addresses: they are not ours to take.
    if (kept.length === 0 && has.length > 0 && !has.some((ip) => this.#isPooled(ip))) return has;
    const asked = requested(service);
    const gets = familiesOf(service).flatMap((family) => {
      const own = kept.find((ip) => familyOf(ip) === family);
      if (own !== undefined) return [own];
      const wish = asked.find((ip) => tryParseAddress(ip)?.family === family);
      const given = wish === undefined ? (asked.length === 0 ? this.#next(family) : undefined) : this.#grant(service, wish);
      if (given === undefined) return [];
      this.#holders.set(given, `Service ${keyOf(service)}`);
      return [given];
    });
    for (const text of asked)
      if (!tryParseAddress(text)) this.#fault(service, "AddressRefused", `"${text}", which it asks for, is no address`);
    if (gets.length === 0 && asked.length === 0)
      this.#fault(
        service,
        "NoAddressLeft",
        `no address of the load balancers' pools is left for it; widen loadBalancerPools in ConfigMap kube-system/fairlead`,
      );
    return gets;
  }

  #grant(service: Service, wish: string): string | undefined {
    const parsed = tryParseAddress(wish);
    const address = parsed ? formatAddress(parsed) : wish;
    if (!this.#isPooled(address)) {
      this.#fault(
        service,
        "AddressRefused",
        `${address}, which it asks for, is in none of the load balancers' pools; ask for one that is, or for none`,
      );
      return undefined;
    }
    const holder = this.#holders.get(address);
    if (holder === undefined) return address;
    this.#fault(service, "AddressInUse", `${address}, which it asks for, belongs to ${holder} already`);
    return undefined;
  }

  #next(family: Family): string | undefined {
    for (const pool of this.#settings.pools) {
      if (pool.family !== family) continue;
      for (let value = this.#cursors.get(pool) ?? pool.first; value <= pool.last; value++) {
        const address = formatAddress({ family, value });
        if (this.#holders.has(address)) continue;
        this.#cursors.set(pool, value + 1n);
        return address;
      }
      this.#cursors.set(pool, pool.last + 1n);
    }
    return undefined;
  }

  #fault(service: Service, reason: Fault["reason"], says: string): void {
    const { namespace = "", name } = service.metadata;
    this.#faults.push({ namespace, name, reason, says });
  }
}

function requested({ metadata, spec }: Service): string[] {
  const text = metadata.annotations?.[REQUEST] ?? (typeof spec.loadBalancerIP === "string" ? spec.loadBalancerIP : "");
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => {
      const address = tryParseAddress(part);
      return address ? formatAddress(address) : part;
    });
}

function familiesOf({ spec }: Service): Family[] {
  if (spec.ipFamilies) return spec.ipFamilies.map((family) => (family === "IPv6" ? 6 : 4));
  return (spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])).flatMap((ip) => tryParseAddress(ip)?.family ?? []);
}

function keyOf({ metadata }: Service): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** By age, then by namespace and name: the same everywhere. */
function olderFirst(a: Service, b: Service): number {
  const rank = ({ metadata }: Service) => `${metadata.creationTimestamp ?? ""} ${metadata.namespace}/${metadata.name}`;
  return rank(a) < rank(b) ? -1 : 1;
}
