// CronJob → a Job at each of its times, as its policy for overlaps says; finished ones are kept up to its limits.
import { Cron } from "croner";
import type { KubeObject } from "../../resources/index.ts";
import { type Controller, type ControllerContext, controllerOf, REF, splitKey } from "./context.ts";
import { watchOwners } from "./owners.ts";
import { ownerReference, writeStatus } from "./pods.ts";
import { createQueue } from "./queue.ts";

interface CronJob extends KubeObject {
  readonly spec: {
    readonly schedule: string;
    readonly timeZone?: string;
    readonly suspend?: boolean;
    readonly concurrencyPolicy?: "Allow" | "Forbid" | "Replace";
    readonly startingDeadlineSeconds?: number;
    readonly successfulJobsHistoryLimit?: number;
    readonly failedJobsHistoryLimit?: number;
    readonly jobTemplate: { readonly metadata?: { readonly labels?: object; readonly annotations?: object }; readonly spec: object };
  };
  readonly status?: { readonly lastScheduleTime?: string };
}

interface Job extends KubeObject {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly completionTime?: string;
  };
}

/** A timer is never set for longer than this: the clock may be changed. */
const LONGEST_MS = 60_000;

/** Keeps the Jobs of CronJobs. `clock`: milliseconds since the epoch. */
export function cronJobController(context: ControllerContext, clock: () => number = Date.now): Controller {
  const timers = new Map<string, NodeJS.Timeout>();
  const queue = createQueue("cronjob", (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    clearTimeout(timers.get(key));
    timers.delete(key);
    const [namespace, name] = splitKey(key);
    const cron = context.store.get<CronJob>(REF.cronJobs, namespace, name);
    if (!cron || cron.metadata.deletionTimestamp !== undefined) return;
    const jobs = context.store
      .list<Job>(REF.jobs, { namespace: namespace ?? "" })
      .items.filter((job) => controllerOf(job) === cron.metadata.uid);
    const active = jobs.filter((job) => endOf(job) === undefined);
    forget(jobs, "Complete", cron.spec.successfulJobsHistoryLimit ?? 3);
    forget(jobs, "Failed", cron.spec.failedJobsHistoryLimit ?? 1);
    const due = cron.spec.suspend ? undefined : dueTime(cron);
    const started = due === undefined ? undefined : start(cron, due, active);
    writeStatus(context, REF.cronJobs, cron, {
      ...cron.status,
      active: [...active, ...(started ? [started] : [])].map(({ apiVersion, kind, metadata }) => ({
        apiVersion,
        kind,
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
      })),
      ...(due === undefined ? {} : { lastScheduleTime: new Date(due).toISOString().replace(/\.\d+Z$/, "Z") }),
    });
    const next = scheduleOf(cron).nextRun(new Date(clock()))?.getTime();
    if (next === undefined || cron.spec.suspend) return;
    const timer = setTimeout(() => queue.add(key), Math.min(LONGEST_MS, Math.max(0, next - clock()) + 5));
    timers.set(key, timer.unref());
  }

  /** The last time of the schedule that has come and has no Job yet. */
  function dueTime(cron: CronJob): number | undefined {
    const last = Date.parse(cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp ?? "");
    const oldest = cron.spec.startingDeadlineSeconds === undefined ? 0 : clock() - cron.spec.startingDeadlineSeconds * 1000;
    const schedule = scheduleOf(cron);
    let due: number | undefined;
    let from = new Date(Math.max(last, oldest, clock() - 24 * 3600 * 1000));
    for (let tries = 0; tries < 1500; tries++) {
      const next = schedule.nextRun(from);
      if (!next || next.getTime() > clock()) break;
      due = next.getTime();
      from = next;
    }
    return due;
  }

  function start(cron: CronJob, due: number, active: readonly Job[]): Job | undefined {
    const policy = cron.spec.concurrencyPolicy ?? "Allow";
    if (policy === "Forbid" && active.length > 0) return undefined;
    if (policy === "Replace")
      for (const job of active)
        context.store.delete(REF.jobs, job.metadata.namespace, job.metadata.name, { propagationPolicy: "Background" });
    const { jobTemplate } = cron.spec;
    const name = `${cron.metadata.name}-${Math.floor(due / 60_000)}`;
    if (context.store.get(REF.jobs, cron.metadata.namespace, name)) return undefined;
    const time = new Date(due).toISOString().replace(/\.\d+Z$/, "Z");
    const job = {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: {
        name,
        ...(cron.metadata.namespace === undefined ? {} : { namespace: cron.metadata.namespace }),
        ...(jobTemplate.metadata?.labels ? { labels: jobTemplate.metadata.labels } : {}),
        annotations: { ...jobTemplate.metadata?.annotations, "batch.kubernetes.io/cronjob-scheduled-timestamp": time },
        ownerReferences: [ownerReference(cron)],
      },
      spec: jobTemplate.spec,
    };
    const made = context.store.create(REF.jobs, job as unknown as Job);
    context.note(cron, { type: "Normal", reason: "SuccessfulCreate", message: `Created job ${name}` });
    return made;
  }

  function forget(jobs: readonly Job[], end: string, keep: number): void {
    const ended = jobs.filter((job) => endOf(job) === end).sort((a, b) => timeOf(b).localeCompare(timeOf(a)));
    for (const job of ended.slice(keep))
      context.store.delete(REF.jobs, job.metadata.namespace, job.metadata.name, { propagationPolicy: "Background" });
  }

  watchOwners(context, REF.cronJobs, [REF.jobs], queue);
  return {
    get idle() {
      return queue.idle;
    },
    close() {
      for (const timer of timers.values()) clearTimeout(timer);
      queue.close();
    },
  };
}

function scheduleOf({ spec }: CronJob): Cron {
  return new Cron(spec.schedule, { timezone: spec.timeZone ?? "Etc/UTC", paused: true });
}

function endOf({ status }: Job): string | undefined {
  return status?.conditions?.find(({ type, status: is }) => is === "True" && (type === "Complete" || type === "Failed"))?.type;
}

function timeOf(job: Job): string {
  return job.status?.completionTime ?? job.metadata.creationTimestamp ?? "";
}
