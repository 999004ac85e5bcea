// Carrying out one LinkChange through a namespace's rtnetlink socket.
import { KernelError } from "../errors.ts";
import type { LinkChange } from "../kernel.ts";
import { ADDRESS_MESSAGE, encodeAddress } from "../netlink/address.ts";
import { encodeLink, IFF_UP, kindInfo, LINK_MESSAGE, type LinkMessage } from "../netlink/link.ts";
import { FLAG } from "../netlink/message.ts";
import { encodeFdb, encodeNeighbour, NEIGHBOUR_MESSAGE } from "../netlink/neighbour.ts";
import { encodeRoute, encodeRouteKey, ROUTE_MESSAGE } from "../netlink/route.ts";
import { encodeRule, RULE_MESSAGE } from "../netlink/rule.ts";
import type { FdbEntry, Link } from "../state.ts";
import { listFdb } from "./listing.ts";
import type { NetlinkSocket } from "./socket.ts";

const FLAGS = { add: FLAG.create | FLAG.exclusive, replace: FLAG.create | FLAG.replace, delete: 0 } as const;

/** @throws KernelError as the kernel says */
export function applyChange(socket: NetlinkSocket, change: LinkChange): void {
  const indexOf = (name: string) => socket.indexOf(name);
  if ("address" in change) {
    const { address, op } = change;
    const body = encodeAddress(address, indexOf(address.link));
    socket.request(messageOf(ADDRESS_MESSAGE, op), FLAGS[op], body, {
      operation: `${op} address`,
      subject: `${address.address} on ${address.link}`,
    });
  } else if ("route" in change) {
    const { route, op } = change;
    const body = op === "delete" ? encodeRouteKey(route) : encodeRoute(route, indexOf);
    const subject = `${route.destination} in table ${route.table}`;
    socket.request(messageOf(ROUTE_MESSAGE, op), FLAGS[op], body, { operation: `${op} route`, subject });
  } else if ("rule" in change) {
    const { rule, op } = change;
    const context = { operation: `${op} rule`, subject: `IPv${rule.family} rule ${rule.priority} to table ${rule.table}` };
    socket.request(messageOf(RULE_MESSAGE, op), FLAGS[op], encodeRule(rule), context);
  } else if ("neighbour" in change) {
    const { neighbour, op } = change;
    const body = encodeNeighbour(neighbour, indexOf(neighbour.link));
    const context = { operation: `${op} neighbour`, subject: `${neighbour.address} on ${neighbour.link}` };
    socket.request(messageOf(NEIGHBOUR_MESSAGE, op), FLAGS[op], body, context);
  } else if ("fdb" in change) {
    changeFdb(socket, change.op, change.fdb);
  } else if (change.op === "add") {
    addLink(socket, change.link);
  } else if (change.op === "set") {
    setLink(socket, change.link);
  } else {
    deleteLink(socket, change.link.name);
  }
}

/** Sets what is given of a link that exists. @throws KernelError */
export function setLink(socket: NetlinkSocket, link: Omit<Link, "kind">): void {
  const index = socket.indexOf(link.name);
  const context = { operation: "set link", subject: link.name };
  const { mtu, gsoIpv4MaxSize, mac, master, up, ifalias, hairpin } = link;
  if ([mtu, gsoIpv4MaxSize, mac, master, up, ifalias].some((given) => given !== undefined)) {
    const attributes = { mac, mtu, master: masterIndex(socket, master), ifalias, gsoIpv4MaxSize, groIpv4MaxSize: gsoIpv4MaxSize };
    const body = encodeLink({ index, ...upFlag(up), attributes });
    socket.request(LINK_MESSAGE.set, 0, body, context);
  }
  if (hairpin !== undefined) {
    const info = { slaveKind: "bridge", slaveData: { hairpin: hairpin ? 1 : 0 } };
    socket.request(LINK_MESSAGE.new, 0, encodeLink({ index, attributes: { info } }), {
      ...context,
      operation: "set hairpin of bridge port",
    });
  }
}

/** @throws KernelError ENODEV */
export function deleteLink(socket: NetlinkSocket, name: string): void {
  const index = socket.indexOf(name);
  socket.request(LINK_MESSAGE.delete, 0, encodeLink({ index, attributes: {} }), { operation: "delete link", subject: name });
}

/** The flag fields for up, down, or as it is. */
export function upFlag(up: boolean | undefined): Pick<LinkMessage, "flags" | "change"> {
  return up === undefined ? {} : { flags: up ? IFF_UP : 0, change: IFF_UP };
}

/** Index of a master; 0 releases. */
export function masterIndex(socket: NetlinkSocket, master: string | undefined): number | undefined {
  return master === undefined ? undefined : master === "" ? 0 : socket.indexOf(master);
}

function addLink(socket: NetlinkSocket, link: Link): void {
  const { name, mtu, gsoIpv4MaxSize, mac, master, up, ifalias, hairpin } = link;
  const info = kindInfo(link, (device) => socket.indexOf(device));
  // A bridge follows its ports' MTU unless its own was set after its birth.
  const lateMtu = link.kind.type === "bridge" ? mtu : undefined;
  const attributes = { name, mac, mtu: lateMtu === undefined ? mtu : undefined, master: masterIndex(socket, master || undefined), info };
  const context = { operation: `add ${link.kind.type} link`, subject: name };
  socket.request(LINK_MESSAGE.new, FLAGS.add, encodeLink({ ...upFlag(up), attributes }), context);
  const late = {
    ...(ifalias === undefined ? {} : { ifalias }),
    ...(hairpin === undefined ? {} : { hairpin }),
    ...(lateMtu === undefined ? {} : { mtu: lateMtu }),
    ...(gsoIpv4MaxSize === undefined ? {} : { gsoIpv4MaxSize }),
  };
  if (Object.keys(late).length === 0) return;
  // The kernel takes these only for links that exist. Half a link is none.
  try {
    setLink(socket, { name, ...late });
  } catch (error) {
    deleteLink(socket, name);
    throw error;
  }
}

function changeFdb(socket: NetlinkSocket, op: "add" | "replace" | "delete", entry: FdbEntry): void {
  const index = socket.indexOf(entry.link);
  const subject = `${entry.mac}${entry.destination === undefined ? "" : ` to ${entry.destination}`} on ${entry.link}`;
  const context = { operation: `${op} forwarding entry`, subject };
  let flags: number = FLAGS[op];
  if (op !== "delete" && entry.destination !== undefined && isFlooded(entry.mac)) {
    // Flooded addresses have a list of destinations: the kernel refuses to replace it, and EXCL would refuse a second one.
    const same = (other: FdbEntry) => other.link === entry.link && other.mac === entry.mac && other.destination === entry.destination;
    if (op === "add" && listFdb(socket).some(same)) throw new KernelError({ ...context, errno: "EEXIST" });
    flags = FLAG.create | FLAG.append;
  }
  socket.request(messageOf(NEIGHBOUR_MESSAGE, op), flags, encodeFdb(entry, index), context);
}

/** Whether frames to the address go to all of its destinations: multicast, or the default entry. */
function isFlooded(mac: string): boolean {
  return mac === "00:00:00:00:00:00" || (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
}

function messageOf(messages: { readonly new: number; readonly delete: number }, op: "add" | "replace" | "delete"): number {
  return op === "delete" ? messages.delete : messages.new;
}
