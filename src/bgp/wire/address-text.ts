// Addresses between wire bytes and text, and BGP identifiers, with few conversions for the few next hops there are.
import { addressFromBytes, addressToBytes, type Family, formatAddress, parseAddress, tryParseAddress } from "../../base/index.ts";
import { BgpError } from "../errors.ts";

const known = new Map<string, string>();
const knownBytes = new Map<string, Uint8Array>();
/** A hostile neighbour may send any number of next hops: the memo starts anew now and then. */
const MEMO_LIMIT = 8192;

/** Text of 4 or 16 bytes at `at`. */
export function addressText(bytes: Uint8Array, at: number, family: Family): string {
  const length = family === 4 ? 4 : 16;
  if (length === 4) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
  let key = "";
  for (let i = 0; i < length; i++) key += String.fromCharCode(bytes[at + i] ?? 0);
  let text = known.get(key);
  if (text === undefined) {
    text = formatAddress(addressFromBytes(bytes.subarray(at, at + length)));
    if (known.size >= MEMO_LIMIT) known.clear();
    known.set(key, text);
  }
  return text;
}

/** Bytes of an address in text. @throws FairleadError `bad-address` */
export function addressBytes(text: string): Uint8Array {
  let bytes = knownBytes.get(text);
  if (bytes === undefined) {
    bytes = addressToBytes(parseAddress(text));
    if (knownBytes.size >= MEMO_LIMIT) knownBytes.clear();
    knownBytes.set(text, bytes);
  }
  return bytes;
}

/** @throws BgpError `bad-router-id` */
export function parseRouterId(text: string): number {
  const address = tryParseAddress(text);
  if (address?.family !== 4 || address.value === 0n) {
    throw new BgpError("bad-router-id", `"${text}" is not a BGP identifier`, { remedy: "write it as a dotted quad that is not 0.0.0.0" });
  }
  return Number(address.value);
}

/** A BGP identifier as a dotted quad. */
export function formatRouterId(id: number): string {
  return `${id >>> 24}.${(id >>> 16) & 255}.${(id >>> 8) & 255}.${id & 255}`;
}
