// How objects come into being and change: metadata rules, status separation, generation. Pure functions over private copies.
import { isDeepStrictEqual } from "node:util";
import { type KubeObject, validateMetadata } from "../resources/index.ts";
import type { MutableObject } from "./admission.ts";
import { ApiError, badRequest, invalid, type StatusCause } from "./errors.ts";
import { groupVersionOf, type Resource } from "./resource-table.ts";

/** Faults of the metadata that every kind has. */
export function metadataCauses(object: MutableObject): StatusCause[] {
  return validateMetadata(object).map(({ reason, message, field }) => ({ reason, message, field }));
}

/** Checks that a body is an object of the resource, and gives a private copy with apiVersion and kind filled in. @throws ApiError */
export function adopt(resource: Resource, object: unknown): MutableObject {
  if (typeof object !== "object" || object === null || Array.isArray(object)) throw badRequest("the body is not an object");
  const copy = JSON.parse(JSON.stringify(object)) as Partial<MutableObject>;
  const apiVersion = groupVersionOf(resource);
  if (copy.kind !== undefined && copy.kind !== resource.kind) {
    throw badRequest(`the object provided is a ${copy.kind}, but ${resource.plural} holds objects of kind ${resource.kind}`);
  }
  if (copy.apiVersion !== undefined && copy.apiVersion !== apiVersion) {
    throw badRequest(`the API version in the data (${copy.apiVersion}) does not match the expected API version (${apiVersion})`);
  }
  if (copy.metadata !== undefined && (typeof copy.metadata !== "object" || copy.metadata === null || Array.isArray(copy.metadata))) {
    throw badRequest("metadata is not an object");
  }
  const { apiVersion: _, kind: __, metadata, ...rest } = copy;
  return { apiVersion, kind: resource.kind, metadata: metadata ?? { name: "" }, ...rest } as MutableObject;
}

function suffix(): string {
  // Letters and digits that cannot make words, as in names of pods.
  const alphabet = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from(crypto.getRandomValues(new Uint8Array(5)), (byte) => alphabet[byte % alphabet.length]).join("");
}

/** Fills in what the server decides for a new object. `now` in RFC 3339 with seconds. */
export function prepareCreate(resource: Resource, object: MutableObject, now: string): void {
  const { metadata } = object;
  if (!metadata.name && typeof metadata.generateName === "string" && metadata.generateName) {
    metadata.name = `${metadata.generateName.slice(0, 58)}${suffix()}`;
  }
  if (typeof metadata.name !== "string" || metadata.name === "") {
    throw invalid(resource.group, resource.kind, "", [
      { reason: "FieldValueRequired", message: "Required value: name or generateName is required", field: "metadata.name" },
    ]);
  }
  if (metadata.resourceVersion) throw badRequest("resourceVersion should not be set on objects to be created");
  if (!resource.namespaced) delete metadata.namespace;
  for (const field of ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields", "resourceVersion"])
    delete metadata[field];
  metadata.uid = crypto.randomUUID();
  metadata.creationTimestamp = now;
  if (resource.generation) metadata.generation = 1;
  else delete metadata.generation;
  if (resource.status && resource.initialStatus !== "keep") {
    if (resource.initialStatus === undefined) delete object.status;
    else object.status = { ...resource.initialStatus };
  }
  if (resource.kind === "Namespace" && resource.group === "") {
    object.spec = { ...((object.spec as object | undefined) ?? {}), finalizers: ["kubernetes"] };
    metadata.labels = { ...((metadata.labels as object | undefined) ?? {}), "kubernetes.io/metadata.name": metadata.name };
  }
}

function copyOf<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T);
}

function withoutMeta(object: object): Record<string, unknown> {
  const { metadata: _, status: __, ...rest } = object as Record<string, unknown>;
  return rest;
}

/** Carries over from the old object what this kind of update may not change. */
export function prepareUpdate(resource: Resource, object: MutableObject, old: KubeObject, subresource: string | undefined): void {
  // Owners are replaced as a whole, never changed within: they need no copy, and are the larger part.
  const { managedFields, ...others } = old.metadata as MutableObject["metadata"];
  const copied = { ...copyOf(others), ...(managedFields === undefined ? {} : { managedFields }) } as MutableObject["metadata"];
  const kept = { ...old, metadata: copied } as unknown as MutableObject;
  const { metadata } = object;
  if (subresource === "status" || subresource === "finalize") {
    const status = subresource === "status" ? object.status : copyOf(kept.status);
    const spec = subresource === "finalize" ? object.spec : copyOf(kept.spec);
    for (const field of Object.keys(object)) if (!["apiVersion", "kind", "metadata"].includes(field)) delete object[field];
    Object.assign(object, copyOf(withoutMeta(kept)));
    object.metadata = kept.metadata;
    if (spec !== undefined) object.spec = spec;
    if (status === undefined) delete object.status;
    else object.status = status;
    return;
  }
  for (const field of ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName"]) {
    if (field === "uid" && metadata.uid !== undefined && metadata.uid !== kept.metadata.uid) {
      throw new ApiError(
        "Conflict",
        `Operation cannot be fulfilled on ${resource.plural} "${metadata.name}": Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${kept.metadata.uid}`,
      );
    }
    if (kept.metadata[field] === undefined) delete metadata[field];
    else metadata[field] = kept.metadata[field];
  }
  keepManagedFields(metadata, kept.metadata);
  if (resource.status) {
    if (kept.status === undefined) delete object.status;
    else object.status = copyOf(kept.status);
  }
  if (resource.kind === "Namespace" && resource.group === "") {
    object.spec = {
      ...((object.spec as object | undefined) ?? {}),
      finalizers: (kept.spec as { finalizers?: unknown })?.finalizers ?? [],
    };
  }
}

/** The owners of fields are those of before, unless the writer brings others; an empty list, or one of an empty entry, forgets them. */
function keepManagedFields(metadata: MutableObject["metadata"], before: MutableObject["metadata"]): void {
  const given = metadata.managedFields;
  if (Array.isArray(given) && given.every((entry) => Object.keys((entry as object | null) ?? {}).length === 0))
    delete metadata.managedFields;
  else if (!Array.isArray(given) && before.managedFields !== undefined) metadata.managedFields = before.managedFields;
}

/** Counts a change of the specification, after hooks had their say. */
export function countGeneration(resource: Resource, object: MutableObject, old: KubeObject): void {
  if (!resource.generation || isDeepStrictEqual(withoutMeta(object), withoutMeta(old))) return;
  object.metadata.generation = (old.metadata.generation ?? 0) + 1;
}

/** Whether something still holds a deleted object: finalizers of its own, or those of a Namespace. */
export function isHeld(object: KubeObject): boolean {
  const namespaceFinalizers =
    object.kind === "Namespace" && object.apiVersion === "v1"
      ? ((object as { spec?: { finalizers?: readonly string[] } }).spec?.finalizers ?? [])
      : [];
  return (object.metadata.finalizers?.length ?? 0) + namespaceFinalizers.length > 0;
}

/** How long a delete leaves the object to others, in seconds; 0 for all but pods that a kubelet has. */
export function graceOf(resource: Resource, object: KubeObject, asked: number | undefined): number {
  if (resource.kind !== "Pod" || resource.group !== "") return 0;
  const pod = object as { spec?: { nodeName?: string; terminationGracePeriodSeconds?: number }; status?: { phase?: string } };
  if (!pod.spec?.nodeName || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return 0;
  return Math.max(0, asked ?? pod.spec.terminationGracePeriodSeconds ?? 30);
}
