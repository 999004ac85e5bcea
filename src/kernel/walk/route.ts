// Where a namespace's routing sends a packet: rules, tables, the longest prefix, and what the namespace holds itself.
import {
  type Family,
  familyOf,
  formatPrefix,
  networkOf,
  parseAddress,
  parsePrefix,
  prefixContains,
  tryParsePrefix,
} from "../../base/index.ts";
import { type KernelState, LOCAL_TABLE, MAIN_TABLE, type Nexthop, type Route, type RoutingRule } from "../state.ts";
import type { Packet } from "./packet.ts";
import { isWithin } from "./value.ts";

export type Routing =
  | { readonly kind: "local" }
  | {
      readonly kind: "forward";
      readonly route: Route;
      readonly link: string;
      readonly via: string | undefined;
      readonly source: string | undefined;
    }
  | { readonly kind: "refused"; readonly route: Route }
  | { readonly kind: "none" };

interface Table {
  readonly family: Family;
  readonly routes: readonly { readonly route: Route; readonly prefix: ReturnType<typeof parsePrefix>; readonly metric: number }[];
}

interface Prepared {
  readonly local: ReadonlySet<string>;
  readonly tables: ReadonlyMap<string, Table>;
}

const prepared = new WeakMap<KernelState, Prepared>();
const UNSPECIFIED: Readonly<Record<Family, string>> = { 4: "0.0.0.0", 6: "::" };

/** Routes of a state by table, longest prefix first, with the connected ones that follow from its addresses. */
function prepare(state: KernelState): Prepared {
  const known = prepared.get(state);
  if (known) return known;
  const down = new Set(state.links.filter((link) => link.up === false).map(({ name }) => name));
  const local = new Set(state.addresses.map(({ address }) => address.replace(/\/.*/, "")));
  const byTable = new Map<string, Route[]>();
  const add = (route: Route) => {
    const key = `${route.family} ${route.table}`;
    const list = byTable.get(key);
    if (list) list.push(route);
    else byTable.set(key, [route]);
  };
  for (const route of state.localRoutes) {
    const prefix = tryParsePrefix(route.destination);
    // A device that is down keeps its local routes, of IPv4 (fib_sync_down_dev).
    if (!prefix || (route.family === 6 && route.nexthops.some(({ link }) => link !== undefined && down.has(link)))) continue;
    if (route.type === "local" && prefix.length === (prefix.family === 4 ? 32 : 128)) local.add(route.destination.replace(/\/.*/, ""));
    else add(route);
  }
  for (const route of state.routes) if (!route.nexthops.some(({ link }) => link !== undefined && down.has(link))) add(route);
  for (const { link, address } of state.addresses) {
    const prefix = tryParsePrefix(address);
    if (!prefix || down.has(link) || prefix.length === (prefix.family === 4 ? 32 : 128)) continue;
    const destination = formatPrefix(networkOf(prefix));
    const standing = byTable.get(`${prefix.family} ${MAIN_TABLE}`) ?? [];
    if (standing.some((route) => route.destination === destination && route.nexthops.some((hop) => hop.link === link))) continue;
    add({ family: prefix.family, destination, type: "unicast", nexthops: [{ link }], table: MAIN_TABLE, protocol: 2, scope: "link" });
  }
  const tables = new Map<string, Table>();
  for (const [key, routes] of byTable) {
    const sorted = routes.flatMap((route) => {
      const prefix = tryParsePrefix(route.destination);
      return prefix ? [{ route, prefix, metric: route.metric ?? (route.family === 6 ? 1024 : 0) }] : [];
    });
    sorted.sort((a, b) => b.prefix.length - a.prefix.length || a.metric - b.metric);
    tables.set(key, { family: key.startsWith("4") ? 4 : 6, routes: sorted });
  }
  const result = { local, tables };
  prepared.set(state, result);
  return result;
}

