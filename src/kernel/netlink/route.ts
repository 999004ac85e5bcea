// RTM_*ROUTE: routes with one or more next hops (linux/rtnetlink.h).
import { addressFromBytes, type Family, familyOf, formatAddress, parsePrefix } from "../../base/index.ts";
import type { Nexthop, Route } from "../state.ts";
import {
  type AttributeValues,
  align,
  concatBytes,
  decodeAttributes,
  encodeAttributes,
  readU16,
  readU32,
  writeU16,
  writeU32,
} from "./attribute.ts";
import { familyFromNumber, familyNumber, SCOPE, scopeName } from "./family.ts";

/** Message types. */
export const ROUTE_MESSAGE = { new: 24, delete: 25, get: 26 } as const;

const METRICS = { mtu: [2, "u32"] } as const;

const ROUTE = {
  destination: [1, "address"],
  link: [4, "u32"],
  gateway: [5, "address"],
  priority: [6, "u32"],
  source: [7, "address"],
  metrics: [8, METRICS],
  multipath: [9, "bytes"],
  table: [15, "u32"],
  via: [18, "bytes"],
} as const;

type RouteAttributes = AttributeValues<typeof ROUTE>;

/** rtm_type by name. */
const TYPES = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
} as const;
const TYPE_NAMES: ReadonlyMap<number, Route["type"]> = new Map(
  Object.entries(TYPES).map(([name, number]) => [number, name as Route["type"]]),
);

const HEADER = 12;
const NEXTHOP_HEADER = 8;
const ONLINK = 4;
/** RTM_F_CLONED: a cache entry, not a route. */
const CLONED = 0x200;
/** What the kernel gives an IPv6 route without a metric (IP6_RT_PRIO_USER). */
const DEFAULT_METRIC_6 = 1024;

/** A route to add or replace. @throws FairleadError `bad-prefix`, `bad-address` */
export function encodeRoute(route: Route, indexOf: (name: string) => number): Uint8Array {
  const single = route.nexthops.length === 1 ? route.nexthops[0] : undefined;
  return concatBytes([
    routeHeader(route, { scope: scopeOf(route), type: TYPES[route.type], protocol: route.protocol, flags: single?.onlink ? ONLINK : 0 }),
    encodeAttributes(ROUTE, {
      ...keyAttributes(route),
      source: route.source,
      metrics: route.mtu === undefined ? undefined : { mtu: route.mtu },
      ...(single ? hopAttributes(single, route.family, indexOf) : {}),
      ...(route.nexthops.length > 1 ? { multipath: encodeMultipath(route, indexOf) } : {}),
    }),
  ]);
}

/**
 * A route to delete, by its key. The kernel takes a missing metric as "any" and deletes the lowest: for IPv6 its default
 * stands for it; for IPv4, where the default is 0 and cannot be asked for, the protocol narrows it down.
 */
export function encodeRouteKey(route: Route): Uint8Array {
  const metric = route.metric ?? (route.family === 6 ? DEFAULT_METRIC_6 : 0);
  return concatBytes([
    routeHeader(route, { scope: SCOPE.nowhere, type: 0, protocol: metric === 0 ? route.protocol : 0, flags: 0 }),
    encodeAttributes(ROUTE, { ...keyAttributes(route), priority: metric === 0 ? undefined : metric }),
  ]);
}

/** The body of a dump, of one table if given. */
export function routeDump(family: Family, table: number | undefined): Uint8Array {
  const header = new Uint8Array(HEADER);
  header[0] = familyNumber(family);
  return concatBytes([header, encodeAttributes(ROUTE, { table })]);
}

/** Undefined for what is no route of an Internet family (too short, cached, a type of the future). */
export function decodeRoute(body: Uint8Array, nameOf: (index: number) => string): Route | undefined {
  if (body.length < HEADER) return undefined;
  const family = familyFromNumber(body[0] ?? 0);
  const type = TYPE_NAMES.get(body[7] ?? 0);
  const flags = readU32(body, 8);
  if (family === undefined || type === undefined || flags & CLONED) return undefined;
  const attributes = decodeAttributes(ROUTE, body.subarray(HEADER));
  const destination = attributes.destination ?? (family === 4 ? "0.0.0.0" : "::");
  const mtu = attributes.metrics?.mtu;
  return {
    family,
    destination: `${destination}/${body[1] ?? 0}`,
    type,
    nexthops: refuses(type) ? [] : hopsOf(attributes, flags, nameOf),
    table: attributes.table ?? body[4] ?? 0,
    protocol: body[5] ?? 0,
    ...(attributes.priority ? { metric: attributes.priority } : {}),
    ...(family === 4 ? { scope: scopeName(body[6] ?? 0) } : {}),
    ...(attributes.source === undefined ? {} : { source: attributes.source }),
    ...(mtu ? { mtu } : {}),
  };
}

