// Reads the protobuf bodies that Go's typed clients send (kubectl create among them), by a table of field numbers.
import { ApiError, badRequest } from "../errors.ts";
import { type Field, fieldsOfMessage, type MessageFields, messageOfKind } from "../schema/fields.ts";

const MAX_DEPTH = 64;

type Value = Buffer | bigint;

function* fieldsOf(bytes: Buffer): Generator<{ readonly number: number; readonly value: Value }> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
    throw badRequest("the protobuf body ends within a number");
  };
  const take = (length: number): Buffer => {
    if (length < 0 || at + length > bytes.length) throw badRequest("the protobuf body ends within a field");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const number = Math.floor(tag / 8);
    switch (tag & 7) {
      case 0:
        yield { number, value: varint() };
        break;
      case 1:
        yield { number, value: take(8) };
        break;
      case 2:
        yield { number, value: take(Number(varint())) };
        break;
      case 5:
        yield { number, value: take(4) };
        break;
      default:
        throw badRequest(`the protobuf body has a field of unexpected wire type ${tag & 7}`);
    }
  }
}

const bytesOf = (value: Value): Buffer => (typeof value === "bigint" ? Buffer.alloc(0) : value);
const numberOf = (value: Value): number => (typeof value === "bigint" ? Number(value) : 0);

/** The fields of a small message by number: Time, Quantity and the like. */
function parts(value: Value): Map<number, Value> {
  return new Map([...fieldsOf(bytesOf(value))].map(({ number, value: part }) => [number, part]));
}

function timeOf(value: Value): string | undefined {
  const seconds = numberOf(parts(value).get(1) ?? 0n);
  const nanos = numberOf(parts(value).get(2) ?? 0n);
  const date = new Date(seconds * 1000);
  if (seconds === 0 || Number.isNaN(date.getTime())) return undefined;
  const whole = date.toISOString().slice(0, 19);
  return nanos > 0 ? `${whole}.${String(Math.floor(nanos / 1000)).padStart(6, "0")}Z` : `${whole}Z`;
}

function rawOf(value: Value): unknown {
  const text = bytesOf(parts(value).get(1) ?? Buffer.alloc(0)).toString("utf8");
  if (text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw badRequest("the protobuf body holds an object that is no JSON", cause);
  }
}

/** One value; undefined where it says nothing. */
function readValue({ type, kept }: Pick<Field, "type" | "kept">, value: Value, depth: number): unknown {
  switch (type) {
    case "s": {
      const text = bytesOf(value).toString("utf8");
      return text === "" && !kept ? undefined : text;
    }
    case "i":
      return typeof value !== "bigint" || (value === 0n && !kept) ? undefined : numberOf(value);
    case "b":
      return typeof value !== "bigint" || (value === 0n && !kept) ? undefined : value !== 0n;
    case "y":
      return bytesOf(value).length === 0 && !kept ? undefined : bytesOf(value).toString("base64");
    case "Q":
      return bytesOf(parts(value).get(1) ?? Buffer.alloc(0)).toString("utf8") || "0";
    case "T":
      return timeOf(value);
    case "I": {
      const found = parts(value);
      return numberOf(found.get(1) ?? 0n) === 0 ? numberOf(found.get(2) ?? 0n) : bytesOf(found.get(3) ?? Buffer.alloc(0)).toString("utf8");
    }
    case "R":
      return rawOf(value);
    default: {
      const message = decode(bytesOf(value), fieldsOfMessage(type) ?? new Map(), depth + 1);
      return Object.keys(message).length === 0 && !kept ? undefined : message;
    }
  }
}

function decode(bytes: Buffer, fields: MessageFields, depth: number): Record<string, unknown> {
  if (depth > MAX_DEPTH) throw badRequest(`the protobuf body is nested deeper than ${MAX_DEPTH}`);
  const result: Record<string, unknown> = {};
  for (const { number, value } of fieldsOf(bytes)) {
    const field = fields.get(number);
    if (!field) continue;
    const { name, type, shape } = field;
    if (field.inline) Object.assign(result, decode(bytesOf(value), fieldsOfMessage(type) ?? new Map(), depth + 1));
    else if (shape === "map") {
      const entry = parts(value);
      const key = bytesOf(entry.get(1) ?? Buffer.alloc(0)).toString("utf8");
      const map = (result[name] ?? {}) as Record<string, unknown>;
      Object.defineProperty(map, key, {
        value: readValue({ type, kept: true }, entry.get(2) ?? Buffer.alloc(0), depth),
        enumerable: true,
        configurable: true,
      });
      result[name] = map;
    } else if (shape === "list") {
      const list = (result[name] ?? []) as unknown[];
      list.push(readValue({ type, kept: true }, value, depth));
      result[name] = list;
    } else {
      const one = readValue(field, value, depth);
      if (one !== undefined) result[name] = one;
    }
  }
  return result;
}

/** @throws ApiError 415 for a kind that is not in the table, 400 for bytes that are no message */
export function decodeProtobuf(bytes: Buffer): unknown {
  if (bytes.subarray(0, 4).toString("latin1") !== "k8s\0") throw badRequest("the protobuf body lacks its mark");
  // runtime.Unknown: the kind, and the object's own message.
  const envelope = parts(bytes.subarray(4));
  const type = parts(envelope.get(1) ?? Buffer.alloc(0));
  const apiVersion = bytesOf(type.get(1) ?? Buffer.alloc(0)).toString("utf8");
  const kind = bytesOf(type.get(2) ?? Buffer.alloc(0)).toString("utf8");
  const message = messageOfKind(apiVersion, kind);
  const fields = message === undefined ? undefined : fieldsOfMessage(message);
  if (!fields) throw new ApiError("UnsupportedMediaType", `${kind || "this"} is read as JSON or YAML, not as protobuf: use kubectl apply`);
  return { apiVersion, kind, ...decode(bytesOf(envelope.get(2) ?? Buffer.alloc(0)), fields, 0) };
}
