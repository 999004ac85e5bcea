// Tables of iptables that were made from others by a few changes: whoever compares the two need not look at all chains.
import type { IptablesChain, IptablesTable } from "../state.ts";

export interface ChainChanges {
  /** Chains that are new or have other rules, each behind those that it jumps to. Never the kernel's own. */
  readonly chains: readonly IptablesChain[];
  /** Names of chains that are there no more. */
  readonly gone: readonly string[];
  /** Of long loose chains: rules that came and went. The last one stays. */
  readonly edits: readonly { readonly chain: string; readonly added: readonly string[]; readonly removed: readonly string[] }[];
}

const origins = new WeakMap<IptablesTable, ChainChanges & { readonly from: WeakRef<IptablesTable> }>();

/** A table that is another with these changes. `chains` is called when somebody wants to see them all, which a change of a large table seldom asks for. */
export function deriveIptables(from: IptablesTable, chains: () => readonly IptablesChain[], changes: ChainChanges): IptablesTable {
  const made = lazyTable(from, chains);
  origins.set(made, { ...changes, from: new WeakRef(from) });
  return made;
}

/** What makes `table` of `from`; undefined if it was not derived from that one. */
export function chainChanges(table: IptablesTable, from: IptablesTable): ChainChanges | undefined {
  const origin = origins.get(table);
  return origin?.from.deref() === from ? origin : undefined;
}

/** A table whose chains are listed at the first call. */
export function lazyTable({ family, name }: Omit<IptablesTable, "chains">, chains: () => readonly IptablesChain[]): IptablesTable {
  let listed: readonly IptablesChain[] | undefined;
  const get = () => {
    listed ??= chains();
    return listed;
  };
  return Object.defineProperty({ family, name }, "chains", { enumerable: true, get }) as IptablesTable;
}
