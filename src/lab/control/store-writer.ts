// The network's writes into the embedded API's store, in this process.
import { ApiError, applyMergePatch, type ObjectStore } from "../../api/index.ts";
import type { ClusterWriter } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";

/** A writer into a store. */
export function storeWriter(store: ObjectStore): ClusterWriter {
  return {
    get: async ({ resource, namespace, name }) => store.get(resource, namespace, name),
    create: async ({ resource }, object) => unless([409], () => store.create(resource, object)),
    patch: async ({ resource, namespace, name }, patch, subresource) => {
      const before = store.get(resource, namespace, name);
      if (!before) return undefined;
      const after = applyMergePatch(before, patch) as KubeObject;
      return unless([404, 409], () => store.update(resource, after, subresource ? { subresource } : {}));
    },
  };
}

function unless(codes: readonly number[], action: () => KubeObject): KubeObject | undefined {
  try {
    return action();
  } catch (error) {
    if (error instanceof ApiError && codes.includes(error.httpCode)) return undefined;
    throw error;
  }
}
