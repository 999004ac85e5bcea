// What PodDisruptionBudgets say to an eviction (policy/v1).
import { compileSelector, type KubeObject, type LabelSelector, type Pod } from "../../resources/index.ts";
import type { ObjectStore } from "../store.ts";

interface Budget extends KubeObject {
  readonly spec?: { readonly selector?: LabelSelector; readonly minAvailable?: number | string; readonly maxUnavailable?: number | string };
}

const PODS = { group: "", version: "v1", plural: "pods" } as const;
const BUDGETS = { group: "policy", version: "v1", plural: "poddisruptionbudgets" } as const;

function isHealthy({ status, metadata }: Pod): boolean {
  return (
    metadata.deletionTimestamp === undefined &&
    (status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false)
  );
}

/** A share of a number, rounded up, as budgets count. */
function share(text: number | string, of: number): number {
  return typeof text === "number" ? text : Math.ceil((Number.parseFloat(text) / 100) * of);
}

/** How many pods of a budget are healthy, must be, and are expected. */
export function budgetCount(store: Pick<ObjectStore, "list">, budget: Budget): { healthy: number; desired: number; expected: number } {
  const { selector, minAvailable, maxUnavailable } = budget.spec ?? {};
  const matches = compileSelector(selector ?? {});
  const { namespace = "" } = budget.metadata;
  const pods = store
    .list<Pod>(PODS, { namespace })
    .items.filter(({ metadata, status }) => matches(metadata.labels ?? {}) && status?.phase !== "Succeeded" && status?.phase !== "Failed");
  const expected = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined).length;
  const desired = minAvailable === undefined ? expected - share(maxUnavailable ?? 0, expected) : share(minAvailable, expected);
  return { healthy: pods.filter(isHealthy).length, desired: Math.max(0, desired), expected };
}

/** Why a pod may not be evicted now; undefined if it may. A pod that is not ready is in nobody's way. */
export function budgetRefusal(store: Pick<ObjectStore, "list">, pod: Pod): string | undefined {
  if (!isHealthy(pod)) return undefined;
  const { namespace = "" } = pod.metadata;
  for (const budget of store.list<Budget>(BUDGETS, { namespace }).items) {
    if (!budget.spec?.selector || !compileSelector(budget.spec.selector)(pod.metadata.labels ?? {})) continue;
    const { healthy, desired } = budgetCount(store, budget);
    if (healthy - 1 < desired)
      return `The disruption budget ${budget.metadata.name} needs ${desired} healthy pods and has ${healthy} currently`;
  }
  return undefined;
}
