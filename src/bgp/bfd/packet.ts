// BFD control packets between bytes and data (RFC 5880 §4.1). Decoding is total.

/** By their numbers on the wire. */
const BFD_STATES = ["AdminDown", "Down", "Init", "Up"] as const;
export type BfdSessionState = (typeof BFD_STATES)[number];

export interface BfdPacket {
  /** 0 none, 1 detection time expired, 3 neighbour signaled down, 7 administratively down. */
  readonly diagnostic: number;
  readonly state: BfdSessionState;
  readonly poll: boolean;
  readonly final: boolean;
  readonly demand: boolean;
  readonly detectMultiplier: number;
  readonly myDiscriminator: number;
  /** 0: not known yet. */
  readonly yourDiscriminator: number;
  /** Microseconds. */
  readonly desiredMinTx: number;
  readonly requiredMinRx: number;
}

const LENGTH = 24;

/** The packet, or why it is to be discarded (RFC 5880 §6.8.6). Authentication is not taken. */
export function decodeBfd(bytes: Uint8Array): BfdPacket | string {
  if (bytes.length < LENGTH) return `${bytes.length} bytes are no BFD packet`;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(0) >> 5;
  if (version !== 1) return `version ${version}`;
  const flags = view.getUint8(1);
  const length = view.getUint8(3);
  if (length < LENGTH || length > bytes.length) return `length ${length}`;
  if (flags & 0x04) return "authentication, which is not in use";
  if (flags & 0x01) return "the multipoint bit";
  const packet: BfdPacket = {
    diagnostic: view.getUint8(0) & 31,
    state: BFD_STATES[flags >> 6] ?? "Down",
    poll: (flags & 0x20) !== 0,
    final: (flags & 0x10) !== 0,
    demand: (flags & 0x02) !== 0,
    detectMultiplier: view.getUint8(2),
    myDiscriminator: view.getUint32(4),
    yourDiscriminator: view.getUint32(8),
    desiredMinTx: view.getUint32(12),
    requiredMinRx: view.getUint32(16),
  };
  if (packet.detectMultiplier === 0) return "detection multiplier 0";
  if (packet.myDiscriminator === 0) return "discriminator 0";
  if (packet.yourDiscriminator === 0 && packet.state !== "Down" && packet.state !== "AdminDown")
    return `no discriminator of ours in state ${packet.state}`;
  return packet;
}

export function encodeBfd(packet: BfdPacket): Uint8Array {
  const bytes = new Uint8Array(LENGTH);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, (1 << 5) | packet.diagnostic);
  const flags = (packet.poll ? 0x20 : 0) | (packet.final ? 0x10 : 0) | (packet.demand ? 0x02 : 0);
  view.setUint8(1, (BFD_STATES.indexOf(packet.state) << 6) | flags);
  view.setUint8(2, packet.detectMultiplier);
  view.setUint8(3, LENGTH);
  view.setUint32(4, packet.myDiscriminator);
  view.setUint32(8, packet.yourDiscriminator);
  view.setUint32(12, packet.desiredMinTx);
  view.setUint32(16, packet.requiredMinRx);
  return bytes;
}
