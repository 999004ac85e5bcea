// A lab that goes on where one before it ended (lab up --keep): what of its objects still holds.
import { LEASE_NAMESPACE, type ObjectStore } from "../../api/index.ts";
import type { Node, Pod } from "../../resources/index.ts";
import { REFS } from "../refs.ts";

/** Prepares the objects of an earlier lab: nodes that are no more go, and pods begin anew on those that are. */
export function resume(store: ObjectStore, nodes: readonly string[]): void {
  const known = new Set(nodes);
  for (const node of store.list<Node>(REFS.nodes).items) {
    if (known.has(node.metadata.name)) continue;
    store.delete(REFS.nodes, undefined, node.metadata.name);
    if (store.get(REFS.leases, LEASE_NAMESPACE, node.metadata.name)) store.delete(REFS.leases, LEASE_NAMESPACE, node.metadata.name);
  }
  for (const pod of store.list<Pod>(REFS.pods).items) {
    const { namespace, name, deletionTimestamp } = pod.metadata;
    const lost = pod.spec.nodeName !== undefined && !known.has(pod.spec.nodeName);
    if (lost || deletionTimestamp !== undefined) store.delete(REFS.pods, namespace, name, { gracePeriodSeconds: 0 });
    else if (pod.spec.nodeName !== undefined && pod.status?.phase !== "Succeeded" && pod.status?.phase !== "Failed")
      store.update(REFS.pods, { ...pod, status: { phase: "Pending" } }, { subresource: "status" });
  }
}
