// Sets of fields, as managedFields carries them (FieldsV1 of structured-merge-diff): a trie of path elements.
import { isDeepStrictEqual } from "node:util";
import { isMap } from "../patch/merge-patch.ts";
import type { Shape, ShapeOf } from "./shape.ts";

/** One node of the trie: whether its path is a member, and what lies below. Never changed after it was made. */
export interface FieldSet {
  readonly member: boolean;
  /** By path element: "f:NAME", "k:{KEYS}", "v:VALUE", as FieldsV1 writes them. */
  readonly children: ReadonlyMap<string, FieldSet>;
}

const NONE: ReadonlyMap<string, FieldSet> = new Map();
export const EMPTY: FieldSet = { member: false, children: NONE };
const LEAF: FieldSet = { member: true, children: NONE };

export function isEmpty(set: FieldSet): boolean {
  return !set.member && set.children.size === 0;
}

function make(member: boolean, children: ReadonlyMap<string, FieldSet>): FieldSet {
  if (children.size === 0) return member ? LEAF : EMPTY;
  return { member, children };
}

/** Reads FieldsV1; what is no set of fields is left out. */
export function readFields(json: unknown): FieldSet {
  if (!isMap(json)) return EMPTY;
  const children = new Map<string, FieldSet>();
  for (const [element, below] of Object.entries(json)) {
    if (element === "." || !/^[fkvi]:/.test(element)) continue;
    const child = readFields(below);
    children.set(element, isEmpty(child) ? LEAF : child);
  }
  return make("." in json, children);
}

export function writeFields(set: FieldSet): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  if (set.member && set.children.size > 0) json["."] = {};
  for (const element of [...set.children.keys()].sort()) json[element] = writeFields(set.children.get(element) as FieldSet);
  return json;
}

function combine(a: FieldSet, b: FieldSet, member: (a: boolean, b: boolean) => boolean, elements: Iterable<string>): FieldSet {
  const children = new Map<string, FieldSet>();
  for (const element of elements) {
    const child = combine(
      a.children.get(element) ?? EMPTY,
      b.children.get(element) ?? EMPTY,
      member,
      elementsOf(a.children.get(element), b.children.get(element)),
    );
    if (!isEmpty(child)) children.set(element, child);
  }
  return make(member(a.member, b.member), children);
}

function elementsOf(a: FieldSet | undefined, b: FieldSet | undefined): Iterable<string> {
  return new Set([...(a?.children.keys() ?? []), ...(b?.children.keys() ?? [])]);
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x || y, elementsOf(a, b));
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x && y, elementsOf(a, b));
}

/** What is in `a` and not in `b`. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x && !y, a.children.keys());
}

/** What is in `a` and neither in `b` nor below a member of it. */
export function without(a: FieldSet, b: FieldSet): FieldSet {
  if (b.member) return EMPTY;
  const children = new Map<string, FieldSet>();
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    const left = other ? without(child, other) : child;
    if (!isEmpty(left)) children.set(element, left);
  }
  return make(a.member, children);
}

/** The members' paths. */
export function* pathsOf(set: FieldSet, above: readonly string[] = []): Generator<readonly string[]> {
  if (set.member) yield above;
  for (const [element, child] of set.children) yield* pathsOf(child, [...above, element]);
}

