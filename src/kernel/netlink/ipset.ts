// ipset over nfnetlink (linux/netfilter/ipset/ip_set.h). Elements are text in ipset's own form: "10.96.0.10,tcp:53", "30080".
import { familyOf, PORT_PROTOCOLS, transportName } from "../../base/index.ts";
import type { IpSet, IpSetType } from "../state.ts";
import { concatBytes, decodeAttributes, encodeAttributes } from "./attribute.ts";
import { familyNumber } from "./family.ts";

/** Message types: the subsystem's number (6) in the upper byte. */
export const IPSET_MESSAGE = { create: 0x602, destroy: 0x603, flush: 0x604, list: 0x607, add: 0x609, delete: 0x60a, type: 0x60d } as const;

/** IPSET_PROTOCOL_MIN: what every kernel speaks. */
const PROTOCOL = 6;
/** NLA_F_NET_BYTEORDER, which ipset insists on for its numbers. */
const ORDERED = 0x4000;

const ADDRESS = { v4: [1 | ORDERED, "address"], v6: [2 | ORDERED, "address"] } as const;
const ELEMENT = {
  address: [1, ADDRESS],
  length: [3, "u8"],
  port: [4 | ORDERED, "be16"],
  protocol: [7, "u8"],
  second: [20, ADDRESS],
  secondLength: [21, "u8"],
} as const;
const CREATION = { port: [4 | ORDERED, "be16"], portTo: [5 | ORDERED, "be16"], most: [19 | ORDERED, "be32"] } as const;

const HEAD = {
  protocol: [1, "u8"],
  name: [2, "string"],
  type: [3, "string"],
  revision: [4, "u8"],
  family: [5, "u8"],
} as const;
const CREATE = { ...HEAD, data: [7, CREATION] } as const;
const ADDED = { data: [7, ELEMENT] } as const;
/** Several elements in one message: IPSET_ATTR_ADT, which wants a line number beside it. */
const CHANGE = { ...HEAD, elements: [8, "nested"], line: [9, "u32"] } as const;

/** Attributes as they come: the kernel's own order bits are off. */
const LISTED_ADDRESS = { v4: [1, "address"], v6: [2, "address"] } as const;
const LISTED_ELEMENT = {
  address: [1, LISTED_ADDRESS],
  length: [3, "u8"],
  port: [4, "be16"],
  protocol: [7, "u8"],
  second: [20, LISTED_ADDRESS],
  secondLength: [21, "u8"],
} as const;
const LISTED = { name: [2, "string"], type: [3, "string"], family: [5, "u8"], elements: [8, "nested"] } as const;

const HEADER = 4;
/** Elements that a hash may hold. */
const MOST_ELEMENTS = 1 << 20;

const header = () => Uint8Array.of(2, 0, 0, 0);

/** Asks which revision of a type the kernel has. */
export function encodeTypeQuestion(type: IpSetType, family: 4 | 6): Uint8Array {
  return concatBytes([header(), encodeAttributes(HEAD, { protocol: PROTOCOL, type, family: familyOfType(type, family) })]);
}

export function decodeRevision(body: Uint8Array): number | undefined {
  return decodeAttributes(HEAD, body.subarray(HEADER)).revision;
}

export function encodeCreation(set: Pick<IpSet, "name" | "type" | "family">, revision: number): Uint8Array {
  const { name, type, family } = set;
  const data = type === "bitmap:port" ? { port: 0, portTo: 65_535 } : { most: MOST_ELEMENTS };
  const values = { protocol: PROTOCOL, name, type, revision, family: familyOfType(type, family), data };
  return concatBytes([header(), encodeAttributes(CREATE, values)]);
}

/** The body that names a set: to destroy it. */
export function encodeSetName(name: string): Uint8Array {
  return concatBytes([header(), encodeAttributes(HEAD, { protocol: PROTOCOL, name })]);
}

/** The body of a dump of all sets. */
export function setDump(): Uint8Array {
  return concatBytes([header(), encodeAttributes(HEAD, { protocol: PROTOCOL })]);
}

/** The body that adds or deletes elements. An attribute has at most 64 KiB, so there may be a few hundred of them. */
export function encodeElements(name: string, elements: readonly string[]): Uint8Array {
  const list = concatBytes(elements.map((element) => encodeAttributes(ADDED, { data: elementValues(element) })));
  return concatBytes([header(), encodeAttributes(CHANGE, { protocol: PROTOCOL, name, elements: list, line: 0 })]);
}

/** "30080", "10.96.0.10", "10.96.0.10,tcp:53", "10.96.0.10,tcp:53,10.0.0.0/8" */
function elementValues(element: string) {
  if (/^\d+$/.test(element)) return { port: Number(element) };
  const [first = "", place, second] = element.split(",");
  const [protocol = "", port = ""] = place?.split(":") ?? [];
  const [network, length] = second?.split("/") ?? [];
  return {
    address: addressValue(first),
    ...(place === undefined ? {} : { port: Number(port), protocol: PORT_PROTOCOLS.get(protocol.toUpperCase()) ?? 0 }),
    ...(network === undefined ? {} : { second: addressValue(network) }),
    ...(length === undefined ? {} : { secondLength: Number(length) }),
  };
}

function addressValue(address: string) {
  return familyOf(address) === 4 ? { v4: address } : { v6: address };
}

/** One message of a dump: a large set comes in several. Undefined for a type that is none of ours. */
export function decodeSet(body: Uint8Array): IpSet | undefined {
  const { name, type, family, elements } = decodeAttributes(LISTED, body.subarray(HEADER));
  if (name === undefined || type === undefined || !isKnownType(type)) return undefined;
  const listed = elements === undefined ? [] : decodeElements(elements);
  return { name, type, family: family === familyNumber(6) ? 6 : 4, elements: listed };
}

function decodeElements(bytes: Uint8Array): string[] {
  const found: string[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    if (length < 4 || at + length > bytes.length) break;
    const text = elementText(bytes.subarray(at + 4, at + length));
    if (text !== undefined) found.push(text);
    at += (length + 3) & ~3;
  }
  return found;
}

function elementText(bytes: Uint8Array): string | undefined {
  const { address, port, protocol, second, secondLength } = decodeAttributes(LISTED_ELEMENT, bytes);
  const first = address?.v4 ?? address?.v6;
  if (first === undefined) return port === undefined ? undefined : String(port);
  if (port === undefined) return first;
  const name = transportName(protocol) ?? String(protocol);
  const network = second?.v4 ?? second?.v6;
  const last = network === undefined ? "" : `,${network}${secondLength === undefined ? "" : `/${secondLength}`}`;
  return `${first},${name}:${port}${last}`;
}

function isKnownType(type: string): type is IpSetType {
  return (TYPES as readonly string[]).includes(type);
}

const TYPES: readonly IpSetType[] = ["hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port"];

/** Ports alone are of no family (NFPROTO_UNSPEC). */
function familyOfType(type: IpSetType, family: 4 | 6): number {
  return type === "bitmap:port" ? 0 : familyNumber(family);
}
