// The DNS wire codec: bytes to messages and back. Total: any bytes in, a message or a DnsFormatError out.
import { addressFromBytes, addressToBytes, FairleadError, formatAddress, parseAddress } from "../base/index.ts";
import { type Edns, type Message, type Name, type Question, type RecordData, type ResourceRecord, TYPE } from "./message.ts";

/** Bytes that are no DNS message. Its `id` is known when at least the header's first two bytes were there. */
export class DnsFormatError extends FairleadError {
  constructor(message: string, offset: number) {
    super("dns-format", `${message} at byte ${offset}`);
  }
}

const HEADER = 12;
const MAX_NAME = 255;
const MAX_LABEL = 63;

/** Decodes a message. Bytes after it are ignored. @throws DnsFormatError */
export function decodeMessage(bytes: Uint8Array): Message {
  if (bytes.length < HEADER) throw new DnsFormatError("the header is cut short", bytes.length);
  const reader = new Reader(bytes);
  const id = reader.u16();
  const flags = reader.u16();
  const [qd, an, ns, ar] = [reader.u16(), reader.u16(), reader.u16(), reader.u16()];
  const questions: Question[] = [];
  for (let i = 0; i < qd; i++) questions.push({ name: reader.name(), type: reader.u16(), class: reader.u16() });
  let edns: Edns | undefined;
  const section = (count: number) => {
    const records: ResourceRecord[] = [];
    for (let i = 0; i < count; i++) {
      const record = readRecord(reader);
      if ("udpSize" in record) edns ??= record;
      else records.push(record);
    }
    return records;
  };
  const answers = section(an);
  const authorities = section(ns);
  const additionals = section(ar);
  return {
    id,
    response: (flags & 0x8000) !== 0,
    opcode: (flags >> 11) & 15,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    recursionDesired: (flags & 0x0100) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    rcode: flags & 15,
    questions,
    answers,
    authorities,
    additionals,
    ...(edns ? { edns } : {}),
  };
}

/** Encodes a message. Longer than `limit` bytes: records are left out from the end and TC is set (RFC 2181 §9). */
export function encodeMessage(message: Message, limit = 65_535): Uint8Array {
  const writer = new Writer();
  writer.u16(message.id);
  writer.u16(
    (message.response ? 0x8000 : 0) |
      ((message.opcode & 15) << 11) |
      (message.authoritative ? 0x0400 : 0) |
      (message.truncated ? 0x0200 : 0) |
      (message.recursionDesired ? 0x0100 : 0) |
      (message.recursionAvailable ? 0x0080 : 0) |
      (message.rcode & 15),
  );
  writer.skip(8);
  for (const question of message.questions) {
    writer.name(question.name);
    writer.u16(question.type);
    writer.u16(question.class);
  }
  const room = limit - (message.edns ? 11 : 0);
  const counts = [0, 0, 0];
  let truncated = false;
  for (const [index, section] of [message.answers, message.authorities, message.additionals].entries()) {
    for (const record of section) {
      if (truncated) break;
      const before = writer.length;
      writeRecord(writer, record);
      if (writer.length > room) {
        writer.rewind(before);
        // Losing additional data only is no truncation (RFC 2181 §9).
        truncated = true;
        if (index < 2) writer.setBits(2, 0x02);
      } else counts[index] = (counts[index] ?? 0) + 1;
    }
  }
  if (message.edns) {
    writeEdns(writer, message.edns);
    counts[2] = (counts[2] ?? 0) + 1;
  }
  writer.setU16(4, message.questions.length);
  for (const [index, count] of counts.entries()) writer.setU16(6 + index * 2, count);
  return writer.bytes();
}

function readRecord(reader: Reader): ResourceRecord | Edns {
  const name = reader.name();
  const type = reader.u16();
  const klass = reader.u16();
  const ttl = reader.u32();
  const length = reader.u16();
  const end = reader.offset + length;
  reader.need(length);
  if (type === TYPE.OPT) {
    reader.offset = end;
    return { udpSize: klass, extendedRcode: ttl >>> 24, version: (ttl >>> 16) & 255, dnssecOk: (ttl & 0x8000) !== 0 };
  }
  const data = readData(reader, type, end);
  if (reader.offset !== end) throw new DnsFormatError("a record's data has another length than it says", reader.offset);
  return { name, class: klass, ttl, data };
}

