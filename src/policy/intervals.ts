// Blocks with exceptions as disjoint intervals, in the words of an nft interval set.
import { addressBits, type Family, formatAddress, formatPrefix, parseAddress, parsePrefix, prefixSize } from "../base/index.ts";
import type { CidrPeer } from "./rules.ts";

interface Interval {
  readonly low: bigint;
  readonly high: bigint;
}

/** The union of the blocks of one family, each without its exceptions: sorted, disjoint and not adjacent; a prefix or an address where it is one. */
export function blockElements(blocks: readonly CidrPeer[], family: Family): string[] {
  const pieces: Interval[] = [];
  for (const block of blocks) {
    const cidr = parsePrefix(block.cidr);
    if (cidr.family !== family) continue;
    let low = cidr.value;
    const end = cidr.value + prefixSize(cidr) - 1n;
    for (const hole of mergeIntervals(block.except.map((text) => intervalOf(text)))) {
      if (hole.low > low) pieces.push({ low, high: hole.low - 1n });
      if (hole.high >= low) low = hole.high + 1n;
    }
    if (low <= end) pieces.push({ low, high: end });
  }
  return mergeIntervals(pieces).map((piece) => formatInterval(piece, family));
}

/** An element of an interval set, and whose it is. */
export interface OwnedInterval<T> {
  readonly text: string;
  readonly owner: T;
}

/** The union of intervals as disjoint pieces: where several cover an address, the piece is the first one's. */
export function firstCovering<T>(intervals: readonly OwnedInterval<T>[], family: Family): OwnedInterval<T>[] {
  const pieces: (Interval & { readonly owner: T })[] = [];
  for (const { text, owner } of intervals) {
    const { low, high } = boundsOf(text);
    // The first piece that ends at or behind `low`.
    let at = 0;
    for (let end = pieces.length; at < end; ) {
      const middle = (at + end) >> 1;
      if ((pieces[middle]?.high ?? 0n) < low) at = middle + 1;
      else end = middle;
    }
    let from = low;
    const between: (Interval & { readonly owner: T })[] = [];
    let last = at;
    for (; last < pieces.length && (pieces[last]?.low ?? 0n) <= high; last++) {
      const piece = pieces[last] as Interval & { readonly owner: T };
      if (piece.low > from) between.push({ low: from, high: piece.low - 1n, owner });
      between.push(piece);
      from = piece.high + 1n;
    }
    if (from <= high) between.push({ low: from, high, owner });
    pieces.splice(at, last - at, ...between);
  }
  return pieces.map((piece) => ({ text: formatInterval(piece, family), owner: piece.owner }));
}

function boundsOf(text: string): Interval {
  if (text.includes("/")) return intervalOf(text);
  const [low = "", high = low] = text.split("-");
  return { low: parseAddress(low).value, high: parseAddress(high).value };
}

/** Ranges of ports in nft's words: "80", "8000-8999"; sorted and merged. */
export function portElements(ranges: readonly { readonly from: number; readonly to: number }[]): string[] {
  const merged = mergeIntervals(ranges.map(({ from, to }) => ({ low: BigInt(from), high: BigInt(to) })));
  return merged.map(({ low, high }) => (low === high ? `${low}` : `${low}-${high}`));
}

function intervalOf(text: string): Interval {
  const prefix = parsePrefix(text);
  return { low: prefix.value, high: prefix.value + prefixSize(prefix) - 1n };
}

function mergeIntervals(intervals: readonly Interval[]): Interval[] {
  const merged: Interval[] = [];
  for (const next of [...intervals].sort((a, b) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0))) {
    const last = merged.at(-1);
    if (last && next.low <= last.high + 1n) {
      if (next.high > last.high) merged[merged.length - 1] = { low: last.low, high: next.high };
    } else merged.push(next);
  }
  return merged;
}

function formatInterval({ low, high }: Interval, family: Family): string {
  if (low === high) return formatAddress({ family, value: low });
  const size = high - low + 1n;
  const power = (size & (size - 1n)) === 0n && low % size === 0n;
  if (power) return formatPrefix({ family, value: low, length: addressBits(family) - (size.toString(2).length - 1) });
  return `${formatAddress({ family, value: low })}-${formatAddress({ family, value: high })}`;
}
