// Which nodes take a pod: selectors, taints, affinity and ports of the node. Pure.
import { compileSelector } from "./selectors.ts";
import type { Node, PodSpec, Taint } from "./types.ts";

/**
 * Why a node takes no pods of this spec; undefined if it does. A DaemonSet's pods tolerate what keeps others away from a node
 * in trouble.
 */
export function whyNotOn(node: Node, spec: PodSpec, options: { readonly daemon?: boolean } = {}): string | undefined {
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

/** Ports of the node itself that a pod takes, as "TCP/80". */
export function hostPorts(spec: PodSpec): string[] {
  return spec.containers.flatMap((container) =>
    (container.ports ?? []).flatMap((port) => {
      const number = port.hostPort ?? (spec.hostNetwork ? port.containerPort : undefined);
      return number === undefined ? [] : [`${port.protocol ?? "TCP"}/${number}`];
    }),
  );
}
