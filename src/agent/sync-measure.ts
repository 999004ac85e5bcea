// What a sync brought, as kube-proxy counts it.
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { EndpointSlice, KubeObject } from "../resources/index.ts";
import { countNoLocal } from "../services/index.ts";
import type { Sync } from "./metrics.ts";

/** When the pods changed that a slice tells of, as its controller writes it. */
const TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time";

/** From the snapshot that was in force to the one that is now; `seconds`: how long the sync took. */
export function measureSync(before: ClusterSnapshot | undefined, after: ClusterSnapshot, node: string, seconds: number): Sync {
  return {
    seconds,
    full: before === undefined,
    serviceChanges: changesOf(before?.services, after.services),
    endpointChanges: changesOf(before?.endpointSlices, after.endpointSlices),
    programming: programmingOf(before?.endpointSlices, after.endpointSlices),
    noLocal: countNoLocal(after, node),
  };
}

/** Seconds from the change of pods to now, for every slice that changed. */
function programmingOf(before: Part<EndpointSlice> | undefined, after: Part<EndpointSlice>): number[] {
  const moves = before ? (after.changedSince(before) ?? []) : [];
  return moves.flatMap(({ after: slice }) => {
    const seconds = (Date.now() - Date.parse(slice?.metadata.annotations?.[TRIGGER] ?? "")) / 1000;
    return seconds >= 0 ? [seconds] : [];
  });
}

/** How many objects of a kind are new, other or gone; all of them, where it is not known. */
function changesOf(before: Part<KubeObject> | undefined, after: Part<KubeObject>): number {
  return before ? (after.changedSince(before)?.length ?? after.size) : after.size;
}
