// What the kernel announces to multicast groups, as topics of change.
import { isIptablesTable } from "../iptables/save.ts";
import type { WatchTopic } from "../kernel.ts";
import { LOCAL_TABLE, ROUTE_PROTOCOL } from "../state.ts";
import { ADDRESS_MESSAGE, decodeAddress } from "./address.ts";
import { decodeAttributes, readU32 } from "./attribute.ts";
import { AF_BRIDGE } from "./family.ts";
import { decodeLink, LINK_MESSAGE, linkOf } from "./link.ts";
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
  local: { multicast: 0, groups: [7, 11] },
  rule: { multicast: 0, groups: [8, 19] },
  netconf: { multicast: 0, groups: [24, 25] },
  nft: { multicast: 12, groups: [7] },
  iptables: { multicast: 12, groups: [7] },
};

export interface Announcement {
  readonly topic: WatchTopic;
  /** Index of the link it is about. */
  readonly link?: number;
  /** The link itself has gone. */
  readonly gone?: true;
  /** What the event says of an object, as far as it is configuration: an event that says the same again is no change. */
  readonly configuration?: { readonly key: string; readonly value: string | undefined };
  /** nft: who made the transaction, numbered as in the initial pid namespace. */
  readonly processId?: number | undefined;
  readonly processName?: string | undefined;
}

const NEW_NETCONF = 80;
const DELETE_NETCONF = 81;
/** NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN: ends every transaction. */
const NEW_GENERATION = 0x0a0f;
/** NFT_MSG_NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE: what stands before the end of a transaction. */
const OF_TABLES: ReadonlySet<number> = new Set([0, 2, 3, 5, 6, 8].map((type) => 0x0a00 | type));
const TABLE = { name: [1, "string"] } as const;
const GENERATION = { processId: [2, "be32"], processName: [3, "string"] } as const;
const NETCONF = { link: [1, "u32"] } as const;
/** IFA_PROTO and IFAPROT_KERNEL_LL (linux/if_addr.h, Linux 5.18). */
const ADDRESS_ORIGIN = { protocol: [11, "u8"] } as const;
const LINK_LOCAL_BY_KERNEL = 3;

/** Whether a message tells of a change in a table of iptables, or in another; undefined where it tells of neither. */
export function tableTopic({ type, body }: NetlinkMessage): "nft" | "iptables" | undefined {
  if (type >> 8 !== 0x0a || type === NEW_GENERATION) return undefined;
  const family = body[0] === 2 ? "ip" : body[0] === 10 ? "ip6" : "";
  const { name = "" } = OF_TABLES.has(type) ? decodeAttributes(TABLE, body.subarray(4)) : {};
  return isIptablesTable({ family, name }) ? "iptables" : "nft";
}

/** Undefined for what is no change of configuration. */
export function announcementOf(multicast: Multicast, message: NetlinkMessage): Announcement | undefined {
  const { type, body } = message;
  if (multicast === 12) {
    return type === NEW_GENERATION ? { topic: "nft", ...decodeAttributes(GENERATION, body.subarray(4)) } : undefined;
  }
  switch (type) {
    case LINK_MESSAGE.new:
    case LINK_MESSAGE.delete:
      return linkAnnouncement(type, body);
    case ADDRESS_MESSAGE.new:
    case ADDRESS_MESSAGE.delete:
      return addressAnnouncement(type, body);
    case ROUTE_MESSAGE.new:
    case ROUTE_MESSAGE.delete:
      // Routes that the kernel derives from an address say nothing that the address's own event does not.
      return message.port === 0 && body[5] === ROUTE_PROTOCOL.kernel ? undefined : { topic: body[4] === LOCAL_TABLE ? "local" : "route" };
    case RULE_MESSAGE.new:
    case RULE_MESSAGE.delete:
      return { topic: "rule" };
    case NEIGHBOUR_MESSAGE.new:
    case NEIGHBOUR_MESSAGE.delete:
      return isNeighbourDynamics(type, message.port, body) ? undefined : { topic: "neighbour", link: readU32(body, 4) };
    case NEW_NETCONF:
    case DELETE_NETCONF: {
      const { link } = decodeAttributes(NETCONF, body.subarray(4));
      return { topic: "netconf", ...(link === undefined ? {} : { link }) };
    }
    default:
      return undefined;
  }
}

/** A link speaks up for its carrier and counters, too; and a bridge tells of its ports once more, in its own family. */
function linkAnnouncement(type: number, body: Uint8Array): Announcement | undefined {
  const message = decodeLink(body);
  if (!message) return undefined;
  const { index } = message;
  const key = `link ${index} ${message.family}`;
  if (message.family === AF_BRIDGE) {
    if (type === LINK_MESSAGE.delete) return undefined;
    const { port, master } = message.attributes;
    return { topic: "link", link: index, configuration: { key, value: JSON.stringify([port?.hairpin, master]) } };
  }
  const value = type === LINK_MESSAGE.delete ? undefined : JSON.stringify(linkOf(message, String));
  return { topic: "link", link: index, configuration: { key, value }, ...(value === undefined ? { gone: true } : {}) };
}

/** An address is announced again when duplicate detection ends; link-local ones come by themselves. */
function addressAnnouncement(type: number, body: Uint8Array): Announcement | undefined {
  const address = decodeAddress(body, String);
  if (!address) return undefined;
  const { protocol } = decodeAttributes(ADDRESS_ORIGIN, body.subarray(8));
  if (type === ADDRESS_MESSAGE.new && protocol === LINK_LOCAL_BY_KERNEL) return undefined;
  const value = type === ADDRESS_MESSAGE.delete ? undefined : address.scope;
  return { topic: "address", link: readU32(body, 4), configuration: { key: `address ${address.link} ${address.address}`, value } };
}
