// Raw IP packets for tests: made from plain fields, with a mark in their last four bytes by which they are known again.
import { addressFromBytes, addressToBytes, familyOf, formatAddress, parseAddress } from "../src/base/index.ts";

export interface RawPacket {
  readonly source: string;
  readonly destination: string;
  /** IANA's number. */
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Known again by it; also the identifier of an ICMP echo. */
  readonly mark: number;
}

/** The bytes of a connection's first packet: a SYN, a datagram, an ICMP message, or nothing but the mark. */
export function encodePacket(packet: RawPacket): Buffer {
  const mark = Buffer.alloc(4);
  mark.writeUInt32BE(packet.mark);
  const payload = Buffer.concat([transportHeader(packet), mark]);
  fillChecksum(packet, payload);
  return Buffer.concat([networkHeader(packet, payload.length), payload]);
}

/** What a packet carries in its last four bytes. */
export function markOf(bytes: Buffer): number {
  return bytes.length < 4 ? -1 : bytes.readUInt32BE(bytes.length - 4);
}

export interface SeenPacket {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly dscp: number;
  /** What the transport sees. */
  readonly body: Buffer;
}

/** A packet that came out. */
export function decodePacket(bytes: Buffer): SeenPacket {
  const address = (from: number, to: number) => formatAddress(addressFromBytes(bytes.subarray(from, to)));
  if ((bytes[0] ?? 0) >> 4 === 4)
    return {
      source: address(12, 16),
      destination: address(16, 20),
      protocol: bytes[9] ?? 0,
      dscp: (bytes[1] ?? 0) >> 2,
      body: bytes.subarray(((bytes[0] ?? 0) & 15) * 4),
    };
  return {
    source: address(8, 24),
    destination: address(24, 40),
    protocol: bytes[6] ?? 0,
    dscp: (bytes.readUInt16BE(0) >> 6) & 63,
    body: bytes.subarray(40),
  };
}

function networkHeader({ source, destination, protocol }: RawPacket, length: number): Buffer {
  const [from, to] = [source, destination].map((text) => Buffer.from(addressToBytes(parseAddress(text)))) as [Buffer, Buffer];
  if (familyOf(source) === 6) {
    const header = Buffer.alloc(8);
    header[0] = 0x60;
    header.writeUInt16BE(length, 4);
    header[6] = protocol;
    header[7] = 64;
    return Buffer.concat([header, from, to]);
  }
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + length, 2);
  header[8] = 64;
  header[9] = protocol;
  from.copy(header, 12);
  to.copy(header, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function transportHeader({ protocol, sourcePort = 40_000, destinationPort = 0, icmp, mark }: RawPacket): Buffer {
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(sourcePort, 0);
  ports.writeUInt16BE(destinationPort, 2);
  switch (protocol) {
    case 6: {
      const rest = Buffer.alloc(16);
      rest[8] = 5 << 4;
      rest[9] = 2;
      rest.writeUInt16BE(0xffff, 10);
      return Buffer.concat([ports, rest]);
    }
    case 17:
    case 136: {
      const rest = Buffer.alloc(4);
      rest.writeUInt16BE(12, 0);
      return Buffer.concat([ports, rest]);
    }
    case 132: {
      // An INIT chunk with the mark as its last field.
      const chunk = Buffer.from("00000000000000000100001400000001000010000001000100000000", "hex");
      return Buffer.concat([ports, chunk.subarray(0, 24)]);
    }
    case 1:
    case 58: {
      const header = Buffer.alloc(8);
      header[0] = icmp?.type ?? (protocol === 1 ? 8 : 128);
      header[1] = icmp?.code ?? 0;
      header.writeUInt16BE(mark & 0xffff, 4);
      return header;
    }
  }
  return Buffer.alloc(0);
}

/** TCP, UDP, UDPLite and ICMPv6 sum up the addresses too; SCTP has a sum of another kind, which nobody here looks at. */
function fillChecksum(packet: RawPacket, payload: Buffer): void {
  const at = { 1: 2, 6: 16, 17: 6, 58: 2, 136: 6 }[packet.protocol];
  if (at === undefined) return;
  const pseudo =
    packet.protocol === 1
      ? Buffer.alloc(0)
      : Buffer.concat([
          ...[packet.source, packet.destination].map((text) => Buffer.from(addressToBytes(parseAddress(text)))),
          Buffer.from([0, packet.protocol, 0, 0]),
        ]);
  if (pseudo.length > 0) pseudo.writeUInt16BE(payload.length, pseudo.length - 2);
  payload.writeUInt16BE(checksum(Buffer.concat([pseudo, payload])), at);
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
