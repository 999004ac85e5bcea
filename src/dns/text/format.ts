// Records in text as zone files have them (RFC 1035 §5.1), by the same table as the wire codec.
import { className, type ResourceRecord, typeName, typeOf } from "../message.ts";
import { type FieldKind, type FieldValues, RECORD_FIELDS, type RecordData } from "../record-fields.ts";

/** "api.example.org. 30 IN A 10.0.0.1" */
export function formatRecord(record: ResourceRecord): string {
  return `${record.name} ${record.ttl} ${className(record.class)} ${typeName(typeOf(record))} ${formatData(record.data)}`.trimEnd();
}

/** The data alone; of an unknown type as RFC 3597 §5 has it. */
export function formatData(data: RecordData): string {
  if (data.type === "other") return `\\# ${data.bytes.length} ${hex(data.bytes)}`.trimEnd();
  const values = data as unknown as Readonly<Record<string, never>>;
  return Object.entries(RECORD_FIELDS[data.type])
    .map(([name, kind]) => {
      const format: (value: never) => string = FORMAT[kind as FieldKind];
      return format(values[name] as never);
    })
    .join(" ")
    .trimEnd();
}

const FORMAT: { readonly [K in FieldKind]: (value: FieldValues[K]) => string } = {
  u8: String,
  u16: String,
  u32: String,
  type: typeName,
  time: (seconds) => new Date(seconds * 1000).toISOString().replace(/[-:T]|\.000Z/g, ""),
  name: (name) => name,
  "plain-name": (name) => name,
  ipv4: (address) => address,
  ipv6: (address) => address,
  string: quoted,
  word: (text) => quoted(text).slice(1, -1),
  strings: (texts) => texts.map(quoted).join(" "),
  text: quoted,
  hex: hex,
  base64: (bytes) => Buffer.from(bytes).toString("base64"),
  hex8: (bytes) => hex(bytes) || "-",
  base32: base32,
  types: (types) => types.map(typeName).join(" "),
  params: (params) => params.map(formatParameter).join(" "),
};

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").toUpperCase();
}

/** With quotes; a quote or backslash within is escaped, and a byte that is no printable ASCII is \DDD. */
function quoted(text: string): string {
  let inner = "";
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22 || code === 0x5c) inner += `\\${text[i]}`;
    else inner += code >= 0x20 && code < 0x7f ? text[i] : `\\${code.toString().padStart(3, "0")}`;
  }
  return `"${inner}"`;
}

const BASE32_HEX = "0123456789ABCDEFGHIJKLMNOPQRSTUV";

/** RFC 4648 §7 without padding, as NSEC3 has it. */
function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += BASE32_HEX[(value >> (bits - 5)) & 31];
  }
  return bits > 0 ? text + BASE32_HEX[(value << (5 - bits)) & 31] : text;
}

const PARAMETERS = ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint"];

/** A service parameter: its name where it has one, its value as bytes (RFC 9460 §2.1). */
function formatParameter({ key, bytes }: { readonly key: number; readonly bytes: Uint8Array }): string {
  const name = PARAMETERS[key] ?? `key${key}`;
  if (bytes.length === 0) return name;
  if (name === "alpn") return `alpn=${quoted(alpnText(bytes))}`;
  if (name === "port" && bytes.length === 2) return `port=${((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)}`;
  if (name === "ipv4hint" && bytes.length % 4 === 0)
    return `ipv4hint=${Array.from({ length: bytes.length / 4 }, (_, index) => bytes.subarray(index * 4, index * 4 + 4).join(".")).join(",")}`;
  return `key${key}=${quoted(Buffer.from(bytes).toString("latin1"))}`;
}

function alpnText(bytes: Uint8Array): string {
  const names: string[] = [];
  for (let at = 0; at < bytes.length; at += 1 + (bytes[at] ?? 0))
    names.push(Buffer.from(bytes.subarray(at + 1, at + 1 + (bytes[at] ?? 0))).toString("latin1"));
  return names.join(",");
}
