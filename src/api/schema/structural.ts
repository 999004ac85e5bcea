// Structural schemas of CustomResourceDefinitions: defaults filled in, unknown fields taken out, values checked (apiextensions.k8s.io/v1).
// Total: any schema, any value.
import { isDeepStrictEqual } from "node:util";
import type { StatusCause } from "../errors.ts";
import { isMap, type Json } from "../patch/merge-patch.ts";

export interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly nullable?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: boolean;
  readonly exclusiveMaximum?: boolean;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly not?: Schema;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-embedded-resource"?: boolean;
  readonly "x-kubernetes-validations"?: readonly { readonly rule?: string }[];
}

const MAX_DEPTH = 64;
/** What is there whatever the schema says. */
const OBJECT_FIELDS = ["apiVersion", "kind", "metadata"];

/** The value with the defaults of the schema, also within defaults; the same where nothing was missing. */
export function withDefaults(value: unknown, schema: Schema | undefined, depth = 0): unknown {
  if (!schema || depth > MAX_DEPTH) return value;
  if (Array.isArray(value)) {
    const items = value.map((item) => withDefaults(item, schema.items, depth + 1));
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  if (!isMap(value)) return value;
  let result = value;
  const put = (name: string, next: unknown) => {
    if (result === value) result = { ...value };
    // Defined, not assigned: a field may have the name `__proto__`.
    Object.defineProperty(result, name, { value: next, enumerable: true, writable: true, configurable: true });
  };
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const given = Object.hasOwn(value, name) ? value[name] : undefined;
    // A null where null may not stand is as nothing.
    const absent = given === undefined || (given === null && property.nullable !== true && property.default !== undefined);
    const next = withDefaults(absent && property.default !== undefined ? structuredClone(property.default) : given, property, depth + 1);
    if (next !== given) put(name, next);
  }
  const { additionalProperties } = schema;
  if (typeof additionalProperties === "object")
    for (const [name, given] of Object.entries(value)) {
      if (schema.properties && Object.hasOwn(schema.properties, name)) continue;
      const next = withDefaults(given, additionalProperties, depth + 1);
      if (next !== given) put(name, next);
    }
  return result;
}

export interface Pruning {
  readonly path: string;
  readonly unknown: (path: string) => void;
  readonly depth?: number;
}

