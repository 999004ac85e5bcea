// Scheduling: a node for every pod that has none, the one with the fewest of the pod's siblings, then the fewest pods.
import { hostPorts, type Node, type Pod, whyNotOn } from "../../resources/index.ts";
import { type Controller, type ControllerContext, controllerOf, keyOf, REF, splitKey } from "./context.ts";
import { Places } from "./places.ts";
import { createQueue } from "./queue.ts";

interface Candidate {
  readonly name: string;
  readonly siblings: number;
  readonly pods: number;
}

const inOrder = new Intl.Collator("en", { numeric: true });

function isBetter(a: Candidate, b: Candidate): boolean {
  return (a.siblings - b.siblings || a.pods - b.pods || inOrder.compare(a.name, b.name)) < 0;
}

/** Binds pods to nodes. */
export function schedulerController(context: ControllerContext): Controller {
  const pending = new Set<string>();
  const nodes = new Map<string, Node>();
  const places = new Places();
  const queue = createQueue("scheduler", (key) => schedule(key), context.log);

  function schedule(key: string): void {
    const [namespace, name] = splitKey(key);
    const pod = context.store.get<Pod>(REF.pods, namespace, name);
    if (!pod || pod.spec.nodeName !== undefined || pod.metadata.deletionTimestamp !== undefined) {
      pending.delete(key);
      return;
    }
    const reasons = new Map<string, number>();
    let best: Candidate | undefined;
    const owner = controllerOf(pod);
    const ports = hostPorts(pod.spec);
    for (const node of nodes.values()) {
      const place = places.on(node.metadata.name);
      const limit = Number((node.status?.allocatable as { pods?: string } | undefined)?.pods ?? 110);
      const clash = place.clash(ports);
      const why =
        whyNotOn(node, pod.spec) ??
        (place.pods >= limit ? "has no room for another pod" : undefined) ??
        (clash ? `has port ${clash.port} taken by ${clash.pod}` : undefined);
      if (why !== undefined) reasons.set(why, (reasons.get(why) ?? 0) + 1);
      else {
        const candidate = { name: node.metadata.name, siblings: place.ownedBy(owner), pods: place.pods };
        if (!best || isBetter(candidate, best)) best = candidate;
      }
    }
    if (best) bind(pod, best.name);
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
    const message = `Successfully assigned ${keyOf(pod)} to ${nodeName}`;
    context.note(pod, { type: "Normal", reason: "Scheduled", message });
  }

  function refuse(pod: Pod, reasons: ReadonlyMap<string, number>): void {
    const parts = [...reasons].map(([why, count]) => `${count} ${why}`);
    const message = `0/${nodes.size} nodes are available${parts.length > 0 ? `: ${parts.join(", ")}` : ""}.`;
    const before = pod.status?.conditions?.find((condition) => condition.type === "PodScheduled");
    if (before?.message === message) return;
    context.note(pod, { type: "Warning", reason: "FailedScheduling", message });
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
  context.watch(REF.pods, (event) => {
    places.apply(event);
    const { type, object } = event;
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
