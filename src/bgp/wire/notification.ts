// NOTIFICATION: why a session ends (RFC 4271 §4.5), with the words of who shut it down (RFC 9003).
import { type ByteWriter, copyBytes } from "./byte-writer.ts";
import { CEASE, CODE, nameOfError, type ProtocolError } from "./protocol-error.ts";

export interface NotificationMessage {
  readonly type: "notification";
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

/** Bytes of a shutdown communication (RFC 9003 §2). */
const WORDS_LIMIT = 255;

/** Reads the body of a NOTIFICATION, which has at least two bytes. */
export function readNotification(bytes: Uint8Array): NotificationMessage {
  return { type: "notification", code: bytes[0] ?? 0, subcode: bytes[1] ?? 0, data: copyBytes(bytes, 2) };
}

/** Writes the body of a NOTIFICATION. */
export function writeNotification(writer: ByteWriter, { code, subcode, data }: NotificationMessage): void {
  writer.u8(code);
  writer.u8(subcode);
  writer.raw(data);
}

/** The NOTIFICATION that reports an error. */
export function notificationOf({ code, subcode, data }: ProtocolError): NotificationMessage {
  return { type: "notification", code, subcode, data };
}

/** A Cease, with words for administrative shutdown and reset; they are cut to 255 bytes of whole characters. */
export function ceaseOf(subcode: number, words = ""): NotificationMessage {
  if (words === "" || (subcode !== CEASE.shutdown && subcode !== CEASE.reset)) {
    return { type: "notification", code: CODE.cease, subcode, data: new Uint8Array(0) };
  }
  let bytes = new TextEncoder().encode(words);
  if (bytes.length > WORDS_LIMIT) {
    let end = WORDS_LIMIT;
    while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
    bytes = bytes.subarray(0, end);
  }
  return { type: "notification", code: CODE.cease, subcode, data: Uint8Array.of(bytes.length, ...bytes) };
}

/** The words of a shutdown communication; undefined if there are none or they are not UTF-8. */
export function wordsOf({ code, subcode, data }: NotificationMessage): string | undefined {
  if (code !== CODE.cease || (subcode !== CEASE.shutdown && subcode !== CEASE.reset)) return undefined;
  const length = data[0] ?? 0;
  if (length === 0 || length + 1 > data.length) return undefined;
  try {
    // Control characters would reach a terminal (RFC 9003 §6).
    return new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(1, 1 + length)).replace(/\p{Cc}/gu, " ");
  } catch {
    return undefined;
  }
}

/** `cease: administrative shutdown, "maintenance"`. */
export function describeNotification(message: NotificationMessage): string {
  const words = wordsOf(message);
  return nameOfError(message.code, message.subcode) + (words === undefined ? "" : `, "${words}"`);
}
