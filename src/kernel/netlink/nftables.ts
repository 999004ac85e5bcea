// The tables of nftables over nfnetlink (linux/netfilter/nf_tables.h). Chains and rules go through libnftables, elements by nft-elements.ts.
import type { NftFamily } from "../netfilter.ts";
import { decodeAttributes } from "./attribute.ts";

/** NFNL_SUBSYS_NFTABLES. */
export const NFT_SUBSYSTEM = 10;

/** Message types: the subsystem's number in the upper byte. */
export const NFT_MESSAGE = { newTable: 0xa00, getTable: 0xa01 } as const;

const FAMILIES: Readonly<Record<number, NftFamily>> = { 1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6" };
/** struct nfgenmsg: family, version, resource. */
const HEADER = 4;
const TABLE = { name: [1, "string"] } as const;

/** Asks for the tables of all families. */
export function tableDump(): Uint8Array {
  return new Uint8Array(HEADER);
}

/** Family and name of one table; undefined for a family that is not known here. */
export function decodeTable(body: Uint8Array): { readonly family: NftFamily; readonly name: string } | undefined {
  const family = FAMILIES[body[0] ?? 0];
  const { name } = decodeAttributes(TABLE, body.subarray(HEADER));
  return family === undefined || name === undefined ? undefined : { family, name };
}
