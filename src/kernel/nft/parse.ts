// Reads a table back from `nft list table`: nft's own text says everything, its JSON of version 1.0.6 leaves things out.
import { FakeNftables } from "../fake/nftables.ts";
import type { NftFamily, NftSet, NftTable } from "../netfilter.ts";
import { canonicalTable, protocolName } from "./canonical.ts";

/** The table in a listing (`nft -y -s list table`), in the same canonical form that `canonicalTable` gives; undefined if it is not in there. */
export function parseTable(listing: string, family: NftFamily, name: string): NftTable | undefined {
  const memory = new FakeNftables({ lenient: true });
  memory.run(listing);
  const table = memory.readTable(family, name);
  return table ? canonicalTable({ ...table, sets: table.sets.map(namedProtocols) }) : undefined;
}

/** A host without /etc/protocols lists protocols as numbers. */
function namedProtocols(set: NftSet): NftSet {
  const at = set.key.indexOf("inet_proto");
  if (at < 0 || !set.elements.some(({ key }) => /^\d+$/.test(key[at] ?? ""))) return set;
  return {
    ...set,
    elements: set.elements.map((element) => ({ ...element, key: element.key.with(at, protocolName(element.key[at] ?? "")) })),
  };
}
