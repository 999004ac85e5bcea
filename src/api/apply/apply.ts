// Server-side apply (KEP-555): merges what a manager wants into an object, tells conflicts, and takes away what it wants no more.
import { ApiError } from "../errors.ts";
import { isMap } from "../patch/merge-patch.ts";
import {
  compare,
  difference,
  EMPTY,
  elementOf,
  type FieldSet,
  fieldsOf,
  intersection,
  isEmpty,
  pathsOf,
  sayPath,
  union,
  without,
} from "./field-set.ts";
import { isSameWriter, type ManagedEntry, ownable, readManagedFields, type Writer, writeManagedFields } from "./managed-fields.ts";
import type { Shape, ShapeOf } from "./shape.ts";

export interface ApplyOptions {
  readonly writer: Writer;
  readonly force: boolean;
  readonly shapeOf: ShapeOf;
}

interface Document {
  readonly metadata: object;
}

/**
 * The object after an apply, with its managedFields.
 * @throws ApiError Conflict where another manager owns a field whose value would change, unless forced
 */
export function applyServerSide<T extends Document>(live: T | undefined, wanted: T, options: ApplyOptions): T {
  const { writer, force, shapeOf } = options;
  const applied = ownable(fieldsOf(wanted, shapeOf));
  const entries = live ? readManagedFields(live.metadata) : [];
  const before = entries.find((entry) => isSameWriter(entry, "Apply", writer));
  const others = entries.filter((entry) => entry !== before);
  const merged = live ? merge(live, wanted, shapeOf, []) : wanted;
  const { modified, added } = compare(live ?? {}, merged, shapeOf);
  const changed = ownable(union(modified, added));
  const conflicts = others
    .map((entry) => ({ entry, fields: intersection(entry.fields, changed) }))
    .filter(({ fields }) => !isEmpty(fields));
  if (conflicts.length > 0 && !force) throw refuse(conflicts);
  const kept = others.map((entry): ManagedEntry => ({ ...entry, fields: difference(entry.fields, changed) }));
  const owned = kept.reduce((all, { fields }) => union(all, fields), applied);
  const dropped = difference(before?.fields ?? EMPTY, owned);
  const result = (isEmpty(dropped) ? merged : remove(merged, dropped, owned, shapeOf, [])) as T;
  const mine: ManagedEntry = {
    manager: writer.manager,
    operation: "Apply",
    apiVersion: writer.apiVersion,
    subresource: writer.subresource,
    time: before && isEmpty(difference(before.fields, applied)) && isEmpty(difference(applied, before.fields)) ? before.time : writer.now,
    fields: applied,
  };
  const gone = compare(live ?? {}, result, shapeOf).removed;
  const managedFields = writeManagedFields([...kept.map((entry) => ({ ...entry, fields: without(entry.fields, gone) })), mine]);
  return { ...result, metadata: { ...result.metadata, managedFields } };
}

function refuse(conflicts: readonly { readonly entry: ManagedEntry; readonly fields: FieldSet }[]): ApiError {
  const causes = conflicts.flatMap(({ entry, fields }) => {
    const through = entry.subresource === "" ? "" : ` with subresource "${entry.subresource}"`;
    const when = entry.operation === "Update" && entry.time !== undefined ? ` at ${entry.time}` : "";
    const message = `conflict with "${entry.manager}"${through} using ${entry.apiVersion}${when}`;
    return [...pathsOf(fields)].map((path) => ({ reason: "FieldManagerConflict", message, field: sayPath(path) }));
  });
  const said = causes.map(({ message, field }) => `${message}: ${field}`);
  const list = said.length === 1 ? `1 conflict: ${said[0]}` : `${said.length} conflicts: ${said.join("; ")}`;
  return new ApiError("Conflict", `Apply failed with ${list}`, { causes });
}

/** What is wanted over what is there; lists with keys element by element, in the wanted order, the others behind. */
function merge(live: unknown, wanted: unknown, shapeOf: ShapeOf, path: readonly string[]): unknown {
  if (isMap(live) && isMap(wanted)) {
    if (shapeOf(path, wanted).kind === "atomic") return wanted;
    const result: Record<string, unknown> = { ...live };
    for (const [name, value] of Object.entries(wanted))
      if (name !== "__proto__") result[name] = name in live ? merge(live[name], value, shapeOf, [...path, name]) : value;
    return result;
  }
  if (!Array.isArray(live) || !Array.isArray(wanted)) return wanted;
  const shape = shapeOf(path, wanted);
  if (shape.kind !== "keyed" && shape.kind !== "set") return wanted;
  return mergeList(live, wanted, shape, (a, b) => merge(a, b, shapeOf, path));
}

function mergeList(
  live: readonly unknown[],
  wanted: readonly unknown[],
  shape: Shape,
  both: (live: unknown, wanted: unknown) => unknown,
): unknown[] {
  const there = new Map(live.map((entry) => [elementOf(shape, entry), entry]));
  const asked = new Set(wanted.map((entry) => elementOf(shape, entry)));
  const merged = wanted.map((entry) => {
    const element = elementOf(shape, entry);
    return element !== undefined && there.has(element) ? both(there.get(element), entry) : entry;
  });
  return [...merged, ...live.filter((entry) => !asked.has(elementOf(shape, entry)))];
}

/**
 * The document without the fields of a set. A map or list element goes as a whole where nobody owns anything in it any more: what is left
 * there are defaults, which mean nothing without it (a probe without its handler). Metadata's maps are not of one piece: each key stands for itself.
 */
function remove(value: unknown, gone: FieldSet, owned: FieldSet, shapeOf: ShapeOf, path: readonly string[]): unknown {
  if (isMap(value)) {
    const result: Record<string, unknown> = {};
    for (const [name, below] of Object.entries(value)) {
      const child = gone.children.get(`f:${name}`);
      const keeps = owned.children.get(`f:${name}`);
      if (!child) result[name] = below;
      else if (child.children.size === 0) {
        if (keeps) result[name] = below;
      } else if (keeps || name === "metadata" || path.includes("metadata") || Array.isArray(below)) {
        const left = remove(below, child, keeps ?? EMPTY, shapeOf, [...path, name]);
        if (keeps || !isHollow(left)) result[name] = left;
      }
    }
    return result;
  }
  if (!Array.isArray(value)) return value;
  const shape = shapeOf(path, value);
  return value.flatMap((entry) => {
    const element = elementOf(shape, entry);
    const child = element === undefined ? undefined : gone.children.get(element);
    if (!child || element === undefined) return [entry];
    const keeps = owned.children.get(element);
    if (child.member && !keeps) return [];
    return [remove(entry, child, keeps ?? EMPTY, shapeOf, path)];
  });
}

function isHollow(value: unknown): boolean {
  return (Array.isArray(value) && value.length === 0) || (isMap(value) && Object.keys(value).length === 0);
}
