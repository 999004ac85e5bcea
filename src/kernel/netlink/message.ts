// Netlink messages: the header, acknowledgements with the kernel's words, and the end of a dump (linux/netlink.h).
import { align, decodeAttributes, readU16, readU32, writeU16, writeU32 } from "./attribute.ts";

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Port id of the socket that caused it; 0 for the kernel itself. */
  readonly port: number;
  readonly body: Uint8Array;
}

/** nlmsg_flags. */
export const FLAG = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dumpInterrupted: 0x10,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  /** In an answer: the request is not repeated in it. */
  capped: 0x100,
  /** In an answer: attributes follow. */
  ackAttributes: 0x200,
} as const;

/** Message types that every netlink protocol shares. */
export const CONTROL = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

const HEADER = 16;
const ACK_ATTRIBUTES = { message: [1, "string"], offset: [2, "u32"] } as const;

/** Encodes one message. */
export function encodeMessage(message: NetlinkMessage): Uint8Array {
  const bytes = new Uint8Array(messageLength(message));
  writeMessage(bytes, 0, message);
  return bytes;
}

/** Bytes that a message takes, without what fills it up to the next one's beginning. */
export function messageLength({ body }: Pick<NetlinkMessage, "body">): number {
  return HEADER + body.length;
}

/** Writes one message at a place that has room for it. */
export function writeMessage(bytes: Uint8Array, at: number, message: NetlinkMessage): void {
  writeU32(bytes, at, messageLength(message));
  writeU16(bytes, at + 4, message.type);
  writeU16(bytes, at + 6, message.flags);
  writeU32(bytes, at + 8, message.sequence);
  writeU32(bytes, at + 12, message.port);
  bytes.set(message.body, at + HEADER);
}

/** Splits what one recv() brought; stops at the first header that does not fit. The bodies are views of `bytes`. */
export function decodeMessages(bytes: Uint8Array): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const length = readU32(bytes, at);
    if (length < HEADER || at + length > bytes.length) break;
    messages.push({
      type: readU16(bytes, at + 4),
      flags: readU16(bytes, at + 6),
      sequence: readU32(bytes, at + 8),
      port: readU32(bytes, at + 12),
      body: bytes.subarray(at + HEADER, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** What an error, or the end of a dump, says. */
export interface Verdict {
  /** 0: done; otherwise the errno, positive. */
  readonly errno: number;
  readonly says?: string | undefined;
}

/** Reads NLMSG_ERROR and NLMSG_DONE; undefined for any other message, or one too short to tell. */
export function verdictOf(message: NetlinkMessage): Verdict | undefined {
  if (message.type !== CONTROL.error && message.type !== CONTROL.done) return undefined;
  if (message.body.length < 4) return message.type === CONTROL.done ? { errno: 0 } : undefined;
  const errno = -(readU32(message.body, 0) | 0);
  if (!(message.flags & FLAG.ackAttributes)) return { errno };
  let at = 4;
  if (message.type === CONTROL.error) {
    // The request's header follows the number; all of the request only where the answer is not capped.
    at = 4 + (message.flags & FLAG.capped ? HEADER : Math.max(HEADER, align(readU32(message.body, 4))));
  }
  if (at > message.body.length) return { errno };
  return { errno, says: decodeAttributes(ACK_ATTRIBUTES, message.body.subarray(at)).message };
}