/** A path as people read it: `.spec.containers[name="web"].image`. */
export function sayPath(path: readonly string[]): string {
  return path
    .map((element) => {
      const text = element.slice(2);
      if (element.startsWith("f:")) return `.${text}`;
      if (element.startsWith("v:")) return `[=${text}]`;
      const keys = Object.entries(JSON.parse(text) as Record<string, unknown>);
      return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}]`;
    })
    .join("");
}

/** The path element of a list's entry; undefined where it lacks its keys. */
export function elementOf(shape: Shape, entry: unknown): string | undefined {
  if (shape.kind === "set") return `v:${JSON.stringify(entry)}`;
  if (shape.kind !== "keyed" || !isMap(entry)) return undefined;
  const keys: Record<string, unknown> = {};
  for (const key of [...shape.keys].sort()) {
    const value = entry[key] ?? shape.defaults[key];
    if (value === undefined) return undefined;
    keys[key] = value;
  }
  return `k:${JSON.stringify(keys)}`;
}

/** The fields of a document. */
export function fieldsOf(value: unknown, shapeOf: ShapeOf, path: readonly string[] = []): FieldSet {
  if (isMap(value)) {
    if (shapeOf(path, value).kind === "atomic") return LEAF;
    const entries = Object.entries(value);
    if (entries.length === 0) return LEAF;
    return make(false, new Map(entries.map(([name, below]) => [`f:${name}`, fieldsOf(below, shapeOf, [...path, name])])));
  }
  if (!Array.isArray(value)) return LEAF;
  const shape = shapeOf(path, value);
  if (shape.kind === "atomic" || shape.kind === "granular" || value.length === 0) return LEAF;
  const children = new Map<string, FieldSet>();
  for (const entry of value) {
    const element = elementOf(shape, entry);
    if (element === undefined) return LEAF;
    children.set(element, shape.kind === "set" ? LEAF : union(fieldsOf(entry, shapeOf, path), LEAF));
  }
  return make(false, children);
}

export interface Comparison {
  /** Fields that are there in both, with other values. */
  readonly modified: FieldSet;
  readonly added: FieldSet;
  readonly removed: FieldSet;
}

const SAME: Comparison = { modified: EMPTY, added: EMPTY, removed: EMPTY };
const MODIFIED: Comparison = { modified: LEAF, added: EMPTY, removed: EMPTY };

/** What changed from one document to another. */
export function compare(before: unknown, after: unknown, shapeOf: ShapeOf, path: readonly string[] = []): Comparison {
  if (isDeepStrictEqual(before, after)) return SAME;
  if (isMap(before) && isMap(after)) {
    if (shapeOf(path, after).kind === "atomic") return MODIFIED;
    const names = new Set([...Object.keys(before), ...Object.keys(after)]);
    return joined(
      [...names].map((name) => [`f:${name}`, before[name], after[name], [...path, name]]),
      shapeOf,
    );
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    const shape = shapeOf(path, after);
    const [old, now] = [entriesOf(before, shape), entriesOf(after, shape)];
    if (!old || !now) return MODIFIED;
    return joined(
      [...new Set([...old.keys(), ...now.keys()])].map((element) => [element, old.get(element), now.get(element), path]),
      shapeOf,
    );
  }
  return MODIFIED;
}

/** A list's entries by path element; undefined where it has no keys, or one is there twice. */
function entriesOf(list: readonly unknown[], shape: Shape): Map<string, unknown> | undefined {
  const entries = new Map<string, unknown>();
  for (const entry of list) {
    const element = elementOf(shape, entry);
    if (element === undefined || entries.has(element)) return undefined;
    entries.set(element, entry);
  }
  return entries;
}

type Pair = readonly [element: string, before: unknown, after: unknown, path: readonly string[]];

function joined(pairs: readonly Pair[], shapeOf: ShapeOf): Comparison {
  const [modified, added, removed] = [new Map<string, FieldSet>(), new Map<string, FieldSet>(), new Map<string, FieldSet>()];
  const whole = (element: string, value: unknown, path: readonly string[]) => {
    const fields = fieldsOf(value, shapeOf, path);
    return element.startsWith("f:") ? fields : union(fields, LEAF);
  };
  for (const [element, before, after, path] of pairs) {
    if (before === undefined) added.set(element, whole(element, after, path));
    else if (after === undefined) removed.set(element, whole(element, before, path));
    else {
      const below = compare(before, after, shapeOf, path);
      if (!isEmpty(below.modified)) modified.set(element, below.modified);
      if (!isEmpty(below.added)) added.set(element, below.added);
      if (!isEmpty(below.removed)) removed.set(element, below.removed);
    }
  }
  return { modified: make(false, modified), added: make(false, added), removed: make(false, removed) };
}
