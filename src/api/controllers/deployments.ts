// Deployment → ReplicaSet: rolling from one template to the next, and back: each template that was is a revision.
import { type Deployment, isReady, type ReplicaSet } from "../../resources/index.ts";
import { type Controller, type ControllerContext, controllerOf, isGone, keyOf, REF, splitKey } from "./context.ts";
import { watchOwners } from "./owners.ts";
import { ownerReference, templateHash, writeStatus } from "./pods.ts";
import { createQueue } from "./queue.ts";

const HASH = "pod-template-hash";
const REVISION = "deployment.kubernetes.io/revision";
const HISTORY = "deployment.kubernetes.io/revision-history";
const CAUSE = "kubernetes.io/change-cause";

/** Rolls a Deployment's ReplicaSets to its template. */
export function deploymentController(context: ControllerContext): Controller {
  const owned = new Map<string, Map<string, ReplicaSet>>();
  /** Rolls that are under way, by the Deployment's key. */
  const rolling = new Map<string, { generation: number; ready: number; since: number; timer: NodeJS.Timeout }>();
  const queue = createQueue("deployment", (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace, name] = splitKey(key);
    const deployment = context.store.get<Deployment>(REF.deployments, namespace, name);
    if (!deployment || deployment.metadata.deletionTimestamp !== undefined) {
      rollEnded(key);
      return;
    }
    const sets = [...(owned.get(deployment.metadata.uid ?? "")?.values() ?? [])];
    const hash = templateHash(deployment.spec.template);
    const current = sets.find((set) => set.metadata.labels?.[HASH] === hash);
    const others = sets.filter((set) => set !== current);
    if (deployment.spec.paused) scalePaused(deployment, sets);
    else if (!current) createReplicaSet(deployment, hash, others);
    else {
      if (revisionOf(current) < Math.max(0, ...others.map(revisionOf))) renumber(deployment, current, others);
      roll(deployment, current, others);
      forget(deployment, others);
    }
    report(deployment, current, others);
  }

  /** A paused Deployment keeps its templates, but follows its number of replicas. */
  function scalePaused(deployment: Deployment, sets: readonly ReplicaSet[]): void {
    const active = sets.filter((set) => (set.spec.replicas ?? 0) > 0);
    const [only] = active;
    if (only && active.length === 1) scale(deployment, only, deployment.spec.replicas ?? 1);
  }

  /** A template that comes back (rollout undo) is the newest revision again. */
  function renumber(deployment: Deployment, current: ReplicaSet, others: readonly ReplicaSet[]): void {
    const before = current.metadata.annotations?.[REVISION] ?? "";
    const revision = String(1 + Math.max(0, ...others.map(revisionOf)));
    const history = [current.metadata.annotations?.[HISTORY], before].filter(Boolean).join(",");
    const annotations = { ...current.metadata.annotations, [REVISION]: revision, [HISTORY]: history };
    context.store.update(REF.replicaSets, { ...current, metadata: { ...current.metadata, annotations } });
    announce(deployment, revision);
  }

  function announce(deployment: Deployment, revision: string): void {
    const { metadata } = deployment;
    if (metadata.annotations?.[REVISION] === revision) return;
    const annotations = { ...metadata.annotations, [REVISION]: revision };
    context.store.update(REF.deployments, { ...deployment, metadata: { ...metadata, annotations } });
  }

  /** Old revisions beyond the limit go. */
  function forget(deployment: Deployment, others: readonly ReplicaSet[]): void {
    const limit = (deployment.spec as { readonly revisionHistoryLimit?: number }).revisionHistoryLimit ?? 10;
    const idle = others.filter((set) => (set.spec.replicas ?? 0) === 0 && (set.status?.replicas ?? 0) === 0);
    for (const set of idle.sort((a, b) => revisionOf(b) - revisionOf(a)).slice(limit))
      context.store.delete(REF.replicaSets, set.metadata.namespace, set.metadata.name);
  }

  function createReplicaSet(deployment: Deployment, hash: string, others: readonly ReplicaSet[]): void {
    const { spec, metadata } = deployment;
    const revision = String(1 + Math.max(0, ...others.map(revisionOf)));
    const cause = metadata.annotations?.[CAUSE];
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
        annotations: { [REVISION]: revision, ...(cause === undefined ? {} : { [CAUSE]: cause }) },
        ownerReferences: [ownerReference(deployment)],
      },
      spec: {
        replicas,
        selector: { ...spec.selector, matchLabels: { ...spec.selector.matchLabels, [HASH]: hash } },
        template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
      },
    } as ReplicaSet);
    announce(deployment, revision);
    const message = `Scaled up replica set ${metadata.name}-${hash} from 0 to ${replicas}`;
    if (replicas > 0) context.note(deployment, { type: "Normal", reason: "ScalingReplicaSet", message });
  }

  /** One step: up as far as the surge allows, down as far as availability allows. */
  function roll(deployment: Deployment, current: ReplicaSet, others: readonly ReplicaSet[]): void {
    const wanted = deployment.spec.replicas ?? 1;
    const old = others.filter((set) => (set.spec.replicas ?? 0) > 0);
    const total = (current.spec.replicas ?? 0) + old.reduce((sum, set) => sum + (set.spec.replicas ?? 0), 0);
    if (isRecreate(deployment)) {
      for (const set of old) scale(deployment, set, 0);
      const left = others.some((set) => context.pods.ownedBy(set.metadata.uid).length > 0);
      if (!left) scale(deployment, current, wanted);
      return;
    }
    if (old.length === 0) {
      scale(deployment, current, wanted);
      return;
    }
    const room = wanted + surgeOf(deployment) - total;
    if (room > 0) scale(deployment, current, Math.min(wanted, (current.spec.replicas ?? 0) + room));
    let spare = readyOf([current, ...others]) - (wanted - unavailableOf(deployment));
    for (const set of old) {
      const unready = (set.spec.replicas ?? 0) - readyOf([set]);
      const down = Math.min(set.spec.replicas ?? 0, unready + Math.max(0, spare));
      if (down > 0) scale(deployment, set, (set.spec.replicas ?? 0) - down);
      spare -= Math.max(0, down - unready);
    }
  }

  function scale(deployment: Deployment, set: ReplicaSet, replicas: number): void {
    const before = set.spec.replicas ?? 0;
    if (before === replicas) return;
    context.store.update(REF.replicaSets, { ...set, spec: { ...set.spec, replicas } });
    const message = `Scaled ${before < replicas ? "up" : "down"} replica set ${set.metadata.name} from ${before} to ${replicas}`;
    context.note(deployment, { type: "Normal", reason: "ScalingReplicaSet", message });
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
    const progress = progressOf(fresh, complete);
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
        condition("Progressing", progress.met, progress.reason, `ReplicaSet "${current?.metadata.name ?? ""}" ${progress.says}`),
      ],
    });
  }

  function rollEnded(key: string): void {
    clearTimeout(rolling.get(key)?.timer);
    rolling.delete(key);
  }

  /** A roll that gets nowhere for longer than its deadline has failed; it goes on all the same. */
  function progressOf(deployment: Deployment, complete: boolean): { met: boolean; reason: string; says: string } {
    const key = keyOf(deployment);
    const generation = deployment.metadata.generation ?? 1;
    if (complete) {
      rollEnded(key);
      return { met: true, reason: "NewReplicaSetAvailable", says: "has successfully progressed" };
    }
    if (deployment.spec.paused) return { met: true, reason: "DeploymentPaused", says: "is paused" };
    const deadline = 1000 * Number((deployment.spec as { readonly progressDeadlineSeconds?: number }).progressDeadlineSeconds ?? 600);
    const ready = Number(deployment.status?.readyReplicas ?? 0);
    const begun = rolling.get(key);
    if (!begun || begun.generation !== generation || begun.ready !== ready) {
      clearTimeout(begun?.timer);
      const timer = setTimeout(() => queue.add(key), deadline + 10).unref();
      rolling.set(key, { generation, ready, since: Date.now(), timer });
    } else if (Date.now() - begun.since > deadline)
      return { met: false, reason: "ProgressDeadlineExceeded", says: "has timed out progressing" };
    return { met: true, reason: "ReplicaSetUpdated", says: "is progressing" };
  }

  context.watch(REF.replicaSets, ({ type, object }) => {
    const uid = controllerOf(object);
    if (uid === undefined) return;
    const sets = owned.get(uid) ?? new Map<string, ReplicaSet>();
    if (type === "DELETED") sets.delete(object.metadata.name);
    else sets.set(object.metadata.name, object as ReplicaSet);
    if (sets.size === 0) owned.delete(uid);
    else owned.set(uid, sets);
  });
  watchOwners(context, REF.deployments, [REF.replicaSets], queue);
  return queue;
}

function revisionOf(set: ReplicaSet): number {
  return Number(set.metadata.annotations?.[REVISION] ?? 0);
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
