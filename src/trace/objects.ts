// What a trace asks of the API's objects.
import type { Pod } from "../resources/index.ts";

export type { Node } from "../resources/index.ts";

/** A pod's addresses as its status tells; a finished pod has none. */
export function podAddressesOf(pod: Pod): readonly string[] {
  if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return [];
  return pod.status?.podIPs?.map(({ ip }) => ip) ?? (pod.status?.podIP ? [pod.status.podIP] : []);
}
