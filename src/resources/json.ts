// JSON values of unknown shape: what objects are before anything is known of them.

export type JsonMap = Readonly<Record<string, unknown>>;

/** A map of JSON: neither null nor a list. */
export function isMap(value: unknown): value is JsonMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The map with `fallbacks` where it has nothing (null counts as nothing); the same map if nothing was missing. */
export function fill(map: JsonMap, fallbacks: JsonMap): JsonMap {
  const missing = Object.entries(fallbacks).filter(([key, value]) => value !== undefined && (map[key] ?? undefined) === undefined);
  return missing.length === 0 ? map : { ...map, ...Object.fromEntries(missing) };
}

/** The map with the value of a key replaced by `change`'s; the same map if that is the same value or the key is absent. */
export function alter(map: JsonMap, key: string, change: (value: JsonMap) => JsonMap): JsonMap {
  const value = map[key];
  if (!isMap(value)) return map;
  const next = change(value);
  return next === value ? map : { ...map, [key]: next };
}

/** As `alter` for each map of a list. */
export function alterEach(map: JsonMap, key: string, change: (value: JsonMap) => JsonMap): JsonMap {
  const list = map[key];
  if (!Array.isArray(list)) return map;
  let changed = false;
  const next = list.map((value: unknown) => {
    if (!isMap(value)) return value;
    const altered = change(value);
    changed ||= altered !== value;
    return altered;
  });
  return changed ? { ...map, [key]: next } : map;
}

/** Any JSON value as text, for keys and comparisons. String() throws where a value has a field named toString. */
export function textOf(value: unknown): string {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
