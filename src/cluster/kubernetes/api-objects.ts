// Single objects at a Kubernetes API server, read and written with compare-and-swap.
import type { KubeObject } from "../../resources/index.ts";
import { ApiConflict, KubernetesApiError } from "../errors.ts";
import type { ObjectApi } from "../object-api.ts";
import type { WatchedResource } from "../source.ts";
import { type ApiClient, createApiClient } from "./client.ts";
import { type ApiAccess, readKubeconfig } from "./kubeconfig.ts";
import { pathOf } from "./paths.ts";
import { servedKinds } from "./served.ts";

/** So many objects come in one answer. */
const PAGE = 500;

/** An API server's objects, and the kinds that it serves. */
export interface KubernetesApi extends ObjectApi {
  /** Undefined where the kind is not served (now). */
  resourceOf(apiVersion: string, kind: string): Promise<WatchedResource | undefined>;
  /** Ends its connections. */
  close(): void;
}

/** The objects of an API server. */
export function apiFromKubernetes(kubeconfig: string | ApiAccess): KubernetesApi {
  const client = createApiClient(typeof kubeconfig === "string" ? readKubeconfig(kubeconfig) : kubeconfig);
  const kinds = servedKinds(client);
  return {
    resourceOf: (apiVersion, kind) => kinds.find(apiVersion, kind),
    get: <T extends KubeObject>(resource: WatchedResource, name: string, namespace?: string) =>
      absentAs(undefined, client.fetch({ path: pathOf(resource, namespace, name) }) as Promise<T>),
    list: (resource, labelSelector) => listAll(client, resource, labelSelector),
    create: (resource, object) => written(client, "POST", pathOf(resource, object.metadata.namespace), object, resource),
    update: (resource, object, subresource) => {
      const path = pathOf(resource, object.metadata.namespace, object.metadata.name);
      return written(client, "PUT", subresource ? `${path}/${subresource}` : path, object, resource);
    },
    async delete(resource, { metadata }, grace) {
      const { uid, resourceVersion } = metadata;
      const preconditions = { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
      const body = JSON.stringify({
        apiVersion: "v1",
        kind: "DeleteOptions",
        preconditions,
        ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
      });
      const request = { method: "DELETE", path: pathOf(resource, metadata.namespace, metadata.name), body } as const;
      await absentAs(undefined, conflictAs(client.fetch(request)));
    },
    close: () => client.close(),
  };
}

async function listAll<T extends KubeObject>(client: ApiClient, resource: WatchedResource, selector = ""): Promise<readonly T[]> {
  const items: T[] = [];
  let rest = "";
  do {
    const labels = selector === "" ? "" : `&labelSelector=${encodeURIComponent(selector)}`;
    const query = `?limit=${PAGE}${labels}${rest === "" ? "" : `&continue=${encodeURIComponent(rest)}`}`;
    const page = (await client.fetch({ path: `${pathOf(resource)}${query}` })) as {
      readonly kind?: string;
      readonly apiVersion?: string;
      readonly items?: readonly T[];
      readonly metadata?: { readonly continue?: string };
    };
    // Items of a list leave out what the list says of all of them.
    const common = { apiVersion: page.apiVersion ?? "", kind: (page.kind ?? "").replace(/List$/, "") };
    items.push(...(page.items ?? []).map((item) => ({ ...common, ...item })));
    rest = page.metadata?.continue ?? "";
  } while (rest !== "");
  return items;
}

async function written<T extends KubeObject>(
  client: ApiClient,
  method: "POST" | "PUT",
  path: string,
  object: T,
  resource: WatchedResource,
): Promise<T> {
  const answer = (await conflictAs(
    client.fetch({ method, path: `${path}?fieldManager=fairlead`, body: JSON.stringify(object) }),
    resource,
  )) as T;
  return answer;
}

async function absentAs<T>(value: T, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof KubernetesApiError && error.status === 404) return value;
    throw error;
  }
}

/** 409 is a name that is taken, or a version that is outdated; a PUT to what is gone is 404. */
async function conflictAs(answer: Promise<unknown>, written?: WatchedResource): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof KubernetesApiError && (error.status === 409 || (error.status === 404 && written)))
      throw new ApiConflict(error.message, error);
    throw error;
  }
}
