// Events about objects: what is wrong with one is told where `kubectl describe` shows it, once as long as it is so.
import { createHash } from "node:crypto";
import { messageOf } from "../base/index.ts";
import type { ClusterWriter } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";

/** Something that is wrong with an object. */
export interface Complaint {
  readonly object: KubeObject;
  /** One word. */
  readonly reason: string;
  readonly message: string;
  /** Milliseconds that it must stand before it is told; what is in the making is not at fault. */
  readonly patience: number;
}

export interface EventRecorder {
  /** All that is wrong now. What was so before is not told again; what comes back is counted. */
  follow(complaints: readonly Complaint[]): void;
  close(): void;
}

export interface RecorderOptions {
  readonly writer: ClusterWriter;
  readonly log: (message: string) => void;
}

const EVENTS = { group: "", version: "v1", plural: "events" } as const;
const COMPONENT = "fairlead";
const LONGEST_MESSAGE = 1024;
/** So many wait to be written at most: a cluster full of faults is told of some. */
const MOST_WAITING = 500;

interface Standing {
  readonly complaint: Complaint;
  readonly since: number;
  told: boolean;
}

/** Records in the order in which faults are found, one write at a time. */
export function createEventRecorder({ writer, log }: RecorderOptions): EventRecorder {
  let standing = new Map<string, Standing>();
  const waiting: Complaint[] = [];
  let writing = false;
  let timer: NodeJS.Timeout | undefined;

  function look(): void {
    clearTimeout(timer);
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const each of standing.values()) {
      if (each.told) continue;
      const due = each.since + each.complaint.patience;
      if (due > now) next = Math.min(next, due);
      else if (waiting.length < MOST_WAITING) {
        each.told = true;
        waiting.push(each.complaint);
      }
    }
    if (next < Number.POSITIVE_INFINITY) timer = setTimeout(look, next - now + 1).unref();
    void write();
  }

  async function write(): Promise<void> {
    if (writing) return;
    writing = true;
    for (let complaint = waiting.shift(); complaint; complaint = waiting.shift()) {
      try {
        await record(writer, complaint);
      } catch (error) {
        log(`event for ${complaint.object.metadata.name}: ${messageOf(error)}`);
      }
    }
    writing = false;
  }

  return {
    follow(complaints) {
      const now = performance.now();
      standing = new Map(
        complaints.map((complaint) => {
          const key = nameOf(complaint);
          return [key, standing.get(key) ?? { complaint, since: now, told: false }];
        }),
      );
      look();
    },
    close: () => clearTimeout(timer),
  };
}

/** One name for one fault of one object, so that two who see the same write the same Event. */
function nameOf({ object, reason, message }: Complaint): string {
  const digest = createHash("sha256").update(`${object.metadata.uid} ${reason} ${message}`).digest("hex");
  return `${object.metadata.name}.${digest.slice(0, 16)}`;
}

async function record(writer: ClusterWriter, complaint: Complaint): Promise<void> {
  const { object, reason, message } = complaint;
  const { namespace = "default", name, uid, resourceVersion } = object.metadata;
  const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const place = { resource: EVENTS, namespace, name: nameOf(complaint) };
  const event: KubeObject & Record<string, unknown> = {
    apiVersion: "v1",
    kind: "Event",
    metadata: { namespace, name: place.name },
    involvedObject: { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid, resourceVersion },
    type: "Warning",
    reason,
    message: message.slice(0, LONGEST_MESSAGE),
    source: { component: COMPONENT },
    reportingComponent: COMPONENT,
    reportingInstance: "",
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
  if (await writer.create(place, event)) return;
  const before = (await writer.get(place)) as { readonly count?: unknown } | undefined;
  const count = typeof before?.count === "number" ? before.count + 1 : 2;
  await writer.patch(place, { count, lastTimestamp: now });
}
