// The fake's routing tables: what Linux accepts, refuses and drops by itself.
import { type Family, familyOf, formatPrefix, networkOf, parseAddress, parsePrefix, prefixContains } from "../../base/index.ts";
import { metricOf, routeKey } from "../keys.ts";
import { connectedRoute } from "../route-diff.ts";
import { type LinkAddress, MAIN_TABLE, type Nexthop, type Route } from "../state.ts";
import { refuse } from "./refuse.ts";

/** What the routes need to know of the namespace. */
export interface Surroundings {
  readonly link: (name: string) => { readonly up: boolean } | undefined;
  /** Addresses without length that are the namespace's own. */
  readonly isLocal: (address: string) => boolean;
}

export class FakeRoutes {
  readonly #around: Surroundings;
  #routes = new Map<string, Route[]>();

  constructor(around: Surroundings) {
    this.#around = around;
  }

  list(): Route[] {
    return [...this.#routes.values()].flat();
  }

  apply(op: "add" | "replace" | "delete", route: Route): void {
    const where = `route ${route.destination} table ${route.table}`;
    const prefix = parsePrefix(route.destination);
    if (formatPrefix(networkOf(prefix)) !== formatPrefix(prefix) && route.family === 4) refuse("EINVAL", "host bits are set", where);
    if (op === "delete") this.#delete(route, where);
    else this.#write(op, route, where);
  }

  #write(op: "add" | "replace", route: Route, where: string): void {
    const complete = this.#complete(route, where);
    const key = routeKey(complete);
    const standing = this.#routes.get(key);
    if (op === "add" && standing) refuse("EEXIST", "the route exists", where);
    this.#routes.set(key, op === "replace" && standing ? [complete, ...standing.slice(1)] : [complete]);
  }

  #delete(route: Route, where: string): void {
    const keys =
      route.metric === undefined
        ? [...this.#routes.keys()].filter((key) => key.startsWith(`${route.table} ${route.destination} `))
        : [routeKey(route)];
    for (const key of keys) {
      const list = this.#routes.get(key) ?? [];
      const at = list.findIndex((other) => matches(route, other));
      if (at < 0) continue;
      const rest = list.toSpliced(at, 1);
      if (rest.length > 0) this.#routes.set(key, rest);
      else this.#routes.delete(key);
      return;
    }
    refuse("ESRCH", "no such route", where);
  }

  #complete(route: Route, where: string): Route {
    const scoped = route.nexthops.some((hop) => hop.via !== undefined) || route.family === 6 ? "global" : "link";
    if (route.source !== undefined && !this.#around.isLocal(route.source))
      refuse("EINVAL", `source ${route.source} is not an address of the namespace`, where);
    if (refusesPackets(route.type)) return { ...route, nexthops: [], ...metricField(route) };
    if (route.nexthops.length === 0) refuse("ENODEV", `a ${route.type} route needs a device`, where);
    if (isHosts(route)) return this.#completeLocal(route, where);
    const nexthops = route.nexthops.map((hop) => this.#completeHop(hop, route.family, where));
    return { ...route, nexthops, scope: route.scope ?? scoped, ...metricField(route) };
  }

  /** fib_check_nh_nongw (IPv4): a route of scope host needs its device, but not that it is up, and leads over nobody. */
  #completeLocal(route: Route, where: string): Route {
    const [hop] = route.nexthops;
    if (route.nexthops.length > 1 || hop?.via !== undefined) refuse("EINVAL", "a route of scope host has no gateway", where);
    if (hop?.link === undefined || !this.#around.link(hop.link)) refuse("ENODEV", `no link ${hop?.link ?? ""}`, where);
    return { ...route, scope: "host", ...metricField(route) };
  }

  #completeHop(hop: Nexthop, family: Family, where: string): Nexthop {
    if (hop.link !== undefined) {
      const link = this.#around.link(hop.link);
      if (!link) refuse("ENODEV", `no link ${hop.link}`, where);
      if (!link.up) refuse("ENETDOWN", `${hop.link} is down`, where);
    }
    if (hop.via === undefined) return hop;
    if (this.#around.isLocal(hop.via)) refuse("EINVAL", `gateway ${hop.via} is this namespace itself`, where);
    if (hop.onlink) {
      if (hop.link === undefined) refuse("EINVAL", "onlink needs a device", where);
      const other = family === 6 ? this.#linkTo(hop.via, undefined, true) : undefined;
      if (other !== undefined && other !== hop.link) refuse("EINVAL", `gateway ${hop.via} is reached over ${other}`, where);
      return hop;
    }
    const out = this.#linkTo(hop.via, hop.link);
    if (out === undefined) refuse(family === 4 ? "ENETUNREACH" : "EHOSTUNREACH", `gateway ${hop.via} is not reachable`, where);
    return { ...hop, link: out };
  }

  /** The link over which an address is reached: without a gateway, if not said otherwise. */
  #linkTo(address: string, only: string | undefined, throughGateways = false): string | undefined {
    const target = parseAddress(address);
    let best: { link: string; length: number } | undefined;
    for (const route of this.list()) {
      const hop = route.nexthops[0];
      if (route.table !== MAIN_TABLE || route.type !== "unicast" || hop?.link === undefined) continue;
      if (hop.via !== undefined && !throughGateways) continue;
      if (only !== undefined && hop.link !== only) continue;
      const prefix = parsePrefix(route.destination);
      if (prefixContains(prefix, target) && (best === undefined || prefix.length > best.length))
        best = { link: hop.link, length: prefix.length };
    }
    return best?.link;
  }

