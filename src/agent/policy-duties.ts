// What one for the whole cluster does about policies: whether each was understood, into its status, or into an Event where it has none.
import { messageOf } from "../base/index.ts";
import type { ClusterSnapshot, ClusterSource, ClusterWriter } from "../cluster/index.ts";
import { type PolicyCondition, type PolicyStatus, policyStatuses } from "../policy/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { createEventRecorder } from "./event-recorder.ts";

export interface PolicyDutiesOptions {
  readonly source: ClusterSource;
  readonly writer: ClusterWriter;
  readonly log: (message: string) => void;
  /** Milliseconds that a fault must stand before there is an Event about it. */
  readonly patience?: number;
}

export interface PolicyDuties {
  /** Whether nothing waits to be written. */
  readonly idle: boolean;
  close(): void;
}

interface Condition extends Omit<PolicyCondition, "type"> {
  readonly type: string;
  readonly lastTransitionTime?: string;
  readonly observedGeneration?: number;
}

const RETRY_MS = 1000;
const PATIENCE_MS = 300;

/** Starts the duties. There must be one at a time: see `holdLease`. Statuses are written one after the other. */
export function startPolicyDuties({ source, writer, log, patience = PATIENCE_MS }: PolicyDutiesOptions): PolicyDuties {
  const recorder = createEventRecorder({ writer, log });
  let seen: readonly PolicyStatus[] | undefined;
  let pending = new Map<string, PolicyStatus>();
  let writing = false;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  function follow(snapshot: ClusterSnapshot): void {
    const statuses = policyStatuses(snapshot);
    if (statuses === seen) return;
    seen = statuses;
    pending = new Map(
      statuses
        .filter(isDue)
        .map((status) => [
          `${status.object.apiVersion}/${status.object.kind} ${status.object.metadata.namespace ?? ""}/${status.object.metadata.name}`,
          status,
        ]),
    );
    recorder.follow(
      statuses
        .filter(({ resource, condition }) => !resource && condition.status === "False")
        .map(({ object, condition }) => ({ object, reason: condition.reason, message: condition.message, patience })),
    );
    void write();
  }

  async function write(): Promise<void> {
    if (writing) return;
    writing = true;
    for (let next = pending.entries().next().value; next && !closed; next = pending.entries().next().value) {
      const [key, status] = next;
      if (pending.get(key) === status) pending.delete(key);
      try {
        await writeStatus(writer, status);
      } catch (error) {
        log(`${key}: its status is not written: ${messageOf(error)}`);
        again();
      }
    }
    writing = false;
  }

  function again(): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      seen = undefined;
      if (source.synced) follow(source.snapshot);
    }, RETRY_MS).unref();
  }

  const stop = source.subscribe(follow);
  if (source.synced) follow(source.snapshot);
  return {
    get idle() {
      return !writing && pending.size === 0;
    },
    close() {
      closed = true;
      stop();
      clearTimeout(timer);
      recorder.close();
    },
  };
}

function conditionsOf(object: KubeObject): readonly Condition[] {
  const conditions = (object as { readonly status?: { readonly conditions?: unknown } | null }).status?.conditions;
  return Array.isArray(conditions) ? (conditions as Condition[]) : [];
}

/** What stands there already is not written again. */
function isDue({ object, resource, condition }: PolicyStatus): boolean {
  if (!resource) return false;
  const own = conditionsOf(object).find(({ type }) => type === condition.type);
  return (
    own?.status !== condition.status || own.reason !== condition.reason || own.message !== condition.message || isOutdated(object, own)
  );
}

/** Kinds of network-policy-api say which generation a condition is about. */
function isOutdated({ apiVersion, metadata }: KubeObject, { observedGeneration }: Condition): boolean {
  return saysGeneration(apiVersion) && metadata.generation !== undefined && observedGeneration !== metadata.generation;
}

function saysGeneration(apiVersion: string): boolean {
  return apiVersion.startsWith("policy.networking.k8s.io/");
}

/** Others' conditions stay. If the object has changed meanwhile, nothing is written: the newer one is looked at by itself. */
async function writeStatus(writer: ClusterWriter, { object, resource, condition }: PolicyStatus): Promise<void> {
  if (!resource) return;
  const { namespace, name, resourceVersion, generation } = object.metadata;
  const before = conditionsOf(object);
  const own = before.find(({ type }) => type === condition.type);
  const lastTransitionTime = own?.status === condition.status && own.lastTransitionTime !== undefined ? own.lastTransitionTime : timeNow();
  const observed = saysGeneration(object.apiVersion) && generation !== undefined ? { observedGeneration: generation } : {};
  const conditions = [...before.filter(({ type }) => type !== condition.type), { ...condition, lastTransitionTime, ...observed }];
  const place = { resource, name, ...(namespace === undefined ? {} : { namespace }) };
  await writer.patch(place, { metadata: { resourceVersion }, status: { conditions } }, "status");
}

function timeNow(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, "Z");
}
