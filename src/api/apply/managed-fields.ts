// Who owns which field of an object: metadata.managedFields, read, kept up to date by writes, and written.
import { isMap } from "../patch/merge-patch.ts";
import { compare, difference, EMPTY, type FieldSet, isEmpty, readFields, union, without, writeFields } from "./field-set.ts";
import type { ShapeOf } from "./shape.ts";

export interface ManagedEntry {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string | undefined;
  readonly fields: FieldSet;
}

/** Who writes, and how. `now` in RFC 3339 with seconds. */
export interface Writer {
  readonly manager: string;
  readonly apiVersion: string;
  readonly subresource: string;
  readonly now: string;
}

/** Fields that nobody owns: the server's own, and those that say which object it is. */
const UNOWNED: FieldSet = readFields({
  "f:apiVersion": {},
  "f:kind": {},
  "f:metadata": Object.fromEntries(
    "name namespace uid resourceVersion creationTimestamp generation selfLink managedFields deletionTimestamp deletionGracePeriodSeconds generateName"
      .split(" ")
      .map((name) => [`f:${name}`, {}]),
  ),
});

/** A set of fields without those that nobody owns. */
export function ownable(set: FieldSet): FieldSet {
  return without(set, UNOWNED);
}

export function readManagedFields(metadata: Readonly<Record<string, unknown>> | object): ManagedEntry[] {
  const entries: unknown = (metadata as Readonly<Record<string, unknown>>).managedFields;
  if (!Array.isArray(entries)) return [];
  return entries.filter(isMap).map((entry) => ({
    manager: String(entry.manager ?? ""),
    operation: entry.operation === "Apply" ? "Apply" : "Update",
    apiVersion: String(entry.apiVersion ?? ""),
    subresource: String(entry.subresource ?? ""),
    time: typeof entry.time === "string" ? entry.time : undefined,
    fields: readFields(entry.fieldsV1),
  }));
}

/** As the API shows it: those who apply first, then by time. */
export function writeManagedFields(entries: readonly ManagedEntry[]): object[] {
  const order = (entry: ManagedEntry) => `${entry.operation} ${entry.time ?? ""} ${entry.manager} ${entry.subresource}`;
  return entries
    .filter((entry) => !isEmpty(entry.fields))
    .sort((a, b) => (order(a) < order(b) ? -1 : 1))
    .map(({ manager, operation, apiVersion, time, fields, subresource }) => ({
      manager,
      operation,
      apiVersion,
      ...(time === undefined ? {} : { time }),
      fieldsType: "FieldsV1",
      fieldsV1: writeFields(fields),
      ...(subresource === "" ? {} : { subresource }),
    }));
}

export function isSameWriter(entry: ManagedEntry, operation: ManagedEntry["operation"], writer: Writer): boolean {
  return entry.manager === writer.manager && entry.operation === operation && entry.subresource === writer.subresource;
}

/** The owners after an ordinary write: who changed a field owns it alone. */
export function ownersAfterUpdate(
  entries: readonly ManagedEntry[],
  before: object | undefined,
  after: object,
  { writer, shapeOf }: { readonly writer: Writer; readonly shapeOf: ShapeOf },
): readonly ManagedEntry[] {
  const { modified, added, removed } = compare(before ?? {}, after, shapeOf);
  const changed = ownable(union(modified, added));
  const gone = ownable(removed);
  if (isEmpty(changed) && isEmpty(gone)) return entries;
  const mine = entries.find((entry) => isSameWriter(entry, "Update", writer));
  const others = entries
    .filter((entry) => entry !== mine)
    .map((entry): ManagedEntry => ({ ...entry, fields: difference(without(entry.fields, gone), changed) }));
  const fields = union(without(mine?.fields ?? EMPTY, gone), changed);
  const { manager, apiVersion, subresource, now } = writer;
  return [...others, { manager, operation: "Update", apiVersion, subresource, time: now, fields }];
}
