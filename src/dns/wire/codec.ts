// The DNS wire codec: bytes to messages and back. Total: any bytes in, a message or a DnsFormatError out.
import { CLASS, type Edns, type EdnsOption, type Message, type Question, RCODE, type ResourceRecord, TYPE } from "../message.ts";
import { DnsFormatError } from "./errors.ts";
import { Reader } from "./reader.ts";
import { readRecord, writeRecord } from "./record.ts";
import { Writer } from "./writer.ts";

/** Largest message: TCP's length has 16 bits. */
export const MAX_MESSAGE = 65_535;

/** Reads a whole message. @throws DnsFormatError */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new Reader(bytes);
  const id = reader.u16();
  const flags = reader.u16();
  const counts = [reader.u16(), reader.u16(), reader.u16(), reader.u16()] as const;
  const questions: Question[] = [];
  for (let i = 0; i < counts[0]; i++) questions.push({ name: reader.name(), type: reader.u16(), class: reader.u16() });
  const answers = readSection(reader, counts[1]).records;
  const authorities = readSection(reader, counts[2]).records;
  const { records: additionals, opt } = readSection(reader, counts[3], true);
  if (reader.offset !== bytes.length) throw new DnsFormatError("bytes after the message's end", reader.offset);
  return {
    id,
    response: (flags & 0x8000) !== 0,
    opcode: (flags >> 11) & 15,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    recursionDesired: (flags & 0x0100) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    authenticData: (flags & 0x0020) !== 0,
    checkingDisabled: (flags & 0x0010) !== 0,
    rcode: (flags & 15) | (opt ? opt.upperRcode << 4 : 0),
    questions,
    answers,
    authorities,
    additionals,
    ...(opt ? { edns: opt.edns } : {}),
  };
}

interface Opt {
  readonly edns: Edns;
  readonly upperRcode: number;
}

function readSection(reader: Reader, count: number, mayHoldOpt = false): { records: ResourceRecord[]; opt?: Opt } {
  const records: ResourceRecord[] = [];
  let opt: Opt | undefined;
  for (let i = 0; i < count; i++) {
    const at = reader.offset;
    const head = { name: reader.name(), type: reader.u16(), class: reader.u16(), ttl: reader.u32() };
    if (head.type !== TYPE.OPT) {
      records.push(readRecord(reader, head));
      continue;
    }
    // RFC 6891 §6.1.1: at most one, of the root, in the additional section.
    if (opt || !mayHoldOpt || head.name !== ".") throw new DnsFormatError("an OPT record that may not stand here", at);
    opt = readOpt(reader, head);
  }
  return opt ? { records, opt } : { records };
}

function readOpt(reader: Reader, { class: udpSize, ttl }: { readonly class: number; readonly ttl: number }): Opt {
  const length = reader.u16();
  reader.need(length);
  const end = reader.offset + length;
  const options: EdnsOption[] = [];
  while (reader.offset < end) options.push({ code: reader.u16(), bytes: reader.copy(reader.u16()) });
  if (reader.offset !== end) throw new DnsFormatError("an EDNS option reaches beyond its record", reader.offset);
  const edns = { udpSize, version: (ttl >>> 16) & 255, dnssecOk: (ttl & 0x8000) !== 0, ...(options.length > 0 ? { options } : {}) };
  return { edns, upperRcode: ttl >>> 24 };
}

/** Encoding never waits, so one writer serves all. */
const shared = new Writer();

/**
 * Writes a message. Longer than `limit` bytes: records are left out from the end, and TC is set where one of the answer or
 * authority section is (RFC 2181 §9). Without `compress` names are written whole. @throws DnsValueError
 */
export function encodeMessage(message: Message, limit = MAX_MESSAGE, compress = true): Uint8Array {
  const writer = shared;
  writer.reset(compress);
  writer.u16(message.id);
  writer.u16(flagsOf(message));
  writer.skip(8);
  for (const question of message.questions) {
    writer.name(question.name);
    writer.u16(question.type);
    writer.u16(question.class);
  }
  const room = Math.min(limit, MAX_MESSAGE) - ednsLength(message.edns);
  const counts = [0, 0, 0];
  let full = false;
  for (const [index, section] of [message.answers, message.authorities, message.additionals].entries()) {
    for (const record of section) {
      if (full) break;
      const before = writer.length;
      writeRecord(writer, record);
      if (writer.length <= room) counts[index] = (counts[index] ?? 0) + 1;
      else {
        writer.rewind(before);
        full = true;
        if (index < 2) writer.setU8(2, writer.getU8(2) | 0x02);
      }
    }
  }
  if (message.edns) writeOpt(writer, message.edns, message.rcode >> 4);
  writer.setU16(4, message.questions.length);
  writer.setU16(6, counts[0] ?? 0);
  writer.setU16(8, counts[1] ?? 0);
  writer.setU16(10, (counts[2] ?? 0) + (message.edns ? 1 : 0));
  return writer.bytes();
}

/** The header's second word. */
function flagsOf(message: Omit<Message, "questions" | "answers" | "authorities" | "additionals">): number {
  // An rcode above 15 needs EDNS0; who has not asked with it is told of a failure.
  const rcode = message.rcode > 15 && !message.edns ? RCODE.SERVFAIL : message.rcode & 15;
  return (
    (message.response ? 0x8000 : 0) |
    ((message.opcode & 15) << 11) |
    (message.authoritative ? 0x0400 : 0) |
    (message.truncated ? 0x0200 : 0) |
    (message.recursionDesired ? 0x0100 : 0) |
    (message.recursionAvailable ? 0x0080 : 0) |
    (message.authenticData ? 0x0020 : 0) |
    (message.checkingDisabled ? 0x0010 : 0) |
    rcode
  );
}

function ednsLength(edns: Edns | undefined): number {
  if (!edns) return 0;
  let length = 11;
  for (const option of edns.options ?? []) length += 4 + option.bytes.length;
  return length;
}

function writeOpt(writer: Writer, edns: Edns, upperRcode: number): void {
  writer.u8(0);
  writer.u16(TYPE.OPT);
  writer.u16(edns.udpSize);
  writer.u32(((upperRcode << 24) | (edns.version << 16) | (edns.dnssecOk ? 0x8000 : 0)) >>> 0);
  writer.u16(ednsLength(edns) - 11);
  for (const option of edns.options ?? []) {
    writer.u16(option.code);
    writer.u16(option.bytes.length);
    writer.append(option.bytes);
  }
}

/** A question as a message, to be sent to a server. */
export function queryMessage(question: Omit<Question, "class"> & { readonly class?: number }, options: Partial<Message> = {}): Message {
  return {
    id: 0,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: 0,
    questions: [{ name: question.name, type: question.type, class: question.class ?? CLASS.IN }],
    answers: [],
    authorities: [],
    additionals: [],
    ...options,
  };
}
