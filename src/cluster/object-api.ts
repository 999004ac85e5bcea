// Reading and writing single objects with compare-and-swap: the interface, and the embedded API in the same process.
import type { KubeObject } from "../resources/index.ts";
import { ApiConflict } from "./errors.ts";
import type { WatchedResource } from "./source.ts";

/** Objects by name. Every answer carries a resourceVersion; a write that carries one fails where the object has moved on. */
export interface ObjectApi {
  /** Undefined where there is none. @throws FairleadError as the API says */
  get<T extends KubeObject>(resource: WatchedResource, name: string, namespace?: string): Promise<T | undefined>;
  list<T extends KubeObject>(resource: WatchedResource, labelSelector?: string): Promise<readonly T[]>;
  /** @throws ApiConflict where the name is taken */
  create<T extends KubeObject>(resource: WatchedResource, object: T): Promise<T>;
  /** Replaces the whole object, or its status alone. @throws ApiConflict where its resourceVersion is outdated, or it is gone */
  update<T extends KubeObject>(resource: WatchedResource, object: T, subresource?: "status"): Promise<T>;
  /** Absent is no error. `grace`: seconds. @throws ApiConflict where the object's resourceVersion or uid, if given, is not the one that is there */
  delete(resource: WatchedResource, object: Pick<KubeObject, "metadata">, grace?: number): Promise<void>;
}

/** The part of a store that writing needs. */
export interface WritableStore {
  get<T extends KubeObject>(resource: WatchedResource, namespace: string | undefined, name: string): T | undefined;
  list<T extends KubeObject>(resource: WatchedResource, options?: { readonly labelSelector?: string }): { readonly items: readonly T[] };
  create<T extends KubeObject>(resource: WatchedResource, object: T): T;
  update<T extends KubeObject>(resource: WatchedResource, object: T, options?: { readonly subresource?: "status" }): T;
  delete(
    resource: WatchedResource,
    namespace: string | undefined,
    name: string,
    options: {
      readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
      readonly gracePeriodSeconds?: number;
    },
  ): unknown;
}

/** The embedded API's store. */
export function apiFromStore(store: WritableStore): ObjectApi {
  return {
    get: (resource, name, namespace) => attempt(() => store.get(resource, namespace, name)),
    list: (resource, labelSelector) =>
      attempt(() => store.list(resource, labelSelector === undefined ? {} : { labelSelector }).items) as never,
    create: (resource, object) => attempt(() => store.create(resource, object)),
    update: (resource, object, subresource) => attempt(() => store.update(resource, object, subresource ? { subresource } : {})),
    delete: (resource, { metadata }, grace) =>
      attempt(() => {
        const { namespace, name, uid, resourceVersion } = metadata;
        const preconditions = { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
        try {
          store.delete(resource, namespace, name, { preconditions, ...(grace === undefined ? {} : { gracePeriodSeconds: grace }) });
        } catch (error) {
          if (reasonOf(error) !== "NotFound") throw error;
        }
      }),
  };
}

async function attempt<T>(action: () => T): Promise<T> {
  try {
    return action();
  } catch (error) {
    const reason = reasonOf(error);
    if (reason === "Conflict" || reason === "AlreadyExists" || reason === "NotFound")
      throw new ApiConflict((error as Error).message, error);
    throw error;
  }
}

/** The reason of a Kubernetes Status, where an error carries one. */
function reasonOf(error: unknown): string | undefined {
  return (error as { readonly reason?: string } | undefined)?.reason;
}
