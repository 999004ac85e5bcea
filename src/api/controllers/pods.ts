// Pods that controllers make: from a template, owned, with names as Kubernetes gives them.
import { createHash } from "node:crypto";
import { messageOf } from "../../base/index.ts";
import type { KubeObject, OwnerReference, Pod, PodTemplate } from "../../resources/index.ts";
import { type ControllerContext, REF } from "./context.ts";

/** So many pods at most a controller makes or deletes in one turn; requests are answered before the next. */
export const BURST = 100;

/** Letters and digits that make no words and are not mistaken for each other (as Kubernetes' own random names). */
const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** A hash of a template that is the same for equal templates, whatever the order of their fields. */
export function templateHash(template: PodTemplate): string {
  const digest = createHash("sha256").update(canonicalJson(template)).digest();
  return Array.from(digest.subarray(0, 9), (byte) => ALPHABET[byte % ALPHABET.length]).join("");
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

export function ownerReference(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? "",
    controller: true,
    blockOwnerDeletion: true,
  };
}

export interface PodOptions {
  /** Its whole name; else one is made from the owner's. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly spec?: Partial<Pod["spec"]>;
}

/** Makes a pod of a template. */
export function createPod(context: ControllerContext, owner: KubeObject, template: PodTemplate, options: PodOptions = {}): void {
  const { namespace, name } = owner.metadata;
  const naming = options.name === undefined ? { generateName: `${name}-` } : { name: options.name };
  const metadata = {
    ...naming,
    ...(namespace === undefined ? {} : { namespace }),
    labels: { ...template.metadata?.labels, ...options.labels },
    ...(template.metadata?.annotations ? { annotations: template.metadata.annotations } : {}),
    ownerReferences: [ownerReference(owner)],
  };
  const pod = { apiVersion: "v1", kind: "Pod", metadata, spec: { ...template.spec, ...options.spec } };
  try {
    const made = context.store.create(REF.pods, pod as unknown as Pod);
    context.note(owner, { type: "Normal", reason: "SuccessfulCreate", message: `Created pod: ${made.metadata.name}` });
  } catch (error) {
    context.note(owner, { type: "Warning", reason: "FailedCreate", message: `Error creating: ${messageOf(error)}` });
    throw error;
  }
}

/** Takes a pod away, with its own grace period. */
export function deletePod(context: ControllerContext, pod: Pod): void {
  if (pod.metadata.deletionTimestamp === undefined) context.store.delete(REF.pods, pod.metadata.namespace, pod.metadata.name);
}

/** Writes a status if it differs. */
export function writeStatus<T extends KubeObject & { readonly status?: unknown }>(
  context: ControllerContext,
  ref: (typeof REF)[keyof typeof REF],
  object: T,
  status: object,
): void {
  if (canonicalJson(object.status ?? {}) !== canonicalJson(status))
    context.store.update(ref, { ...object, status }, { subresource: "status" });
}
