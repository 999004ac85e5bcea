// Reads a query from its bytes: the usual shape (one question, perhaps EDNS0) without making a message of it.
import type { Edns, Name } from "../message.ts";
import { OPCODE, RCODE, TYPE } from "../message.ts";
import type { Origin, Query } from "../query.ts";
import { decodeMessage } from "../wire/codec.ts";
import { DnsFormatError } from "../wire/errors.ts";
import { Reader } from "../wire/reader.ts";

const HEADER = 12;
/** Every UDP receiver takes so much (RFC 1035 §2.3.4). */
const PLAIN_UDP = 512;

/** A query as it came, with what its answer needs of its bytes. */
export class WireQuery implements Query {
  readonly bytes: Uint8Array;
  readonly id: number;
  readonly recursionDesired: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  readonly edns?: Edns;
  readonly origin: Origin;
  /** Offset after the question. */
  readonly questionEnd: number;
  zone: Name = ".";
  udpSize: number;

  constructor(fields: { bytes: Uint8Array; name: Name; questionEnd: number; edns: Edns | undefined; origin: Origin; udpLimit: number }) {
    const { bytes, name, questionEnd, edns, origin, udpLimit } = fields;
    this.bytes = bytes;
    this.id = u16(bytes, 0);
    this.recursionDesired = ((bytes[2] ?? 0) & 0x01) !== 0;
    this.authenticData = ((bytes[3] ?? 0) & 0x20) !== 0;
    this.checkingDisabled = ((bytes[3] ?? 0) & 0x10) !== 0;
    this.name = name;
    this.type = u16(bytes, questionEnd - 4);
    this.class = u16(bytes, questionEnd - 2);
    if (edns) this.edns = edns;
    this.origin = origin;
    this.questionEnd = questionEnd;
    this.udpSize = Math.min(udpLimit, Math.max(PLAIN_UDP, edns?.udpSize ?? PLAIN_UDP));
  }

  get size(): number {
    return this.bytes.length;
  }

  get spelled(): Name {
    const reader = new Reader(this.bytes);
    reader.offset = HEADER;
    return reader.name();
  }
}

/** What is no query that a plugin could answer: an rcode for the asker, or nothing at all. */
export interface Unanswerable {
  readonly rcode: number | undefined;
  /** Offset after the question where there is one to repeat. */
  readonly questionEnd: number;
}

/** Reads it. Total: any bytes are a query or unanswerable. `udpLimit`: the largest answer that the server sends by UDP. */
export function readQuery(bytes: Uint8Array, origin: Origin, udpLimit: number): WireQuery | Unanswerable {
  if (bytes.length < HEADER || ((bytes[2] ?? 0) & 0x80) !== 0) return { rcode: undefined, questionEnd: HEADER };
  if ((((bytes[2] ?? 0) >> 3) & 15) !== OPCODE.QUERY) return { rcode: RCODE.NOTIMP, questionEnd: HEADER };
  if (u16(bytes, 4) !== 1) return MALFORMED;
  const nameEnd = plainNameEnd(bytes);
  const questionEnd = nameEnd + 4;
  if (nameEnd < 0 || questionEnd > bytes.length) return MALFORMED;
  const simple = u16(bytes, 6) === 0 && u16(bytes, 8) === 0;
  const additionals = u16(bytes, 10);
  let edns: Edns | undefined;
  if (!simple || additionals > 0 || questionEnd !== bytes.length) {
    const found = simple && additionals === 1 ? shortOpt(bytes, questionEnd) : undefined;
    const whole = found ?? wholeEdns(bytes);
    if (whole === "malformed") return MALFORMED;
    edns = whole === "none" ? undefined : whole;
  }
  const query = new WireQuery({ bytes, name: lowerName(bytes, nameEnd), questionEnd, edns, origin, udpLimit });
  if (edns && edns.version !== 0) return { rcode: RCODE.BADVERS, questionEnd };
  if (query.type === TYPE.AXFR || query.type === TYPE.IXFR) return { rcode: RCODE.REFUSED, questionEnd };
  return query;
}

const MALFORMED: Unanswerable = { rcode: RCODE.FORMERR, questionEnd: HEADER };

/** Offset after the question's name; -1 where it is cut short, too long, or compressed (it cannot be: nothing is before it). */
function plainNameEnd(bytes: Uint8Array): number {
  let at = HEADER;
  for (;;) {
    const length = bytes[at];
    if (length === undefined || length > 63) return -1;
    at += length + 1;
    if (length === 0) return at - HEADER > 255 ? -1 : at;
  }
}

const scratch = Buffer.allocUnsafe(256);

/** The question's name in lower case, in text. */
function lowerName(bytes: Uint8Array, end: number): Name {
  if (end === HEADER + 1) return ".";
  let label = bytes[HEADER] ?? 0;
  let length = 0;
  for (let at = HEADER + 1; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (label === 0) {
      scratch[length++] = 0x2e;
      label = byte;
      continue;
    }
    label--;
    if (byte >= 0x41 && byte <= 0x5a) scratch[length++] = byte + 32;
    else if (byte > 0x20 && byte < 0x7f && byte !== 0x2e && byte !== 0x5c) scratch[length++] = byte;
    else return escapedName(bytes);
  }
  return scratch.toString("latin1", 0, length);
}

function escapedName(bytes: Uint8Array): Name {
  const reader = new Reader(bytes);
  reader.offset = HEADER;
  return reader.name().toLowerCase();
}

/** The OPT record that ends the message and has no options; undefined where it is not so simple. */
function shortOpt(bytes: Uint8Array, at: number): Edns | undefined {
  if (bytes.length !== at + 11 || bytes[at] !== 0 || u16(bytes, at + 1) !== TYPE.OPT || u16(bytes, at + 9) !== 0) return undefined;
  if (bytes[at + 5] !== 0) return undefined;
  return { udpSize: u16(bytes, at + 3), version: bytes[at + 6] ?? 0, dnssecOk: ((bytes[at + 7] ?? 0) & 0x80) !== 0 };
}

function wholeEdns(bytes: Uint8Array): Edns | "none" | "malformed" {
  try {
    return decodeMessage(bytes).edns ?? "none";
  } catch (error) {
    if (error instanceof DnsFormatError) return "malformed";
    throw error;
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
