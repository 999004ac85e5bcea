// Packets that rules log, over nfnetlink (linux/netfilter/nfnetlink_log.h).
import type { LoggedPacket } from "../kernel.ts";
import { concatBytes, decodeAttributes, encodeAttributes } from "./attribute.ts";

/** Message types: the subsystem's number (4) in the upper byte. */
export const NFLOG_MESSAGE = { packet: 0x400, config: 0x401 } as const;

const BIND = 1;
const COPY_PACKET = 2;
const HEADER = 4;

const CONFIG = { command: [1, "bytes"], mode: [2, "bytes"], timeout: [4, "be32"], threshold: [5, "be32"] } as const;
const PACKET = { inDevice: [4, "be32"], outDevice: [5, "be32"], payload: [9, "bytes"], prefix: [10, "string"] } as const;

/** Hundredths of a second that the kernel collects packets for, unless as many are there before. */
const COLLECT = 5;
const AT_ONCE = 50;

/** The bodies of the requests that bind a group to the asking socket: each packet's first `bytes` are wanted; `atOnce`: not collected. */
export function bindLogGroup(group: number, bytes: number, atOnce = false): readonly Uint8Array[] {
  const head = Uint8Array.of(0, 0, group >>> 8, group & 0xff);
  const mode = Uint8Array.of(bytes >>> 24, (bytes >>> 16) & 0xff, (bytes >>> 8) & 0xff, bytes & 0xff, COPY_PACKET, 0);
  return [
    concatBytes([head, encodeAttributes(CONFIG, { command: Uint8Array.of(BIND) })]),
    concatBytes([head, encodeAttributes(CONFIG, { mode, timeout: COLLECT, threshold: atOnce ? 1 : AT_ONCE })]),
  ];
}

/** Undefined for what holds no packet. */
export function decodeLoggedPacket(body: Uint8Array): LoggedPacket | undefined {
  if (body.length < HEADER) return undefined;
  const { prefix, payload, inDevice, outDevice } = decodeAttributes(PACKET, body.subarray(HEADER));
  if (payload === undefined) return undefined;
  return {
    prefix: prefix ?? "",
    // The receiver keeps it longer than the buffer that it came in.
    bytes: payload.slice(),
    ...(inDevice === undefined ? {} : { inDevice }),
    ...(outDevice === undefined ? {} : { outDevice }),
  };
}
