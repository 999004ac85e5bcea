// The embedded API's store as its users in the same process see it: objects with versions, and watches.
import type { KubeObject } from "../resources/index.ts";

/** What a request asks for: group, version and plural name, as in /apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME. The core group is "". */
export interface ResourceRef {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: KubeObject;
}

export interface ListOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface WriteOptions {
  /** Everything happens but the commit: the answer is what would have been stored. */
  readonly dryRun?: boolean;
  /** Says who owns the fields now (metadata.managedFields), from the object before and as it will be stored; undefined: as they are. */
  readonly track?: (before: KubeObject | undefined, after: KubeObject) => readonly object[] | undefined;
}

export interface UpdateOptions extends WriteOptions {
  /** "status" changes only the status; "finalize" changes only a Namespace's spec.finalizers. */
  readonly subresource?: "status" | "finalize";
}

/** Every write is validated, defaulted, admitted (addresses and ports allocated) and committed before it returns. Objects that come out are shared: never change them. Errors are ApiErrors, which carry a Kubernetes Status. */
export interface ObjectStore {
  get<T extends KubeObject>(resource: ResourceRef, namespace: string | undefined, name: string): T | undefined;
  list<T extends KubeObject>(
    resource: ResourceRef,
    options?: ListOptions,
  ): { readonly items: readonly T[]; readonly resourceVersion: string };
  create<T extends KubeObject>(resource: ResourceRef, object: T, options?: WriteOptions): T;
  /** Fails with Conflict if the object carries an outdated resourceVersion. `status` changes only the status. */
  update<T extends KubeObject>(resource: ResourceRef, object: T, options?: UpdateOptions): T;
  /** Sets deletionTimestamp while finalizers or (pods) a grace period hold it; else deletes. */
  delete(resource: ResourceRef, namespace: string | undefined, name: string, options?: DeleteOptions): KubeObject;
  /** Events after `resourceVersion`; without one, an ADDED for each object first. @throws ApiError 410 if it is too old */
  watch(
    resource: ResourceRef,
    options: ListOptions & { readonly resourceVersion?: string },
    listener: (event: WatchEvent) => void,
  ): () => void;
}

export interface DeleteOptions extends WriteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Foreground" | "Background" | "Orphan";
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}
