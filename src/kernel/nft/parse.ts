// Reads a table back from `nft list table`: nft's own text says everything, its JSON of version 1.0.6 leaves things out.
import { FakeNftables } from "../fake/nftables.ts";
import type { NftFamily, NftTable } from "../netfilter.ts";
import { canonicalTable } from "./canonical.ts";

/** The table in a listing (`nft -y -s list table`), in the same canonical form that `canonicalTable` gives; undefined if it is not in there. */
export function parseTable(listing: string, family: NftFamily, name: string): NftTable | undefined {
  const memory = new FakeNftables({ lenient: true });
  memory.run(listing);
  const table = memory.readTable(family, name);
  return table ? canonicalTable(table) : undefined;
}

/** The tables that `nft list tables` names. */
export function parseTableList(listing: string): { family: NftFamily; name: string }[] {
  return [...listing.matchAll(/^table (\S+) (\S+)$/gm)].map(([, family, name]) => ({ family: family as NftFamily, name: name ?? "" }));
}
