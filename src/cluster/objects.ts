// A cluster's objects near at hand: read at once from memory, written where they are kept. The interface, and the embedded API.
import { messageOf } from "../base/index.ts";
import { apiVersionOf, type KubeObject } from "../resources/index.ts";
import { apiFromStore, type ObjectApi, type WritableStore } from "./object-api.ts";
import type { WatchableStore, WatchedResource } from "./source.ts";
import type { ObjectPlace } from "./writer.ts";

/** What is known here of an API's objects. They are shared: never change them. */
export interface ReadableStore extends WatchableStore {
  get<T extends KubeObject>(resource: WatchedResource, namespace: string | undefined, name: string): T | undefined;
  list<T extends KubeObject>(resource: WatchedResource, options?: { readonly namespace?: string }): { readonly items: readonly T[] };
}

/** Reads are answered by what is known here, which may be a moment behind; writes go to the API. */
export interface ClusterObjects extends ReadableStore {
  /** Single reads and writes, with their answers. */
  readonly api: ObjectApi;
  /** The resource of a kind; undefined where the API does not serve it. */
  resourceOf(apiVersion: string, kind: string): Promise<WatchedResource | undefined>;
  /** Makes an object as a manifest has it, whether it is there or not; what is read here knows of it then. */
  apply(resource: WatchedResource, object: KubeObject): Promise<void>;
  /**
   * A write that comes about, be the API away for a while: what `change` makes of the newest object. Changes of one object are
   * made in their order; while they wait, one with the same `label` takes an older one's place. An object that is gone is no
   * error, undefined leaves it as it is.
   */
  change<T extends KubeObject>(place: ObjectPlace, label: string, change: (now: T) => T | undefined, subresource?: "status"): void;
  /** Likewise takes an object away, without grace, if it still is the one with this uid. */
  remove(place: ObjectPlace, uid: string): void;
  /** Whether no such write waits. */
  readonly idle: boolean;
  close(): void;
}

export interface EmbeddedStore extends ReadableStore, WritableStore {
  get<T extends KubeObject>(resource: WatchedResource, namespace: string | undefined, name: string): T | undefined;
  list<T extends KubeObject>(
    resource: WatchedResource,
    options?: { readonly namespace?: string; readonly labelSelector?: string },
  ): { readonly items: readonly T[] };
  readonly resources: { all(): Iterable<WatchedResource & { readonly kind: string }> };
}

/** The embedded API's store: each write is done when the call returns. */
export function objectsFromStore(store: EmbeddedStore, log: (message: string) => void): ClusterObjects {
  const attempt = (write: () => void) => {
    try {
      write();
    } catch (error) {
      log(messageOf(error));
    }
  };
  return {
    get: (resource, namespace, name) => store.get(resource, namespace, name),
    list: (resource, options) => store.list(resource, options),
    watch: (resource, options, listener) => store.watch(resource, options, listener),
    api: apiFromStore(store),
    async resourceOf(apiVersion, kind) {
      for (const each of store.resources.all()) if (each.kind === kind && apiVersionOf(each) === apiVersion) return each;
      return undefined;
    },
    async apply(resource, object) {
      const { namespace, name } = object.metadata;
      const resourceVersion = store.get(resource, namespace, name)?.metadata.resourceVersion;
      if (resourceVersion === undefined) store.create(resource, object);
      else store.update(resource, { ...object, metadata: { ...object.metadata, resourceVersion } });
    },
    change<T extends KubeObject>(
      { resource, namespace, name }: ObjectPlace,
      _label: string,
      change: (now: T) => T | undefined,
      subresource?: "status",
    ) {
      const now = store.get<T>(resource, namespace, name);
      const next = now && change(now);
      if (next) attempt(() => store.update(resource, next, subresource ? { subresource } : {}));
    },
    remove({ resource, namespace, name }, uid) {
      if (store.get(resource, namespace, name)?.metadata.uid === uid)
        attempt(() => store.delete(resource, namespace, name, { gracePeriodSeconds: 0 }));
    },
    idle: true,
    close() {},
  };
}
