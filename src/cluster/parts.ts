// Persistent parts of a snapshot: a change makes a new version of the one namespace that it touches, everything else is shared.
import type { EndpointSlice, LabelSelector, Pod } from "../resources/index.ts";
import { compileSelector, type KubeObject } from "../resources/index.ts";
import { Names } from "./names.ts";
import type { EndpointSlicePart, ObjectMove, Part, PodPart } from "./snapshot.ts";

/** Objects of one kind by namespace ("" for kinds without), then by name. */
type Namespaces<T> = ReadonlyMap<string, Names<T>>;

/** What became of one version's objects in the next. */
interface Version<T> {
  readonly from: WeakRef<object>;
  readonly moves: readonly ObjectMove<T>[];
}

/** So many versions back it is known what changed. */
const REMEMBERED = 16;
/** More changes than this are not worth following. */
const MOST_MOVES = 1000;

export class ObjectPart<T extends KubeObject> implements Part<T> {
  readonly size: number;
  protected readonly namespaces: Namespaces<T>;
  #history: readonly Version<T>[] = [];

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
    for (const namespace of this.namespaceNames()) yield* this.inNamespace(namespace);
  }

  inNamespace(namespace: string): Iterable<T> {
    return this.namespaces.get(namespace)?.values() ?? NOTHING;
  }

  list(namespace: string): readonly T[] {
    return this.namespaces.get(namespace)?.list() ?? NOTHING;
  }

  namespaceNames(): readonly string[] {
    this.#names ??= [...this.namespaces.keys()].sort();
    return this.#names;
  }
  #names: readonly string[] | undefined;

  changedSince(older: Part<T>): readonly ObjectMove<T>[] | undefined {
    if ((older as object) === this) return [];
    const at = this.#history.findIndex(({ from }) => from.deref() === (older as object));
    return at < 0 ? undefined : this.#history.slice(at).flatMap(({ moves }) => moves);
  }

  /** This is the version after another, and these are the changes. */
  follows(older: ObjectPart<T>, moves: readonly ObjectMove<T>[]): void {
    if (moves.length > MOST_MOVES) return;
    this.#history = [...older.#history.slice(1 - REMEMBERED), { from: new WeakRef(older), moves }];
  }

  /** The namespaces' objects, for the next version to share. */
  get maps(): Namespaces<T> {
    return this.namespaces;
  }
}

const NOTHING: readonly never[] = [];

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
    for (const namespace of this.namespaceNames()) {
      const names = this.namespaces.get(namespace);
      for (const [address, pod] of names ? addressIndex(names) : []) index.set(address, pod);
    }
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
function labelIndex(names: Names<Pod>): Map<string, Pod[]> {
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

function addressIndex(names: Names<Pod>): [string, Pod][] {
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
  /** By namespace: slices under "service slice". */
  #byService: Map<string, Names<EndpointSlice>> | undefined;

  ofService(namespace: string, service: string): Iterable<EndpointSlice> {
    this.#byService ??= new Map([...this.namespaces].map(([name, slices]) => [name, Names.from([...slices.values()].flatMap(indexed))]));
    return this.#byService.get(namespace)?.under(`${service} `) ?? [];
  }

  override follows(older: SliceObjectPart, moves: readonly ObjectMove<EndpointSlice>[]): void {
    super.follows(older, moves);
    if (!older.#byService) return;
    const index = new Map(older.#byService);
    for (const [namespace, moved] of Map.groupBy(moves, ({ before, after }) => (after ?? before)?.metadata.namespace ?? "")) {
      const changes = new Map<string, EndpointSlice | undefined>();
      for (const { before } of moved) for (const [key] of before ? indexed(before) : []) changes.set(key, undefined);
      for (const { after } of moved) for (const [key, slice] of after ? indexed(after) : []) changes.set(key, slice);
      index.set(namespace, (index.get(namespace) ?? Names.EMPTY).with(changes));
    }
    this.#byService = index;
  }
}

function indexed(slice: EndpointSlice): [string, EndpointSlice][] {
  const service = slice.metadata.labels?.["kubernetes.io/service-name"];
  return service === undefined ? [] : [[`${service} ${slice.metadata.name}`, slice]];
}
