// Blocks with exceptions as disjoint intervals, in the words of an nft interval set.
import { addressBits, type Family, formatAddress, formatPrefix, parsePrefix, prefixSize } from "../base/index.ts";
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
