// Job → pods that run to their end: as many at a time and in all as it asks for; failed ones are tried again, within its limit.
import { isReady, type KubeObject, type Pod, type PodTemplate } from "../../resources/index.ts";
import { type Controller, type ControllerContext, REF, splitKey } from "./context.ts";
import { watchOwners } from "./owners.ts";
import { BURST, createPod, writeStatus } from "./pods.ts";
import { createQueue } from "./queue.ts";

interface Job extends KubeObject {
  readonly spec: {
    readonly parallelism?: number;
    readonly completions?: number;
    readonly backoffLimit?: number;
    readonly completionMode?: string;
    readonly suspend?: boolean;
    readonly template: PodTemplate;
  };
  readonly status?: { readonly startTime?: string; readonly conditions?: readonly { readonly type: string }[] };
}

const INDEX = "batch.kubernetes.io/job-completion-index";

/** Runs Jobs. Their pods stay when they have ended, as they do in a cluster. */
export function jobController(context: ControllerContext): Controller {
  const queue = createQueue("job", (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace, name] = splitKey(key);
    const job = context.store.get<Job>(REF.jobs, namespace, name);
    if (!job || job.metadata.deletionTimestamp !== undefined || isFinished(job)) return;
    const pods = context.pods.ownedBy(job.metadata.uid);
    const succeeded = pods.filter((pod) => pod.status?.phase === "Succeeded");
    const failed = pods.filter((pod) => pod.status?.phase === "Failed");
    const active = pods.filter((pod) => !succeeded.includes(pod) && !failed.includes(pod) && pod.metadata.deletionTimestamp === undefined);
    // Without a number of completions, the first success ends it (a work queue).
    const wanted = job.spec.completions ?? 1;
    const complete = succeeded.length >= wanted;
    const exhausted = failed.length > (job.spec.backoffLimit ?? 6);
    if (!complete && !exhausted && !job.spec.suspend) {
      const left = job.spec.completions === undefined ? (job.spec.parallelism ?? 1) : wanted - succeeded.length;
      const free = freeIndexes(job, [...succeeded, ...active]);
      const most = Math.min(job.spec.parallelism ?? 1, left);
      for (let i = active.length; i < Math.min(most, active.length + BURST); i++) start(job, free.next().value);
      if (most - active.length > BURST) queue.add(key);
    }
    report(job, { active, succeeded, failed, complete, exhausted });
  }

  function start(job: Job, index: number | undefined): void {
    const { name, uid = "" } = job.metadata;
    const labels = {
      "batch.kubernetes.io/job-name": name,
      "batch.kubernetes.io/controller-uid": uid,
      "job-name": name,
      ...(job.spec.completionMode === "Indexed" && index !== undefined ? { [INDEX]: String(index) } : {}),
    };
    createPod(context, job, job.spec.template, { labels });
  }

  interface Count {
    readonly active: readonly Pod[];
    readonly succeeded: readonly Pod[];
    readonly failed: readonly Pod[];
    readonly complete: boolean;
    readonly exhausted: boolean;
  }

  function report(job: Job, count: Count): void {
    const now = context.now();
    const condition = (type: string, reason: string) => ({ type, status: "True", reason, lastTransitionTime: now });
    writeStatus(context, REF.jobs, job, {
      startTime: job.status?.startTime ?? now,
      active: count.active.length,
      ready: count.active.filter(isReady).length,
      succeeded: count.succeeded.length,
      failed: count.failed.length,
      ...(count.complete ? { completionTime: now, conditions: [condition("Complete", "CompletionsReached")] } : {}),
      ...(count.exhausted && !count.complete ? { conditions: [condition("Failed", "BackoffLimitExceeded")] } : {}),
    });
  }

  watchOwners(context, REF.jobs, [REF.pods], queue);
  return queue;
}

/** The indexes of an Indexed Job that none of the pods has. */
function* freeIndexes(job: Job, pods: readonly Pod[]): Generator<number, undefined> {
  const taken = new Set(pods.map((pod) => pod.metadata.labels?.[INDEX]));
  for (let index = 0; index < (job.spec.completions ?? 1); index++) if (!taken.has(String(index))) yield index;
}

function isFinished(job: Job): boolean {
  return job.status?.conditions?.some((condition) => condition.type === "Complete" || condition.type === "Failed") ?? false;
}
