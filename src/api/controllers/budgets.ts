// PodDisruptionBudgets: how many pods are healthy, and how many may be evicted now.
import type { KubeObject } from "../../resources/index.ts";
import { budgetCount } from "../http/eviction.ts";
import { type Controller, type ControllerContext, keyOf, REF, splitKey } from "./context.ts";
import { createQueue } from "./queue.ts";

/** Keeps the status of budgets. */
export function budgetController(context: ControllerContext): Controller {
  const queue = createQueue("budgets", (key) => count(key), context.log);

  function count(key: string): void {
    const [namespace, name] = splitKey(key);
    const budget = context.store.get<KubeObject>(REF.podDisruptionBudgets, namespace, name);
    if (!budget) return;
    const { healthy, desired, expected } = budgetCount(context.store, budget);
    const allowed = Math.max(0, healthy - desired);
    const status = {
      ...(budget as { readonly status?: object }).status,
      observedGeneration: budget.metadata.generation,
      currentHealthy: healthy,
      desiredHealthy: desired,
      expectedPods: expected,
      disruptionsAllowed: allowed,
    };
    context.store.update(REF.podDisruptionBudgets, { ...budget, status } as KubeObject, { subresource: "status" });
  }

  context.watch(REF.podDisruptionBudgets, ({ type, object }) => {
    if (type === "ADDED" || type === "MODIFIED") queue.add(keyOf(object));
  });
  context.watch(REF.pods, ({ object }) => {
    const { namespace = "" } = object.metadata;
    for (const budget of context.store.list(REF.podDisruptionBudgets, { namespace }).items) queue.add(keyOf(budget));
  });
  return queue;
}
