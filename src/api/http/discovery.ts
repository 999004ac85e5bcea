// Discovery: which groups, versions and resources there are, plain and aggregated (KEP-3352), and the OpenAPI that kubectl asks for.
import type { Resource, ResourceTable } from "../resource-table.ts";

interface Subresource {
  readonly name: string;
  readonly kind: string;
  readonly verbs: readonly string[];
}

function subresourcesOf(resource: Resource): readonly Subresource[] {
  return [
    ...(resource.status ? [{ name: "status", kind: resource.kind, verbs: ["get", "patch", "update"] }] : []),
    ...(resource.scale ? [{ name: "scale", kind: "Scale", verbs: ["get", "patch", "update"] }] : []),
    ...resource.subresources,
  ];
}

export function groupVersions(table: ResourceTable): Map<string, Map<string, Resource[]>> {
  const groups = new Map<string, Map<string, Resource[]>>();
  for (const resource of table.all()) {
    const versions = groups.get(resource.group) ?? new Map<string, Resource[]>();
    groups.set(resource.group, versions);
    versions.set(resource.version, [...(versions.get(resource.version) ?? []), resource]);
  }
  return groups;
}

/** APIResourceList of one group version. */
export function resourceList(groupVersion: string, resources: readonly Resource[]): object {
  const rows = resources.flatMap((resource) => [
    {
      name: resource.plural,
      singularName: resource.singular,
      namespaced: resource.namespaced,
      kind: resource.kind,
      verbs: resource.verbs,
      shortNames: resource.shortNames,
      categories: resource.categories,
    },
    ...subresourcesOf(resource).map((sub) => ({
      name: `${resource.plural}/${sub.name}`,
      singularName: "",
      namespaced: resource.namespaced,
      kind: sub.kind,
      verbs: sub.verbs,
      ...(sub.name === "scale" ? { group: "autoscaling", version: "v1" } : {}),
    })),
  ]);
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources: rows };
}

function groupOf(group: string, versions: Iterable<string>): object {
  const list = [...versions].map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions: list, preferredVersion: list[0] };
}

/** APIGroup of one group. */
export function apiGroup(group: string, versions: Iterable<string>): object {
  return { kind: "APIGroup", apiVersion: "v1", ...groupOf(group, versions) };
}

export function apiGroupList(table: ResourceTable): object {
  const groups = [...groupVersions(table)].filter(([group]) => group !== "").map(([group, versions]) => groupOf(group, versions.keys()));
  return { kind: "APIGroupList", apiVersion: "v1", groups };
}

/** APIGroupDiscoveryList v2: of the core group, or of all others. */
export function aggregated(table: ResourceTable, core: boolean): object {
  const items = [...groupVersions(table)]
    .filter(([group]) => (group === "") === core)
    .map(([group, versions]) => ({
      metadata: group === "" ? {} : { name: group },
      versions: [...versions].map(([version, resources]) => ({
        version,
        freshness: "Current",
        resources: resources.map((resource) => ({
          resource: resource.plural,
          responseKind: { group, version, kind: resource.kind },
          scope: resource.namespaced ? "Namespaced" : "Cluster",
          singularResource: resource.singular,
          verbs: resource.verbs,
          shortNames: resource.shortNames,
          categories: resource.categories,
          subresources: subresourcesOf(resource).map((sub) => ({
            subresource: sub.name,
            responseKind:
              sub.name === "scale" ? { group: "autoscaling", version: "v1", kind: sub.kind } : { group, version, kind: sub.kind },
            verbs: sub.verbs,
          })),
        })),
      })),
    }));
  return { kind: "APIGroupDiscoveryList", apiVersion: "apidiscovery.k8s.io/v2", metadata: {}, items };
}

/** Where the OpenAPI v3 documents are, one per group version. */
export function openApiIndex(table: ResourceTable): object {
  const paths = [...groupVersions(table)].flatMap(([group, versions]) =>
    [...versions.keys()].map((version) => (group ? `apis/${group}/${version}` : `api/${version}`)),
  );
  return { paths: Object.fromEntries(paths.map((path) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${table.revision}` }])) };
}
