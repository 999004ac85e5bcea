// Reads the protobuf bodies that kubectl create sends for simple kinds; the messages are a table of field numbers.
import { ApiError, badRequest } from "../errors.ts";

type FieldType = "string" | "bytes" | "int" | "bool" | "strings" | "map" | "byteMap" | readonly Field[];
type Field = readonly [number: number, name: string, type: FieldType];

const meta: readonly Field[] = [
  [1, "name", "string"],
  [2, "generateName", "string"],
  [3, "namespace", "string"],
  [5, "uid", "string"],
  [6, "resourceVersion", "string"],
  [11, "labels", "map"],
  [12, "annotations", "map"],
  [14, "finalizers", "strings"],
];
const metadata: Field = [1, "metadata", meta];

/** By kind, k8s.io/api generated.proto; unnamed fields are what clients leave empty at creation. */
const messages: Readonly<Record<string, readonly Field[]>> = {
  Namespace: [metadata],
  ConfigMap: [metadata, [2, "data", "map"], [3, "binaryData", "byteMap"], [4, "immutable", "bool"]],
  Secret: [metadata, [2, "data", "byteMap"], [3, "type", "string"], [4, "stringData", "map"], [5, "immutable", "bool"]],
  ServiceAccount: [metadata],
  DeleteOptions: [
    [1, "gracePeriodSeconds", "int"],
    [4, "propagationPolicy", "string"],
    [5, "dryRun", "strings"],
  ],
};
const envelope: readonly Field[] = [
  [
    1,
    "type",
    [
      [1, "apiVersion", "string"],
      [2, "kind", "string"],
    ],
  ],
  [2, "raw", "bytes"],
];

function* fieldsOf(bytes: Buffer): Generator<{ number: number; value: Buffer | number }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; factor < 2 ** 63; factor *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw badRequest("the protobuf body ends within a number");
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire !== 0 && wire !== 2) throw badRequest(`the protobuf body has a field of unexpected wire type ${wire}`);
    const value = varint();
    if (wire === 0) yield { number: Math.floor(tag / 8), value };
    else {
      if (at + value > bytes.length) throw badRequest("the protobuf body ends within a field");
      yield { number: Math.floor(tag / 8), value: bytes.subarray(at, at + value) };
      at += value;
    }
  }
}

function decode(bytes: Buffer, fields: readonly Field[]): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const { number, value } of fieldsOf(bytes)) {
    const field = fields.find(([known]) => known === number);
    if (!field) continue;
    const [, name, type] = field;
    if (typeof value === "number") {
      if (type === "int") result[name] = value;
      else if (type === "bool") result[name] = value !== 0;
    } else if (type === "string") {
      if (value.length > 0) result[name] = value.toString("utf8");
    } else if (type === "bytes") result[name] = value;
    else if (type === "strings") result[name] = [...((result[name] as string[] | undefined) ?? []), value.toString("utf8")];
    else if (type === "map" || type === "byteMap") {
      const entry = decode(value, [
        [1, "key", "bytes"],
        [2, "value", "bytes"],
      ]) as { key?: Buffer; value?: Buffer };
      const text = entry.value?.toString(type === "map" ? "utf8" : "base64") ?? "";
      result[name] = { ...((result[name] as object | undefined) ?? {}), [entry.key?.toString("utf8") ?? ""]: text };
    } else if (typeof type !== "string") result[name] = decode(value, type);
  }
  return result;
}

/** @throws ApiError 415 for a kind that is not in the table, 400 for bytes that are no message */
export function decodeProtobuf(bytes: Buffer): unknown {
  if (bytes.subarray(0, 4).toString("latin1") !== "k8s\0") throw badRequest("the protobuf body lacks its mark");
  const { type, raw } = decode(bytes.subarray(4), envelope) as { type?: { apiVersion?: string; kind?: string }; raw?: Buffer };
  const fields = messages[type?.kind ?? ""];
  if (!fields)
    throw new ApiError("UnsupportedMediaType", `${type?.kind ?? "this"} is read as JSON or YAML, not as protobuf: use kubectl apply`);
  const { kind, apiVersion } = type ?? {};
  return { apiVersion, kind, ...decode(raw ?? Buffer.alloc(0), fields) };
}
