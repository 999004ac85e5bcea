// RTM_*NEIGH: neighbours, and the forwarding entries of bridges and VXLAN devices (linux/neighbour.h).
import { type Family, familyOf } from "../../base/index.ts";
import type { FdbEntry, Neighbour } from "../state.ts";
import { concatBytes, decodeAttributes, encodeAttributes, readU16, readU32, writeU16, writeU32 } from "./attribute.ts";
import { AF_BRIDGE, familyFromNumber, familyNumber } from "./family.ts";

/** Message types. */
export const NEIGHBOUR_MESSAGE = { new: 28, delete: 29, get: 30 } as const;

const NEIGHBOUR = { destination: [1, "address"], mac: [2, "mac"] } as const;
const HEADER = 12;
const NTF_SELF = 0x02;
const NTF_MASTER = 0x04;

/** ndm_state. */
const STATES = {
  none: 0,
  incomplete: 1,
  reachable: 2,
  stale: 4,
  delay: 8,
  probe: 16,
  failed: 32,
  noarp: 64,
  permanent: 128,
} as const;
const STATE_NAMES: ReadonlyMap<number, Neighbour["state"]> = new Map(
  Object.entries(STATES).map(([name, number]) => [number, name as Neighbour["state"]]),
);

/** @throws FairleadError `bad-address` */
export function encodeNeighbour(neighbour: Neighbour, index: number): Uint8Array {
  const header = neighbourHeader(familyNumber(familyOf(neighbour.address)), index, STATES[neighbour.state], 0);
  return concatBytes([header, encodeAttributes(NEIGHBOUR, { destination: neighbour.address, mac: neighbour.mac })]);
}

/** @throws FairleadError `bad-address` */
export function encodeFdb(entry: FdbEntry, index: number): Uint8Array {
  const state = entry.permanent ? STATES.permanent : STATES.reachable;
  const header = neighbourHeader(AF_BRIDGE, index, state, entry.table === "self" ? NTF_SELF : NTF_MASTER);
  return concatBytes([header, encodeAttributes(NEIGHBOUR, { mac: entry.mac, destination: entry.destination })]);
}

/** The body of a dump: of a family's neighbours, or of all forwarding entries. */
export function neighbourDump(family: Family | "bridge"): Uint8Array {
  return neighbourHeader(family === "bridge" ? AF_BRIDGE : familyNumber(family), 0, 0, 0);
}

/** As `ip neigh` shows them: entries without a state, and those of links without ARP, are left out. */
export function decodeNeighbour(body: Uint8Array, nameOf: (index: number) => string): Neighbour | undefined {
  if (body.length < HEADER || familyFromNumber(body[0] ?? 0) === undefined) return undefined;
  const state = STATE_NAMES.get(readU16(body, 8));
  const { destination, mac } = decodeAttributes(NEIGHBOUR, body.subarray(HEADER));
  if (state === undefined || state === "none" || state === "noarp" || destination === undefined) return undefined;
  return { link: nameOf(readU32(body, 4)), address: destination, ...(mac === undefined ? {} : { mac }), state };
}

export function decodeFdb(body: Uint8Array, nameOf: (index: number) => string): FdbEntry | undefined {
  if (body.length < HEADER || body[0] !== AF_BRIDGE) return undefined;
  const { destination, mac } = decodeAttributes(NEIGHBOUR, body.subarray(HEADER));
  if (mac === undefined) return undefined;
  return {
    link: nameOf(readU32(body, 4)),
    mac,
    ...(destination === undefined ? {} : { destination }),
    table: (body[10] ?? 0) & NTF_SELF ? "self" : "master",
    permanent: (readU16(body, 8) & STATES.permanent) !== 0,
  };
}

/** Type of a destination (linux/rtnetlink.h). */
const RTN_MULTICAST = 5;

/** Whether an event is the kernel's own learning and ageing, which is no configuration. `port` is the causer's (0: the kernel). */
export function isNeighbourDynamics(type: number, port: number, body: Uint8Array): boolean {
  const lasting = (readU16(body, 8) & (STATES.permanent | STATES.noarp)) !== 0;
  // Forwarding entries are announced with port 0 whoever made them, but they say of themselves whether they last.
  if (body[0] === AF_BRIDGE) return !lasting;
  // What a device sends to groups resolves by itself; the kernel keeps such entries, and collects them, for every device.
  if (body[11] === RTN_MULTICAST) return true;
  // An entry that the kernel drops together with its device is announced without a state.
  return port === 0 && !lasting && (type === NEIGHBOUR_MESSAGE.new || readU16(body, 8) !== STATES.none);
}

function neighbourHeader(family: number, index: number, state: number, flags: number): Uint8Array {
  const header = new Uint8Array(HEADER);
  header[0] = family;
  writeU32(header, 4, index);
  writeU16(header, 8, state);
  header[10] = flags;
  return header;
}