function readData(reader: Reader, type: number, end: number): RecordData {
  switch (type) {
    case TYPE.A:
    case TYPE.AAAA: {
      const bytes = reader.take(end - reader.offset);
      if (bytes.length !== (type === TYPE.A ? 4 : 16)) throw new DnsFormatError("an address record of the wrong size", end);
      return { type: type === TYPE.A ? "A" : "AAAA", address: formatAddress(addressFromBytes(bytes)) };
    }
    case TYPE.CNAME:
      return { type: "CNAME", target: reader.name() };
    case TYPE.NS:
      return { type: "NS", target: reader.name() };
    case TYPE.PTR:
      return { type: "PTR", target: reader.name() };
    case TYPE.MX:
      return { type: "MX", preference: reader.u16(), target: reader.name() };
    case TYPE.SRV:
      return { type: "SRV", priority: reader.u16(), weight: reader.u16(), port: reader.u16(), target: reader.name() };
    case TYPE.SOA:
      return {
        type: "SOA",
        primary: reader.name(),
        mailbox: reader.name(),
        serial: reader.u32(),
        refresh: reader.u32(),
        retry: reader.u32(),
        expire: reader.u32(),
        minimum: reader.u32(),
      };
    case TYPE.TXT: {
      const texts: string[] = [];
      while (reader.offset < end) texts.push(Buffer.from(reader.take(reader.u8())).toString("latin1"));
      return { type: "TXT", texts };
    }
    default:
      return { type: "other", code: type, bytes: reader.take(end - reader.offset).slice() };
  }
}

function writeRecord(writer: Writer, record: ResourceRecord): void {
  const { data } = record;
  writer.name(record.name);
  writer.u16(data.type === "other" ? data.code : TYPE[data.type]);
  writer.u16(record.class);
  writer.u32(record.ttl);
  const at = writer.length;
  writer.skip(2);
  switch (data.type) {
    case "A":
    case "AAAA":
      writer.append(addressToBytes(parseAddress(data.address)));
      break;
    case "CNAME":
    case "NS":
    case "PTR":
      writer.name(data.target);
      break;
    case "MX":
      writer.u16(data.preference);
      writer.name(data.target);
      break;
    case "SRV":
      writer.u16(data.priority);
      writer.u16(data.weight);
      writer.u16(data.port);
      // The target of SRV is not compressed (RFC 2782).
      writer.name(data.target, false);
      break;
    case "SOA":
      writer.name(data.primary);
      writer.name(data.mailbox);
      for (const value of [data.serial, data.refresh, data.retry, data.expire, data.minimum]) writer.u32(value);
      break;
    case "TXT":
      for (const text of data.texts) {
        const bytes = Buffer.from(text, "latin1").subarray(0, 255);
        writer.u8(bytes.length);
        writer.append(bytes);
      }
      break;
    case "other":
      writer.append(data.bytes);
      break;
  }
  writer.setU16(at, writer.length - at - 2);
}

function writeEdns(writer: Writer, edns: Edns): void {
  writer.u8(0);
  writer.u16(TYPE.OPT);
  writer.u16(edns.udpSize);
  writer.u32(((edns.extendedRcode << 24) | (edns.version << 16) | (edns.dnssecOk ? 0x8000 : 0)) >>> 0);
  writer.u16(0);
}

