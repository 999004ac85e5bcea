// Reading back what a namespace holds, one dump per kind.
import type { Family } from "../../base/index.ts";
import { isErrno } from "../errors.ts";
import { ADDRESS_MESSAGE, addressDump, decodeAddress } from "../netlink/address.ts";
import { familyNumber } from "../netlink/family.ts";
import { decodeLink, encodeLink, LINK_MESSAGE, linkOf, SKIP_STATISTICS } from "../netlink/link.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { decodeFdb, decodeNeighbour, NEIGHBOUR_MESSAGE, neighbourDump } from "../netlink/neighbour.ts";
import { decodeRoute, ROUTE_MESSAGE, routeDump } from "../netlink/route.ts";
import { decodeRule, RULE_MESSAGE, ruleDump } from "../netlink/rule.ts";
import {
  type FdbEntry,
  type Link,
  type LinkAddress,
  LOCAL_TABLE,
  type Neighbour,
  ROUTE_PROTOCOL,
  type Route,
  type RoutingRule,
} from "../state.ts";
import type { NetlinkSocket } from "./socket.ts";

/** rtm_table and rtm_protocol of struct rtmsg. */
const TABLE_BYTE = 4;
const PROTOCOL_BYTE = 5;
const FAMILIES: readonly Family[] = [4, 6];

export function listLinks(socket: NetlinkSocket): Link[] {
  const body = encodeLink({ attributes: { extMask: SKIP_STATISTICS } });
  const messages = socket.dump(LINK_MESSAGE.get, body, (message) => decodeLink(message.body.slice()), { operation: "list links" });
  const names = new Map(messages.map((message) => [message.index, message.attributes.name ?? ""]));
  return messages.map((message) => linkOf(message, (index) => names.get(index) ?? `if${index}`));
}

export function listAddresses(socket: NetlinkSocket): LinkAddress[] {
  const nameOf = namesOf(socket);
  return eachFamily(socket, ADDRESS_MESSAGE.get, addressDump, "list addresses", ({ body }) => decodeAddress(body, nameOf));
}

export function listRoutes(socket: NetlinkSocket, options: { readonly family?: Family; readonly table?: number } = {}): Route[] {
  const nameOf = namesOf(socket);
  const { table } = options;
  const wanted = (route: Route | undefined) => (route && (table === undefined || route.table === table) ? route : undefined);
  const families = options.family === undefined ? FAMILIES : [options.family];
  const dump = (family: Family) => routeDump(family, table);
  // With Services by IPVS, local routes are many: they are told by their header.
  const take = ({ body }: NetlinkMessage) =>
    table === undefined && body[TABLE_BYTE] === LOCAL_TABLE ? undefined : wanted(decodeRoute(body, nameOf));
  return eachFamily(socket, ROUTE_MESSAGE.get, dump, "list routes", take, families);
}

export function listLocalRoutes(socket: NetlinkSocket): Route[] {
  const nameOf = namesOf(socket);
  const take = ({ body }: NetlinkMessage) => (body[PROTOCOL_BYTE] === ROUTE_PROTOCOL.kernel ? undefined : decodeRoute(body, nameOf));
  return eachFamily(socket, ROUTE_MESSAGE.get, (family) => routeDump(family, LOCAL_TABLE), "list local routes", take);
}

export function listRules(socket: NetlinkSocket): RoutingRule[] {
  return eachFamily(socket, RULE_MESSAGE.get, ruleDump, "list rules", ({ body }) => decodeRule(body));
}

export function listNeighbours(socket: NetlinkSocket): Neighbour[] {
  const nameOf = namesOf(socket);
  return eachFamily(socket, NEIGHBOUR_MESSAGE.get, neighbourDump, "list neighbours", ({ body }) => decodeNeighbour(body, nameOf));
}

/** Entries of bridges, and of VXLAN devices' own tables. What other devices list is the multicast they listen to, not forwarding. */
export function listFdb(socket: NetlinkSocket): FdbEntry[] {
  const tunnels = new Set(listLinks(socket).flatMap((link) => (link.kind.type === "vxlan" ? [link.name] : [])));
  const nameOf = namesOf(socket);
  const take = ({ body }: NetlinkMessage) => {
    const entry = decodeFdb(body, nameOf);
    return entry && (entry.table === "master" || tunnels.has(entry.link)) ? entry : undefined;
  };
  return socket.dump(NEIGHBOUR_MESSAGE.get, neighbourDump("bridge"), take, { operation: "list forwarding entries" });
}

/** Names by index, asked for once each. */
function namesOf(socket: NetlinkSocket): (index: number) => string {
  const names = new Map<number, string>();
  return (index) => {
    let name = names.get(index);
    if (name === undefined) {
      name = socket.nameOf(index);
      names.set(index, name);
    }
    return name;
  };
}

function eachFamily<T>(
  socket: NetlinkSocket,
  type: number,
  body: (family: Family) => Uint8Array,
  operation: string,
  take: (message: NetlinkMessage) => T | undefined,
  families: readonly Family[] = FAMILIES,
): T[] {
  return families.flatMap((family) => {
    // Where a family is not built in, the kernel may answer with another one's objects.
    const own = (message: NetlinkMessage) => (message.body[0] === familyNumber(family) ? take(message) : undefined);
    try {
      return socket.dump(type, body(family), own, { operation });
    } catch (error) {
      // No such family here, or no such table (yet).
      if (isErrno(error, "EAFNOSUPPORT", "EOPNOTSUPP", "ENOENT")) return [];
      throw error;
    }
  });
}
