// Internet addresses and prefixes of both families: text in canonical form outside, numbers inside.
import { FairleadError } from "./errors.ts";

export type Family = 4 | 6;

/** An address as a number: 0 ≤ value < 2^32 or 2^128. */
export interface IpAddress {
  readonly family: Family;
  readonly value: bigint;
}

/** A prefix; the bits of `value` below `length` may be set (an interface address) or not (a network). */
export interface IpPrefix extends IpAddress {
  readonly length: number;
}

/** Number of bits in an address of the family. */
export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** Parses an IPv4 dotted quad or an IPv6 address (RFC 4291 §2.2); undefined if it is neither. Leading zeros in IPv4 octets are refused. */
export function tryParseAddress(text: string): IpAddress | undefined {
  const value = text.includes(":") ? parseV6(text) : parseV4(text);
  return value === undefined ? undefined : { family: text.includes(":") ? 6 : 4, value };
}

/** As tryParseAddress. @throws FairleadError `bad-address` */
export function parseAddress(text: string): IpAddress {
  const address = tryParseAddress(text);
  if (!address) throw new FairleadError("bad-address", `"${text}" is not an IP address`, { remedy: "write it like 10.244.0.1 or fd00::1" });
  return address;
}

/** Parses `address/length`; undefined if it is not one. Host bits may be set. */
export function tryParsePrefix(text: string): IpPrefix | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = tryParseAddress(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (!address || !/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  return length <= addressBits(address.family) ? { ...address, length } : undefined;
}

/** As tryParsePrefix. @throws FairleadError `bad-prefix` */
export function parsePrefix(text: string): IpPrefix {
  const prefix = tryParsePrefix(text);
  if (!prefix)
    throw new FairleadError("bad-prefix", `"${text}" is not a prefix`, { remedy: "write it like 10.244.0.0/16 or fd00:10:244::/56" });
  return prefix;
}

/** Canonical text (RFC 5952 for IPv6). */
export function formatAddress(address: IpAddress): string {
  return address.family === 4 ? formatV4(address.value) : formatV6(address.value);
}

/** `address/length`, with the address as it is (host bits kept). */
export function formatPrefix(prefix: IpPrefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`;
}

/** The prefix with its host bits cleared. */
export function networkOf(prefix: IpPrefix): IpPrefix {
  const shift = BigInt(addressBits(prefix.family) - prefix.length);
  return { family: prefix.family, value: (prefix.value >> shift) << shift, length: prefix.length };
}

/** Number of addresses in the prefix. */
export function prefixSize(prefix: IpPrefix): bigint {
  return 1n << BigInt(addressBits(prefix.family) - prefix.length);
}

/** Whether the address lies in the prefix; false across families. */
export function prefixContains(prefix: IpPrefix, address: IpAddress): boolean {
  if (prefix.family !== address.family) return false;
  const shift = BigInt(addressBits(prefix.family) - prefix.length);
  return prefix.value >> shift === address.value >> shift;
}

/** Whether the two prefixes share an address. */
export function prefixesOverlap(a: IpPrefix, b: IpPrefix): boolean {
  return a.length <= b.length ? prefixContains(a, b) : prefixContains(b, a);
}

/** The address `offset` above the network address of the prefix. @throws FairleadError `out-of-prefix` */
export function addressAt(prefix: IpPrefix, offset: bigint): IpAddress {
  if (offset < 0n || offset >= prefixSize(prefix)) {
    throw new FairleadError("out-of-prefix", `${formatPrefix(prefix)} has no address number ${offset}`);
  }
  return { family: prefix.family, value: networkOf(prefix).value + offset };
}

/** The first subnet of this length from number `from` on that overlaps with none of those taken, and its number; undefined where none is left. */
export function freeSubnet(
  prefix: IpPrefix,
  length: number,
  taken: readonly IpPrefix[],
  from = 0n,
): { readonly subnet: IpPrefix; readonly number: bigint } | undefined {
  const step = prefixSize({ ...prefix, length });
  for (let number = from; number * step < prefixSize(prefix); number++) {
    const subnet: IpPrefix = { ...addressAt(prefix, number * step), length };
    if (!taken.some((other) => prefixesOverlap(other, subnet))) return { subnet, number };
  }
  return undefined;
}

/** A host as URLs have it: an IPv6 address in brackets (RFC 3986, section 3.2.2). */
export function urlHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** The host that a URL names, as sockets have it: without brackets. */
export function hostOfUrl({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

/** Network byte order: 4 or 16 bytes. */
export function addressToBytes(address: IpAddress): Uint8Array {
  const bytes = new Uint8Array(addressBits(address.family) / 8);
  let rest = address.value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** From 4 or 16 bytes in network byte order. @throws FairleadError `bad-address` for another length */
export function addressFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length !== 4 && bytes.length !== 16) {
    throw new FairleadError("bad-address", `an address has 4 or 16 bytes, not ${bytes.length}`);
  }
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return { family: bytes.length === 4 ? 4 : 6, value };
}

/** The family of an address or prefix in text, by its colons; it is not parsed. */
export function familyOf(text: string): Family {
  return text.includes(":") ? 6 : 4;
}

/** Orders by family, then number; for addresses in text, which must be valid. */
export function compareAddresses(a: string, b: string): number {
  const left = parseAddress(a);
  const right = parseAddress(b);
  if (left.family !== right.family) return left.family - right.family;
  return left.value < right.value ? -1 : left.value > right.value ? 1 : 0;
}

/** Digit by digit: addresses are read by the million. */
function parseV4(text: string): bigint | undefined {
  if (text.length > 15) return undefined;
  let value = 0;
  let part = -1;
  let parts = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      if (part < 0) return undefined;
      value = value * 256 + part;
      part = -1;
      parts++;
      continue;
    }
    const digit = code - ZERO;
    // A second digit after 0 is a leading zero.
    if (digit < 0 || digit > 9 || part === 0) return undefined;
    part = part < 0 ? digit : part * 10 + digit;
    if (part > 255) return undefined;
  }
  return parts === 3 && part >= 0 ? BigInt(value * 256 + part) : undefined;
}

const DOT = 46;
const ZERO = 48;

function parseV6(text: string): bigint | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1] ?? "", true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<bigint>(missing).fill(0n), ...tail];
  return groups.reduce((value, group) => (value << 16n) | group, 0n);
}

/** The 16-bit groups of one half of an IPv6 address; a dotted quad may stand last. */
function groupsOf(text: string, mayEndInV4: boolean): bigint[] | undefined {
  if (text === "") return [];
  const groups: bigint[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (part.includes(".")) {
      const v4 = mayEndInV4 && index === parts.length - 1 ? parseV4(part) : undefined;
      if (v4 === undefined) return undefined;
      groups.push(v4 >> 16n, v4 & 0xffffn);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(BigInt(`0x${part}`));
    else return undefined;
  }
  return groups;
}

function formatV4(value: bigint): string {
  const n = Number(value);
  return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
}

function formatV6(value: bigint): string {
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((value >> shift) & 0xffffn));
  if (value >> 32n === 0xffffn) return `::ffff:${formatV4(value & 0xffffffffn)}`;
  let best = { start: 0, length: 0 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (best.length < 2) return hex(groups);
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`;
}
