// The OpenAPI v2 document, for clients that ask for nothing newer (helm's validation, kubectl's before OpenAPI v3), as JSON and as the
// protobuf of gnostic's openapi_v2.Document, which Go's clients ask for first.
import type { Resource } from "../resource-table.ts";
import { describeKinds, type Schema } from "./openapi.ts";

/** The media type of the protobuf form. Older clients ask for it with an @, which is no character of a media type. */
export const OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

export interface OpenApiV2 {
  readonly swagger: "2.0";
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, never>>;
  readonly definitions: Readonly<Record<string, Schema>>;
}

/** What the server serves as an OpenAPI v2 document: its kinds. */
export function openApiV2(resources: readonly Resource[]): OpenApiV2 {
  const definitions = [...describeKinds(resources)].map(([name, schema]) => [name, schemaV2(schema)] as const);
  return { swagger: "2.0", info: { title: "Kubernetes", version: "v1.35.0" }, paths: {}, definitions: Object.fromEntries(definitions) };
}

const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * A schema in the words of the second version. What that can't say (alternatives, null, fields beyond the named ones) is left open, so
 * that nobody is refused for it: the server itself asks the whole schema.
 */
function schemaV2(schema: Schema): Schema {
  const { $ref, format } = schema;
  if (typeof $ref === "string") return { $ref: $ref.replace("#/components/schemas/", "#/definitions/") };
  if (format === "int-or-string" || schema["x-kubernetes-int-or-string"] === true) return { type: "string", format: "int-or-string" };
  const open =
    schema["x-kubernetes-preserve-unknown-fields"] === true || schema.nullable === true || schema["x-kubernetes-embedded-resource"];
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(schema)) {
    if (name.startsWith("x-kubernetes-group-version-kind")) result[name] = value;
    else if (name in PLAIN && !(open && name === "required")) result[name] = value;
    else if (open) continue;
    else if (name === "items" && isSchema(value)) result[name] = schemaV2(value);
    else if (name === "properties" && isSchema(value))
      result[name] = Object.fromEntries(Object.entries(value).map(([key, below]) => [key, schemaV2(below as Schema)]));
    else if (name === "additionalProperties") result[name] = isSchema(value) ? schemaV2(value) : value;
  }
  return result;
}

/** Fields of openapi_v2.Schema that hold one value or a list of texts: number, and how it is written. */
const PLAIN: Readonly<Record<string, readonly [number, "text" | "double" | "integer" | "boolean" | "texts"]>> = {
  format: [2, "text"],
  title: [3, "text"],
  description: [4, "text"],
  multipleOf: [6, "double"],
  maximum: [7, "double"],
  exclusiveMaximum: [8, "boolean"],
  minimum: [9, "double"],
  exclusiveMinimum: [10, "boolean"],
  maxLength: [11, "integer"],
  minLength: [12, "integer"],
  pattern: [13, "text"],
  maxItems: [14, "integer"],
  minItems: [15, "integer"],
  uniqueItems: [16, "boolean"],
  maxProperties: [17, "integer"],
  minProperties: [18, "integer"],
  required: [19, "texts"],
  type: [22, "text"],
};

/** The document as openapi_v2.Document. */
export function encodeOpenApiV2({ swagger, info, definitions }: OpenApiV2): Buffer {
  const named = Object.entries(definitions).map(([name, schema]) => message(1, namedSchema(name, schema)));
  return Buffer.concat([
    text(1, swagger),
    message(2, Buffer.concat([text(1, info.title), text(2, info.version)])),
    message(8, Buffer.alloc(0)),
    message(9, Buffer.concat(named)),
  ]);
}

function namedSchema(name: string, schema: Schema): Buffer {
  return Buffer.concat([text(1, name), message(2, encodeSchema(schema))]);
}

function encodeSchema(schema: Schema): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of Object.entries(schema)) {
    const plain = PLAIN[name];
    if (name === "$ref") parts.push(text(1, String(value)));
    // A list of types in the message, of one here.
    else if (name === "type") parts.push(message(22, text(1, String(value))));
    else if (plain) parts.push(encodePlain(plain, value));
    else if (name === "additionalProperties")
      parts.push(message(21, isSchema(value) ? message(1, encodeSchema(value)) : number(2, value === true ? 1 : 0)));
    else if (name === "items") parts.push(message(23, message(1, encodeSchema(value as Schema))));
    else if (name === "properties") {
      const named = Object.entries(value as Schema).map(([key, below]) => message(1, namedSchema(key, below as Schema)));
      parts.push(message(25, Buffer.concat(named)));
    } else if (name.startsWith("x-")) parts.push(message(31, Buffer.concat([text(1, name), message(2, text(2, JSON.stringify(value)))])));
  }
  return Buffer.concat(parts);
}

function encodePlain([field, how]: (typeof PLAIN)[string], value: unknown): Buffer {
  if (how === "texts") return Buffer.concat((value as readonly unknown[]).map((each) => text(field, String(each))));
  if (how === "text") return text(field, String(value));
  if (how === "boolean") return number(field, value === true ? 1 : 0);
  if (how === "integer") return number(field, Number(value));
  const double = Buffer.alloc(8);
  double.writeDoubleLE(Number(value));
  return Buffer.concat([varint(field * 8 + 1), double]);
}

/** A number that is not negative: sizes, lengths, field numbers. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  for (; left > 127; left = Math.floor(left / 128)) bytes.push((left % 128) | 128);
  return Buffer.from([...bytes, left]);
}

function number(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

function message(field: number, body: Buffer): Buffer {
  return Buffer.concat([varint(field * 8 + 2), varint(body.length), body]);
}

function text(field: number, value: string): Buffer {
  return message(field, Buffer.from(value));
}
