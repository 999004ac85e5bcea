// Making a veth pair in one request, each end born where it is to live.
import type { VethEnd } from "../kernel.ts";
import { encodeLink, LINK_MESSAGE, type LinkMessage, vethInfo } from "../netlink/link.ts";
import { FLAG } from "../netlink/message.ts";
import { deleteLink, masterIndex, setLink, upFlag } from "./change.ts";
import type { NetlinkSocket } from "./socket.ts";

/** Where an end is born: its namespace's socket, and the descriptor of that namespace unless it is the request's own. */
export interface Birthplace {
  readonly socket: NetlinkSocket;
  readonly fd?: number | undefined;
}

/** @throws KernelError EEXIST, ENODEV for a missing master, EINVAL; then neither end is left */
export function makeVethPair(socket: NetlinkSocket, a: VethEnd, placeA: Birthplace, b: VethEnd, placeB: Birthplace): void {
  // The kernel takes a master for the first end only.
  if (b.master && !a.master) {
    makeVethPair(socket, b, placeB, a, placeA);
    return;
  }
  const peer = endMessage(b, placeB, undefined);
  const first = endMessage(a, placeA, masterIndex(placeA.socket, a.master || undefined));
  const lateMaster = masterIndex(placeB.socket, b.master || undefined) === undefined ? {} : { master: b.master as string };
  const body = encodeLink({ ...first, attributes: { ...first.attributes, info: vethInfo(peer) } });
  socket.request(LINK_MESSAGE.new, FLAG.create | FLAG.exclusive, body, { operation: "add veth pair", subject: `${a.name} and ${b.name}` });
  try {
    if (a.ifalias !== undefined) setLink(placeA.socket, { name: a.name, ifalias: a.ifalias });
    if (b.ifalias !== undefined || b.master) {
      setLink(placeB.socket, { name: b.name, ...lateMaster, ...(b.ifalias === undefined ? {} : { ifalias: b.ifalias }) });
    }
  } catch (error) {
    deleteLink(placeA.socket, a.name);
    throw error;
  }
}

function endMessage(end: VethEnd, place: Birthplace, master: number | undefined): LinkMessage {
  return { ...upFlag(end.up), attributes: { name: end.name, mac: end.mac, mtu: end.mtu, master, namespaceFd: place.fd } };
}
