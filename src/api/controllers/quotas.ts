// ResourceQuotas: what is used of them now.
import { isDeepStrictEqual } from "node:util";
import type { KubeObject } from "../../resources/index.ts";
import { QUOTAS, type Quota, usedOf } from "../quota.ts";
import { type Controller, type ControllerContext, keyOf, REF, splitKey } from "./context.ts";
import { createQueue } from "./queue.ts";

/** Keeps the status of quotas. */
export function quotaController(context: ControllerContext): Controller {
  const queue = createQueue("quotas", (key) => count(key), context.log);

  function count(key: string): void {
    const [namespace = "", name] = splitKey(key);
    const quota = context.store.get<Quota>(QUOTAS, namespace, name);
    if (!quota) return;
    const hard = Object.fromEntries(Object.entries(quota.spec?.hard ?? {}).map(([what, limit]) => [what, String(limit)]));
    const used = Object.fromEntries(Object.keys(hard).map((what) => [what, String(usedOf(context.store, namespace, what))]));
    const status = { hard, used };
    if (!isDeepStrictEqual(quota.status, status)) context.store.update(QUOTAS, { ...quota, status } as Quota, { subresource: "status" });
  }

  const ofNamespace = ({ object }: { readonly object: KubeObject }) => {
    const { namespace = "" } = object.metadata;
    for (const quota of context.store.list(QUOTAS, { namespace }).items) queue.add(keyOf(quota));
  };
  context.watch(QUOTAS, ({ type, object }) => {
    if (type !== "DELETED") queue.add(keyOf(object));
  });
  for (const ref of [REF.pods, REF.services, REF.configMaps, REF.secrets]) context.watch(ref, ofNamespace);
  return queue;
}