/** Whether what is sent to an address is for the namespace itself: its own, or one that a local route names (loopback included). */
export function isOwnAddress(state: KernelState, address: string): boolean {
  const { local, tables } = prepare(state);
  if (local.has(address) || address === "::1" || address.startsWith("127.")) return true;
  const whole = tables.get(`${familyOf(address)} ${LOCAL_TABLE}`);
  return whole !== undefined && lookup(whole, address)?.type === "local";
}

/** Routes by the packet's destination, mark and source. */
export function routePacket(state: KernelState, packet: Packet, inDevice = ""): Routing {
  if (isOwnAddress(state, packet.destination)) return { kind: "local" };
  const { tables } = prepare(state);
  for (const table of tablesFor(state, packet, inDevice)) {
    const found = lookup(tables.get(`${packet.family} ${table}`), packet.destination);
    if (!found || found.type === "throw") continue;
    if (found.type === "local") return { kind: "local" };
    if (found.type !== "unicast") return { kind: "refused", route: found };
    const hop = takeHop(found.nexthops);
    const link = hop?.link ?? linkTo(tables.get(`${packet.family} ${table}`), hop?.via);
    if (link === undefined) continue;
    return {
      kind: "forward",
      route: found,
      link,
      via: hop?.via,
      source: found.source ?? sourceOn(state, link, packet.family, hop?.via ?? packet.destination),
    };
  }
  return { kind: "none" };
}

/** Tables in the order in which rules name them; without rules, as a kernel begins: local, main, default. */
function tablesFor(state: KernelState, packet: Packet, inDevice: string): number[] {
  const rules = state.rules.filter((rule) => rule.family === packet.family && ruleApplies(rule, packet, inDevice));
  const standing = [
    { priority: 0, table: LOCAL_TABLE },
    { priority: 32_766, table: MAIN_TABLE },
    { priority: 32_767, table: 253 },
  ].filter((rule) => !rules.some((other) => other.priority === rule.priority));
  return [...rules, ...standing].sort((a, b) => a.priority - b.priority).map(({ table }) => table);
}

function ruleApplies(rule: RoutingRule, packet: Packet, inDevice: string): boolean {
  if (rule.iif !== undefined && rule.iif !== inDevice) return false;
  if (rule.from !== undefined && rule.from !== UNSPECIFIED[rule.family] && !isWithin(rule.from, packet.source)) return false;
  if (rule.to !== undefined && !isWithin(rule.to, packet.destination)) return false;
  return rule.mark === undefined || (packet.mark & (rule.markMask ?? 0xffff_ffff)) >>> 0 === rule.mark;
}

function lookup(table: Table | undefined, destination: string): Route | undefined {
  const address = parseAddress(destination);
  return table?.routes.find(({ prefix }) => prefixContains(prefix, address))?.route;
}

/** Which of several next hops a connection takes is the kernel's hash; the first stands for them. */
function takeHop(nexthops: readonly Nexthop[]): Nexthop | undefined {
  return nexthops[0];
}

function linkTo(table: Table | undefined, via: string | undefined): string | undefined {
  if (via === undefined) return undefined;
  const address = parseAddress(via);
  return table?.routes.find(({ prefix, route }) => route.nexthops[0]?.via === undefined && prefixContains(prefix, address))?.route
    .nexthops[0]?.link;
}

/** The address that a packet gets as source when it leaves by a link: one in the next hop's network, else the link's first, else any. */
export function sourceOn(state: KernelState, link: string, family: Family, toward: string): string | undefined {
  const target = parseAddress(toward);
  const own = state.addresses.filter((each) => familyOf(each.address) === family && each.scope !== "link" && each.scope !== "host");
  const onLink = own.filter((each) => each.link === link);
  const fitting = onLink.find(({ address }) => prefixContains(networkOf(parsePrefix(address)), target)) ?? onLink[0] ?? own[0];
  return fitting?.address.replace(/\/.*/, "");
}
