// The keys of kernel objects as text, and equality of what the desired object names: absent fields are not compared.
import type { FdbEntry, IptablesTable, LinkAddress, Neighbour, Route, RoutingRule } from "./state.ts";

export const addressKey = (address: LinkAddress): string => `${address.link} ${address.address}`;
export const neighbourKey = (neighbour: Neighbour): string => `${neighbour.link} ${neighbour.address}`;
export const fdbMacKey = (entry: FdbEntry): string => `${entry.link} ${entry.mac} ${entry.table}`;
export const fdbKey = (entry: FdbEntry): string => `${entry.link} ${entry.mac} ${entry.destination ?? "-"} ${entry.table}`;

export const iptablesKey = (table: IptablesTable): string => `${table.family === 4 ? "ip" : "ip6"} ${table.name}`;

/** The metric that the kernel gives an IPv6 route made without one (IP6_RT_PRIO_USER). */
const IPV6_METRIC = 1024;
/** The metric of the kernel's own IPv6 routes (IP6_RT_PRIO_ADDRCONF). */
const IPV6_KERNEL_METRIC = 256;

export const metricOf = (route: Route): number => route.metric ?? (route.family === 6 ? IPV6_METRIC : 0);

export const routeKey = (route: Route, metric = metricOf(route)): string => `${route.table} ${route.destination} ${metric}`;

/** Keys under which a route counts as the desired one: without a metric, the kernel's connected IPv6 route does too. */
export function routeKeys(route: Route): readonly string[] {
  const key = routeKey(route);
  return route.family === 6 && route.metric === undefined ? [key, routeKey(route, IPV6_KERNEL_METRIC)] : [key];
}

export function ruleKey(rule: RoutingRule): string {
  const mark = rule.mark === undefined ? "-" : `${rule.mark}/${rule.markMask ?? 0xffffffff}`;
  return `${rule.family} ${rule.priority} ${rule.table} ${rule.from ?? "-"} ${rule.to ?? "-"} ${mark} ${rule.iif ?? "-"}`;
}

/** Whether `observed` is what `desired` asks for; the protocol number is not compared. */
export function sameRoute(desired: Route, observed: Route): boolean {
  if (desired.type !== observed.type) return false;
  if (desired.source !== undefined && desired.source !== observed.source) return false;
  if (desired.mtu !== undefined && desired.mtu !== observed.mtu) return false;
  if (desired.scope !== undefined && observed.scope !== undefined && desired.family === 4 && desired.scope !== observed.scope) return false;
  // IPv6 names "lo" as the device of a blackhole; nobody asked for it.
  if (desired.type !== "unicast" && desired.type !== "local") return true;
  if (desired.nexthops.length !== observed.nexthops.length) return false;
  const rest = [...observed.nexthops];
  for (const hop of desired.nexthops) {
    const at = rest.findIndex(
      (other) =>
        hop.via === other.via &&
        (hop.link === undefined || hop.link === other.link) &&
        (hop.onlink !== true || other.onlink === true) &&
        (hop.weight ?? 1) === (other.weight ?? 1),
    );
    if (at < 0) return false;
    rest.splice(at, 1);
  }
  return true;
}

/** fe80::/10: the kernel makes and keeps these by itself. */
export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address);
}

/** The interface that a sysctl is about ("net.ipv4.conf.flannel/1.rp_filter" → "flannel.1"); undefined for all, default and global keys. */
export function interfaceOfSysctl(key: string): string | undefined {
  const parts = key.split(".");
  const name = parts[0] === "net" && (parts[2] === "conf" || parts[2] === "neigh") ? parts[3] : undefined;
  return name === undefined || name === "all" || name === "default" ? undefined : name.replaceAll("/", ".");
}

/** Sysctls with several numbers are read with tabs and written with spaces. */
export const sameSysctl = (a: string, b: string | undefined): boolean =>
  b !== undefined && a.trim().replace(/\s+/g, " ") === b.trim().replace(/\s+/g, " ");

/** An interface name as it stands in a sysctl key: a dot is written as a slash. */
export const sysctlName = (link: string): string => link.replaceAll(".", "/");
