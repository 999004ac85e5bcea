// What a selection that holds nobody may have been meant for: the labels that are there.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Pod } from "../resources/index.ts";
import { ALL_LABELS } from "./labels.ts";
import type { Selection } from "./rules.ts";
import { selects } from "./selection.ts";

/** A remedy in words for a selection that matches nothing. */
export function nearest(snapshot: ClusterSnapshot, selection: Selection, pods: readonly Pod[]): string {
  const within = pods.filter((pod) => selection.namespace === undefined || pod.metadata.namespace === selection.namespace);
  if (selection.namespace !== undefined && within.length === 0) return `there are no pods in namespace ${selection.namespace}`;
  if (selection.namespaceSelector !== undefined) {
    const { namespaceSelector } = selection;
    const everyPod: Selection = { namespaceSelector, labels: ALL_LABELS };
    if (!pods.some((pod) => selects(snapshot, everyPod, pod))) {
      const labels = [...snapshot.namespaces.values()].map(({ metadata }) => `${metadata.name}: ${show(metadata.labels)}`);
      return `no namespace with pods has these labels; there are ${labels.slice(0, 6).join("; ")}`;
    }
  }
  const labels = [...new Set(within.map((pod) => show(pod.metadata.labels)))].slice(0, 6);
  return labels.length > 0 ? `pods there have ${labels.join("; ")}` : "there are no pods";
}

function show(labels: Readonly<Record<string, string>> | undefined): string {
  const entries = Object.entries(labels ?? {}).filter(
    ([key]) => !/^(pod-template-hash|controller-revision-hash|kubernetes\.io\/metadata\.name)$/.test(key),
  );
  return entries.length > 0 ? entries.map(([key, value]) => `${key}=${value}`).join(",") : "no labels";
}