/** The value without the fields that the schema does not have; each is told. */
export function prune(value: unknown, schema: Schema | undefined, { path, unknown, depth = 0 }: Pruning, root = true): unknown {
  if (!schema || depth > MAX_DEPTH) return value;
  if (Array.isArray(value)) {
    const items = value.map((item, index) => prune(item, schema.items, { path: `${path}[${index}]`, unknown, depth: depth + 1 }, false));
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  if (!isMap(value)) return value;
  let result = value;
  const { properties = {}, additionalProperties } = schema;
  const embedded = root || schema["x-kubernetes-embedded-resource"] === true;
  for (const [name, given] of Object.entries(value)) {
    if (embedded && OBJECT_FIELDS.includes(name)) continue;
    const at = path === "" ? name : `${path}.${name}`;
    const known = Object.hasOwn(properties, name)
      ? properties[name]
      : typeof additionalProperties === "object"
        ? additionalProperties
        : undefined;
    if (!known && additionalProperties !== true && schema["x-kubernetes-preserve-unknown-fields"] !== true) {
      unknown(at);
      if (result === value) result = { ...value };
      delete result[name];
      continue;
    }
    const next = prune(given, known, { path: at, unknown, depth: depth + 1 }, false);
    if (next === given) continue;
    if (result === value) result = { ...value };
    result[name] = next;
  }
  return result;
}

const FORMATS: Readonly<Record<string, RegExp>> = {
  "date-time": /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/,
  date: /^\d{4}-\d\d-\d\d$/,
  uuid: /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i,
  byte: /^[A-Za-z0-9+/\s]*={0,2}\s*$/,
  ipv4: /^\d{1,3}(\.\d{1,3}){3}$/,
  cidr: /^[0-9a-fA-F.:]+\/\d{1,3}$/,
  mac: /^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$/,
};

const patterns = new Map<string, RegExp | undefined>();

function compiled(pattern: string): RegExp | undefined {
  if (!patterns.has(pattern)) {
    let regexp: RegExp | undefined;
    try {
      regexp = new RegExp(pattern, "u");
    } catch {
      // A pattern of another dialect (RE2) says nothing here.
    }
    patterns.set(pattern, regexp);
  }
  return patterns.get(pattern);
}

type Tell = (path: string, reason: string, message: string) => void;

const show = (value: unknown) => JSON.stringify(value) ?? "null";

/** What is wrong with a value, field by field; paths begin at `path`. */
export function faultsOf(value: unknown, schema: Schema | undefined, path = ""): StatusCause[] {
  const causes: StatusCause[] = [];
  check(value, schema, path, (field, reason, message) => causes.push({ reason, message, field }), 0);
  return causes;
}

function check(value: unknown, schema: Schema | undefined, path: string, tell: Tell, depth: number): void {
  if (!schema || depth > MAX_DEPTH) return;
  if (value === null) {
    if (schema.nullable !== true && schema.type !== undefined)
      tell(path, "FieldValueInvalid", `Invalid value: "null": ${path || "the object"} in body must be of type ${schema.type}: "null"`);
    return;
  }
  const kind = typeOf(value);
  if (!typeFits(schema, kind, value)) {
    tell(
      path,
      "FieldValueTypeInvalid",
      `Invalid value: ${show(kind)}: ${path || "the object"} in body must be of type ${schema.type}: ${show(kind)}`,
    );
    return;
  }
  if (schema.enum && !schema.enum.some((each) => isDeepStrictEqual(each, value)))
    tell(path, "FieldValueNotSupported", `Unsupported value: ${show(value)}: supported values: ${schema.enum.map(show).join(", ")}`);
  const invalid = (what: string) => tell(path, "FieldValueInvalid", `Invalid value: ${show(value)}: ${path} in body ${what}`);
  if (typeof value === "string") checkText(value, schema, invalid);
  else if (typeof value === "number") checkNumber(value, schema, invalid);
  else if (Array.isArray(value)) checkList(value, schema, { path, tell, depth, invalid });
  else if (isMap(value)) checkMap(value, schema, { path, tell, depth, invalid });
  checkJunctors(value, schema, { path, tell, depth, invalid });
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function typeFits(schema: Schema, kind: string, value: unknown): boolean {
  if (schema["x-kubernetes-int-or-string"]) return kind === "integer" || kind === "string";
  if (schema.type === undefined || schema.type === "") return true;
  if (schema.type === "number") return typeof value === "number";
  return schema.type === kind;
}

function checkText(value: string, schema: Schema, invalid: (what: string) => void): void {
  const length = [...value].length;
  if (schema.minLength !== undefined && length < schema.minLength) invalid(`should be at least ${schema.minLength} chars long`);
  if (schema.maxLength !== undefined && length > schema.maxLength) invalid(`should be at most ${schema.maxLength} chars long`);
  if (schema.pattern !== undefined && compiled(schema.pattern)?.test(value) === false) invalid(`should match '${schema.pattern}'`);
  if (schema.format !== undefined && FORMATS[schema.format]?.test(value) === false) invalid(`must be of type ${schema.format}`);
}

function checkNumber(value: number, schema: Schema, invalid: (what: string) => void): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
  if (minimum !== undefined && (exclusiveMinimum ? value <= minimum : value < minimum))
    invalid(`should be greater than ${exclusiveMinimum ? "" : "or equal to "}${minimum}`);
  if (maximum !== undefined && (exclusiveMaximum ? value >= maximum : value > maximum))
    invalid(`should be less than ${exclusiveMaximum ? "" : "or equal to "}${maximum}`);
  if (multipleOf !== undefined && multipleOf > 0 && Math.abs(value / multipleOf - Math.round(value / multipleOf)) > 1e-9)
    invalid(`should be a multiple of ${multipleOf}`);
  if (schema.format === "int32" && (value < -(2 ** 31) || value >= 2 ** 31)) invalid("must be of type int32");
}

interface Place {
  readonly path: string;
  readonly tell: Tell;
  readonly depth: number;
  readonly invalid: (what: string) => void;
}

function checkList(value: readonly unknown[], schema: Schema, { path, tell, depth, invalid }: Place): void {
  if (schema.minItems !== undefined && value.length < schema.minItems) invalid(`should have at least ${schema.minItems} items`);
  if (schema.maxItems !== undefined && value.length > schema.maxItems) invalid(`should have at most ${schema.maxItems} items`);
  const identity = identityOfItems(schema);
  const seen = new Set<string>();
  for (const [index, item] of value.entries()) {
    check(item, schema.items, `${path}[${index}]`, tell, depth + 1);
    const key = identity?.(item);
    if (key === undefined) continue;
    if (seen.has(key)) tell(`${path}[${index}]`, "FieldValueDuplicate", `Duplicate value: ${key}`);
    seen.add(key);
  }
}

function identityOfItems(schema: Schema): ((item: unknown) => string) | undefined {
  const extended = schema as Readonly<Record<string, unknown>>;
  const keys = extended["x-kubernetes-list-map-keys"];
  if (extended["x-kubernetes-list-type"] === "map" && Array.isArray(keys))
    return (item) => show(Object.fromEntries(keys.map((key) => [key, isMap(item) ? item[String(key)] : undefined])));
  return extended["x-kubernetes-list-type"] === "set" || schema.uniqueItems ? show : undefined;
}

function checkMap(value: Json, schema: Schema, { path, tell, depth, invalid }: Place): void {
  const names = Object.keys(value);
  if (schema.minProperties !== undefined && names.length < schema.minProperties)
    invalid(`should have at least ${schema.minProperties} properties`);
  if (schema.maxProperties !== undefined && names.length > schema.maxProperties)
    invalid(`should have at most ${schema.maxProperties} properties`);
  const at = (name: string) => (path === "" ? name : `${path}.${name}`);
  for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) tell(at(name), "FieldValueRequired", "Required value");
  const { properties = {}, additionalProperties } = schema;
  for (const [name, given] of Object.entries(value)) {
    const known = Object.hasOwn(properties, name)
      ? properties[name]
      : typeof additionalProperties === "object"
        ? additionalProperties
        : undefined;
    check(given, known, at(name), tell, depth + 1);
  }
}

function checkJunctors(value: unknown, schema: Schema, { path, tell, depth, invalid }: Place): void {
  const fits = (part: Schema) => {
    let sound = true;
    check(
      value,
      part,
      path,
      () => {
        sound = false;
      },
      depth + 1,
    );
    return sound;
  };
  for (const part of schema.allOf ?? []) check(value, part, path, tell, depth + 1);
  if (schema.anyOf?.length && !schema.anyOf.some(fits)) invalid("must validate at least one schema (anyOf)");
  if (schema.oneOf?.length && schema.oneOf.filter(fits).length !== 1) invalid("must validate one and only one schema (oneOf)");
  if (schema.not && fits(schema.not)) invalid("must not validate the schema (not)");
}
