// Which kinds an API server serves, and under which names: its discovery documents.
import { KubernetesApiError } from "../errors.ts";
import type { WatchedResource } from "../source.ts";
import type { ApiClient } from "./client.ts";
import { rootOf } from "./paths.ts";

interface ServedResource extends WatchedResource {
  readonly kind: string;
  readonly namespaced: boolean;
}

export interface ServedKinds {
  /** Undefined where it is not served (now). */
  find(apiVersion: string, kind: string): Promise<ServedResource | undefined>;
}

/** Asks once for each group's version; again for kinds that were not there. */
export function servedKinds(client: ApiClient): ServedKinds {
  const known = new Map<string, readonly ServedResource[]>();

  async function ask(apiVersion: string): Promise<readonly ServedResource[]> {
    const [group = "", version = ""] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
    try {
      const { resources = [] } = (await client.fetch({ path: rootOf({ group, version }) })) as {
        readonly resources?: readonly { readonly name: string; readonly kind: string; readonly namespaced: boolean }[];
      };
      // Subresources have a slash in their names.
      const own = resources.filter(({ name }) => !name.includes("/"));
      return own.map(({ name, kind, namespaced }) => ({ group, version, plural: name, kind, namespaced }));
    } catch (error) {
      if (error instanceof KubernetesApiError && error.status === 404) return [];
      throw error;
    }
  }

  return {
    async find(apiVersion, kind) {
      const named = () => known.get(apiVersion)?.find((each) => each.kind === kind);
      if (!named()) known.set(apiVersion, await ask(apiVersion));
      return named();
    },
  };
}
