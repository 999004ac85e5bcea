// When a lab is ready: every pod runs and is ready, every workload has what it asks for, every node is in sync.
import { TYPE } from "../dns/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import type { Lab } from "./lab.ts";
import { REFS } from "./refs.ts";
import { askDns } from "./resolve.ts";
import { CLUSTER } from "./system.ts";

export interface Readiness {
  readonly ready: boolean;
  /** What is not there yet, in words. */
  readonly missing: readonly string[];
  readonly pods: { readonly ready: number; readonly all: number };
}

/** Looks once. */
export function readiness(lab: Lab): Readiness {
  const missing: string[] = [];
  const counts = { ready: 0, all: 0 };
  for (const pod of lab.snapshot.pods.values()) {
    if (pod.metadata.deletionTimestamp !== undefined || pod.status?.phase === "Succeeded" || isTriedAgain(pod)) continue;
    counts.all++;
    const why = whyNotReady(pod);
    if (why === undefined) counts.ready++;
    else missing.push(`pod ${pod.metadata.namespace}/${pod.metadata.name}: ${why}`);
  }
  for (const [ref, wanted, have] of [
    [REFS.deployments, "replicas", "readyReplicas"],
    [REFS.statefulSets, "replicas", "readyReplicas"],
    [REFS.replicationControllers, "replicas", "readyReplicas"],
    [REFS.daemonSets, undefined, "numberReady"],
  ] as const) {
    for (const object of lab.objects.list<KubeObject & { spec: Record<string, number>; status?: Record<string, number> }>(ref).items) {
      const asked = wanted === undefined ? (object.status?.desiredNumberScheduled ?? 1) : (object.spec[wanted] ?? 1);
      const { observedGeneration = Number.POSITIVE_INFINITY } = object.status ?? {};
      if (observedGeneration < (object.metadata.generation ?? 0))
        missing.push(`${object.kind} ${object.metadata.namespace}/${object.metadata.name}: its last change has not been looked at`);
      else if ((object.status?.[have] ?? 0) < asked)
        missing.push(
          `${object.kind} ${object.metadata.namespace}/${object.metadata.name}: ${object.status?.[have] ?? 0} of ${asked} ready`,
        );
    }
  }
  for (const job of lab.objects.list<KubeObject & { spec: { suspend?: boolean }; status?: JobStatus }>(REFS.jobs).items) {
    if (job.spec.suspend) continue;
    const ended = job.status?.conditions?.find(({ type }) => type === "Complete" || type === "Failed");
    if (ended?.type === "Failed") missing.push(`Job ${job.metadata.namespace}/${job.metadata.name}: failed`);
    else if (!ended) missing.push(`Job ${job.metadata.namespace}/${job.metadata.name}: not complete yet`);
  }
  const revision = lab.snapshot.revision;
  for (const node of lab.nodes.values()) {
    const status = node.agent.status;
    if (!status.ready) missing.push(`${node.name}: ${status.reason ?? "not ready"}`);
    else if (status.revision < revision) missing.push(`${node.name}: not at the newest revision yet`);
    if (node.unheard !== undefined) missing.push(`${node.name}: the API server does not answer: ${node.unheard}`);
  }
  missing.push(...lab.plane.missing);
  return { ready: missing.length === 0 && lab.controllersIdle, missing, pods: counts };
}

interface JobStatus {
  readonly conditions?: readonly { readonly type: string }[];
}

/** A Job's pod that failed: the Job makes another, or fails itself. */
function isTriedAgain(pod: Pod): boolean {
  return pod.status?.phase === "Failed" && (pod.metadata.ownerReferences?.some((owner) => owner.kind === "Job") ?? false);
}

/** Why a pod is not ready; undefined if it is. */
export function whyNotReady(pod: Pod): string | undefined {
  if (pod.status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True")) return undefined;
  const unscheduled = pod.status?.conditions?.find((condition) => condition.type === "PodScheduled" && condition.status === "False");
  if (unscheduled) return unscheduled.message ?? "no node takes it";
  const waiting = pod.status?.containerStatuses
    ?.map((container) => (container.state as { waiting?: { reason?: string; message?: string } } | undefined)?.waiting)
    .find((state) => state);
  if (waiting) return `${waiting.reason ?? "waiting"}${waiting.message ? `: ${waiting.message}` : ""}`;
  if (pod.status?.phase === "Running") return pod.status.conditions?.find(({ type }) => type === "Ready")?.message ?? "Running, not ready";
  return pod.status?.message ?? pod.status?.reason ?? pod.status?.phase ?? "Pending";
}

export interface WaitOptions {
  readonly timeoutMs: number;
  readonly progress: (text: string) => void;
  readonly signal: AbortSignal;
}

const LOOK_EVERY_MS = 15;

/** Waits until the lab is ready and its DNS answers; gives the last look. */
export async function waitReady(lab: Lab, options: WaitOptions): Promise<Readiness> {
  const end = performance.now() + options.timeoutMs;
  let look = readiness(lab);
  while (!look.ready && performance.now() < end && !options.signal.aborted) {
    options.progress(`waiting for pods: ${look.pods.ready} of ${look.pods.all} ready`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS * (look.pods.all > 100 ? 10 : 1)));
    look = readiness(lab);
  }
  if (!look.ready) return look;
  options.progress("asking the cluster's DNS");
  // From one node after the other: policies may keep some from the servers, but never a node from its own pods.
  const nodes = [...lab.nodes.values()];
  for (let turn = 0; performance.now() < end && !options.signal.aborted; turn++) {
    const node = nodes[turn % nodes.length];
    if (!node) return look;
    const { dnsAddress } = lab.networks;
    const type = dnsAddress.includes(":") ? TYPE.AAAA : TYPE.A;
    const answer = await askDns(node.namespace, dnsAddress, `kubernetes.default.svc.${CLUSTER.domain}`, type, 500);
    if (answer?.answers.length) return look;
  }
  return { ...look, ready: false, missing: ["the cluster's DNS does not answer"] };
}
