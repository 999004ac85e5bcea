// Connection tracking over nfnetlink (linux/netfilter/nfnetlink_conntrack.h).
import type { Family } from "../../base/index.ts";
import type { ConntrackFilter, ConntrackFlow } from "../kernel.ts";
import { concatBytes, decodeAttributes, encodeAttributes } from "./attribute.ts";
import { familyFromNumber, familyNumber } from "./family.ts";

/** Message types: the subsystem's number (1) in the upper byte. */
export const CONNTRACK_MESSAGE = { new: 0x100, get: 0x101, delete: 0x102 } as const;

const TUPLE = {
  ip: [1, { source4: [1, "address"], destination4: [2, "address"], source6: [3, "address"], destination6: [4, "address"] }],
  protocol: [2, { number: [1, "u8"], sourcePort: [2, "be16"], destinationPort: [3, "be16"] }],
} as const;

const FLOW = { original: [1, TUPLE], reply: [2, TUPLE], mark: [8, "be32"] } as const;
/** The attributes that name a flow, kept as they came, for naming the flow in a request. */
const RAW = { original: [1, "nested"], id: [12, "bytes"], zone: [18, "bytes"] } as const;

const HEADER = 4;

/** A flow as read, with the bytes that name it in a request to delete it. */
export interface TrackedFlow {
  readonly flow: ConntrackFlow;
  readonly name: Uint8Array;
}

/** The body of a dump; of both families if none is given (AF_UNSPEC). */
export function conntrackDump(family: Family | undefined): Uint8Array {
  return Uint8Array.of(family === undefined ? 0 : familyNumber(family), 0, 0, 0);
}

/** Undefined for what has no two tuples of an Internet family. */
export function decodeFlow(body: Uint8Array): TrackedFlow | undefined {
  if (body.length < HEADER || familyFromNumber(body[0] ?? 0) === undefined) return undefined;
  const { original, reply, mark } = decodeAttributes(FLOW, body.subarray(HEADER));
  const source = original?.ip?.source4 ?? original?.ip?.source6;
  const destination = original?.ip?.destination4 ?? original?.ip?.destination6;
  const replySource = reply?.ip?.source4 ?? reply?.ip?.source6;
  const replyDestination = reply?.ip?.destination4 ?? reply?.ip?.destination6;
  const protocol = original?.protocol?.number;
  if (source === undefined || destination === undefined || replySource === undefined || replyDestination === undefined) return undefined;
  if (protocol === undefined) return undefined;
  return {
    flow: {
      protocol,
      source,
      destination,
      ...port("sourcePort", original?.protocol?.sourcePort),
      ...port("destinationPort", original?.protocol?.destinationPort),
      replySource,
      replyDestination,
      ...port("replySourcePort", reply?.protocol?.sourcePort),
      ...port("replyDestinationPort", reply?.protocol?.destinationPort),
      ...(mark === undefined ? {} : { mark }),
    },
    name: concatBytes([body.slice(0, 1), new Uint8Array(3), encodeAttributes(RAW, decodeAttributes(RAW, body.subarray(HEADER)))]),
  };
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