class Reader {
  readonly #bytes: Uint8Array;
  offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  need(length: number): void {
    if (this.offset + length > this.#bytes.length) throw new DnsFormatError("the message is cut short", this.#bytes.length);
  }

  u8(): number {
    this.need(1);
    return this.#bytes[this.offset++] ?? 0;
  }

  u16(): number {
    return (this.u8() << 8) | this.u8();
  }

  u32(): number {
    return ((this.u16() << 16) | this.u16()) >>> 0;
  }

  take(length: number): Uint8Array {
    this.need(length);
    const bytes = this.#bytes.subarray(this.offset, this.offset + length);
    this.offset += length;
    return bytes;
  }

  /** A name, with its compression pointers followed; a pointer must lead back, so there is no loop. */
  name(): Name {
    let text = "";
    let total = 1;
    let at = this.offset;
    let after: number | undefined;
    for (;;) {
      const length = this.#bytes[at];
      if (length === undefined) throw new DnsFormatError("a name is cut short", at);
      if (length === 0) {
        this.offset = after ?? at + 1;
        return text === "" ? "." : text;
      }
      if ((length & 0xc0) === 0xc0) {
        const target = ((length & 0x3f) << 8) | (this.#bytes[at + 1] ?? 0);
        if (at + 1 >= this.#bytes.length || target >= at) throw new DnsFormatError("a compression pointer leads nowhere", at);
        after ??= at + 2;
        at = target;
        continue;
      }
      if (length > MAX_LABEL) throw new DnsFormatError("a label of an unknown kind", at);
      total += length + 1;
      if (total > MAX_NAME) throw new DnsFormatError("a name longer than 255 bytes", at);
      if (at + 1 + length > this.#bytes.length) throw new DnsFormatError("a label is cut short", at);
      for (let i = at + 1; i <= at + length; i++) text += escapeByte(this.#bytes[i] ?? 0);
      text += ".";
      at += length + 1;
    }
  }
}

class Writer {
  #bytes = new Uint8Array(512);
  #view = new DataView(this.#bytes.buffer);
  length = 0;
  readonly #names = new Map<string, number>();

  #grow(by: number): void {
    if (this.length + by <= this.#bytes.length) return;
    const bigger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + by));
    bigger.set(this.#bytes);
    this.#bytes = bigger;
    this.#view = new DataView(bigger.buffer);
  }

  u8(value: number): void {
    this.#grow(1);
    this.#view.setUint8(this.length, value);
    this.length += 1;
  }

  u16(value: number): void {
    this.#grow(2);
    this.#view.setUint16(this.length, value);
    this.length += 2;
  }

  u32(value: number): void {
    this.#grow(4);
    this.#view.setUint32(this.length, value);
    this.length += 4;
  }

  append(bytes: Uint8Array): void {
    this.#grow(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  skip(length: number): void {
    this.#grow(length);
    this.length += length;
  }

  setU16(at: number, value: number): void {
    this.#view.setUint16(at, value);
  }

  setBits(at: number, bits: number): void {
    this.#view.setUint8(at, this.#view.getUint8(at) | bits);
  }

  rewind(to: number): void {
    this.length = to;
    for (const [suffix, offset] of this.#names) if (offset >= to) this.#names.delete(suffix);
  }

  name(name: Name, compress = true): void {
    let rest = labelsOf(name);
    while (rest.length > 0) {
      const suffix = rest.map((label) => label.toLowerCase()).join("\u0000");
      const known = compress ? this.#names.get(suffix) : undefined;
      if (known !== undefined) {
        this.u16(0xc000 | known);
        return;
      }
      if (this.length < 0x4000 && !this.#names.has(suffix)) this.#names.set(suffix, this.length);
      const bytes = Buffer.from(rest[0] ?? "", "latin1");
      if (bytes.length === 0 || bytes.length > MAX_LABEL)
        throw new FairleadError("dns-name", `"${name}" is not a name: a label has 1 to ${MAX_LABEL} bytes`);
      this.u8(bytes.length);
      this.append(bytes);
      rest = rest.slice(1);
    }
    this.u8(0);
  }

  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}

/** The labels of a name, unescaped, as latin1 text. */
export function labelsOf(name: Name): string[] {
  const labels: string[] = [];
  let label = "";
  for (let i = 0; i < name.length; i++) {
    const character = name[i];
    if (character === "\\") {
      const digits = /^\d{3}/.exec(name.slice(i + 1, i + 4))?.[0];
      label += digits === undefined ? (name[i + 1] ?? "") : String.fromCharCode(Number(digits) & 255);
      i += digits === undefined ? 1 : 3;
    } else if (character === ".") {
      if (label !== "" || i + 1 < name.length) labels.push(label);
      label = "";
    } else label += character;
  }
  if (label !== "") labels.push(label);
  return labels.length === 1 && labels[0] === "" ? [] : labels;
}

function escapeByte(byte: number): string {
  if (byte === 0x2e || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
  return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\${byte.toString().padStart(3, "0")}`;
}
