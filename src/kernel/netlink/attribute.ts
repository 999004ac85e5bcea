// Netlink attributes: type-length-value trees, described by tables (linux/netlink.h, struct nlattr).
import { addressFromBytes, addressToBytes, formatAddress, parseAddress } from "../../base/index.ts";

/** How one attribute's value is written. Integers are of host order (little endian) unless named "be". "string" ends in NUL, "text" does not; "nested" are attributes as they came. */
type ValueType = "u8" | "u16" | "u32" | "be16" | "be32" | "string" | "text" | "bytes" | "nested" | "address" | "mac" | "flag";

/** Name → number and type; a table as type means nested attributes. */
export interface AttributeTable {
  readonly [name: string]: readonly [id: number, type: ValueType | AttributeTable];
}

type ValueOf<T> = T extends "u8" | "u16" | "u32" | "be16" | "be32"
  ? number
  : T extends "string" | "text" | "address" | "mac"
    ? string
    : T extends "bytes" | "nested"
      ? Uint8Array
      : T extends "flag"
        ? true
        : T extends AttributeTable
          ? AttributeValues<T>
          : never;

/** The values that a table describes; what is undefined is not sent. */
export type AttributeValues<T extends AttributeTable> = { readonly [K in keyof T]?: ValueOf<T[K][1]> | undefined };

type AnyValue = number | string | true | Uint8Array | { readonly [name: string]: AnyValue | undefined };

const UTF8 = new TextDecoder();
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;

/** Encodes values in the order in which they are written down. @throws FairleadError `bad-address` for text that is no address */
export function encodeAttributes<T extends AttributeTable>(table: T, values: AttributeValues<T>): Uint8Array {
  return encodeTree(table, values as { readonly [name: string]: AnyValue | undefined });
}

/** Decodes what the table knows, whatever the bytes are: an attribute that is cut off, of wrong size or unknown is left out. */
export function decodeAttributes<T extends AttributeTable>(table: T, bytes: Uint8Array): AttributeValues<T> {
  const names = byNumber(table);
  const values: Record<string, AnyValue> = {};
  for (const [id, payload] of splitAttributes(bytes)) {
    const entry = names.get(id);
    if (!entry) continue;
    const [name, type] = entry;
    const value = decodeValue(type, payload);
    if (value !== undefined) values[name] = value;
  }
  return values as AttributeValues<T>;
}

/** Number and payload of each attribute, up to the first that is malformed. */
function* splitAttributes(bytes: Uint8Array): Generator<readonly [id: number, payload: Uint8Array]> {
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = readU16(bytes, at);
    if (length < 4 || at + length > bytes.length) return;
    yield [readU16(bytes, at + 2) & TYPE_MASK, bytes.subarray(at + 4, at + length)];
    at += align(length);
  }
}

/** One attribute around a payload. */
function encodeAttribute(id: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(align(payload.length + 4));
  writeU16(bytes, 0, payload.length + 4);
  writeU16(bytes, 2, id);
  bytes.set(payload, 4);
  return bytes;
}

/** Joins byte strings. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1 && parts[0]) return parts[0];
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Rounds up to the four bytes that netlink aligns everything to. */
export function align(length: number): number {
  return (length + 3) & ~3;
}

export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (readU16(bytes, at) | (readU16(bytes, at + 2) << 16)) >>> 0;
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 0xff;
  bytes[at + 1] = (value >>> 8) & 0xff;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  writeU16(bytes, at, value & 0xffff);
  writeU16(bytes, at + 2, value >>> 16);
}

/** Six bytes as "02:00:00:00:00:01". */
function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

function encodeTree(table: AttributeTable, values: { readonly [name: string]: AnyValue | undefined }): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [name, value] of Object.entries(values)) {
    const entry = table[name];
    if (value === undefined || !entry) continue;
    const [id, type] = entry;
    if (typeof type === "object") parts.push(encodeAttribute(id | NESTED, encodeTree(type, value as typeof values)));
    else parts.push(encodeAttribute(type === "nested" ? id | NESTED : id, encodeValue(type, value)));
  }
  return concatBytes(parts);
}

function encodeValue(type: ValueType, value: AnyValue): Uint8Array {
  const number = value as number;
  switch (type) {
    case "u8":
      return Uint8Array.of(number);
    case "u16":
      return Uint8Array.of(number & 0xff, number >>> 8);
    case "be16":
      return Uint8Array.of(number >>> 8, number & 0xff);
    case "u32":
      return Uint8Array.of(number & 0xff, (number >>> 8) & 0xff, (number >>> 16) & 0xff, number >>> 24);
    case "be32":
      return Uint8Array.of(number >>> 24, (number >>> 16) & 0xff, (number >>> 8) & 0xff, number & 0xff);
    case "string":
      return new TextEncoder().encode(`${value}\0`);
    case "text":
      return new TextEncoder().encode(value as string);
    case "bytes":
    case "nested":
      return value as Uint8Array;
    case "address":
      return addressToBytes(parseAddress(value as string));
    case "mac":
      return Uint8Array.from((value as string).split(":"), (part) => Number.parseInt(part, 16));
    case "flag":
      return new Uint8Array(0);
  }
}

function decodeValue(type: ValueType | AttributeTable, payload: Uint8Array): AnyValue | undefined {
  if (typeof type === "object") return decodeAttributes(type, payload) as AnyValue;
  const [a = 0, b = 0, c = 0, d = 0] = payload;
  switch (type) {
    case "u8":
      return payload.length >= 1 ? a : undefined;
    case "u16":
      return payload.length >= 2 ? readU16(payload, 0) : undefined;
    case "be16":
      return payload.length >= 2 ? (a << 8) | b : undefined;
    case "u32":
      return payload.length >= 4 ? readU32(payload, 0) : undefined;
    case "be32":
      return payload.length >= 4 ? ((a << 24) | (b << 16) | (c << 8) | d) >>> 0 : undefined;
    case "string":
    case "text": {
      const end = payload.indexOf(0);
      return UTF8.decode(end < 0 ? payload : payload.subarray(0, end));
    }
    case "bytes":
    case "nested":
      return payload;
    case "address":
      if (payload.length === 4) return `${a}.${b}.${c}.${d}`;
      return payload.length === 16 ? formatAddress(addressFromBytes(payload)) : undefined;
    case "mac":
      return payload.length === 6 ? formatMac(payload) : undefined;
    case "flag":
      return true;
  }
}

type NumberedTable = ReadonlyMap<number, readonly [name: string, type: ValueType | AttributeTable]>;

const numbered = new WeakMap<AttributeTable, NumberedTable>();

function byNumber(table: AttributeTable): NumberedTable {
  let map = numbered.get(table);
  if (!map) {
    map = new Map(Object.entries(table).map(([name, [id, type]]) => [id, [name, type] as const]));
    numbered.set(table, map);
  }
  return map;
}
