// DaemonSet → a pod on every eligible node; StatefulSet → pods with names that stay.
import { type DaemonSet, isReady, type Node, type Pod, type StatefulSet, whyNotOn } from "../../resources/index.ts";
import { type Controller, type ControllerContext, isGone, REF, splitKey } from "./context.ts";
import { watchOwners } from "./owners.ts";
import { BURST, createPod, deletePod, templateHash, writeStatus } from "./pods.ts";
import { createQueue } from "./queue.ts";

/** One pod of each DaemonSet on every node that takes it. */
export function daemonSetController(context: ControllerContext): Controller {
  const queue = createQueue("daemonset", (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace, name] = splitKey(key);
    const set = context.store.get<DaemonSet>(REF.daemonSets, namespace, name);
    if (!set || set.metadata.deletionTimestamp !== undefined) return;
    const nodes = context.store
      .list<Node>(REF.nodes)
      .items.filter((node) => whyNotOn(node, set.spec.template.spec, { daemon: true }) === undefined);
    const hash = templateHash(set.spec.template);
    const byNode = new Map<string, Pod>();
    for (const pod of context.pods.ownedBy(set.metadata.uid)) {
      if (isGone(pod)) continue;
      const outdated = pod.metadata.labels?.["controller-revision-hash"] !== hash;
      if (outdated || !nodes.some((node) => node.metadata.name === pod.spec.nodeName)) deletePod(context, pod);
      else byNode.set(pod.spec.nodeName ?? "", pod);
    }
    for (const node of nodes) {
      if (byNode.has(node.metadata.name)) continue;
      createPod(context, set, set.spec.template, { labels: { "controller-revision-hash": hash }, spec: { nodeName: node.metadata.name } });
    }
    const ready = [...byNode.values()].filter(isReady).length;
    writeStatus(context, REF.daemonSets, set, {
      currentNumberScheduled: byNode.size,
      desiredNumberScheduled: nodes.length,
      numberMisscheduled: 0,
      numberReady: ready,
      numberAvailable: ready,
      updatedNumberScheduled: byNode.size,
      observedGeneration: set.metadata.generation ?? 1,
    });
  }

  const keys = watchOwners(context, REF.daemonSets, [REF.pods], queue);
  context.watch(REF.nodes, () => {
    for (const key of keys.values()) queue.add(key);
  });
  return queue;
}

/** A StatefulSet's pods: NAME-0, NAME-1, … one after the other, or all at once where it says Parallel. */
export function statefulSetController(context: ControllerContext): Controller {
  const queue = createQueue("statefulset", (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace, name] = splitKey(key);
    const set = context.store.get<StatefulSet>(REF.statefulSets, namespace, name);
    if (!set || set.metadata.deletionTimestamp !== undefined) return;
    const wanted = set.spec.replicas ?? 1;
    const parallel = set.spec.podManagementPolicy === "Parallel";
    const hash = `${name}-${templateHash(set.spec.template)}`;
    const byName = new Map(context.pods.ownedBy(set.metadata.uid).map((pod) => [pod.metadata.name, pod]));
    let made = 0;
    for (let i = 0; i < wanted && made < BURST; i++) {
      const podName = `${name}-${i}`;
      const pod = byName.get(podName);
      if (!pod) {
        const labels = {
          "statefulset.kubernetes.io/pod-name": podName,
          "apps.kubernetes.io/pod-index": String(i),
          "controller-revision-hash": hash,
        };
        createPod(context, set, set.spec.template, {
          name: podName,
          labels,
          spec: { hostname: podName, ...(set.spec.serviceName ? { subdomain: set.spec.serviceName } : {}) },
        });
        made++;
      }
      if (!parallel && (!pod || !isReady(pod))) break;
    }
    if (made === BURST) queue.add(key);
    const surplus = [...byName.values()]
      .filter((pod) => ordinalOf(pod, name) >= wanted)
      .sort((a, b) => ordinalOf(b, name) - ordinalOf(a, name));
    for (const pod of parallel ? surplus : surplus.slice(0, 1)) deletePod(context, pod);
    const outdated = [...byName.values()].filter((pod) => !isGone(pod) && pod.metadata.labels?.["controller-revision-hash"] !== hash);
    const settled = [...byName.values()].every((pod) => isReady(pod) && !isGone(pod));
    const last = outdated.sort((a, b) => ordinalOf(b, name) - ordinalOf(a, name))[0];
    if (last && settled) deletePod(context, last);
    const live = [...byName.values()].filter((pod) => !isGone(pod));
    const ready = live.filter(isReady).length;
    writeStatus(context, REF.statefulSets, set, {
      replicas: live.length,
      readyReplicas: ready,
      availableReplicas: ready,
      currentReplicas: live.length - outdated.length,
      updatedReplicas: live.length - outdated.length,
      currentRevision: hash,
      updateRevision: hash,
      observedGeneration: set.metadata.generation ?? 1,
    });
  }

  watchOwners(context, REF.statefulSets, [REF.pods], queue);
  return queue;
}

function ordinalOf(pod: Pod, set: string): number {
  return Number(pod.metadata.name.slice(set.length + 1));
}
