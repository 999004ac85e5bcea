// Ready pods that a Service selects and its end points lack: what a controller elsewhere has still to do. Pure.
import type { ClusterSnapshot } from "../../cluster/index.ts";
import { isReady, type Pod } from "../../resources/index.ts";

/** "namespace/pod" of each, at one snapshot. */
export function unserved(snapshot: ClusterSnapshot): string[] {
  const found: string[] = [];
  for (const { metadata, spec } of snapshot.services.values()) {
    const { namespace = "", name } = metadata;
    const labels = Object.entries(spec.selector ?? {});
    if (labels.length === 0) continue;
    const served = new Set<string>();
    for (const { endpoints } of snapshot.endpointSlices.ofService(namespace, name))
      for (const { conditions, targetRef } of endpoints ?? []) if (conditions?.ready !== false && targetRef?.uid) served.add(targetRef.uid);
    for (const pod of snapshot.pods.select(namespace, { matchLabels: Object.fromEntries(labels) }))
      if (isServing(pod) && !served.has(pod.metadata.uid ?? "")) found.push(`${namespace}/${pod.metadata.name}`);
  }
  return found;
}

function isServing({ metadata, status }: Pod): boolean {
  return metadata.deletionTimestamp === undefined && status?.podIP !== undefined && isReady({ status });
}
