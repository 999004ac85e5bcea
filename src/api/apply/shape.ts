// What merges how in server-side apply: which lists have keys, which are sets, and which maps are one value.
import { type ListRule, listRuleOf } from "../patch/strategic-merge.ts";

/** How a value merges. `granular` maps have an owner per field; an `atomic` value has one owner as a whole. */
export type Shape =
  | { readonly kind: "granular" | "atomic" }
  | { readonly kind: "set" }
  | { readonly kind: "keyed"; readonly keys: readonly string[]; readonly defaults: Readonly<Record<string, unknown>> };

/** The shape of the value at a path of field names; elements of lists have the path of their list. */
export type ShapeOf = (path: readonly string[], value: unknown) => Shape;

const GRANULAR: Shape = { kind: "granular" };
const ATOMIC: Shape = { kind: "atomic" };

/** Maps that are one value (structType and mapType atomic in k8s.io/api), by their last word. */
const ATOMIC_MAPS = new Set(
  "selector labelSelector nodeSelector podSelector namespaceSelector objectSelector fieldRef resourceFieldRef secretKeyRef configMapKeyRef scopeSelector targetRef claimRef".split(
    " ",
  ),
);

/** Keys that strategic merge knows less of: there a list has one key at most. */
const MORE_KEYS: Readonly<Record<string, readonly string[]>> = {
  containerPort: ["containerPort", "protocol"],
  port: ["port", "protocol"],
  topologyKey: ["topologyKey", "whenUnsatisfiable"],
};

const shapes = new Map<ListRule, Shape>();

function shapeOfRule(rule: ListRule): Shape {
  if (rule === "set") return { kind: "set" };
  const known = shapes.get(rule);
  if (known) return known;
  const keys = MORE_KEYS[rule.key] ?? [rule.key];
  const shape: Shape = { kind: "keyed", keys, defaults: keys.includes("protocol") ? { protocol: "TCP" } : {} };
  shapes.set(rule, shape);
  return shape;
}

/** The shapes of a kind that Kubernetes brings. Lists without a rule are replaced as a whole. */
export function builtinShapes(kind: string): ShapeOf {
  return (path, value) => {
    if (Array.isArray(value)) {
      const rule = listRuleOf(kind, path);
      return rule === undefined ? ATOMIC : shapeOfRule(rule);
    }
    return ATOMIC_MAPS.has(path.at(-1) ?? "") && path.length > 1 ? ATOMIC : GRANULAR;
  };
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly [extension: `x-kubernetes-${string}`]: unknown;
}

/** The shapes that a CustomResourceDefinition's schema tells; metadata is as everywhere. */
export function schemaShapes(kind: string, schema: unknown): ShapeOf {
  const builtin = builtinShapes(kind);
  return (path, value) => {
    if (path[0] === "metadata" || path.length === 0) return builtin(path, value);
    const found = schemaAt(schema as Schema, path);
    if (Array.isArray(value)) {
      const type = found?.["x-kubernetes-list-type"];
      if (type === "set") return { kind: "set" };
      const keys = found?.["x-kubernetes-list-map-keys"];
      if (type === "map" && Array.isArray(keys)) return { kind: "keyed", keys: keys.map(String), defaults: {} };
      return ATOMIC;
    }
    return found?.["x-kubernetes-map-type"] === "atomic" ? ATOMIC : GRANULAR;
  };
}

function schemaAt(schema: Schema | undefined, path: readonly string[]): Schema | undefined {
  let at = schema;
  for (const name of path) {
    while (at?.items) at = at.items;
    const more = at?.additionalProperties;
    at = at?.properties?.[name] ?? (typeof more === "object" ? more : undefined);
  }
  return at;
}
