// Sources of snapshots: the embedded API in the same process, a fixed list of objects, and the copy on disk.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { FairleadError, messageOf } from "../base/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { createSnapshotBuilder, objectsOf, type SnapshotBuilder } from "./build.ts";
import type { ClusterSnapshot, ClusterSource, ObjectChange } from "./snapshot.ts";

/** What is watched: group, version and plural name, as the API has it. */
export interface WatchedResource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}

/** Calico's kinds that the network is calculated from; served by its API server or, without one, from its own store. */
const CALICO_PLURALS = [
  "bgpconfigurations",
  "bgpfilters",
  "bgppeers",
  "felixconfigurations",
  "globalnetworkpolicies",
  "globalnetworksets",
  "hostendpoints",
  "ippools",
  "ipreservations",
  "networkpolicies",
  "networksets",
  "stagedglobalnetworkpolicies",
  "stagedkubernetesnetworkpolicies",
  "stagednetworkpolicies",
  "tiers",
];

/** The kinds that the network is calculated from. A server that does not serve one of them has none of it. */
export const NETWORK_RESOURCES: readonly WatchedResource[] = [
  { group: "", version: "v1", plural: "namespaces" },
  { group: "", version: "v1", plural: "nodes" },
  { group: "", version: "v1", plural: "pods" },
  { group: "", version: "v1", plural: "services" },
  { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
  { group: "networking.k8s.io", version: "v1", plural: "networkpolicies" },
  { group: "networking.k8s.io", version: "v1", plural: "servicecidrs" },
  { group: "", version: "v1", plural: "configmaps" },
  { group: "policy.networking.k8s.io", version: "v1alpha2", plural: "clusternetworkpolicies" },
  { group: "policy.networking.k8s.io", version: "v1alpha1", plural: "adminnetworkpolicies" },
  { group: "policy.networking.k8s.io", version: "v1alpha1", plural: "baselineadminnetworkpolicies" },
  { group: "", version: "v1", plural: "serviceaccounts" },
  ...CALICO_PLURALS.flatMap((plural) => [
    { group: "projectcalico.org", version: "v3", plural },
    { group: "crd.projectcalico.org", version: "v1", plural },
  ]),
  { group: "projectcalico.org", version: "v3", plural: "profiles" },
  { group: "operator.tigera.io", version: "v1", plural: "installations" },
  // Which node has which block of addresses, and how blocks are given out. The blocks themselves are read where they are needed.
  { group: "crd.projectcalico.org", version: "v1", plural: "blockaffinities" },
  { group: "crd.projectcalico.org", version: "v1", plural: "ipamconfigs" },
  { group: "projectcalico.org", version: "v3", plural: "ipamconfigurations" },
  { group: "cilium.io", version: "v2", plural: "ciliumnetworkpolicies" },
  { group: "cilium.io", version: "v2", plural: "ciliumclusterwidenetworkpolicies" },
  { group: "cilium.io", version: "v2", plural: "ciliumcidrgroups" },
  { group: "cilium.io", version: "v2alpha1", plural: "ciliumcidrgroups" },
];

/** The part of a store that a source needs: events from the first ADDED on, called back after each write. */
export interface WatchableStore {
  watch(
    resource: WatchedResource,
    options: object,
    listener: (event: { readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; readonly object: KubeObject }) => void,
  ): () => void;
}

/** A source that coalesces changes: listeners are called once per turn of the event loop. */
export class ChangeSource implements ClusterSource {
  readonly #builder: SnapshotBuilder = createSnapshotBuilder();
  readonly #listeners = new Set<(snapshot: ClusterSnapshot) => void>();
  readonly #followers = new Set<(changes: readonly ObjectChange[]) => void>();
  /** Changes that followers were not told yet. */
  #untold: ObjectChange[] = [];
  #scheduled: NodeJS.Immediate | undefined;
  synced = false;

  get snapshot(): ClusterSnapshot {
    if (!this.synced)
      throw new FairleadError("not-synced", "the cluster's objects have not been read yet", { remedy: "wait for the first full sync" });
    return this.#builder.snapshot();
  }

  change(changes: readonly ObjectChange[]): void {
    if (changes.length === 0) return;
    this.#builder.apply(changes);
    if (this.#followers.size > 0) for (const change of changes) this.#untold.push(change);
    this.#scheduled ??= setImmediate(() => this.#notify());
  }

  markSynced(): void {
    this.synced = true;
    this.#scheduled ??= setImmediate(() => this.#notify());
  }

  /** The next snapshot is told, and has at least this revision, also where nothing has changed. */
  revise(revision: number): void {
    this.#builder.revise(revision);
    this.#scheduled ??= setImmediate(() => this.#notify());
  }

  #notify(): void {
    this.#scheduled = undefined;
    if (!this.synced) return;
    const changes = this.#untold;
    this.#untold = [];
    if (changes.length > 0) for (const follower of [...this.#followers]) follower(changes);
    if (this.#listeners.size === 0) return;
    const snapshot = this.#builder.snapshot();
    for (const listener of [...this.#listeners]) listener(snapshot);
  }

  follow(listener: (changes: readonly ObjectChange[]) => void): () => void {
    const all = objectsOf(this.#builder.snapshot()).map((object) => ({ type: "ADDED", object }) as const);
    this.#followers.add(listener);
    if (this.synced) listener(all);
    else this.#untold = all.concat(this.#untold as typeof all);
    return () => this.#followers.delete(listener);
  }

  subscribe(listener: (snapshot: ClusterSnapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    if (this.#scheduled) clearImmediate(this.#scheduled);
    this.#listeners.clear();
    this.#followers.clear();
  }
}

/** The embedded API's store as a source. */
export function sourceFromStore(store: WatchableStore, resources: readonly WatchedResource[] = NETWORK_RESOURCES): ClusterSource {
  const source = new ChangeSource();
  const stops = resources.map((resource) =>
    store.watch(resource, {}, (event) => {
      if (event.type !== "BOOKMARK") source.change([{ type: event.type, object: event.object }]);
    }),
  );
  source.markSynced();
  const close = source.close.bind(source);
  source.close = () => {
    for (const stop of stops) stop();
    close();
  };
  return source;
}

/** A fixed list of objects as a source. */
export function sourceFromObjects(objects: Iterable<KubeObject>): ClusterSource {
  const source = new ChangeSource();
  source.change([...objects].map((object) => ({ type: "ADDED", object })));
  source.markSynced();
  return source;
}

/** A source that is told the whole list of objects again and again. */
export interface ReplicaSource extends ClusterSource {
  /** `revision` is that of the snapshot which the list was made of, and becomes that of the copy. */
  replace(objects: readonly KubeObject[], revision?: number): void;
}

/** A source that follows lists sent from elsewhere: only what differs from the list before is a change. */
export function createReplicaSource(): ReplicaSource {
  const source = new ChangeSource();
  let known = new Map<string, KubeObject>();
  const identity = ({ apiVersion, kind, metadata }: KubeObject) => `${apiVersion}/${kind}/${metadata.namespace ?? ""}/${metadata.name}`;
  const replace = (objects: readonly KubeObject[], revision?: number) => {
    const next = new Map(objects.map((object) => [identity(object), object]));
    const changes: ObjectChange[] = [];
    for (const [key, object] of next) {
      const before = known.get(key);
      if (before && before.metadata.uid === object.metadata.uid && before.metadata.resourceVersion === object.metadata.resourceVersion)
        next.set(key, before);
      else changes.push({ type: before ? "MODIFIED" : "ADDED", object });
    }
    for (const [key, object] of known) if (!next.has(key)) changes.push({ type: "DELETED", object });
    known = next;
    source.change(changes);
    if (revision !== undefined) source.revise(revision);
    if (!source.synced) source.markSynced();
  };
  return Object.assign(source, { replace });
}

const DISK_VERSION = 1;

/** What was written last. No file is changed in its place, so that the agents of one machine can share one. */
let last: { readonly snapshot: WeakRef<ClusterSnapshot>; readonly path: string } | undefined;

/** Writes a snapshot's objects, so that an agent can restart without the API. Atomic; readable by its owner only. */
export function saveSnapshot(path: string, snapshot: ClusterSnapshot): void {
  // What an interrupted save left may be another's file.
  rmSync(`${path}.new`, { force: true });
  if (last?.snapshot.deref() === snapshot && last.path !== path && linked(last.path, `${path}.new`)) {
    renameSync(`${path}.new`, path);
    return;
  }
  writeFileSync(`${path}.new`, JSON.stringify({ version: DISK_VERSION, objects: objectsOf(snapshot) }), { mode: 0o600 });
  renameSync(`${path}.new`, path);
  last = { snapshot: new WeakRef(snapshot), path };
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch {
    // It is gone, or on another file system.
    return false;
  }
}

/** Reads a saved snapshot's objects; a reason where there are none. */
export function loadSnapshot(path: string): { readonly objects: readonly KubeObject[] } | { readonly reason: string } {
  try {
    const { version, objects } = JSON.parse(readFileSync(path, "utf8")) as { version?: number; objects?: KubeObject[] };
    if (version !== DISK_VERSION || !Array.isArray(objects)) return { reason: `${path} is of another version` };
    return { objects };
  } catch (error) {
    return { reason: `${path}: ${messageOf(error)}` };
  }
}
