// Persistent parts of a snapshot: a change copies the one namespace's map it touches, everything else is shared.

import type { EndpointSlice, LabelSelector, Pod } from "../resources/index.ts";
import { compileSelector, type KubeObject } from "../resources/index.ts";
import type { EndpointSlicePart, Part, PodPart } from "./snapshot.ts";

/** Objects of one kind by namespace ("" for kinds without), then by name. */
type Namespaces<T> = ReadonlyMap<string, ReadonlyMap<string, T>>;

export class ObjectPart<T extends KubeObject> implements Part<T> {
  readonly size: number;
  protected readonly namespaces: Namespaces<T>;

  constructor(namespaces: Namespaces<T>) {
    this.namespaces = namespaces;
    let size = 0;
    for (const names of namespaces.values()) size += names.size;
    this.size = size;
  }

  get(key: string): T | undefined {
    const slash = key.indexOf("/");
    return slash < 0 ? this.namespaces.get("")?.get(key) : this.namespaces.get(key.slice(0, slash))?.get(key.slice(slash + 1));
  }

  *values(): Iterable<T> {
    for (const namespace of this.namespaceNames()) yield* this.list(namespace);
  }

  inNamespace(namespace: string): Iterable<T> {
    return this.list(namespace);
  }

  list(namespace: string): readonly T[] {
    const names = this.namespaces.get(namespace);
    if (!names) return NOTHING;
    let sorted = sortedValues.get(names) as T[] | undefined;
    if (!sorted) {
      sorted = [...names].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, object]) => object);
      sortedValues.set(names, sorted);
    }
    return sorted;
  }

  namespaceNames(): readonly string[] {
    this.#names ??= [...this.namespaces.keys()].sort();
    return this.#names;
  }
  #names: readonly string[] | undefined;

  /** The namespaces' maps, for the next version to share. */
  get maps(): Namespaces<T> {
    return this.namespaces;
  }
}

const NOTHING: readonly never[] = [];
const sortedValues = new WeakMap<object, readonly KubeObject[]>();

export class PodObjectPart extends ObjectPart<Pod> implements PodPart {
  #byAddress: Map<string, Pod> | undefined;

  byAddress(address: string): Pod | undefined {
    this.#byAddress ??= this.#indexAddresses();
    return this.#byAddress.get(address);
  }

  *onNode(node: string): Iterable<Pod> {
    // In an order that does not depend on how the objects came.
    for (const namespace of this.namespaceNames()) yield* nodeIndex(this.list(namespace)).get(node) ?? NOTHING;
  }

  *select(namespace: string, selector: LabelSelector): Iterable<Pod> {
    const names = this.namespaces.get(namespace);
    if (!names) return;
    const matches = compileSelector(selector);
    const first = Object.entries(selector.matchLabels ?? {})[0];
    const candidates = first ? (labelIndex(names).get(`${first[0]}=${first[1]}`) ?? []) : names.values();
    for (const pod of candidates) if (matches(pod.metadata.labels ?? {})) yield pod;
  }

  #indexAddresses(): Map<string, Pod> {
    const index = new Map<string, Pod>();
    for (const namespace of this.namespaceNames())
      for (const [address, pod] of addressIndex(this.namespaces.get(namespace) ?? new Map())) index.set(address, pod);
    return index;
  }
}

const nodeIndexes = new WeakMap<object, Map<string, Pod[]>>();

/** Node → pods of one namespace, kept while the namespace's pods stay the same. */
function nodeIndex(list: readonly Pod[]): Map<string, Pod[]> {
  let index = nodeIndexes.get(list);
  if (!index) {
    index = new Map();
    for (const pod of list) {
      const node = pod.spec.nodeName;
      if (node === undefined) continue;
      const pods = index.get(node);
      if (pods) pods.push(pod);
      else index.set(node, [pod]);
    }
    nodeIndexes.set(list, index);
  }
  return index;
}

const labelIndexes = new WeakMap<object, Map<string, Pod[]>>();

/** "key=value" → pods of one namespace, kept while the namespace's pods stay the same. */
function labelIndex(names: ReadonlyMap<string, Pod>): Map<string, Pod[]> {
  let index = labelIndexes.get(names);
  if (!index) {
    index = new Map();
    for (const pod of names.values()) {
      for (const [key, value] of Object.entries(pod.metadata.labels ?? {})) {
        const pods = index.get(`${key}=${value}`);
        if (pods) pods.push(pod);
        else index.set(`${key}=${value}`, [pod]);
      }
    }
    labelIndexes.set(names, index);
  }
  return index;
}

const addressIndexes = new WeakMap<object, [string, Pod][]>();

function addressIndex(names: ReadonlyMap<string, Pod>): [string, Pod][] {
  let index = addressIndexes.get(names);
  if (!index) {
    index = [];
    for (const pod of names.values()) {
      if (pod.spec.hostNetwork || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") continue;
      for (const { ip } of pod.status?.podIPs ?? []) index.push([ip, pod]);
    }
    addressIndexes.set(names, index);
  }
  return index;
}

export class SliceObjectPart extends ObjectPart<EndpointSlice> implements EndpointSlicePart {
  ofService(namespace: string, service: string): Iterable<EndpointSlice> {
    const names = this.namespaces.get(namespace);
    return names ? (serviceIndex(names).get(service) ?? []) : [];
  }
}

const serviceIndexes = new WeakMap<object, Map<string, EndpointSlice[]>>();

function serviceIndex(names: ReadonlyMap<string, EndpointSlice>): Map<string, EndpointSlice[]> {
  let index = serviceIndexes.get(names);
  if (!index) {
    index = new Map();
    for (const [, slice] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const service = slice.metadata.labels?.["kubernetes.io/service-name"];
      if (service === undefined) continue;
      const slices = index.get(service);
      if (slices) slices.push(slice);
      else index.set(service, [slice]);
    }
    serviceIndexes.set(names, index);
  }
  return index;
}
