// Where policies and their rules stand in manifests: file, line and column.
import type { Owner } from "../kernel/index.ts";
import { type ManifestObject, readManifests } from "../resources/index.ts";

export interface Places {
  /** "file:line:column" of a path such as "spec.ingress[0]" in an owner's object; null where it is in no file. */
  placeOf(owner: Owner, path: string): string | null;
}

export const NO_PLACES: Places = { placeOf: () => null };

/** The places of all objects of the files and folders. */
export function readPlaces(paths: readonly string[]): Places {
  const objects = new Map(readManifests(paths).objects.map((found) => [keyOfObject(found), found]));
  return {
    placeOf: (owner, path) => {
      const found = objects.get(`${owner.kind} ${owner.namespace ?? ""}/${owner.name}`);
      if (!found) return null;
      const { line, column } = found.locate(stepsOf(path));
      return `${found.file}:${line}:${column}`;
    },
  };
}

/** As owners are called: Calico's NetworkPolicy shares its kind's name with Kubernetes'. */
function keyOfObject({ object: { apiVersion, kind, metadata } }: ManifestObject): string {
  const own = kind === "NetworkPolicy" && apiVersion.includes("projectcalico.org") ? "NetworkPolicy.projectcalico.org" : kind;
  return `${own} ${metadata.namespace ?? ""}/${metadata.name}`;
}

/** "spec.ingress[0].from[1]" as steps into the document. */
function stepsOf(path: string): (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map(([, index, field]) => (index === undefined ? (field ?? "") : Number(index)));
}
