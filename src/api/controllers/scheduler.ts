// Scheduling: a node for every pod that has none, the one with the fewest of the pod's siblings, then the fewest pods.
import { hostPorts, type Node, type Pod, whyNotOn } from "../../resources/index.ts";
import { type Controller, type ControllerContext, controllerOf, isGone, keyOf, REF, splitKey } from "./context.ts";
import { createQueue } from "./queue.ts";

/** Binds pods to nodes. */
export function schedulerController(context: ControllerContext): Controller {
  const pending = new Set<string>();
  const nodes = new Map<string, Node>();
  const queue = createQueue("scheduler", (key) => schedule(key), context.log);

  function schedule(key: string): void {
    const [namespace, name] = splitKey(key);
    const pod = context.store.get<Pod>(REF.pods, namespace, name);
    if (!pod || pod.spec.nodeName !== undefined || pod.metadata.deletionTimestamp !== undefined) {
      pending.delete(key);
      return;
    }
    const reasons = new Map<string, number>();
    const candidates: { node: Node; siblings: number; pods: number }[] = [];
    const owner = controllerOf(pod);
    const ports = hostPorts(pod.spec);
    for (const node of nodes.values()) {
      const residents = [...context.pods.onNode(node.metadata.name)].filter((each) => !isGone(each));
      const limit = Number((node.status?.allocatable as { pods?: string } | undefined)?.pods ?? 110);
      const clash =
        ports.length > 0
          ? residents.map((each) => ({ each, port: hostPorts(each.spec).find((port) => ports.includes(port)) })).find(({ port }) => port)
          : undefined;
      const why =
        whyNotOn(node, pod.spec) ??
        (residents.length >= limit ? "has no room for another pod" : undefined) ??
        (clash ? `has port ${clash.port} taken by ${keyOf(clash.each)}` : undefined);
      if (why !== undefined) reasons.set(why, (reasons.get(why) ?? 0) + 1);
      else {
        const siblings = owner === undefined ? 0 : residents.filter((each) => controllerOf(each) === owner).length;
        candidates.push({ node, siblings, pods: residents.length });
      }
    }
    const best = candidates.sort(
      (a, b) =>
        a.siblings - b.siblings || a.pods - b.pods || a.node.metadata.name.localeCompare(b.node.metadata.name, "en", { numeric: true }),
    )[0];
    if (best) bind(pod, best.node.metadata.name);
    else refuse(pod, reasons);
  }

  function bind(pod: Pod, nodeName: string): void {
    const condition = { type: "PodScheduled", status: "True", lastTransitionTime: context.now() } as const;
    context.store.update(REF.pods, {
      ...pod,
      spec: { ...pod.spec, nodeName },
      status: { phase: "Pending", ...pod.status, conditions: [condition] },
    });
    pending.delete(keyOf(pod));
  }

  function refuse(pod: Pod, reasons: ReadonlyMap<string, number>): void {
    const parts = [...reasons].map(([why, count]) => `${count} ${why}`);
    const message = `0/${nodes.size} nodes are available${parts.length > 0 ? `: ${parts.join(", ")}` : ""}.`;
    const before = pod.status?.conditions?.find((condition) => condition.type === "PodScheduled");
    if (before?.message === message) return;
    const condition = {
      type: "PodScheduled",
      status: "False",
      reason: "Unschedulable",
      message,
      lastTransitionTime: context.now(),
    } as const;
    context.store.update(
      REF.pods,
      { ...pod, status: { ...pod.status, phase: "Pending", conditions: [condition] } },
      { subresource: "status" },
    );
  }

  context.watch(REF.nodes, ({ type, object }) => {
    if (type === "DELETED") nodes.delete(object.metadata.name);
    else nodes.set(object.metadata.name, object as Node);
    for (const key of pending) queue.add(key);
  });
  context.watch(REF.pods, ({ type, object }) => {
    const pod = object as Pod;
    if (pod.spec.nodeName === undefined && type !== "DELETED") {
      const isNew = !pending.has(keyOf(pod));
      pending.add(keyOf(pod));
      if (isNew) queue.add(keyOf(pod));
    } else {
      pending.delete(keyOf(pod));
      // A place that became free may be what another pod waits for.
      if (type === "DELETED") for (const key of pending) queue.add(key);
    }
  });
  return queue;
}
