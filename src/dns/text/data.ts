// A record's data from the words of its entry: each kind of field of the table has one way to be read.
import { formatAddress, tryParseAddress } from "../../base/index.ts";
import { type Name, typeCode, typeName } from "../message.ts";
import { type FieldKind, type KnownType, RECORD_FIELDS, type RecordData, type ServiceParameter } from "../record-fields.ts";
import { unescapeWord, type ZoneWord } from "./words.ts";

export interface DataWords {
  readonly type: number;
  readonly words: readonly ZoneWord[];
  /** The word before them, for what is missing. */
  readonly after: ZoneWord;
  readonly fault: (word: ZoneWord, message: string) => Error;
  readonly name: (word: ZoneWord) => Name;
}

/** @throws what `fault` makes */
export function readData(data: DataWords): RecordData {
  const { type, words, after, fault } = data;
  const name = typeName(type);
  const known = Object.hasOwn(RECORD_FIELDS, name);
  if (words[0]?.text === "\\#" || !known) return readUnknown(data);
  const cursor = new Cursor(data);
  const found: Record<string, unknown> = { type: name };
  for (const [field, kind] of Object.entries(RECORD_FIELDS[name as KnownType])) found[field] = READ[kind as FieldKind](cursor, field);
  const extra = words[cursor.at];
  if (extra) throw fault(extra, `"${extra.text}" is too much in a record of type ${name}`);
  void after;
  return found as unknown as RecordData;
}

/** \# LENGTH HEX… (RFC 3597 §5). */
function readUnknown({ type, words, after, fault }: DataWords): RecordData {
  const [mark, length, ...rest] = words;
  const hex = rest.map(({ text }) => text).join("");
  if (mark?.text !== "\\#" || !length) throw fault(mark ?? after, `data of type ${typeName(type)} is written like: \\# 4 0A000001`);
  if (!/^(?:[0-9a-f]{2})*$/i.test(hex) || Number(length.text) !== hex.length / 2)
    throw fault(length, "these are not as many bytes as it says");
  return { type: "other", code: type, bytes: Uint8Array.from(Buffer.from(hex, "hex")) };
}

class Cursor {
  readonly data: DataWords;
  at = 0;

  constructor(data: DataWords) {
    this.data = data;
  }

  next(field: string): ZoneWord {
    const word = this.data.words[this.at++];
    if (!word)
      throw this.data.fault(
        this.data.words.at(-1) ?? this.data.after,
        `${field} is missing in a record of type ${typeName(this.data.type)}`,
      );
    return word;
  }

  /** All words that are left. */
  rest(): readonly ZoneWord[] {
    const words = this.data.words.slice(this.at);
    this.at = this.data.words.length;
    return words;
  }

  fault(word: ZoneWord | undefined, message: string): Error {
    return this.data.fault(word ?? this.data.after, message);
  }
}

type Read = (cursor: Cursor, field: string) => unknown;

function number(most: number): Read {
  return (cursor, field) => {
    const word = cursor.next(field);
    const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
    // The times of an SOA may have units.
    const [, digits, unit] = /^(\d{1,10})([smhdw]?)$/i.exec(word.text) ?? [];
    const value = digits === undefined ? Number.NaN : Number(digits) * (unit ? (units[unit.toLowerCase()] ?? 1) : 1);
    if (!(value <= most)) throw cursor.fault(word, `${field} is "${word.text}", which is no whole number up to ${most}`);
    return value;
  };
}

function address(family: 4 | 6): Read {
  return (cursor, field) => {
    const word = cursor.next(field);
    const parsed = tryParseAddress(word.text);
    if (parsed?.family !== family) throw cursor.fault(word, `"${word.text}" is no IPv${family} address`);
    return formatAddress(parsed);
  };
}

function bytesOf(pattern: RegExp, decode: (text: string) => Uint8Array, least = 0): Read {
  return (cursor, field) => {
    const words = cursor.rest();
    const text = words.map((word) => word.text).join("");
    if (text.length < least || !pattern.test(text)) throw cursor.fault(words[0], `${field} is not written as it should be`);
    return decode(text);
  };
}

const hexBytes = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
const readName: Read = (cursor, field) => cursor.data.name(cursor.next(field));

function text(cursor: Cursor, word: ZoneWord, most: number): string {
  const value = unescapeWord(word.text);
  if (value.length > most) throw cursor.fault(word, `a text of ${value.length} bytes, more than ${most}`);
  return value;
}

