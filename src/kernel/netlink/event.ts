// What the kernel announces to multicast groups, as topics of change.
import type { WatchTopic } from "../kernel.ts";
import { ADDRESS_MESSAGE } from "./address.ts";
import { decodeAttributes, readU32 } from "./attribute.ts";
import { LINK_MESSAGE } from "./link.ts";
import type { NetlinkMessage } from "./message.ts";
import { isNeighbourDynamics, NEIGHBOUR_MESSAGE } from "./neighbour.ts";
import { ROUTE_MESSAGE } from "./route.ts";
import { RULE_MESSAGE } from "./rule.ts";

/** Netlink protocol that a group belongs to: NETLINK_ROUTE or NETLINK_NETFILTER. */
export type Multicast = 0 | 12;

/** Where each topic is announced: RTNLGRP_* of linux/rtnetlink.h and NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h. */
export const ANNOUNCERS: Readonly<Record<WatchTopic, { readonly multicast: Multicast; readonly groups: readonly number[] }>> = {
  link: { multicast: 0, groups: [1] },
  neighbour: { multicast: 0, groups: [3] },
  address: { multicast: 0, groups: [5, 9] },
  route: { multicast: 0, groups: [7, 11] },
  rule: { multicast: 0, groups: [8, 19] },
  netconf: { multicast: 0, groups: [24, 25] },
  nft: { multicast: 12, groups: [7] },
};

export interface Announcement {
  readonly topic: WatchTopic;
  /** Index of the link it is about. */
  readonly link?: number;
  /** nft: who made the transaction, numbered as in the initial pid namespace. */
  readonly processId?: number | undefined;
  readonly processName?: string | undefined;
}

const NEW_NETCONF = 80;
const DELETE_NETCONF = 81;
/** NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN: ends every transaction. */
const NEW_GENERATION = 0x0a0f;
const GENERATION = { processId: [2, "be32"], processName: [3, "string"] } as const;
const AF_BRIDGE = 7;

/** Undefined for what is no change of configuration. */
export function announcementOf(multicast: Multicast, message: NetlinkMessage): Announcement | undefined {
  const { type, body } = message;
  if (multicast === 12) {
    return type === NEW_GENERATION ? { topic: "nft", ...decodeAttributes(GENERATION, body.subarray(4)) } : undefined;
  }
  switch (type) {
    case LINK_MESSAGE.new:
    case LINK_MESSAGE.delete:
      // A bridge tells of its ports once more, in its own family.
      return body[0] === AF_BRIDGE && type === LINK_MESSAGE.delete ? undefined : { topic: "link", link: readU32(body, 4) };
    case ADDRESS_MESSAGE.new:
    case ADDRESS_MESSAGE.delete:
      return { topic: "address", link: readU32(body, 4) };
    case ROUTE_MESSAGE.new:
    case ROUTE_MESSAGE.delete:
      return { topic: "route" };
    case RULE_MESSAGE.new:
    case RULE_MESSAGE.delete:
      return { topic: "rule" };
    case NEIGHBOUR_MESSAGE.new:
    case NEIGHBOUR_MESSAGE.delete:
      return isNeighbourDynamics(type, message.port, body) ? undefined : { topic: "neighbour", link: readU32(body, 4) };
    case NEW_NETCONF:
    case DELETE_NETCONF:
      return { topic: "netconf" };
    default:
      return undefined;
  }
}
