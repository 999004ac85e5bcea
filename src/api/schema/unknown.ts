// Fields of an object that its kind does not have: what fieldValidation tells, and what is not stored.
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

/** The object without the fields that its kind does not have, each of which is told by its path (`spec.containers[0].imagee`); the same where there are none. */
export function withoutUnknown<T extends object>(
  object: T,
  of: { readonly apiVersion: string; readonly kind: string },
  unknown: (path: string) => void,
): T {
  const message = messageOfKind(of.apiVersion, of.kind);
  return message === undefined ? object : (visit(object as unknown as Json, message, "", unknown, META) as unknown as T);
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
    } else if (field.type.length > 1) {
      const next = below(value, field, at, unknown);
      if (next !== value) put(name, next);
    }
  }
  return result;
}

function below(value: unknown, field: Field, path: string, unknown: (path: string) => void): unknown {
  const one = (each: unknown, at: string) => (isMap(each) ? visit(each, field.type, at, unknown) : each);
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
