// Scheduling: a node for every pod that has none, the one with the fewest of the pod's siblings, then the fewest pods.
import { compileSelector, type Node, type Pod, type PodSpec, type Taint } from "../../resources/index.ts";
import { type Controller, type ControllerContext, controllerOf, isGone, keyOf, REF, splitKey } from "./context.ts";
import { createQueue } from "./queue.ts";

/** Whether a node takes pods of this spec at all. A DaemonSet's pods tolerate what keeps others away from a node in trouble. */
export function isEligible(node: Node, spec: PodSpec, options: { readonly daemon?: boolean } = {}): boolean {
  return whyNot(node, spec, options) === undefined;
}

function whyNot(node: Node, spec: PodSpec, options: { readonly daemon?: boolean } = {}): string | undefined {
  const labels = node.metadata.labels ?? {};
  if (node.spec?.unschedulable && !options.daemon) return "is unschedulable";
  for (const [key, value] of Object.entries(spec.nodeSelector ?? {})) if (labels[key] !== value) return `lacks the label ${key}=${value}`;
  const taint = node.spec?.taints?.find((each) => each.effect !== "PreferNoSchedule" && !tolerates(spec, each, options.daemon === true));
  if (taint) return `has the taint ${taint.key}${taint.value ? `=${taint.value}` : ""}:${taint.effect}`;
  return matchesAffinity(node, spec) ? undefined : "does not match the pod's node affinity";
}

function tolerates(spec: PodSpec, taint: Taint, daemon: boolean): boolean {
  if (
    daemon &&
    /^node\.kubernetes\.io\/(not-ready|unreachable|unschedulable|disk-pressure|memory-pressure|pid-pressure|network-unavailable)$/.test(
      taint.key,
    )
  )
    return true;
  return (spec.tolerations ?? []).some((each) => {
    if (each.effect && each.effect !== taint.effect) return false;
    if (!each.key) return each.operator === "Exists";
    return each.key === taint.key && (each.operator === "Exists" || (each.value ?? "") === (taint.value ?? ""));
  });
}

interface NodeAffinity {
  readonly requiredDuringSchedulingIgnoredDuringExecution?: {
    readonly nodeSelectorTerms?: readonly {
      readonly matchExpressions?: readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] }[];
      readonly matchFields?: readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] }[];
    }[];
  };
}

function matchesAffinity(node: Node, spec: PodSpec): boolean {
  const affinity = (spec.affinity as { nodeAffinity?: NodeAffinity } | undefined)?.nodeAffinity;
  const terms = affinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (!terms) return true;
  return terms.some((term) => {
    const ordinary = (term.matchExpressions ?? []).filter((each) => each.operator !== "Gt" && each.operator !== "Lt");
    const compared = (term.matchExpressions ?? []).filter((each) => each.operator === "Gt" || each.operator === "Lt");
    const labels = node.metadata.labels ?? {};
    const named = (term.matchFields ?? []).every(
      (each) => each.key !== "metadata.name" || (each.values ?? []).includes(node.metadata.name) === (each.operator === "In"),
    );
    const numbers = compared.every((each) => {
      const [left, right] = [Number(labels[each.key]), Number(each.values?.[0])];
      return each.operator === "Gt" ? left > right : left < right;
    });
    return named && numbers && compileSelector({ matchExpressions: ordinary as never })(labels);
  });
}

/** Ports of the node itself that a pod takes. */
function hostPorts(spec: PodSpec): string[] {
  return spec.containers.flatMap((container) =>
    (container.ports ?? []).flatMap((port) => {
      const number = port.hostPort ?? (spec.hostNetwork ? port.containerPort : undefined);
      return number === undefined ? [] : [`${port.protocol ?? "TCP"}/${number}`];
    }),
  );
}

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
        whyNot(node, pod.spec) ??
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
