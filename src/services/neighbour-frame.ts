// Frames that tell a link where an address is now: gratuitous ARP (RFC 5227, 2.3) and unsolicited neighbour advertisements (RFC 4861, 7.2.6).
import { addressToBytes, parseAddress } from "../base/index.ts";

const ALL_NODES_MAC = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES = [0xff, 0x02, ...Array.from({ length: 13 }, () => 0), 1];
const ICMPV6 = 58;
const ADVERTISEMENT = 136;
/** Router, because nodes forward, and override: what neighbours remember is no longer true. */
const ROUTER_OVERRIDE = 0xa0;
const TARGET_LINK_ADDRESS = 2;

/** The whole Ethernet frame. @throws FairleadError `bad-address` */
export function announceFrame(address: string, mac: string): Uint8Array {
  const parsed = parseAddress(address);
  const hardware = mac.split(":").map((part) => Number.parseInt(part, 16));
  const bytes = [...addressToBytes(parsed)];
  return Uint8Array.from(parsed.family === 4 ? arp(bytes, hardware) : advertisement(bytes, hardware));
}

function arp(address: readonly number[], mac: readonly number[]): number[] {
  const header = [0, 1, 0x08, 0x00, 6, 4, 0, 1];
  return [...[255, 255, 255, 255, 255, 255], ...mac, 0x08, 0x06, ...header, ...mac, ...address, 0, 0, 0, 0, 0, 0, ...address];
}

function advertisement(address: readonly number[], mac: readonly number[]): number[] {
  const body = [ADVERTISEMENT, 0, 0, 0, ROUTER_OVERRIDE, 0, 0, 0, ...address, TARGET_LINK_ADDRESS, 1, ...mac];
  const sum = checksum([...address, ...ALL_NODES, 0, 0, 0, body.length, 0, 0, 0, ICMPV6, ...body]);
  body[2] = sum >> 8;
  body[3] = sum & 0xff;
  return [...ALL_NODES_MAC, ...mac, 0x86, 0xdd, 0x60, 0, 0, 0, 0, body.length, ICMPV6, 255, ...address, ...ALL_NODES, ...body];
}

/** The internet checksum (RFC 1071) of an even number of bytes. */
function checksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
