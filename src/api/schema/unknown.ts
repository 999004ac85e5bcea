// Fields of an object that its kind does not have: what fieldValidation tells, and what is not stored. And values of another type than theirs.
import { badRequest } from "../errors.ts";
import { isMap, type Json } from "../patch/merge-patch.ts";
import { type Field, fieldsOfMessage, messageOfKind } from "./fields.ts";

const META = new Set(["apiVersion", "kind"]);

const byName = new Map<string, ReadonlyMap<string, Field>>();

/** The fields of a message by name, those of inline messages among them. */
export function namedFields(message: string): ReadonlyMap<string, Field> {
  let fields = byName.get(message);
  if (!fields) {
    fields = new Map(
      [...(fieldsOfMessage(message)?.values() ?? [])].flatMap((field) =>
        field.inline ? [...namedFields(field.type)] : [[field.name, field] as const],
      ),
    );
    byName.set(message, fields);
  }
  return fields;
}

/**
 * The object without the fields that its kind does not have, each of which is told by its path (`spec.containers[0].imagee`); the same
 * where there are none. @throws ApiError 400 where a value has another type than its field
 */
export function withoutUnknown<T extends object>(
  object: T,
  of: { readonly apiVersion: string; readonly kind: string },
  unknown: (path: string) => void,
): T {
  const message = messageOfKind(of.apiVersion, of.kind);
  if (message === undefined) return object;
  try {
    return visit(object as unknown as Json, message, "", unknown, META) as unknown as T;
  } catch (error) {
    if (!(error instanceof WrongType)) throw error;
    const version = of.apiVersion.split("/").at(-1);
    throw badRequest(`${of.kind} in version "${version}" cannot be handled as a ${of.kind}: ${error.message}`);
  }
}

function visit(object: Json, message: string, path: string, unknown: (path: string) => void, also?: ReadonlySet<string>): Json {
  const fields = namedFields(message);
  let result = object;
  const put = (name: string, value: unknown) => {
    if (result === object) result = { ...object };
    if (value === undefined) delete result[name];
    else result[name] = value;
  };
  for (const [name, value] of Object.entries(object)) {
    const at = path === "" ? name : `${path}.${name}`;
    const field = fields.get(name);
    // As nothing: Go's clients write it for what is not set.
    if (value === null) {
      put(name, undefined);
      continue;
    }
    if (!field) {
      if (also?.has(name) || name === "managedFields") continue;
      unknown(at);
      put(name, undefined);
    } else {
      checkShape(value, field, at, message);
      const next = below(value, field, at, unknown);
      if (next !== value) put(name, next);
    }
  }
  return result;
}

class WrongType extends Error {}

/** Plain types by their letter: what they take, and what Go calls them. A quantity, a time and bytes are read by those who need them. */
const PLAIN: Readonly<Record<string, readonly [takes: (value: unknown) => boolean, name: string]>> = {
  s: [(value) => typeof value === "string", "string"],
  y: [(value) => typeof value === "string", "[]uint8"],
  T: [(value) => typeof value === "string", "Time"],
  i: [(value) => Number.isInteger(value), "int"],
  b: [(value) => typeof value === "boolean", "bool"],
  Q: [(value) => typeof value === "string" || typeof value === "number", "Quantity"],
  I: [(value) => typeof value === "string" || Number.isInteger(value), "IntOrString"],
  R: [() => true, "RawExtension"],
};
const EMPTY: Readonly<Record<string, unknown>> = { s: "", y: "", T: "", i: 0, b: false, Q: "0", I: 0, R: {} };
const MESSAGE = [isMap, "struct"] as const;
/** A message of one list, which JSON writes as the list. */
const EXTRA = [Array.isArray, "[]string"] as const;

function checkShape(value: unknown, { type, shape }: Field, path: string, message: string): void {
  const [takes, says] = PLAIN[type] ?? (type.endsWith("ExtraValue") ? EXTRA : MESSAGE);
  // As nothing, within lists and maps, too.
  const fits = (each: unknown) => each === null || takes(each);
  const refuse = (wrong: unknown, wanted: string): never => {
    const got = Array.isArray(wrong) ? "array" : typeof wrong === "boolean" ? "bool" : typeof wrong;
    throw new WrongType(`json: cannot unmarshal ${got} into Go struct field ${message}.${path} of type ${wanted}`);
  };
  if (shape === "list") {
    if (!Array.isArray(value)) refuse(value, `[]${says}`);
    for (const each of value as unknown[]) if (!fits(each)) refuse(each, says);
  } else if (shape === "map") {
    if (!isMap(value)) refuse(value, `map[string]${says}`);
    for (const each of Object.values(value as Json)) if (!fits(each)) refuse(each, says);
  } else if (!fits(value)) refuse(value, says);
}

function below(value: unknown, field: Field, path: string, unknown: (path: string) => void): unknown {
  const one = (given: unknown, at: string) => {
    // As nothing within a list or map, Go reads it as what is empty.
    const each = given === null ? (EMPTY[field.type] ?? {}) : given;
    return isMap(each) && field.type.length > 1 ? visit(each, field.type, at, unknown) : each;
  };
  if (field.shape === "list" && Array.isArray(value))
    return sameOr(
      value,
      value.map((each, index) => one(each, `${path}[${index}]`)),
    );
  if (field.shape === "map" && isMap(value)) {
    const entries = Object.entries(value).map(([key, each]) => [key, one(each, `${path}.${key}`)] as const);
    return entries.every(([key, each]) => each === value[key]) ? value : Object.fromEntries(entries);
  }
  return field.shape === "one" ? one(value, path) : value;
}

function sameOr(before: readonly unknown[], after: readonly unknown[]): readonly unknown[] {
  return after.every((each, index) => each === before[index]) ? before : after;
}
