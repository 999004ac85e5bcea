// Resource records on the wire: each field of the table has one way to be read and one to be written.
import { addressFromBytes, addressToBytes, formatAddress, tryParseAddress } from "../../base/index.ts";
import { CLASS, type ResourceRecord, TYPE, typeName, typeOf } from "../message.ts";
import {
  type FieldKind,
  type FieldValues,
  type KnownType,
  RECORD_FIELDS,
  type RecordData,
  type ServiceParameter,
} from "../record-fields.ts";
import { DnsFormatError, DnsValueError } from "./errors.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

type Row = readonly (readonly [name: string, kind: FieldKind])[];

const ROWS = new Map<string, Row>(Object.entries(RECORD_FIELDS).map(([type, fields]) => [type, Object.entries(fields)]));
const ROWS_BY_CODE = new Map<number, { readonly type: KnownType; readonly row: Row }>(
  [...ROWS].map(([type, row]) => [TYPE[type as KnownType], { type: type as KnownType, row }]),
);

/** Reads the rest of a record whose name, type, class and TTL were read. */
export function readRecord(reader: Reader, head: { name: string; type: number; class: number; ttl: number }): ResourceRecord {
  const length = reader.u16();
  reader.need(length);
  const end = reader.offset + length;
  const data = readData(reader, head, end);
  if (reader.offset !== end) throw new DnsFormatError("a record's data has another length than it says", reader.offset);
  return { name: head.name, class: head.class, ttl: head.ttl, data };
}

function readData(reader: Reader, head: { type: number; class: number }, end: number): RecordData {
  const known = ROWS_BY_CODE.get(head.type);
  // In updates (RFC 2136 §2.4) a record of class ANY or NONE has no data.
  const empty = reader.offset === end && (head.class === CLASS.ANY || head.class === CLASS.NONE);
  if (!known || empty) return { type: "other", code: head.type, bytes: reader.copy(end - reader.offset) };
  const data: Record<string, unknown> = { type: known.type };
  for (const [name, kind] of known.row) data[name] = READ[kind](reader, end);
  return data as unknown as RecordData;
}

const READ: { readonly [K in FieldKind]: (reader: Reader, end: number) => FieldValues[K] } = {
  u8: (reader) => reader.u8(),
  u16: (reader) => reader.u16(),
  u32: (reader) => reader.u32(),
  type: (reader) => reader.u16(),
  time: (reader) => reader.u32(),
  name: (reader) => reader.name(),
  "plain-name": (reader) => reader.name(),
  ipv4: (reader) => reader.take(4).join("."),
  ipv6: (reader) => formatAddress(addressFromBytes(reader.take(16))),
  string: (reader) => reader.text(reader.u8()),
  word: (reader) => reader.text(reader.u8()),
  strings: readStrings,
  text: (reader, end) => reader.text(end - reader.offset),
  hex: (reader, end) => reader.copy(end - reader.offset),
  base64: (reader, end) => reader.copy(end - reader.offset),
  hex8: (reader) => reader.copy(reader.u8()),
  base32: (reader) => reader.copy(reader.u8()),
  types: readTypes,
  params: readParameters,
};

function readStrings(reader: Reader, end: number): string[] {
  const texts = [reader.text(reader.u8())];
  while (reader.offset < end) texts.push(reader.text(reader.u8()));
  return texts;
}

/** RFC 4034 §4.1.2: windows in rising order, 1 to 32 bytes each. */
function readTypes(reader: Reader, end: number): number[] {
  const types: number[] = [];
  let last = -1;
  while (reader.offset < end) {
    const window = reader.u8();
    const bytes = reader.take(reader.u8());
    if (window <= last || bytes.length === 0 || bytes.length > 32 || bytes.at(-1) === 0)
      throw new DnsFormatError("a bitmap of types that is none", reader.offset);
    last = window;
    for (const [index, byte] of bytes.entries())
      for (let bit = 0; bit < 8; bit++) if (byte & (0x80 >> bit)) types.push(window * 256 + index * 8 + bit);
  }
  return types;
}

