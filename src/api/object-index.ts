// All objects in memory, by resource and namespace, with lists in key order.
import type { KubeObject } from "../resources/index.ts";

interface Bucket {
  readonly byName: Map<string, KubeObject>;
  sorted: readonly KubeObject[] | undefined;
}

function byCode(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Resource keys are `group/plural`; cluster-wide objects live in namespace "". */
export class ObjectIndex {
  readonly #resources = new Map<string, Map<string, Bucket>>();

  get(resource: string, namespace: string, name: string): KubeObject | undefined {
    return this.#resources.get(resource)?.get(namespace)?.byName.get(name);
  }

  put(resource: string, object: KubeObject): void {
    let namespaces = this.#resources.get(resource);
    if (!namespaces) {
      namespaces = new Map();
      this.#resources.set(resource, namespaces);
    }
    const namespace = object.metadata.namespace ?? "";
    let bucket = namespaces.get(namespace);
    if (!bucket) {
      bucket = { byName: new Map(), sorted: undefined };
      namespaces.set(namespace, bucket);
    }
    bucket.byName.set(object.metadata.name, object);
    bucket.sorted = undefined;
  }

  remove(resource: string, namespace: string, name: string): void {
    const namespaces = this.#resources.get(resource);
    const bucket = namespaces?.get(namespace);
    if (!bucket?.byName.delete(name)) return;
    bucket.sorted = undefined;
    if (bucket.byName.size === 0) namespaces?.delete(namespace);
  }

  /** In the order of namespace, then name. */
  list(resource: string, namespace: string | undefined): readonly KubeObject[] {
    const namespaces = this.#resources.get(resource);
    if (!namespaces) return [];
    if (namespace !== undefined) return this.#sorted(namespaces.get(namespace));
    if (namespaces.size === 1) return this.#sorted(namespaces.values().next().value);
    return [...namespaces.keys()].sort(byCode).flatMap((key) => this.#sorted(namespaces.get(key)));
  }

  #sorted(bucket: Bucket | undefined): readonly KubeObject[] {
    if (!bucket) return [];
    bucket.sorted ??= [...bucket.byName.values()].sort((a, b) => byCode(a.metadata.name, b.metadata.name));
    return bucket.sorted;
  }
}