const READ: { readonly [K in FieldKind]: Read } = {
  u8: number(0xff),
  u16: number(0xffff),
  u32: number(0xffff_ffff),
  type: (cursor, field) => readType(cursor, cursor.next(field)),
  time: (cursor, field) => {
    const word = cursor.next(field);
    const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(word.text) ?? [];
    const time =
      year === undefined
        ? Number(word.text)
        : Date.UTC(+year, Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)) / 1000;
    if (!Number.isInteger(time) || time < 0) throw cursor.fault(word, `"${word.text}" is no time`);
    return time >>> 0;
  },
  name: readName,
  "plain-name": readName,
  ipv4: address(4),
  ipv6: address(6),
  string: (cursor, field) => text(cursor, cursor.next(field), 255),
  word: (cursor, field) => text(cursor, cursor.next(field), 255),
  strings: (cursor, field) => [text(cursor, cursor.next(field), 255), ...cursor.rest().map((word) => text(cursor, word, 255))],
  text: (cursor, field) => text(cursor, cursor.next(field), 65_000),
  hex: bytesOf(/^(?:[0-9a-f]{2})+$/i, hexBytes, 2),
  base64: bytesOf(/^[A-Za-z0-9+/]+={0,2}$/, (value) => Uint8Array.from(Buffer.from(value, "base64")), 1),
  hex8: (cursor, field) => {
    const word = cursor.next(field);
    if (word.text === "-") return new Uint8Array();
    if (!/^(?:[0-9a-f]{2}){1,255}$/i.test(word.text)) throw cursor.fault(word, `${field} is "${word.text}", which is not hexadecimal`);
    return hexBytes(word.text);
  },
  base32: (cursor, field) => {
    const word = cursor.next(field);
    if (!/^[0-9a-v]+$/i.test(word.text)) throw cursor.fault(word, `${field} is "${word.text}", which is not base 32`);
    return fromBase32(word.text);
  },
  types: (cursor) =>
    cursor
      .rest()
      .map((word) => readType(cursor, word))
      .sort((a, b) => a - b),
  params: (cursor) => readParameters(cursor),
};

function readType(cursor: Cursor, word: ZoneWord): number {
  const code = typeCode(word.text);
  if (code === undefined) throw cursor.fault(word, `"${word.text}" is no record type`);
  return code;
}

function fromBase32(value: string): Uint8Array {
  const bytes: number[] = [];
  let bits = 0;
  let held = 0;
  for (const character of value.toLowerCase()) {
    held = ((held << 5) | Number.parseInt(character, 32)) & 0xffff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((held >> bits) & 255);
  }
  return Uint8Array.from(bytes);
}

const PARAMETERS = ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint"];

/** key=value, value in quotes or not: the quote stands within the word, so the value may be the next one (RFC 9460 §2.1). */
function readParameters(cursor: Cursor): ServiceParameter[] {
  const words = cursor.rest();
  const found = new Map<number, Uint8Array>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as ZoneWord;
    const [, keyName = "", , inline = ""] = /^([a-z0-9-]+)(=(.*))?$/s.exec(word.text) ?? [];
    const named = PARAMETERS.indexOf(keyName);
    const key = named >= 0 ? named : Number(/^key(\d{1,5})$/.exec(keyName)?.[1] ?? Number.NaN);
    const value = word.text.endsWith("=") && words[i + 1]?.quoted ? (words[++i] as ZoneWord).text : inline;
    if (!(key < 65_535) || found.has(key)) throw cursor.fault(word, `"${word.text}" is no service parameter, or stands twice`);
    const bytes = parameterBytes(key, value);
    if (!bytes) throw cursor.fault(word, `the value of ${keyName} is not written as it should be`);
    found.set(key, bytes);
  }
  return [...found].sort(([a], [b]) => a - b).map(([key, bytes]) => ({ key, bytes }));
}

function parameterBytes(key: number, value: string): Uint8Array | undefined {
  const words = value.split(",");
  const u16 = (each: number) => [each >> 8, each & 255];
  switch (PARAMETERS[key]) {
    case "mandatory": {
      const keys = words.map((word) => (PARAMETERS.includes(word) ? PARAMETERS.indexOf(word) : Number(word.replace(/^key/, ""))));
      return keys.every(Number.isInteger) ? Uint8Array.from(keys.sort((a, b) => a - b).flatMap(u16)) : undefined;
    }
    case "alpn":
      return Uint8Array.from(words.flatMap((word) => [word.length, ...Buffer.from(word, "latin1")]));
    case "no-default-alpn":
      return value === "" ? new Uint8Array() : undefined;
    case "port":
      return /^\d{1,5}$/.test(value) && Number(value) <= 65_535 ? Uint8Array.from(u16(Number(value))) : undefined;
    case "ipv4hint":
    case "ipv6hint": {
      const parsed = words.map(tryParseAddress);
      const family = PARAMETERS[key] === "ipv4hint" ? 4 : 6;
      const size = family === 4 ? 4 : 16;
      if (!parsed.every((each) => each?.family === family)) return undefined;
      return Uint8Array.from(
        parsed.flatMap((each) =>
          Array.from({ length: size }, (_, i) => Number(((each?.value ?? 0n) >> BigInt(8 * (size - 1 - i))) & 255n)),
        ),
      );
    }
    case "ech":
      return Uint8Array.from(Buffer.from(value, "base64"));
    default:
      return Uint8Array.from(Buffer.from(unescapeWord(value), "latin1"));
  }
}
