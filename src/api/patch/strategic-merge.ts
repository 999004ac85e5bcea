// Strategic merge patch: lists of the built-in kinds merge by a key of their elements.
import { isDeepStrictEqual } from "node:util";
import { badRequest } from "../errors.ts";
import { isMap, type Json } from "./merge-patch.ts";

/** How a list merges: by a key of its elements, or as a set of plain values. Lists that are not named are replaced. */
export type ListRule = { readonly key: string } | "set";

/** By the path's end, longest first: `a.b` wins over `b`. */
const rules: Readonly<Record<string, ListRule>> = {
  containers: { key: "name" },
  initContainers: { key: "name" },
  ephemeralContainers: { key: "name" },
  env: { key: "name" },
  volumes: { key: "name" },
  volumeMounts: { key: "mountPath" },
  volumeDevices: { key: "devicePath" },
  hostAliases: { key: "ip" },
  imagePullSecrets: { key: "name" },
  secrets: { key: "name" },
  topologySpreadConstraints: { key: "topologyKey" },
  schedulingGates: { key: "name" },
  resourceClaims: { key: "name" },
  podIPs: { key: "ip" },
  hostIPs: { key: "ip" },
  conditions: { key: "type" },
  ownerReferences: { key: "uid" },
  finalizers: "set",
  podCIDRs: "set",
  "status.addresses": { key: "type" },
  "containers.ports": { key: "containerPort" },
  "initContainers.ports": { key: "containerPort" },
  "ephemeralContainers.ports": { key: "containerPort" },
  "spec.ports": { key: "port" },
};

/** Paths whose last word means something else than in the table. */
const replaced = new Set(["NetworkPolicy:spec.ports", "EndpointSlice:ports"]);

/** How the list at a path of field names merges; undefined where it is replaced. */
export function listRuleOf(kind: string, path: readonly string[]): ListRule | undefined {
  const last = path.at(-1) ?? "";
  const two = `${path.at(-2) ?? ""}.${last}`;
  if (replaced.has(`${kind}:${two}`) || replaced.has(`${kind}:${last}`)) return undefined;
  return rules[two] ?? rules[last];
}

const order = "$setElementOrder/";
const drop = "$deleteFromPrimitiveList/";

function mergeMap(kind: string, path: readonly string[], target: Json, patch: Json): Json {
  if (patch.$patch === "replace") {
    const { $patch: _, ...rest } = patch;
    return rest;
  }
  if (patch.$patch === "delete") return {};
  const result: Json = { ...target };
  const keep = patch.$retainKeys;
  if (Array.isArray(keep)) for (const key of Object.keys(result)) if (!keep.includes(key)) delete result[key];
  for (const [key, value] of Object.entries(patch)) {
    if (key === "__proto__" || key.startsWith("$")) continue;
    if (value === null) delete result[key];
    else if (Array.isArray(value)) result[key] = mergeList(kind, [...path, key], result[key], value, patch[order + key]);
    else if (isMap(value)) result[key] = mergeMap(kind, [...path, key], isMap(result[key]) ? result[key] : {}, value);
    else result[key] = value;
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(drop) && Array.isArray(value)) {
      const list = result[key.slice(drop.length)];
      if (Array.isArray(list)) result[key.slice(drop.length)] = list.filter((entry) => !value.includes(entry));
    }
    if (key.startsWith(order) && patch[key.slice(order.length)] === undefined) {
      const name = key.slice(order.length);
      if (Array.isArray(result[name])) result[name] = arranged(listRuleOf(kind, [...path, name]), result[name], value);
    }
  }
  return result;
}

function mergeList(kind: string, path: readonly string[], target: unknown, patch: readonly unknown[], wanted: unknown): unknown[] {
  const rule = listRuleOf(kind, path);
  const replaces = patch.some((entry) => isMap(entry) && entry.$patch === "replace" && Object.keys(entry).length === 1);
  const entries = patch.filter((entry) => !(isMap(entry) && entry.$patch === "replace" && Object.keys(entry).length === 1));
  if (rule === undefined || replaces) return entries;
  const result = Array.isArray(target) ? [...target] : [];
  for (const entry of entries) {
    if (rule === "set") {
      if (!result.includes(entry)) result.push(entry);
      continue;
    }
    if (!isMap(entry)) throw badRequest(`an element of ${path.join(".")} in the patch is not an object`);
    const key = entry[rule.key];
    if (key === undefined) throw badRequest(`map: ${JSON.stringify(entry)} does not contain declared merge key: ${rule.key}`);
    // The ports of a container may share a number and differ in protocol.
    const at = result.findIndex(
      (has) =>
        isMap(has) && isDeepStrictEqual(has[rule.key], key) && (entry.protocol === undefined || (has.protocol ?? "TCP") === entry.protocol),
    );
    if (entry.$patch === "delete") {
      if (at >= 0) result.splice(at, 1);
    } else if (at >= 0) result[at] = mergeMap(kind, path, result[at] as Json, entry);
    else result.push(mergeMap(kind, path, {}, entry));
  }
  return arranged(rule, result, wanted);
}

/** Elements named by $setElementOrder in that order; others stay behind their former neighbours as far as possible: at the end. */
function arranged(rule: ListRule | undefined, list: readonly unknown[], wanted: unknown): unknown[] {
  if (!Array.isArray(wanted) || rule === undefined) return [...list];
  const rank = (entry: unknown): number => {
    const at = wanted.findIndex((want) =>
      rule === "set" ? want === entry : isMap(want) && isMap(entry) && isDeepStrictEqual(want[rule.key], entry[rule.key]),
    );
    return at < 0 ? wanted.length : at;
  };
  return list
    .map((entry) => ({ entry, at: rank(entry) }))
    .sort((a, b) => a.at - b.at)
    .map(({ entry }) => entry);
}

/** @throws ApiError 400 where an element has no merge key */
export function applyStrategicMerge(kind: string, target: Json, patch: unknown): Json {
  if (!isMap(patch)) throw badRequest("a strategic merge patch is an object");
  return mergeMap(kind, [], target, patch);
}
