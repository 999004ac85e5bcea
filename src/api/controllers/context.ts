// What every controller works with: the store, and the pods indexed as controllers ask for them.
import type { KubeObject, Pod } from "../../resources/index.ts";
import type { ObjectStore, ResourceRef, WatchEvent } from "../store.ts";
import type { NoteEvent } from "./events.ts";

const core = (plural: string): ResourceRef => ({ group: "", version: "v1", plural });
const apps = (plural: string): ResourceRef => ({ group: "apps", version: "v1", plural });

export const REF = {
  namespaces: core("namespaces"),
  nodes: core("nodes"),
  pods: core("pods"),
  services: core("services"),
  configMaps: core("configmaps"),
  secrets: core("secrets"),
  endpoints: core("endpoints"),
  serviceAccounts: core("serviceaccounts"),
  replicationControllers: core("replicationcontrollers"),
  endpointSlices: { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
  deployments: apps("deployments"),
  replicaSets: apps("replicasets"),
  daemonSets: apps("daemonsets"),
  statefulSets: apps("statefulsets"),
  controllerRevisions: apps("controllerrevisions"),
  leases: { group: "coordination.k8s.io", version: "v1", plural: "leases" },
  cronJobs: { group: "batch", version: "v1", plural: "cronjobs" },
  jobs: { group: "batch", version: "v1", plural: "jobs" },
  clusterRoles: { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles" },
  podDisruptionBudgets: { group: "policy", version: "v1", plural: "poddisruptionbudgets" },
  customResourceDefinitions: { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" },
} as const satisfies Record<string, ResourceRef>;

export interface ControllerContext {
  readonly store: ObjectStore;
  readonly pods: PodIndex;
  readonly now: () => string;
  readonly log: (message: string) => void;
  /** Notes an event about an object. */
  readonly note: NoteEvent;
  /** Watches a kind from its first object on; stopped with all controllers. */
  watch(resource: ResourceRef, listener: (event: WatchEvent) => void): void;
}

export interface Controller {
  readonly idle: boolean;
  close(): void;
}

/** "namespace/name", or "name". */
export function keyOf(object: KubeObject): string {
  return object.metadata.namespace === undefined ? object.metadata.name : `${object.metadata.namespace}/${object.metadata.name}`;
}

export function splitKey(key: string): [string | undefined, string] {
  const slash = key.indexOf("/");
  return slash < 0 ? [undefined, key] : [key.slice(0, slash), key.slice(slash + 1)];
}

/** The uid of the object that controls this one. */
export function controllerOf(object: KubeObject): string | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller)?.uid;
}

/** Finished, or on its way out. */
export function isGone(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp !== undefined || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Pods by owner, node and namespace, kept by events. */
export class PodIndex {
  readonly #pods = new Map<string, Pod>();
  readonly #byOwner = new Map<string, Map<string, Pod>>();
  readonly #byNode = new Map<string, Map<string, Pod>>();
  readonly #byNamespace = new Map<string, Map<string, Pod>>();

  apply({ type, object }: WatchEvent): void {
    if (type === "BOOKMARK") return;
    const pod = object as Pod;
    const key = keyOf(pod);
    const before = this.#pods.get(key);
    if (before) this.#each(before, (index) => index.delete(key));
    if (type === "DELETED") this.#pods.delete(key);
    else {
      this.#pods.set(key, pod);
      this.#each(pod, (index) => index.set(key, pod));
    }
  }

  #each(pod: Pod, change: (index: Map<string, Pod>) => void): void {
    const places: [Map<string, Map<string, Pod>>, string | undefined][] = [
      [this.#byOwner, controllerOf(pod)],
      [this.#byNode, pod.spec.nodeName],
      [this.#byNamespace, pod.metadata.namespace],
    ];
    for (const [indexes, key] of places) {
      if (key === undefined) continue;
      const index = indexes.get(key) ?? new Map<string, Pod>();
      change(index);
      if (index.size > 0) indexes.set(key, index);
      else indexes.delete(key);
    }
  }

  ownedBy(uid: string | undefined): Pod[] {
    return uid === undefined ? [] : [...(this.#byOwner.get(uid)?.values() ?? [])];
  }

  onNode(node: string): Iterable<Pod> {
    return this.#byNode.get(node)?.values() ?? [];
  }

  inNamespace(namespace: string): Iterable<Pod> {
    return this.#byNamespace.get(namespace)?.values() ?? [];
  }
}