/** RFC 9460 §2.2: keys in strictly rising order. */
function readParameters(reader: Reader, end: number): ServiceParameter[] {
  const parameters: ServiceParameter[] = [];
  let last = -1;
  while (reader.offset < end) {
    const key = reader.u16();
    if (key <= last) throw new DnsFormatError("service parameters out of order", reader.offset);
    last = key;
    parameters.push({ key, bytes: reader.copy(reader.u16()) });
  }
  return parameters;
}

/** Writes a whole record. @throws DnsValueError */
export function writeRecord(writer: Writer, record: ResourceRecord): void {
  const { data } = record;
  writer.name(record.name);
  writer.u16(typeOf(record));
  writer.u16(record.class);
  writer.u32(record.ttl);
  const at = writer.length;
  writer.skip(2);
  writeData(writer, data);
  const length = writer.length - at - 2;
  if (length > 0xffff) throw new DnsValueError(`a record of type ${typeName(typeOf(record))} has ${length} bytes, more than 65535`);
  writer.setU16(at, length);
}

function writeData(writer: Writer, data: RecordData): void {
  if (data.type === "other") {
    writer.append(data.bytes);
    return;
  }
  const values = data as unknown as Readonly<Record<string, never>>;
  for (const [name, kind] of ROWS.get(data.type) ?? []) {
    const write: (writer: Writer, value: never) => void = WRITE[kind];
    write(writer, values[name] as never);
  }
}

const WRITE: { readonly [K in FieldKind]: (writer: Writer, value: FieldValues[K]) => void } = {
  u8: (writer, value) => writer.u8(value),
  u16: (writer, value) => writer.u16(value),
  u32: (writer, value) => writer.u32(value),
  type: (writer, value) => writer.u16(value),
  time: (writer, value) => writer.u32(value),
  name: (writer, value) => writer.name(value),
  "plain-name": (writer, value) => writer.name(value, false),
  ipv4: (writer, value) => writeAddress(writer, value, 4),
  ipv6: (writer, value) => writeAddress(writer, value, 6),
  string: writeString,
  word: writeString,
  strings: (writer, value) => {
    for (const text of value) writeString(writer, text);
  },
  text: (writer, value) => writer.text(value),
  hex: (writer, value) => writer.append(value),
  base64: (writer, value) => writer.append(value),
  hex8: writeShort,
  base32: writeShort,
  types: writeTypes,
  params: (writer, value) => {
    for (const { key, bytes } of [...value].sort((a, b) => a.key - b.key)) {
      writer.u16(key);
      writer.u16(bytes.length);
      writer.append(bytes);
    }
  },
};

function writeShort(writer: Writer, bytes: Uint8Array): void {
  writer.u8(bytes.length);
  writer.append(bytes);
}

function writeAddress(writer: Writer, text: string, family: 4 | 6): void {
  const address = tryParseAddress(text);
  if (address?.family !== family) throw new DnsValueError(`"${text}" is no IPv${family} address`);
  writer.append(addressToBytes(address));
}

function writeString(writer: Writer, text: string): void {
  if (text.length > 255) throw new DnsValueError(`a text of ${text.length} bytes, more than 255`);
  writer.u8(text.length);
  writer.text(text);
}

function writeTypes(writer: Writer, types: readonly number[]): void {
  const windows = new Map<number, Uint8Array>();
  for (const type of [...types].sort((a, b) => a - b)) {
    const window = type >> 8;
    const bytes = windows.get(window) ?? new Uint8Array(32);
    windows.set(window, bytes);
    const index = (type & 255) >> 3;
    bytes[index] = (bytes[index] ?? 0) | (0x80 >> (type & 7));
  }
  for (const [window, bytes] of windows) {
    const length = bytes.findLastIndex((byte) => byte !== 0) + 1;
    writer.u8(window);
    writer.u8(length);
    writer.append(bytes.subarray(0, length));
  }
}
