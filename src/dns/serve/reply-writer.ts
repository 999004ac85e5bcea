// Writes the answer to a query: header, the question's own bytes, the reply's records, EDNS0 where the query has it.
//
// Records are written after the question's name in lower case, so compression points into it and the asker sees the letter
// case that it sent. What is written of a kept reply is kept with it: the next answer is a copy with the id put in.
import { RCODE, TYPE } from "../message.ts";
import type { Query, Reply } from "../query.ts";
import { MAX_MESSAGE } from "../wire/codec.ts";
import { writeRecord } from "../wire/record.ts";
import { Writer } from "../wire/writer.ts";
import type { WireQuery } from "./query-reader.ts";

/** Records as bytes, good for one name. */
interface Body {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly answers: number;
  readonly authorities: number;
  readonly additionals: number;
  readonly truncated: boolean;
}

const kept = new WeakMap<Reply, { body: Body | undefined }>();

/** Marks a reply that will be given many times, so that its bytes are worth keeping. */
export function keep(reply: Reply): Reply {
  kept.set(reply, { body: undefined });
  return reply;
}

const HEADER = 12;
const OPT_LENGTH = 11;
const writer = new Writer();

/** The whole answer. What does not fit is left out from the end; TC says so where an answer or authority is (RFC 2181 §9). */
export function writeReply(query: WireQuery, reply: Reply): Uint8Array {
  const limit = query.origin.transport === "tcp" ? MAX_MESSAGE : query.udpSize;
  const options = optionsLength(query, reply);
  const room = limit - query.questionEnd - (query.edns ? OPT_LENGTH + options : 0);
  const body = bodyOf(query, reply, room);
  const end = query.questionEnd + body.bytes.length;
  const bytes = Buffer.allocUnsafe(end + (query.edns ? OPT_LENGTH + options : 0));
  const source = query.bytes;
  for (let i = HEADER; i < query.questionEnd; i++) bytes[i] = source[i] ?? 0;
  bytes.set(body.bytes, query.questionEnd);
  bytes[0] = source[0] ?? 0;
  bytes[1] = source[1] ?? 0;
  writeFlags(bytes, query, reply, body.truncated);
  bytes[4] = 0;
  bytes[5] = 1;
  setU16(bytes, 6, body.answers);
  setU16(bytes, 8, body.authorities);
  setU16(bytes, 10, body.additionals + (query.edns ? 1 : 0));
  if (query.edns) writeOpt(bytes, end, query, reply, options);
  return bytes;
}

/** An answer of a header alone, or with the question, for what is no query that could be answered. */
export function writeRefusal(bytes: Uint8Array, rcode: number, questionEnd: number): Uint8Array {
  const edns = rcode > 15;
  const answer = Buffer.alloc(questionEnd + (edns ? OPT_LENGTH : 0));
  answer.set(bytes.subarray(0, questionEnd));
  answer[2] = 0x80 | ((bytes[2] ?? 0) & 0x79);
  answer[3] = rcode & 15;
  answer.fill(0, 4, HEADER);
  if (questionEnd > HEADER) answer[5] = 1;
  if (!edns) return answer;
  answer[11] = 1;
  setU16(answer, questionEnd + 1, TYPE.OPT);
  setU16(answer, questionEnd + 3, 1232);
  answer[questionEnd + 5] = rcode >> 4;
  return answer;
}

function bodyOf(query: Query, reply: Reply, room: number): Body {
  const slot = kept.get(reply);
  if (slot?.body && slot.body.name === query.name && slot.body.bytes.length <= room) return slot.body;
  const body = writeBody(query.name, reply, room);
  // A body that was cut to one asker's size is of no use to others.
  if (slot && !cut(body, reply)) slot.body = body;
  return body;
}

function cut(body: Body, reply: Reply): boolean {
  return body.additionals < reply.additionals.length || body.truncated !== reply.truncated;
}

function writeBody(name: string, reply: Reply, room: number): Body {
  writer.reset();
  writer.skip(HEADER);
  writer.name(name);
  writer.skip(4);
  const start = writer.length;
  const counts = [0, 0, 0];
  let full = false;
  let truncated = reply.truncated;
  const sections = [reply.answers, reply.authorities, reply.additionals];
  for (let index = 0; index < 3; index++) {
    for (const record of sections[index] ?? []) {
      if (full) break;
      const before = writer.length;
      writeRecord(writer, record);
      if (writer.length - start <= room) counts[index] = (counts[index] ?? 0) + 1;
      else {
        writer.rewind(before);
        full = true;
        // Losing additional data only is no truncation (RFC 2181 §9).
        truncated ||= index < 2;
      }
    }
  }
  const [answers = 0, authorities = 0, additionals = 0] = counts;
  return { name, bytes: writer.bytes().subarray(start), answers, authorities, additionals, truncated };
}

function writeFlags(bytes: Uint8Array, query: WireQuery, reply: Reply, truncated: boolean): void {
  const recursionDesired = reply.recursionDesired ?? query.recursionDesired;
  bytes[2] = 0x80 | (reply.authoritative ? 0x04 : 0) | (truncated ? 0x02 : 0) | (recursionDesired ? 0x01 : 0);
  const rcode = reply.rcode > 15 && !query.edns ? RCODE.SERVFAIL : reply.rcode & 15;
  // AD only for those who understand it (RFC 6840 §5.8).
  const authentic = reply.authenticData && (query.authenticData || query.edns?.dnssecOk === true);
  bytes[3] = (reply.recursionAvailable ? 0x80 : 0) | (authentic ? 0x20 : 0) | (query.checkingDisabled ? 0x10 : 0) | rcode;
}

function optionsLength(query: Query, reply: Reply): number {
  if (!query.edns || !reply.options) return 0;
  let length = 0;
  for (const option of reply.options) length += 4 + option.bytes.length;
  return length;
}

function writeOpt(bytes: Uint8Array, at: number, query: Query, reply: Reply, options: number): void {
  bytes[at] = 0;
  setU16(bytes, at + 1, TYPE.OPT);
  setU16(bytes, at + 3, query.udpSize);
  bytes[at + 5] = (reply.rcode >> 4) & 255;
  bytes[at + 6] = 0;
  bytes[at + 7] = query.edns?.dnssecOk ? 0x80 : 0;
  bytes[at + 8] = 0;
  setU16(bytes, at + 9, options);
  let next = at + OPT_LENGTH;
  for (const option of reply.options ?? []) {
    setU16(bytes, next, option.code);
    setU16(bytes, next + 2, option.bytes.length);
    bytes.set(option.bytes, next + 4);
    next += 4 + option.bytes.length;
  }
}

function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 255;
}
