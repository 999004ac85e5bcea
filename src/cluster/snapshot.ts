// The ClusterSnapshot: the cluster's objects at one revision, with the indexes that planning asks for.
//
// A snapshot never changes. A newer one shares with the older what did not change, so that a calculation over one
// kind can be kept as long as that kind's part (`snapshot.services`, …) is the same object.
import type {
  ConfigMap,
  EndpointSlice,
  KubeObject,
  LabelSelector,
  Namespace,
  NetworkPolicy,
  Node,
  Pod,
  Service,
} from "../resources/index.ts";

export interface ClusterSnapshot {
  /** Grows with each change. */
  readonly revision: number;
  readonly namespaces: Part<Namespace>;
  readonly nodes: Part<Node>;
  readonly pods: PodPart;
  readonly services: Part<Service>;
  readonly endpointSlices: EndpointSlicePart;
  readonly networkPolicies: Part<NetworkPolicy>;
  readonly configMaps: Part<ConfigMap>;
  /** Every other object, by "apiVersion/Kind" (for the readers of Calico's and Cilium's objects). */
  readonly others: ReadonlyMap<string, Part<KubeObject>>;
}

/** The objects of one kind. Keys are "namespace/name", or "name" for kinds without a namespace. */
export interface Part<T extends KubeObject> {
  readonly size: number;
  get(key: string): T | undefined;
  /** All objects, in order of key. */
  values(): Iterable<T>;
  /** The objects of one namespace, in order of name. */
  inNamespace(namespace: string): Iterable<T>;
  /** As inNamespace ("" for kinds without): the very same list as long as none of its objects changes, so that what is calculated from it can be kept with it. */
  list(namespace: string): readonly T[];
  /** Namespaces that hold objects, in order ("" for kinds without). */
  namespaceNames(): readonly string[];
  /** What changed since an older version of this part, in order; undefined where that is not known (any more). */
  changedSince(older: Part<T>): readonly ObjectMove<T>[] | undefined;
}

/** What became of one object: it came (no `before`), changed, or went (no `after`). */
export interface ObjectMove<T> {
  readonly before: T | undefined;
  readonly after: T | undefined;
}

export interface PodPart extends Part<Pod> {
  /** The pod that has this address (host-network pods are not found by it). A finished pod (Succeeded, Failed) has none. */
  byAddress(address: string): Pod | undefined;
  onNode(node: string): Iterable<Pod>;
  /** Pods of one namespace that a label selector selects; answered by an index. */
  select(namespace: string, selector: LabelSelector): Iterable<Pod>;
}

export interface EndpointSlicePart extends Part<EndpointSlice> {
  ofService(namespace: string, service: string): Iterable<EndpointSlice>;
}

/** One change of one object, as a watch reports it. */
export type ObjectChange = { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: KubeObject };

/** Where snapshots come from: the embedded API, a Kubernetes API server, a folder of manifests, or the copy on disk. */
export interface ClusterSource {
  /** The newest snapshot. @throws FairleadError `not-synced` before the first full sync */
  readonly snapshot: ClusterSnapshot;
  readonly synced: boolean;
  /** Calls back after changes, coalesced (once per turn of the event loop at most), with the newest snapshot. Returns the way to stop. */
  subscribe(listener: (snapshot: ClusterSnapshot) => void): () => void;
  /**
   * For indexes that are kept by changes: calls back with every object there is, as ADDED (at once, or after the first full
   * sync), then with the changes of each turn. A change may be told twice, in order. Returns the way to stop.
   */
  follow(listener: (changes: readonly ObjectChange[]) => void): () => void;
  close(): void;
}
