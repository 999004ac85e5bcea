// ReplicaSet → pods; and ReplicationController, which differs in its selector only.
import { isReady, type Pod, type ReplicaSet } from "../../resources/index.ts";
import { type Controller, type ControllerContext, isGone, REF, splitKey } from "./context.ts";
import { watchOwners } from "./owners.ts";
import { BURST, createPod, deletePod, writeStatus } from "./pods.ts";
import { createQueue } from "./queue.ts";

/** Keeps as many pods as a ReplicaSet asks for; or a ReplicationController, which differs in its selector only. */
export function replicaSetController(
  context: ControllerContext,
  ref: typeof REF.replicaSets | typeof REF.replicationControllers = REF.replicaSets,
): Controller {
  const queue = createQueue(ref.plural, (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace, name] = splitKey(key);
    const set = context.store.get<ReplicaSet>(ref, namespace, name);
    if (!set || set.metadata.deletionTimestamp !== undefined) return;
    const pods = context.pods.ownedBy(set.metadata.uid).filter((pod) => !isGone(pod));
    const wanted = set.spec.replicas ?? 1;
    for (let i = pods.length; i < Math.min(wanted, pods.length + BURST); i++) createPod(context, set, set.spec.template);
    const tooMany = Math.min(BURST, pods.length - wanted);
    if (tooMany > 0) for (const pod of pods.sort(expendableFirst).slice(0, tooMany)) deletePod(context, pod);
    if (Math.abs(wanted - pods.length) > BURST) queue.add(key);
    const ready = pods.filter(isReady).length;
    writeStatus(context, ref, set, {
      replicas: pods.length,
      fullyLabeledReplicas: pods.length,
      readyReplicas: ready,
      availableReplicas: ready,
      observedGeneration: set.metadata.generation ?? 1,
    });
  }

  watchOwners(context, ref, [REF.pods], queue);
  return queue;
}

/** Which pods go first when there are too many: those without a node, not ready, youngest. */
function expendableFirst(a: Pod, b: Pod): number {
  const rank = (pod: Pod) => (pod.spec.nodeName === undefined ? 0 : isReady(pod) ? 2 : 1);
  return rank(a) - rank(b) || (b.metadata.creationTimestamp ?? "").localeCompare(a.metadata.creationTimestamp ?? "");
}
