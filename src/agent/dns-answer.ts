// What a DNS answer tells of addresses: read from a packet as the kernel hands it over. Any bytes: an answer, or undefined.
import { addressFromBytes, formatAddress } from "../base/index.ts";

export interface DnsAnswer {
  /** What was asked for: lower case, without the last dot. */
  readonly name: string;
  readonly addresses: readonly string[];
  /** Seconds: the shortest of the records that lead to the addresses. */
  readonly ttl: number;
}

const UDP = 17;
const DNS_PORT = 53;
/** Record types: A, AAAA. */
const LENGTHS: Readonly<Record<number, number>> = { 1: 4, 28: 16 };
const MOST_RECORDS = 256;
/** RFC 1035 §2.3.4. */
const LONGEST_NAME = 255;

/** The UDP datagram of an IP packet: where it begins. Fragments and IPv6 extension headers are not followed. */
function udpOffset(packet: Uint8Array): number | undefined {
  const version = (packet[0] ?? 0) >>> 4;
  if (version === 6) return packet[6] === UDP && packet.length >= 48 ? 40 : undefined;
  const length = ((packet[0] ?? 0) & 15) * 4;
  const fragment = ((packet[6] ?? 0) << 8) | (packet[7] ?? 0);
  if (version !== 4 || length < 20 || packet[9] !== UDP || (fragment & 0x3fff) !== 0) return undefined;
  return packet.length >= length + 8 ? length : undefined;
}

/** The addresses that a packet's DNS message answers one question with; undefined for everything else. */
export function readDnsAnswer(packet: Uint8Array): DnsAnswer | undefined {
  const udp = udpOffset(packet);
  if (udp === undefined) return undefined;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  if (view.getUint16(udp) !== DNS_PORT) return undefined;
  return readMessage(packet.subarray(udp + 8));
}

/** RFC 1035 §4.1. */
function readMessage(message: Uint8Array): DnsAnswer | undefined {
  if (message.length < 12) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const flags = view.getUint16(2);
  const answers = view.getUint16(6);
  // A response, to a query, without an error, to one question.
  if ((flags & 0x8000) === 0 || (flags & 0x780f) !== 0 || view.getUint16(4) !== 1) return undefined;
  const question = readName(message, 12);
  if (!question || question.end + 4 > message.length || view.getUint16(question.end + 2) !== 1) return undefined;
  let at = question.end + 4;
  let ttl = Number.POSITIVE_INFINITY;
  const addresses: string[] = [];
  for (let record = 0; record < Math.min(answers, MOST_RECORDS); record++) {
    const owner = readName(message, at);
    if (!owner || owner.end + 10 > message.length) return undefined;
    const type = view.getUint16(owner.end);
    const length = view.getUint16(owner.end + 8);
    const data = owner.end + 10;
    if (data + length > message.length) return undefined;
    ttl = Math.min(ttl, view.getUint32(owner.end + 4) & 0x7fffffff);
    if (LENGTHS[type] === length) addresses.push(formatAddress(addressFromBytes(message.subarray(data, data + length))));
    at = data + length;
  }
  return addresses.length > 0 ? { name: question.name, addresses: [...new Set(addresses)], ttl } : undefined;
}

/** A name, perhaps with a pointer to an earlier one (RFC 1035 §4.1.4); `end` is behind it where it stands. */
function readName(message: Uint8Array, start: number): { readonly name: string; readonly end: number } | undefined {
  const labels: string[] = [];
  let length = 0;
  let end: number | undefined;
  for (let at = start; ; ) {
    const size = message[at];
    if (size === undefined) return undefined;
    if (size >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) return undefined;
      end ??= at + 2;
      const to = ((size & 0x3f) << 8) | low;
      // Backwards only, so that it ends.
      if (to >= at) return undefined;
      at = to;
      continue;
    }
    if (size > 63) return undefined;
    if (size === 0) return { name: labels.join("."), end: end ?? at + 1 };
    length += size + 1;
    if (length > LONGEST_NAME || at + 1 + size > message.length) return undefined;
    labels.push(
      Buffer.from(message.subarray(at + 1, at + 1 + size))
        .toString("latin1")
        .toLowerCase(),
    );
    at += 1 + size;
  }
}

/** The packet with the checksum of its UDP datagram made right: within a machine that is left to a device that never comes. */
export function withUdpChecksum(packet: Uint8Array): Uint8Array {
  const udp = udpOffset(packet);
  if (udp === undefined) return packet;
  const fixed = Uint8Array.from(packet);
  const view = new DataView(fixed.buffer);
  view.setUint16(udp + 6, 0);
  const length = view.getUint16(udp + 4);
  const addresses = (fixed[0] ?? 0) >>> 4 === 4 ? fixed.subarray(12, 20) : fixed.subarray(8, 40);
  let sum = UDP + length + sumWords(addresses) + sumWords(fixed.subarray(udp, udp + length));
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(udp + 6, ~sum & 0xffff || 0xffff);
  return fixed;
}

function sumWords(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return sum;
}
