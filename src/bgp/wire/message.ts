// BGP messages between bytes and data (RFC 4271 §4). Decoding is total: any bytes give a message or a ProtocolError.
import type { Family } from "../../base/index.ts";
import { BgpError } from "../errors.ts";
import { ByteWriter, copyBytes } from "./byte-writer.ts";
import { type NotificationMessage, readNotification, writeNotification } from "./notification.ts";
import { type OpenMessage, readOpen, writeOpen } from "./open.ts";
import { CODE, type Decoded, Malformed, total } from "./protocol-error.ts";
import { readUpdate, type UpdateContext, type UpdateMessage, writeUpdate } from "./update.ts";

interface KeepaliveMessage {
  readonly type: "keepalive";
}

/** RFC 2918; with `mark`, the beginning and end of a refresh (RFC 7313). */
interface RouteRefreshMessage {
  readonly type: "route-refresh";
  /** Undefined for a family that is not ours; such a request is ignored. */
  readonly family: Family | undefined;
  readonly mark: "request" | "begin" | "end" | "unknown";
}

export type Message = OpenMessage | UpdateMessage | NotificationMessage | KeepaliveMessage | RouteRefreshMessage;

export const HEADER_LENGTH = 19;
/** Without and with extended messages (RFC 8654). */
export const MESSAGE_LIMIT = 4096;
export const EXTENDED_MESSAGE_LIMIT = 65535;

const TYPES = ["open", "update", "notification", "keepalive", "route-refresh"] as const;
/** Shortest length of each type, by TYPES. */
const SHORTEST = [29, 23, 21, 19, 23] as const;
const MARKS = ["request", "begin", "end"] as const;

/**
 * Length of the message whose header stands at `at`, once the header is there.
 * The error tells a header that cannot be one (1/1, 1/2, 1/3): nothing after it can be read.
 */
export function messageLengthAt(bytes: Uint8Array, at: number, limit: number): Decoded<number> {
  return total(() => {
    for (let i = at; i < at + 16; i++) if (bytes[i] !== 0xff) throw new Malformed(CODE.header, 1, "the marker is not all ones");
    const length = ((bytes[at + 16] ?? 0) << 8) | (bytes[at + 17] ?? 0);
    const type = bytes[at + 18] ?? 0;
    const shortest = SHORTEST[type - 1];
    const lengthBytes = () => copyBytes(bytes, at + 16, at + 18);
    if (length < HEADER_LENGTH) throw new Malformed(CODE.header, 2, `a message of ${length} bytes`, lengthBytes());
    if (shortest === undefined) throw new Malformed(CODE.header, 3, `message type ${type}`, Uint8Array.of(type));
    // RFC 8654 §4: OPEN and KEEPALIVE never are long.
    const longest = type === 1 || type === 4 ? MESSAGE_LIMIT : limit;
    if (length < shortest || length > longest || (type === 4 && length !== HEADER_LENGTH)) {
      throw new Malformed(CODE.header, 2, `a ${TYPES[type - 1]} of ${length} bytes`, lengthBytes());
    }
    return length;
  });
}

/** Decodes one whole message, header included. */
export function decodeMessage(bytes: Uint8Array, context: UpdateContext, limit = EXTENDED_MESSAGE_LIMIT): Decoded<Message> {
  if (bytes.length < HEADER_LENGTH) {
    return { ok: false, error: { code: CODE.header, subcode: 2, data: new Uint8Array(0), says: `${bytes.length} bytes are no message` } };
  }
  const length = messageLengthAt(bytes, 0, limit);
  if (!length.ok) return length;
  if (length.value !== bytes.length) {
    return {
      ok: false,
      error: { code: CODE.header, subcode: 2, data: copyBytes(bytes, 16, 18), says: "the length is not that of the message" },
    };
  }
  return total(() => readBody(bytes, context));
}

function readBody(bytes: Uint8Array, context: UpdateContext): Message {
  const body = new Uint8Array(bytes.buffer, bytes.byteOffset + HEADER_LENGTH, bytes.length - HEADER_LENGTH);
  switch (bytes[18]) {
    case 1:
      return readOpen(body);
    case 2:
      return readUpdate(body, context);
    case 3:
      return readNotification(body);
    case 4:
      return { type: "keepalive" };
    default:
      return readRefresh(body, bytes);
  }
}

function readRefresh(body: Uint8Array, whole: Uint8Array): RouteRefreshMessage {
  // RFC 7313 §5: for BoRR and EoRR the length is an error of its own. A plain request may carry ORF, which we never ask for.
  const mark = MARKS[body[2] ?? 0] ?? "unknown";
  if (body.length !== 4 && (mark === "begin" || mark === "end"))
    throw new Malformed(CODE.refresh, 1, `a refresh of ${whole.length} bytes`, copyBytes(whole, 0));
  const afi = ((body[0] ?? 0) << 8) | (body[1] ?? 0);
  const family = body[3] === 1 && (afi === 1 || afi === 2) ? (afi === 1 ? 4 : 6) : undefined;
  return { type: "route-refresh", family, mark };
}

/** Encodes one message, header included. @throws BgpError `message-too-long` */
export function encodeMessage(message: Message, context: UpdateContext, limit = MESSAGE_LIMIT): Buffer {
  const writer = new ByteWriter(256);
  startMessage(writer, TYPES.indexOf(message.type) + 1);
  switch (message.type) {
    case "open":
      writeOpen(writer, message);
      break;
    case "update":
      writeUpdate(writer, message, context);
      break;
    case "notification":
      writeNotification(writer, message);
      break;
    case "route-refresh":
      writer.u16(message.family === 6 ? 2 : 1);
      writer.u8(message.mark === "unknown" ? 3 : MARKS.indexOf(message.mark));
      writer.u8(1);
      break;
    case "keepalive":
      break;
  }
  if (writer.length > limit) {
    throw new BgpError("message-too-long", `the ${message.type} has ${writer.length} bytes, over ${limit}`, {
      remedy: "put fewer prefixes in it",
    });
  }
  endMessage(writer, 0);
  return writer.copy();
}

/** Writes a header without its length; returns where the message starts. */
export function startMessage(writer: ByteWriter, type: number): number {
  const start = writer.length;
  writer.reserve(HEADER_LENGTH);
  writer.bytes.fill(0xff, start, start + 16);
  writer.bytes[start + 18] = type;
  writer.length = start + HEADER_LENGTH;
  return start;
}

/** Puts the length in the header of the message that starts at `start`. */
export function endMessage(writer: ByteWriter, start: number): void {
  writer.patch16(start + 16, writer.length - start);
}

/** A context in which nothing but RFC 4271 and IPv4 was negotiated. */
export const PLAIN_CONTEXT: UpdateContext = { fourByteAs: false, external: true, families: [4], addPath: [], extendedNextHop: false };
