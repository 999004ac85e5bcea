// Sets that were made from others by a few changes: whoever compares the two need not look at all elements.
import type { NftElement, NftSet } from "../netfilter.ts";

export interface ElementChanges {
  readonly added: readonly NftElement[];
  readonly removed: readonly NftElement[];
}

const origins = new WeakMap<NftSet, ElementChanges & { readonly from: WeakRef<NftSet> }>();

/**
 * A set with other elements: those of `from` without the removed and with the added ones, in whatever order. `elements` is
 * called when somebody wants to see them all, which a change of a large set seldom asks for.
 */
export function deriveSet(from: NftSet, elements: () => readonly NftElement[], changes: ElementChanges): NftSet {
  const head = Object.fromEntries(Object.keys(from).flatMap((key) => (key === "elements" ? [] : [[key, from[key as keyof NftSet]]])));
  const made = Object.defineProperty(head, "elements", { enumerable: true, get: elements }) as unknown as NftSet;
  origins.set(made, { ...changes, from: new WeakRef(from) });
  return made;
}

/** What makes `set` of `from`; undefined if it was not derived from that one. */
export function setChanges(set: NftSet, from: NftSet): ElementChanges | undefined {
  const origin = origins.get(set);
  return origin?.from.deref() === from ? origin : undefined;
}