  addConnected(address: LinkAddress): void {
    const route = connectedRoute(address);
    if (!route) return;
    const key = routeKey(route);
    const standing = this.#routes.get(key) ?? [];
    if (standing.some((other) => other.protocol === route.protocol && other.nexthops[0]?.link === address.link)) return;
    this.#routes.set(key, [...standing, route]);
  }

  /** Drops the connected route of an address (unless another address keeps it) and the routes that prefer it as source. */
  dropAddress(address: LinkAddress, rest: readonly LinkAddress[]): void {
    const connected = connectedRoute(address);
    const kept = rest
      .map(connectedRoute)
      .find((route) => route?.destination === connected?.destination && route?.nexthops[0]?.link === address.link);
    const source = address.address.slice(0, address.address.indexOf("/"));
    this.#filter((route) => {
      const isConnected =
        connected !== undefined &&
        route.destination === connected.destination &&
        route.protocol === connected.protocol &&
        route.nexthops[0]?.link === address.link;
      return !(route.source === source && familyOf(source) === 4) && !(isConnected && !kept);
    });
    if (kept) {
      const survivor = rest.find((other) => other.link === address.link && connectedRoute(other)?.destination === kept.destination);
      if (survivor) this.addConnected(survivor);
    }
  }

  /** A link goes down: what is local by IPv4 stays so (fib_sync_down_dev passes over it). */
  lowerLink(name: string): void {
    this.#filter((route) => isHosts(route) || !route.nexthops.some((hop) => hop.link === name));
  }

  dropLink(name: string): void {
    this.#filter((route) => !route.nexthops.some((hop) => hop.link === name));
  }

  #filter(keep: (route: Route) => boolean): void {
    const next = new Map<string, Route[]>();
    for (const [key, list] of this.#routes) {
      const rest = list.filter(keep);
      if (rest.length > 0) next.set(key, rest);
    }
    this.#routes = next;
  }
}

function refusesPackets(type: Route["type"]): boolean {
  return type === "blackhole" || type === "unreachable" || type === "prohibit" || type === "throw";
}

function isHosts(route: Route): boolean {
  return route.family === 4 && (route.scope ?? (route.type === "local" ? "host" : undefined)) === "host";
}

function metricField(route: Route): { metric?: number } {
  const metric = metricOf(route);
  return metric === 0 ? {} : { metric };
}

function matches(wanted: Route, route: Route): boolean {
  if (wanted.protocol !== 0 && wanted.protocol !== route.protocol) return false;
  if (wanted.type !== route.type) return false;
  return wanted.nexthops.every((hop) =>
    route.nexthops.some((other) => (hop.via === undefined || hop.via === other.via) && (hop.link === undefined || hop.link === other.link)),
  );
}
