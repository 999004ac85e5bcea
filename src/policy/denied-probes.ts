// Denials that concern the probes of a node's kubelet.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Pod } from "../resources/index.ts";
import { podAddresses } from "./ends.ts";
import { flowBetween } from "./evaluate.ts";
import { type Denial, keyOf, type PolicyFinding } from "./finding.ts";
import { missingPart } from "./match.ts";
import { rulePath } from "./rule-path.ts";
import type { Rule } from "./rules.ts";

/**
 * Rules that deny what a node's kubelet asks the pods on it. Here the own node always comes in; elsewhere it may not, and the
 * pods would be restarted.
 */
export function deniedProbes(snapshot: ClusterSnapshot, denials: readonly Denial[]): PolicyFinding[] {
  return denials.flatMap(({ policy, rule, direction, selected }): PolicyFinding[] => {
    if (direction !== "ingress") return [];
    const hit = [...selected].flatMap((pod) => {
      const probed = probedPorts(pod).find((port) => nodeIsDenied(snapshot, { rule, pod, port }));
      return probed === undefined ? [] : [{ pod, port: probed }];
    });
    const [first] = hit;
    if (!first) return [];
    const more = hit.length > 1 ? ` (and ${hit.length - 1} more)` : "";
    return [
      {
        severity: "warning",
        code: "probes-denied",
        policy: policy.owner,
        path: rulePath(rule.owner, direction),
        says: `it denies what the kubelet of ${first.pod.spec.nodeName} asks ${keyOf(first.pod)} on port ${first.port}${more}: here a pod's own node always comes in, with other engines its probes may fail`,
        remedy: "leave the nodes' addresses out of what is denied",
      },
    ];
  });
}

function nodeIsDenied(
  snapshot: ClusterSnapshot,
  { rule, pod, port }: { readonly rule: Rule; readonly pod: Pod; readonly port: number },
): boolean {
  const node = pod.spec.nodeName;
  if (node === undefined || !snapshot.nodes.get(node) || podAddresses(pod).length === 0) return false;
  const flow = flowBetween(snapshot, { from: { node }, to: { pod: keyOf(pod) }, protocol: "TCP", port });
  return missingPart(rule, { ...flow, node }) === undefined;
}

/** Ports that probes of the kubelet connect to. */
function probedPorts(pod: Pod): number[] {
  return pod.spec.containers.flatMap((container) => {
    const probes = [container.livenessProbe, container.readinessProbe, container.startupProbe] as readonly (Probe | null | undefined)[];
    return probes.flatMap((probe) => {
      const port = probe?.httpGet?.port ?? probe?.tcpSocket?.port ?? probe?.grpc?.port;
      if (typeof port === "number") return [port];
      return (container.ports ?? []).filter(({ name }) => name === port && port !== undefined).map(({ containerPort }) => containerPort);
    });
  });
}

interface Probe {
  readonly httpGet?: { readonly port?: number | string };
  readonly tcpSocket?: { readonly port?: number | string };
  readonly grpc?: { readonly port?: number };
}
