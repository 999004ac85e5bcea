// A Kubernetes API server's objects near at hand: a mirror to read from, and writes that come about.
import { isDeepStrictEqual } from "node:util";
import type { KubeObject } from "../../resources/index.ts";
import { ApiConflict, KubernetesApiError } from "../errors.ts";
import type { ClusterObjects } from "../objects.ts";
import type { WatchedResource } from "../source.ts";
import type { ObjectPlace } from "../writer.ts";
import { apiFromKubernetes } from "./api-objects.ts";
import { type ApiClient, createApiClient } from "./client.ts";
import type { ApiAccess } from "./kubeconfig.ts";
import { createLastingWrites } from "./lasting-writes.ts";
import { type KubernetesMirror, mirrorKubernetes } from "./mirror.ts";
import { pathOf } from "./paths.ts";
import { backOff } from "./pause.ts";
import { type ServedKinds, servedKinds } from "./served.ts";

export interface KubernetesObjectsOptions {
  readonly access: ApiAccess;
  /** Kinds that are followed; what is read of others is asked for. */
  readonly resources: readonly WatchedResource[];
  /** Told of each failed attempt; it is tried again by itself. */
  readonly onProblem: (message: string) => void;
}

/** Whom a token is for. */
interface AccountToken {
  readonly namespace: string;
  readonly account: string;
  readonly pod: { readonly name: string; readonly uid: string };
  readonly audiences: readonly string[];
  /** Seconds that it holds. */
  readonly seconds: number;
}

export interface KubernetesObjects extends ClusterObjects {
  /** A service account's token; undefined where there is no such account, or the pod is gone. @throws KubernetesApiError */
  requestToken(wish: AccountToken): Promise<string | undefined>;
}

/** So often a write is made anew of a newer object before it waits. */
const TRIES = 5;
/** The server of a lab is near: it is asked again soon. */
const soon = backOff(100, 5000);
/** How long a definition's kind may take to be served, in milliseconds. */
const SERVED_MS = 10_000;

/** Resolves when every kind has been listed. @throws FairleadError `not-synced` */
export async function objectsFromKubernetes({ access, resources, onProblem }: KubernetesObjectsOptions): Promise<KubernetesObjects> {
  const mirror = await mirrorKubernetes({ kubeconfig: access, resources, onProblem, pause: soon });
  const client = createApiClient(access);
  const api = apiFromKubernetes(access);
  const kinds = servedKinds(client);
  const writes = createLastingWrites({ problem: onProblem, pause: soon });
  const newest = async <T extends KubeObject>({ resource, namespace, name }: ObjectPlace) =>
    mirror.get<T>(resource, namespace, name) ?? (await api.get<T>(resource, name, namespace));

  return {
    get: (resource, namespace, name) => mirror.get(resource, namespace, name),
    list: (resource, options) => mirror.list(resource, options),
    watch: (resource, options, listener) => mirror.watch(resource, options, listener),
    api,
    resourceOf: (apiVersion, kind) => kinds.find(apiVersion, kind),
    apply: (resource, object) => applyObject({ client, kinds, mirror }, resource, object),
    change<T extends KubeObject>(place: ObjectPlace, label: string, change: (now: T) => T | undefined, subresource?: "status") {
      const { resource, namespace, name } = place;
      writes.put(nameOf(place), `${label} ${subresource}`, async () => {
        let now = await newest<T>(place);
        for (let tries = 1; ; tries++) {
          const next = now && change(now);
          if (!next || isDeepStrictEqual(next, now)) return;
          try {
            await mirror.caughtUp(resource, await api.update(resource, next, subresource));
            return;
          } catch (error) {
            if (!(error instanceof ApiConflict) || tries === TRIES) throw error;
            now = await api.get<T>(resource, name, namespace);
          }
        }
      });
    },
    remove(place, uid) {
      const { resource, namespace, name } = place;
      const metadata = { name, uid, ...(namespace === undefined ? {} : { namespace }) };
      writes.put(nameOf(place), "remove", async () => {
        try {
          await api.delete(resource, { metadata }, 0);
        } catch (error) {
          // Another of the same name: the one that was meant is gone.
          if (!(error instanceof ApiConflict)) throw error;
        }
      });
    },
    requestToken: (wish) => requestToken(client, wish),
    get idle() {
      return writes.idle;
    },
    close() {
      writes.close();
      mirror.close();
      client.close();
      api.close();
    },
  };
}

/** Server-side apply: the one way that makes an object or changes it, and leaves others' fields alone. */
async function applyObject(
  { client, kinds, mirror }: { readonly client: ApiClient; readonly kinds: ServedKinds; readonly mirror: KubernetesMirror },
  resource: WatchedResource,
  object: KubeObject,
): Promise<void> {
  const { resourceVersion, uid, managedFields, creationTimestamp, ...metadata } = object.metadata as KubeObject["metadata"] &
    Record<string, unknown>;
  const path = `${pathOf(resource, object.metadata.namespace, object.metadata.name)}?fieldManager=fairlead-lab&force=true`;
  const body = JSON.stringify({ ...object, metadata });
  const answer = await client.fetch({ method: "PATCH", path, body, contentType: "application/apply-patch+yaml" });
  await mirror.caughtUp(resource, answer as KubeObject);
  if (object.kind === "CustomResourceDefinition") await served(kinds, object);
}

/** Objects of a new kind can be made only once it is served. */
async function served(kinds: ServedKinds, definition: KubeObject): Promise<void> {
  const { group, names, versions } = (definition as KubeObject & { readonly spec: DefinitionSpec }).spec;
  const end = performance.now() + SERVED_MS;
  for (const version of versions.filter((each) => each.served)) {
    while (!(await kinds.find(`${group}/${version.name}`, names.kind)) && performance.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

interface DefinitionSpec {
  readonly group: string;
  readonly names: { readonly kind: string };
  readonly versions: readonly { readonly name: string; readonly served: boolean }[];
}

async function requestToken(client: ApiClient, { namespace, account, pod, audiences, seconds }: AccountToken): Promise<string | undefined> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(account)}/token`;
  const boundObjectRef = { apiVersion: "v1", kind: "Pod", ...pod };
  const spec = { audiences, expirationSeconds: seconds, boundObjectRef };
  const body = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec });
  try {
    const answer = (await client.fetch({ method: "POST", path, body })) as { readonly status?: { readonly token?: string } };
    return answer.status?.token;
  } catch (error) {
    if (error instanceof KubernetesApiError && error.status === 404) return undefined;
    throw error;
  }
}

function nameOf({ resource: { group, plural }, namespace, name }: ObjectPlace): string {
  return `${group === "" ? "" : `${group}/`}${plural} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}
