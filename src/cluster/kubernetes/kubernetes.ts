// A Kubernetes API server as the source of snapshots, and the few writes that a node makes there.
import type { KubeObject } from "../../resources/index.ts";
import { KubernetesApiError } from "../errors.ts";
import type { ClusterSource, ObjectChange } from "../snapshot.ts";
import { ChangeSource, NETWORK_RESOURCES, type WatchedResource } from "../source.ts";
import type { ClusterWriter, ObjectPlace } from "../writer.ts";
import { createApiClient } from "./client.ts";
import { type ApiAccess, readKubeconfig } from "./kubeconfig.ts";
import { pathOf } from "./paths.ts";
import { backOff } from "./pause.ts";
import { reflect } from "./reflector.ts";

export interface KubernetesOptions {
  /** Its text or the path of its file, or what was read of it before. */
  readonly kubeconfig: string | ApiAccess;
  readonly resources?: readonly WatchedResource[];
  /** What is kept of an object as it comes; for those that hold a whole large cluster and read little of it. */
  readonly keep?: (object: KubeObject) => KubeObject;
  /** Told of each failed attempt; it is tried again by itself. */
  readonly onProblem?: (message: string) => void;
  /** Milliseconds to wait before an attempt, from number 1; by default from half a second, doubling, up to half a minute, with jitter. */
  readonly pause?: (attempt: number) => number;
}

/** Follows the kinds at an API server. Synced once each has been listed. @throws KubeconfigError at once; the rest goes to `onProblem` */
export function sourceFromKubernetes(options: KubernetesOptions): ClusterSource {
  const source = new ChangeSource();
  const stop = followKubernetes(options, (_resource, changes) => source.change(changes), source.markSynced.bind(source));
  const close = source.close.bind(source);
  source.close = () => {
    stop();
    close();
  };
  return source;
}

/** Tells each kind's changes, and once that every kind has been listed. Returns the way to stop. @throws KubeconfigError at once */
export function followKubernetes(
  { resources = NETWORK_RESOURCES, onProblem = () => {}, pause = CLUSTER_PAUSE, keep, kubeconfig }: KubernetesOptions,
  change: (resource: WatchedResource, changes: readonly ObjectChange[]) => void,
  synced: () => void,
): () => void {
  const client = createApiClient(accessOf(kubeconfig));
  const stop = new AbortController();
  const missing = new Set(resources);
  for (const resource of resources) {
    void reflect({
      client,
      resource,
      signal: stop.signal,
      change: (changes) => change(resource, changes),
      listed: () => {
        if (missing.delete(resource) && missing.size === 0) synced();
      },
      problem: onProblem,
      pause,
      ...(keep ? { keep } : {}),
    });
  }
  if (resources.length === 0) synced();
  return () => {
    stop.abort();
    client.close();
  };
}

export interface ObjectPatch {
  readonly kubeconfig: string | ApiAccess;
  readonly resource: WatchedResource;
  readonly namespace?: string;
  readonly name: string;
  /** A JSON merge patch (RFC 7386): null takes a field away. */
  readonly patch: object;
  readonly subresource?: "status";
}

/** Changes one object, such as a Node's annotations; gives the object as it is then. @throws KubernetesApiError, KubeconfigError */
export async function patchObject({ kubeconfig, resource, namespace, name, patch, subresource }: ObjectPatch): Promise<KubeObject> {
  const client = createApiClient(accessOf(kubeconfig));
  try {
    return (await client.fetch(
      patchRequest({ resource, name, ...(namespace === undefined ? {} : { namespace }) }, patch, subresource),
    )) as KubeObject;
  } finally {
    client.close();
  }
}

/** Writes to a Kubernetes API server, over one connection that is kept. @throws KubeconfigError */
export function writerToKubernetes(kubeconfig: string | ApiAccess): ClusterWriter & { close(): void } {
  const client = createApiClient(accessOf(kubeconfig));
  return {
    get: ({ resource, namespace, name }) => unless([404], client.fetch({ path: pathOf(resource, namespace, name) })),
    create: ({ resource, namespace }, object) =>
      unless([409], client.fetch({ method: "POST", path: `${pathOf(resource, namespace)}?${MANAGER}`, body: JSON.stringify(object) })),
    patch: (place, patch, subresource) => unless([404, 409], client.fetch(patchRequest(place, patch, subresource))),
    close: () => client.close(),
  };
}

const MANAGER = "fieldManager=fairlead";
/** A cluster has many nodes, and its servers other work. */
const CLUSTER_PAUSE = backOff(500, 30_000);

function patchRequest({ resource, namespace, name }: ObjectPlace, patch: object, subresource?: "status") {
  const path = `${pathOf(resource, namespace, name)}${subresource ? `/${subresource}` : ""}?${MANAGER}`;
  return { method: "PATCH", path, body: JSON.stringify(patch), contentType: "application/merge-patch+json" } as const;
}

/** What was answered; undefined where the server refused with one of these statuses. */
async function unless(statuses: readonly number[], answer: Promise<unknown>): Promise<KubeObject | undefined> {
  try {
    return (await answer) as KubeObject;
  } catch (error) {
    if (error instanceof KubernetesApiError && statuses.includes(error.status)) return undefined;
    throw error;
  }
}

function accessOf(kubeconfig: string | ApiAccess): ApiAccess {
  return typeof kubeconfig === "string" ? readKubeconfig(kubeconfig) : kubeconfig;
}
