// Differences of routes and of routing rules.
import { familyOf, formatPrefix, networkOf, parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import { routeKey, routeKeys, ruleKey, sameRoute } from "./keys.ts";
import type { LinkPlan } from "./link-diff.ts";
import type { Ownership } from "./reconcile.ts";
import type { LinkAddress, Route, RoutingRule } from "./state.ts";
import { LOCAL_TABLE, MAIN_TABLE, ROUTE_PROTOCOL } from "./state.ts";
import type { ChangeStep } from "./steps.ts";

/** Any but the 0 of the kernel's own local routes. */
const LOCAL_METRIC = 1024;

/**
 * @param added addresses that earlier steps add: the kernel makes their connected routes by itself
 */
export function diffRoutes(
  desired: readonly Route[],
  observed: readonly Route[],
  owns: Ownership,
  context: { readonly links: LinkPlan; readonly added: readonly LinkAddress[] },
): ChangeStep[] {
  const { links } = context;
  const falls = ({ family, type }: Route) => family === 4 && type !== "local";
  const gone = (route: Route) =>
    route.nexthops.some((hop) => hop.link !== undefined && (links.emptied.has(hop.link) || (falls(route) && links.downed.has(hop.link))));
  const there = new Map<string, Route[]>();
  const note = (route: Route) => {
    const key = routeKey(route);
    const list = there.get(key);
    if (list) list.push(route);
    else there.set(key, [route]);
  };
  for (const route of observed) if (!gone(route)) note(route);
  for (const address of context.added) {
    const route = connectedRoute(address);
    if (route) note(route);
  }

  const wanted = new Map(desired.map((route) => [routeKey(route), route]));
  const kept = new Set<Route>();
  const deletes: ChangeStep[] = [];
  const direct: ChangeStep[] = [];
  const gatewayed: ChangeStep[] = [];
  for (const [key, route] of wanted) {
    if (route.nexthops.some((hop) => hop.link !== undefined && links.awaited.has(hop.link))) {
      // What is there already, whoever was faster, is wanted all the same.
      for (const other of there.get(key) ?? []) kept.add(other);
      continue;
    }
    const found = routeKeys(route)
      .flatMap((other) => there.get(other) ?? [])
      .find((other) => sameRoute(route, other));
    if (found) {
      kept.add(found);
      continue;
    }
    let standing = there.get(key);
    if (standing && isShadowed(route, standing)) {
      for (const other of standing) deletes.push({ kind: "route", object: key, change: { op: "delete", route: other } });
      for (const other of standing) kept.add(other);
      standing = undefined;
    }
    for (const other of standing ?? []) kept.add(other);
    // A gateway is reached over a route without one, so that must be there before.
    const list = route.nexthops.some((hop) => hop.via !== undefined) ? gatewayed : direct;
    list.push({ kind: "route", object: key, change: { op: standing ? "replace" : "add", route } });
  }
  for (const [key, list] of there) {
    for (const route of list) {
      if (route.protocol === owns.routeProtocol && !kept.has(route))
        deletes.push({ kind: "route", object: key, change: { op: "delete", route } });
    }
  }
  return [...deletes, ...direct, ...gatewayed];
}

/**
 * IPv6 refuses an onlink gateway that another device's route leads to (ip6_route_check_nh_onlink), even where that is the
 * very route to be replaced: a tunnel's gateway lies within its own destination. It must go first.
 */
function isShadowed(route: Route, standing: readonly Route[]): boolean {
  const hop = route.nexthops[0];
  if (route.family !== 6 || !hop?.onlink || hop.via === undefined) return false;
  const gateway = parseAddress(hop.via);
  if (!prefixContains(parsePrefix(route.destination), gateway)) return false;
  return standing.some((other) => other.nexthops[0]?.link !== hop.link);
}

/** The route that the kernel makes for an address (IPv4: fib_add_ifaddr; IPv6: addrconf, metric 256), beside the local one. */
export function connectedRoute(address: LinkAddress): Route | undefined {
  const prefix = parsePrefix(address.address);
  if (prefix.family === 4 && prefix.length === 32) return undefined;
  return {
    family: prefix.family,
    destination: formatPrefix(networkOf(prefix)),
    type: "unicast",
    nexthops: [{ link: address.link }],
    table: MAIN_TABLE,
    protocol: ROUTE_PROTOCOL.kernel,
    ...(prefix.family === 4
      ? { scope: "link" as const, source: address.address.slice(0, address.address.indexOf("/")) }
      : { metric: 256, scope: "global" as const }),
  };
}

/** The route by which an address is the namespace's own without standing on a device. The kernel's route for one that does stand there has another metric. */
export function localRoute(link: string, address: string): Route {
  const family = familyOf(address);
  return {
    family,
    destination: `${address}/${family === 4 ? 32 : 128}`,
    type: "local",
    nexthops: [{ link }],
    table: LOCAL_TABLE,
    protocol: ROUTE_PROTOCOL.fairlead,
    metric: LOCAL_METRIC,
    ...(family === 4 ? { scope: "host" as const } : {}),
  };
}

export function diffRules(desired: readonly RoutingRule[], observed: readonly RoutingRule[], owns: Ownership): ChangeStep[] {
  const there = new Map(observed.map((rule) => [ruleKey(rule), rule]));
  const wanted = new Map(desired.map((rule) => [ruleKey(rule), rule]));
  const steps: ChangeStep[] = [];
  for (const [key, rule] of wanted) if (!there.has(key)) steps.push({ kind: "rule", object: key, change: { op: "add", rule } });
  for (const [key, rule] of there) {
    if (rule.protocol === owns.routeProtocol && !wanted.has(key)) steps.push({ kind: "rule", object: key, change: { op: "delete", rule } });
  }
  return steps;
}
