// Kinds that a cluster lacks and the lab's nodes read: defined there with the lab's mark, so that manifests with them can be applied.
import { FairleadError, messageOf } from "../../base/index.ts";
import { CALICO_STORE, type KubernetesApi, KubernetesApiError, networkDefinitions } from "../../cluster/index.ts";
import type { CustomResourceDefinition } from "../../resources/index.ts";
import { REFS } from "../refs.ts";
import { marked } from "./mark.ts";

/** A definition is served soon after it was made, or not at all. */
const SERVED_MS = 10_000;
const LOOK_MS = 100;

/** Defines what the server does not serve. Where the lab may not, it goes on without. @throws KubernetesApiError, FairleadError `not-served` */
export async function settleDefinitions(api: KubernetesApi, owner: string, log: (message: string) => void): Promise<void> {
  const made: CustomResourceDefinition[] = [];
  for (const definition of networkDefinitions()) {
    if (await isServed(api, definition)) continue;
    try {
      await api.create(REFS.customResourceDefinitions, marked(definition, owner));
      made.push(definition);
    } catch (error) {
      if (!(error instanceof KubernetesApiError) || error.status !== 403) throw error;
      log(`the cluster lacks ${definition.metadata.name}, and the lab may not define it: ${messageOf(error)}`);
      break;
    }
  }
  const end = performance.now() + SERVED_MS;
  for (const definition of made)
    while (!(await isServed(api, definition))) {
      if (performance.now() > end)
        throw new FairleadError("not-served", `${definition.metadata.name} was defined, and is not served`, {
          remedy: `kubectl describe crd ${definition.metadata.name}`,
        });
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
}

/** In any of its versions; of Calico's kinds also where its store has them. */
async function isServed(api: KubernetesApi, { spec: { group, names, versions } }: CustomResourceDefinition): Promise<boolean> {
  for (const { name } of versions) if (await api.resourceOf(`${group}/${name}`, names.kind)) return true;
  return group === "projectcalico.org" && (await api.resourceOf(`${CALICO_STORE}/v1`, names.kind)) !== undefined;
}