function routeHeader(route: Route, parts: { scope: number; type: number; protocol: number; flags: number }): Uint8Array {
  const header = new Uint8Array(HEADER);
  header[0] = familyNumber(route.family);
  header[1] = parsePrefix(route.destination).length;
  header[4] = route.table < 256 ? route.table : 0;
  header[5] = parts.protocol;
  header[6] = parts.scope;
  header[7] = parts.type;
  writeU32(header, 8, parts.flags);
  return header;
}

function keyAttributes(route: Route): RouteAttributes {
  const { length } = parsePrefix(route.destination);
  return {
    destination: length === 0 ? undefined : route.destination.slice(0, route.destination.indexOf("/")),
    table: route.table,
    priority: route.metric || undefined,
  };
}

/** The scope that iproute2 would give: a route straight to a link reaches no further than it. IPv6 knows no scopes. */
function scopeOf(route: Route): number {
  if (route.scope !== undefined) return SCOPE[route.scope];
  if (route.family === 6) return SCOPE.global;
  if (route.type === "local") return SCOPE.host;
  if (route.type === "broadcast" || route.type === "multicast" || route.type === "anycast") return SCOPE.link;
  return route.type === "unicast" && route.nexthops.every((hop) => hop.via === undefined) ? SCOPE.link : SCOPE.global;
}

function refuses(type: Route["type"]): boolean {
  return type === "blackhole" || type === "unreachable" || type === "prohibit" || type === "throw";
}

function hopAttributes(hop: Nexthop, family: Family, indexOf: (name: string) => number): RouteAttributes {
  const link = hop.link === undefined ? {} : { link: indexOf(hop.link) };
  if (hop.via === undefined) return link;
  const viaFamily = familyOf(hop.via);
  if (viaFamily === family) return { ...link, gateway: hop.via };
  const address = encodeAttributes(ROUTE, { gateway: hop.via }).subarray(4);
  return { ...link, via: concatBytes([Uint8Array.of(familyNumber(viaFamily), 0), address]) };
}

function encodeMultipath(route: Route, indexOf: (name: string) => number): Uint8Array {
  return concatBytes(
    route.nexthops.map((hop) => {
      const { link = 0, ...gateway } = hopAttributes(hop, route.family, indexOf);
      const attributes = encodeAttributes(ROUTE, gateway);
      const header = new Uint8Array(NEXTHOP_HEADER);
      writeU16(header, 0, NEXTHOP_HEADER + attributes.length);
      header[2] = hop.onlink ? ONLINK : 0;
      header[3] = (hop.weight ?? 1) - 1;
      writeU32(header, 4, link);
      return concatBytes([header, attributes]);
    }),
  );
}

function hopsOf(attributes: RouteAttributes, flags: number, nameOf: (index: number) => string): Nexthop[] {
  if (attributes.multipath) return decodeMultipath(attributes.multipath, nameOf);
  const hop = hopOf(attributes, attributes.link ?? 0, flags, nameOf);
  return Object.keys(hop).length === 0 ? [] : [hop];
}

function decodeMultipath(bytes: Uint8Array, nameOf: (index: number) => string): Nexthop[] {
  const hops: Nexthop[] = [];
  for (let at = 0; at + NEXTHOP_HEADER <= bytes.length; ) {
    const length = readU16(bytes, at);
    if (length < NEXTHOP_HEADER || at + length > bytes.length) break;
    const attributes = decodeAttributes(ROUTE, bytes.subarray(at + NEXTHOP_HEADER, at + length));
    hops.push({ ...hopOf(attributes, readU32(bytes, at + 4), bytes[at + 2] ?? 0, nameOf), weight: (bytes[at + 3] ?? 0) + 1 });
    at += align(length);
  }
  return hops;
}

function hopOf(attributes: RouteAttributes, link: number, flags: number, nameOf: (index: number) => string): Nexthop {
  const via = attributes.gateway ?? viaOf(attributes.via);
  return {
    ...(via === undefined ? {} : { via }),
    ...(link ? { link: nameOf(link) } : {}),
    ...(flags & ONLINK ? { onlink: true } : {}),
  };
}

/** struct rtvia: a gateway of the other family. */
function viaOf(bytes: Uint8Array | undefined): string | undefined {
  if (!bytes || familyFromNumber(readU16(bytes, 0)) === undefined) return undefined;
  const address = bytes.subarray(2);
  return address.length === 4 || address.length === 16 ? formatAddress(addressFromBytes(address)) : undefined;
}
