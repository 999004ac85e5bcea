// Connection tracking over nfnetlink (linux/netfilter/nfnetlink_conntrack.h).
import { type Family, familyOf } from "../../base/index.ts";
import type { ConntrackFilter, ConntrackFlow } from "../kernel.ts";
import { type AttributeValues, concatBytes, decodeAttributes, encodeAttributes } from "./attribute.ts";
import { familyFromNumber, familyNumber } from "./family.ts";

/** Message types: the subsystem's number (1) in the upper byte. */
export const CONNTRACK_MESSAGE = { new: 0x100, get: 0x101, delete: 0x102 } as const;

const TUPLE = {
  ip: [1, { source4: [1, "address"], destination4: [2, "address"], source6: [3, "address"], destination6: [4, "address"] }],
  protocol: [2, { number: [1, "u8"], sourcePort: [2, "be16"], destinationPort: [3, "be16"] }],
} as const;

const FLOW = { original: [1, TUPLE], reply: [2, TUPLE], status: [3, "be32"], mark: [8, "be32"] } as const;
/** The attributes that name a flow, kept as they came, for naming the flow in a request. */
const RAW = { original: [1, "nested"], id: [12, "bytes"], zone: [18, "bytes"] } as const;

/** Which parts of the two tuples a request means, as bits; both must be as it says (CTA_FILTER, Linux 5.8). */
const FILTER = {
  original: [1, TUPLE],
  reply: [2, TUPLE],
  status: [3, "be32"],
  flags: [25, { original: [1, "u32"], reply: [2, "u32"] }],
} as const;
/** Which bits of the status are meant (Linux 5.19). */
const STATUS_MASK = { mask: [26, "be32"] } as const;
const MEANS = { source: 0x1, destination: 0x2, protocol: 0x8, destinationPort: 0x20 } as const;
/** A packet has come back (enum ip_conntrack_status, IPS_SEEN_REPLY). */
const SEEN_REPLY = 0x2;

const HEADER = 4;

/**
 * The body of a dump, or of a request to delete, of the flows that the filter names. A kernel that does not know filters takes a
 * dump's for none, and refuses a deletion's. Tuples are of one family: without it, their parts are left to the reader.
 */
export function conntrackRequest(filter: ConntrackFilter): Uint8Array {
  const { source, destination, replySource, replyDestination, replied } = filter;
  const family = familyIn(filter);
  const header = Uint8Array.of(family === undefined ? 0 : familyNumber(family), 0, 0, 0);
  const protocol = family === undefined ? undefined : filter.protocol;
  const destinationPort = protocol === undefined ? undefined : filter.destinationPort;
  const original = bitsOf({ source, destination, protocol, destinationPort });
  const reply = bitsOf({ source: replySource, destination: replyDestination });
  const status = replied === undefined ? undefined : replied ? SEEN_REPLY : 0;
  return concatBytes([
    header,
    encodeAttributes(FILTER, {
      original: original === 0 ? undefined : tupleOf(family, { source, destination, number: protocol, destinationPort }),
      reply: reply === 0 ? undefined : tupleOf(family, { source: replySource, destination: replyDestination }),
      status,
      flags: original + reply === 0 ? undefined : { original, reply },
    }),
    encodeAttributes(STATUS_MASK, { mask: status === undefined ? undefined : SEEN_REPLY }),
  ]);
}

/** Whether a request to delete by the filter means just what the filter says, on every kernel that accepts it. */
export function isExact(filter: ConntrackFilter): boolean {
  const { protocol, destinationPort, replied } = filter;
  if (Object.keys(filter).length === 0) return true;
  return familyIn(filter) !== undefined && replied === undefined && (destinationPort === undefined || protocol !== undefined);
}

function familyIn({ family, source, destination, replySource, replyDestination }: ConntrackFilter): Family | undefined {
  const address = source ?? destination ?? replySource ?? replyDestination;
  return family ?? (address === undefined ? undefined : familyOf(address));
}

function bitsOf(named: { readonly [K in keyof typeof MEANS]?: unknown }): number {
  return Object.entries(MEANS).reduce((sum, [key, bit]) => (named[key as keyof typeof MEANS] === undefined ? sum : sum | bit), 0);
}

interface TupleParts {
  readonly source?: string | undefined;
  readonly destination?: string | undefined;
  readonly number?: number | undefined;
  readonly destinationPort?: number | undefined;
}

function tupleOf(family: Family | undefined, { source, destination, number, destinationPort }: TupleParts): AttributeValues<typeof TUPLE> {
  const ip = family === 6 ? { source6: source, destination6: destination } : { source4: source, destination4: destination };
  return {
    ip: source === undefined && destination === undefined ? undefined : ip,
    protocol: number === undefined ? undefined : { number, destinationPort },
  };
}

/** Undefined for what has no two tuples of an Internet family. */
export function decodeFlow(body: Uint8Array): ConntrackFlow | undefined {
  if (body.length < HEADER || familyFromNumber(body[0] ?? 0) === undefined) return undefined;
  const { original, reply, status = 0, mark } = decodeAttributes(FLOW, body.subarray(HEADER));
  const source = original?.ip?.source4 ?? original?.ip?.source6;
  const destination = original?.ip?.destination4 ?? original?.ip?.destination6;
  const replySource = reply?.ip?.source4 ?? reply?.ip?.source6;
  const replyDestination = reply?.ip?.destination4 ?? reply?.ip?.destination6;
  const protocol = original?.protocol?.number;
  if (source === undefined || destination === undefined || replySource === undefined || replyDestination === undefined) return undefined;
  if (protocol === undefined) return undefined;
  return {
    protocol,
    source,
    destination,
    ...port("sourcePort", original?.protocol?.sourcePort),
    ...port("destinationPort", original?.protocol?.destinationPort),
    replySource,
    replyDestination,
    ...port("replySourcePort", reply?.protocol?.sourcePort),
    ...port("replyDestinationPort", reply?.protocol?.destinationPort),
    replied: (status & SEEN_REPLY) !== 0,
    ...(mark === undefined ? {} : { mark }),
  };
}

/** The body of a request that names the flow of a message. */
export function nameOfFlow(body: Uint8Array): Uint8Array {
  return concatBytes([body.slice(0, 1), new Uint8Array(3), encodeAttributes(RAW, decodeAttributes(RAW, body.subarray(HEADER)))]);
}

/** Whether what the filter names is so in the flow. */
export function matchesFlow(filter: ConntrackFilter, flow: ConntrackFlow): boolean {
  const { family, ...rest } = filter;
  if (family !== undefined && family !== (flow.source.includes(":") ? 6 : 4)) return false;
  return Object.entries(rest).every(([key, value]) => value === undefined || flow[key as keyof ConntrackFlow] === value);
}

function port<K extends string>(key: K, value: number | undefined): { readonly [name in K]?: number } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [name in K]?: number };
}
