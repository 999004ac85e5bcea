// ReplicaSet → pods, and Deployment → ReplicaSet: rolling from one template to the next.
import type { Deployment, Pod, ReplicaSet } from "../../resources/index.ts";
import { type Controller, type ControllerContext, controllerOf, isGone, isReady, keyOf, REF, splitKey } from "./context.ts";
import { createPod, deletePod, ownerReference, templateHash, writeStatus } from "./pods.ts";
import { createQueue } from "./queue.ts";

const HASH = "pod-template-hash";
const REVISION = "deployment.kubernetes.io/revision";

/** Keeps as many pods as a ReplicaSet asks for; or a ReplicationController, which differs in its selector only. */
export function replicaSetController(
  context: ControllerContext,
  ref: typeof REF.replicaSets | typeof REF.replicationControllers = REF.replicaSets,
): Controller {
  const byUid = new Map<string, string>();
  const queue = createQueue(ref.plural, (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace, name] = splitKey(key);
    const set = context.store.get<ReplicaSet>(ref, namespace, name);
    if (!set || set.metadata.deletionTimestamp !== undefined) return;
    const pods = context.pods.ownedBy(set.metadata.uid).filter((pod) => !isGone(pod));
    const wanted = set.spec.replicas ?? 1;
    for (let i = pods.length; i < wanted; i++) createPod(context, set, set.spec.template);
    if (pods.length > wanted) for (const pod of pods.sort(expendableFirst).slice(0, pods.length - wanted)) deletePod(context, pod);
    const ready = pods.filter(isReady).length;
    writeStatus(context, ref, set, {
      replicas: pods.length,
      fullyLabeledReplicas: pods.length,
      readyReplicas: ready,
      availableReplicas: ready,
      observedGeneration: set.metadata.generation ?? 1,
    });
  }

  context.watch(ref, ({ object }) => {
    byUid.set(object.metadata.uid ?? "", keyOf(object));
    queue.add(keyOf(object));
  });
  context.watch(REF.pods, ({ object }) => {
    const key = byUid.get(controllerOf(object) ?? "");
    if (key !== undefined) queue.add(key);
  });
  return queue;
}

/** Which pods go first when there are too many: those without a node, not ready, youngest. */
function expendableFirst(a: Pod, b: Pod): number {
  const rank = (pod: Pod) => (pod.spec.nodeName === undefined ? 0 : isReady(pod) ? 2 : 1);
  return rank(a) - rank(b) || (b.metadata.creationTimestamp ?? "").localeCompare(a.metadata.creationTimestamp ?? "");
}

