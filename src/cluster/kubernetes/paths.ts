// Where an API server has objects: the paths of kinds and objects, and the keys of objects within a kind.
import type { KubeObject } from "../../resources/index.ts";
import type { WatchedResource } from "../source.ts";

/** The path of a group's version: `/api/v1`, `/apis/apps/v1`. */
export function rootOf({ group, version }: Pick<WatchedResource, "group" | "version">): string {
  return group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
}

/** Where objects of a kind are, or one of them. */
export function pathOf(resource: WatchedResource, namespace?: string, name?: string): string {
  const inside = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${rootOf(resource)}${inside}/${resource.plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}

/** `namespace/name`; `/name` of what is in no namespace. */
export function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}
