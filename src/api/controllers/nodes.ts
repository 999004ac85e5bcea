// Nodes that are not heard of any more: their conditions become Unknown, they are tainted, their pods leave the end points and are
// taken away in the end.
import type { KubeObject, Node, Pod, Taint } from "../../resources/index.ts";
import { type Controller, type ControllerContext, REF } from "./context.ts";
import { createQueue } from "./queue.ts";

interface Lease extends KubeObject {
  readonly spec?: { readonly renewTime?: string; readonly leaseDurationSeconds?: number };
}

/** A node's lease is in this namespace, under the node's name. */
export const LEASE_NAMESPACE = "kube-node-lease";
/** Milliseconds without a sign of life (kube-controller-manager's own 40 s), and how often it is looked. */
const GRACE_MS = 40_000;
const LOOK_MS = 5000;
/** Seconds that a pod stays on a node that is not heard of, unless it says otherwise (admission's own default). */
const STAY_SECONDS = 300;
const UNREACHABLE = "node.kubernetes.io/unreachable";
const NOT_READY = "node.kubernetes.io/not-ready";
const UNSCHEDULABLE = "node.kubernetes.io/unschedulable";

/** Watches over nodes that have a lease. `clock`: milliseconds since the epoch. */
export function nodeController(context: ControllerContext, clock: () => number = Date.now): Controller {
  const seen = new Map<string, { renewTime: string; at: number }>();
  const lost = new Map<string, number>();
  const queue = createQueue("node", (name) => look(name), context.log);

  function look(name: string): void {
    const node = context.store.get<Node>(REF.nodes, undefined, name);
    if (!node) {
      lost.delete(name);
      return;
    }
    const heard = seen.get(name);
    // Who never had a lease is somebody else's to watch.
    const gone = heard !== undefined && clock() - heard.at > GRACE_MS;
    if (gone && !lost.has(name)) lost.set(name, clock());
    if (!gone) lost.delete(name);
    if (gone) sayUnknown(node);
    taint(name, gone);
    if (gone) evict(name);
  }

  function sayUnknown(node: Node): void {
    const conditions = node.status?.conditions ?? [];
    if (conditions.find(({ type }) => type === "Ready")?.status === "Unknown") return;
    const said = conditions.map((condition) => ({
      ...condition,
      status: "Unknown" as const,
      reason: "NodeStatusUnknown",
      message: "Kubelet stopped posting node status.",
      lastTransitionTime: context.now(),
    }));
    context.store.update(REF.nodes, { ...node, status: { ...node.status, conditions: said } } as Node, { subresource: "status" });
    context.note(node, { type: "Normal", reason: "NodeNotReady", message: `Node ${node.metadata.name} status is now: NodeNotReady` });
    for (const pod of podsOn(node.metadata.name)) sayUnready(pod);
  }

  function sayUnready(pod: Pod): void {
    const conditions = pod.status?.conditions ?? [];
    if (!conditions.some(({ type, status }) => type === "Ready" && status === "True")) return;
    const said = conditions.map((condition) =>
      condition.type === "Ready"
        ? { ...condition, status: "False" as const, reason: "NodeNotReady", lastTransitionTime: context.now() }
        : condition,
    );
    context.store.update(REF.pods, { ...pod, status: { ...pod.status, conditions: said } } as Pod, { subresource: "status" });
  }

  /** Sets and takes away the taints that follow from what the node is. */
  function taint(name: string, gone: boolean): void {
    const node = context.store.get<Node>(REF.nodes, undefined, name);
    if (!node) return;
    const ready = node.status?.conditions?.find(({ type }) => type === "Ready")?.status;
    const wanted: Taint[] = [
      ...(gone || ready === "Unknown" ? effects(UNREACHABLE) : []),
      ...(!gone && ready === "False" ? effects(NOT_READY) : []),
      ...((node.spec as { readonly unschedulable?: boolean } | undefined)?.unschedulable
        ? [{ key: UNSCHEDULABLE, effect: "NoSchedule" } as const]
        : []),
    ];
    const before = node.spec?.taints ?? [];
    const others = before.filter(({ key }) => ![UNREACHABLE, NOT_READY, UNSCHEDULABLE].includes(key));
    const same = (a: Taint, b: Taint) => a.key === b.key && a.effect === b.effect;
    if (before.length === others.length + wanted.length && wanted.every((each) => before.some((other) => same(each, other)))) return;
    const kept = wanted.map((each) => before.find((other) => same(each, other)) ?? ({ ...each, timeAdded: context.now() } as Taint));
    const taints = [...others, ...kept];
    const { taints: _, ...rest } = node.spec ?? {};
    context.store.update(REF.nodes, { ...node, spec: { ...rest, ...(taints.length > 0 ? { taints } : {}) } } as Node);
  }

  function evict(name: string): void {
    const since = lost.get(name) ?? clock();
    for (const pod of podsOn(name)) {
      const tolerations = pod.spec.tolerations ?? [];
      const own = tolerations.find(
        ({ key, effect }) =>
          (key === UNREACHABLE || (key === undefined && effect === undefined)) && (effect === undefined || effect === "NoExecute"),
      );
      const seconds = own ? (own as { readonly tolerationSeconds?: number }).tolerationSeconds : STAY_SECONDS;
      if (seconds === undefined || clock() - since < seconds * 1000 || pod.metadata.deletionTimestamp !== undefined) continue;
      context.store.delete(REF.pods, pod.metadata.namespace, pod.metadata.name);
    }
  }

  function podsOn(name: string): readonly Pod[] {
    return context.store.list<Pod>(REF.pods).items.filter((pod) => pod.spec.nodeName === name);
  }

  context.watch(REF.leases, ({ type, object }) => {
    if (object.metadata.namespace !== LEASE_NAMESPACE) return;
    const { name } = object.metadata;
    const { renewTime = "" } = (object as Lease).spec ?? {};
    if (type === "DELETED") seen.delete(name);
    // By our own clock, so that a node's clock need not be right.
    else if (seen.get(name)?.renewTime !== renewTime) seen.set(name, { renewTime, at: clock() });
    if (lost.has(name)) queue.add(name);
  });
  context.watch(REF.nodes, ({ object }) => queue.add(object.metadata.name));
  const timer = setInterval(() => {
    for (const name of seen.keys()) queue.add(name);
  }, LOOK_MS).unref();
  return {
    get idle() {
      return queue.idle;
    },
    close() {
      clearInterval(timer);
      queue.close();
    },
  };
}

function effects(key: string): Taint[] {
  return [
    { key, effect: "NoSchedule" },
    { key, effect: "NoExecute" },
  ];
}