/** Rolls a Deployment's ReplicaSets to its template. */
export function deploymentController(context: ControllerContext): Controller {
  const owned = new Map<string, Map<string, ReplicaSet>>();
  const byUid = new Map<string, string>();
  const queue = createQueue("deployment", (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace, name] = splitKey(key);
    const deployment = context.store.get<Deployment>(REF.deployments, namespace, name);
    if (!deployment || deployment.metadata.deletionTimestamp !== undefined) return;
    const sets = [...(owned.get(deployment.metadata.uid ?? "")?.values() ?? [])];
    const hash = templateHash(deployment.spec.template);
    const current = sets.find((set) => set.metadata.labels?.[HASH] === hash);
    const others = sets.filter((set) => set !== current);
    if (!current) createReplicaSet(deployment, hash, others);
    else roll(deployment, current, others);
    report(deployment, current, others);
  }

  function createReplicaSet(deployment: Deployment, hash: string, others: readonly ReplicaSet[]): void {
    const { spec, metadata } = deployment;
    const revision = String(1 + Math.max(0, ...others.map((set) => Number(set.metadata.annotations?.[REVISION] ?? 0))));
    const labels = { ...spec.template.metadata?.labels, [HASH]: hash };
    const wanted = spec.replicas ?? 1;
    const before = others.reduce((sum, set) => sum + (set.spec.replicas ?? 0), 0);
    const replicas = isRecreate(deployment)
      ? before === 0
        ? wanted
        : 0
      : Math.min(wanted, Math.max(0, wanted + surgeOf(deployment) - before));
    context.store.create(REF.replicaSets, {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        name: `${metadata.name}-${hash}`,
        ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
        labels,
        annotations: { [REVISION]: revision },
        ownerReferences: [ownerReference(deployment)],
      },
      spec: {
        replicas,
        selector: { ...spec.selector, matchLabels: { ...spec.selector.matchLabels, [HASH]: hash } },
        template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
      },
    } as ReplicaSet);
    context.store.update(REF.deployments, {
      ...deployment,
      metadata: { ...metadata, annotations: { ...metadata.annotations, [REVISION]: revision } },
    });
  }

  /** One step: up as far as the surge allows, down as far as availability allows. */
  function roll(deployment: Deployment, current: ReplicaSet, others: readonly ReplicaSet[]): void {
    const wanted = deployment.spec.replicas ?? 1;
    const old = others.filter((set) => (set.spec.replicas ?? 0) > 0);
    const total = (current.spec.replicas ?? 0) + old.reduce((sum, set) => sum + (set.spec.replicas ?? 0), 0);
    if (isRecreate(deployment)) {
      for (const set of old) scale(set, 0);
      const left = others.some((set) => context.pods.ownedBy(set.metadata.uid).length > 0);
      if (!left) scale(current, wanted);
      return;
    }
    if (old.length === 0) {
      scale(current, wanted);
      return;
    }
    const room = wanted + surgeOf(deployment) - total;
    if (room > 0) scale(current, Math.min(wanted, (current.spec.replicas ?? 0) + room));
    let spare = readyOf([current, ...others]) - (wanted - unavailableOf(deployment));
    for (const set of old) {
      const unready = (set.spec.replicas ?? 0) - readyOf([set]);
      const down = Math.min(set.spec.replicas ?? 0, unready + Math.max(0, spare));
      if (down > 0) scale(set, (set.spec.replicas ?? 0) - down);
      spare -= Math.max(0, down - unready);
    }
  }

  function scale(set: ReplicaSet, replicas: number): void {
    if (set.spec.replicas !== replicas) context.store.update(REF.replicaSets, { ...set, spec: { ...set.spec, replicas } });
  }

  function readyOf(sets: readonly ReplicaSet[]): number {
    return sets.reduce((sum, set) => sum + context.pods.ownedBy(set.metadata.uid).filter((pod) => !isGone(pod) && isReady(pod)).length, 0);
  }

  function report(deployment: Deployment, current: ReplicaSet | undefined, others: readonly ReplicaSet[]): void {
    const fresh = context.store.get<Deployment>(REF.deployments, deployment.metadata.namespace, deployment.metadata.name);
    if (!fresh) return;
    const wanted = fresh.spec.replicas ?? 1;
    const live = (set: ReplicaSet) => context.pods.ownedBy(set.metadata.uid).filter((pod) => !isGone(pod));
    const all = [...(current ? [current] : []), ...others].flatMap(live);
    const updated = current ? live(current).length : 0;
    const ready = all.filter(isReady).length;
    const available = ready >= wanted - unavailableOf(fresh);
    const complete = updated === wanted && all.length === wanted && ready === wanted;
    const condition = (type: string, met: boolean, reason: string, message: string) => {
      const before = (fresh.status?.conditions as { type: string; status: string; lastTransitionTime?: string }[] | undefined)?.find(
        (each) => each.type === type,
      );
      const status = met ? "True" : "False";
      const time = before?.status === status ? before.lastTransitionTime : undefined;
      return { type, status, reason, message, lastTransitionTime: time ?? context.now(), lastUpdateTime: time ?? context.now() };
    };
    const progress = complete ? ["NewReplicaSetAvailable", "has successfully progressed"] : ["ReplicaSetUpdated", "is progressing"];
    writeStatus(context, REF.deployments, fresh, {
      observedGeneration: fresh.metadata.generation ?? 1,
      replicas: all.length,
      updatedReplicas: updated,
      readyReplicas: ready,
      availableReplicas: ready,
      ...(ready < wanted ? { unavailableReplicas: wanted - ready } : {}),
      conditions: [
        condition(
          "Available",
          available,
          available ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
          `${ready} of ${wanted} replicas are available`,
        ),
        condition("Progressing", true, progress[0] ?? "", `ReplicaSet "${current?.metadata.name ?? ""}" ${progress[1]}`),
      ],
    });
  }

  context.watch(REF.deployments, ({ object }) => {
    byUid.set(object.metadata.uid ?? "", keyOf(object));
    queue.add(keyOf(object));
  });
  context.watch(REF.replicaSets, ({ type, object }) => {
    const uid = controllerOf(object);
    if (uid === undefined) return;
    const sets = owned.get(uid) ?? new Map<string, ReplicaSet>();
    owned.set(uid, sets);
    if (type === "DELETED") sets.delete(object.metadata.name);
    else sets.set(object.metadata.name, object as ReplicaSet);
    const key = byUid.get(uid);
    if (key !== undefined) queue.add(key);
  });
  return queue;
}

function isRecreate(deployment: Deployment): boolean {
  return (deployment.spec.strategy as { type?: string } | undefined)?.type === "Recreate";
}

function surgeOf(deployment: Deployment): number {
  return boundOf(deployment, "maxSurge", Math.ceil);
}

function unavailableOf(deployment: Deployment): number {
  const unavailable = boundOf(deployment, "maxUnavailable", Math.floor);
  // Both zero would never move (as the API's validation says).
  return unavailable === 0 && surgeOf(deployment) === 0 ? 1 : unavailable;
}

function boundOf(deployment: Deployment, field: "maxSurge" | "maxUnavailable", round: (value: number) => number): number {
  const rolling = (deployment.spec.strategy as { rollingUpdate?: Record<string, number | string> } | undefined)?.rollingUpdate;
  const value = rolling?.[field] ?? "25%";
  return typeof value === "number" ? value : round(((deployment.spec.replicas ?? 1) * Number.parseInt(value, 10)) / 100);
}
