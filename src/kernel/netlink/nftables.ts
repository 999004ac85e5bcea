// The tables of nftables over nfnetlink (linux/netfilter/nf_tables.h). Chains and rules go through libnftables, elements by nft-elements.ts.
import type { NftFamily } from "../netfilter.ts";
import { decodeAttributes } from "./attribute.ts";

/** NFNL_SUBSYS_NFTABLES. */
export const NFT_SUBSYSTEM = 10;

/** Message types: the subsystem's number in the upper byte. */
export const NFT_MESSAGE = { newTable: 0xa00, getTable: 0xa01, newElements: 0xa0c, deleteElements: 0xa0e } as const;

/** NFPROTO_* (linux/netfilter.h). */
export const NFT_FAMILY: Readonly<Record<NftFamily, number>> = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 };
const FAMILIES = new Map(Object.entries(NFT_FAMILY).map(([name, number]) => [number, name as NftFamily]));
/** struct nfgenmsg: family, version, resource. */
const HEADER = 4;
const TABLE = { name: [1, "string"] } as const;

/** Asks for the tables of all families. */
export function tableDump(): Uint8Array {
  return new Uint8Array(HEADER);
}

/** Family and name of one table; undefined for a family that is not known here. */
export function decodeTable(body: Uint8Array): { readonly family: NftFamily; readonly name: string } | undefined {
  const family = FAMILIES.get(body[0] ?? 0);
  const { name } = decodeAttributes(TABLE, body.subarray(HEADER));
  return family === undefined || name === undefined ? undefined : { family, name };
}
