// What others hang into every write: hooks that change or refuse an object inside the store's transaction.
import type { KubeObject } from "../resources/index.ts";
import type { Resource } from "./resource-table.ts";
import type { ObjectStore } from "./store.ts";

export interface AdmissionContext {
  readonly resource: Resource;
  readonly operation: "create" | "update" | "delete";
  readonly subresource: string | undefined;
  readonly dryRun: boolean;
  /** The object as it was; undefined for create. */
  readonly old: KubeObject | undefined;
  /** For reading; writing from within a hook is refused. */
  readonly store: Pick<ObjectStore, "get" | "list">;
  /** Runs if the write is not committed, in reverse order: give back what was taken. */
  onRollback(undo: () => void): void;
  /** Runs after the commit, before watchers hear of it. */
  onCommit(done: () => void): void;
}

/** Hooks run in the order of the array, on objects that are sound and have their defaults: all mutate, then all validate. They throw ApiErrors. */
export interface AdmissionHook {
  readonly name: string;
  readonly appliesTo: (resource: Resource, operation: AdmissionContext["operation"]) => boolean;
  /** Changes `object` (for delete: must not). */
  readonly mutate?: (object: MutableObject, context: AdmissionContext) => void;
  readonly validate?: (object: KubeObject, context: AdmissionContext) => void;
}

/** An object under admission: a private copy that a hook may change. */
export interface MutableObject {
  apiVersion: string;
  kind: string;
  metadata: Record<string, unknown> & { name: string; namespace?: string };
  [field: string]: unknown;
}
