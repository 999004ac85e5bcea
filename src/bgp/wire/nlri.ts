// Network layer reachability information: lists of prefixes, packed in one array of numbers (no object per prefix).
import { addressToBytes, type Family, formatAddress, networkOf, parsePrefix } from "../../base/index.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { CODE, Malformed } from "./protocol-error.ts";

/**
 * Prefixes of one family. Each takes `strideOf(family)` numbers: path identifier (0 without add-paths), length in bits,
 * then the address in words of 32 bits, host bits cleared.
 */
export interface Nlri {
  readonly family: Family;
  readonly count: number;
  readonly words: Uint32Array;
}

/** One prefix in text. */
export interface NlriEntry {
  readonly prefix: string;
  /** RFC 7911; absent means 0. */
  readonly pathId?: number;
}

/** Where a prefix's length and address stand in its stride. */
export const LENGTH_AT = 1;
export const ADDRESS_AT = 2;

/** Numbers per prefix. */
export function strideOf(family: Family): 3 | 6 {
  return family === 4 ? 3 : 6;
}

/** A list from text. Host bits are cleared. @throws FairleadError `bad-prefix` */
export function nlriOf(family: Family, entries: readonly NlriEntry[]): Nlri {
  const stride = strideOf(family);
  const words = new Uint32Array(entries.length * stride);
  let at = 0;
  for (const { prefix, pathId = 0 } of entries) {
    const network = networkOf(parsePrefix(prefix));
    words[at] = pathId;
    words[at + LENGTH_AT] = network.length;
    const bytes = addressToBytes(network);
    for (let i = 0; i < bytes.length; i += 4) {
      words[at + ADDRESS_AT + i / 4] =
        (((bytes[i] ?? 0) << 24) | ((bytes[i + 1] ?? 0) << 16) | ((bytes[i + 2] ?? 0) << 8) | (bytes[i + 3] ?? 0)) >>> 0;
    }
    at += stride;
  }
  return { family, count: entries.length, words };
}

/** The list in text. */
export function entriesOf(nlri: Nlri): NlriEntry[] {
  const stride = strideOf(nlri.family);
  return Array.from({ length: nlri.count }, (_, index) => {
    const at = index * stride;
    const pathId = nlri.words[at] ?? 0;
    const prefix = prefixText(nlri.family, nlri.words, at + ADDRESS_AT, nlri.words[at + LENGTH_AT] ?? 0);
    return pathId === 0 ? { prefix } : { prefix, pathId };
  });
}

/** Text of an address in words. */
export function prefixText(family: Family, words: Uint32Array, at: number, length: number): string {
  if (family === 4) {
    const value = words[at] ?? 0;
    return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}/${length}`;
  }
  let value = 0n;
  for (let i = 0; i < 4; i++) value = (value << 32n) | BigInt(words[at + i] ?? 0);
  return `${formatAddress({ family: 6, value })}/${length}`;
}

/**
 * Reads prefixes from `start` to `end`.
 * @throws Malformed 3/10: a length over the family's bits or a prefix that ends beyond `end` (RFC 7606 §5.3: the session is reset)
 */
export function readNlri(bytes: Uint8Array, start: number, end: number, options: { family: Family; addPath: boolean }): Nlri {
  const { family, addPath } = options;
  const maximum = family === 4 ? 32 : 128;
  let count = 0;
  for (let at = start; at < end; count++) {
    if (addPath) at += 4;
    const length = at < end ? (bytes[at] ?? 0) : 256;
    if (length > maximum) throw new Malformed(CODE.update, 10, badNetwork(length, family));
    at += 1 + ((length + 7) >>> 3);
    if (at > end) throw new Malformed(CODE.update, 10, `a prefix of length ${length} ends beyond its field`);
  }
  const stride = strideOf(family);
  const words = new Uint32Array(count * stride);
  let at = start;
  for (let to = 0; to < words.length; to += stride) {
    if (addPath) {
      words[to] = (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
      at += 4;
    }
    const length = bytes[at++] ?? 0;
    words[to + LENGTH_AT] = length;
    for (let word = to + ADDRESS_AT, rest = length; rest > 0; word++, rest -= 32) {
      let value = (bytes[at++] ?? 0) << 24;
      if (rest > 8) value |= (bytes[at++] ?? 0) << 16;
      if (rest > 16) value |= (bytes[at++] ?? 0) << 8;
      if (rest > 24) value |= bytes[at++] ?? 0;
      // RFC 4271 §4.3: bits beyond the length mean nothing.
      words[word] = (rest < 32 ? value & (-1 << (32 - rest)) : value) >>> 0;
    }
  }
  return { family, count, words };
}

function badNetwork(length: number, family: Family): string {
  return length === 256 ? "a prefix ends within its path identifier" : `a prefix of length ${length} in IPv${family}`;
}

/** Bytes that one prefix takes. */
export function prefixBytes(length: number, addPath: boolean): number {
  return (addPath ? 5 : 1) + ((length + 7) >>> 3);
}

/** Writes one prefix. `at` is where its address stands in `words`. */
export function writePrefix(writer: ByteWriter, words: Uint32Array, at: number, length: number): void {
  writer.reserve(17);
  const { bytes } = writer;
  let to = writer.length;
  bytes[to++] = length;
  for (let rest = length, word = at; rest > 0; rest -= 32, word++) {
    const value = words[word] ?? 0;
    bytes[to++] = value >>> 24;
    if (rest > 8) bytes[to++] = value >>> 16;
    if (rest > 16) bytes[to++] = value >>> 8;
    if (rest > 24) bytes[to++] = value;
  }
  writer.length = to;
}

/** Writes a whole list. */
export function writeNlri(writer: ByteWriter, nlri: Nlri, addPath: boolean): void {
  const stride = strideOf(nlri.family);
  for (let at = 0; at < nlri.count * stride; at += stride) {
    if (addPath) writer.u32(nlri.words[at] ?? 0);
    writePrefix(writer, nlri.words, at + ADDRESS_AT, nlri.words[at + LENGTH_AT] ?? 0);
  }
}
