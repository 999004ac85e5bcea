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
  const first: LinkMessage = { ...upFlag(a.up), ...endMessage(a, placeA, masterIndex(placeA.socket, a.master || undefined)) };
  // A missing master must be known before anything is made.
  masterIndex(placeB.socket, b.master || undefined);
  const body = encodeLink({ ...first, attributes: { ...first.attributes, info: vethInfo(endMessage(b, placeB, undefined)) } });
  socket.request(LINK_MESSAGE.new, FLAG.create | FLAG.exclusive, body, { operation: "add veth pair", subject: `${a.name} and ${b.name}` });
  try {
    if (a.ifalias !== undefined) setLink(placeA.socket, { name: a.name, ifalias: a.ifalias });
    // The kernel takes no master for the second end, and cannot raise it before the pair is one (ENOTCONN).
    const late = { ...(b.master ? { master: b.master } : {}), ...(b.ifalias === undefined ? {} : { ifalias: b.ifalias }) };
    if (b.up || Object.keys(late).length > 0) setLink(placeB.socket, { name: b.name, ...late, ...(b.up ? { up: true } : {}) });
  } catch (error) {
    deleteLink(placeA.socket, a.name);
    throw error;
  }
}

function endMessage(end: VethEnd, place: Birthplace, master: number | undefined): LinkMessage {
  return { attributes: { name: end.name, mac: end.mac, mtu: end.mtu, master, namespaceFd: place.fd } };
}
