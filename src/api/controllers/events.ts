// Events: what controllers, scheduler and kubelet did, as `kubectl describe` and `kubectl events` show it.
import type { KubeObject } from "../../resources/index.ts";
import type { ObjectStore } from "../store.ts";

const EVENTS = { group: "", version: "v1", plural: "events" } as const;
/** Seconds that an event is kept, as API servers do by default. */
const LIFE_SECONDS = 3600;
/** So many objects at most have their last events remembered, to count what comes again. */
const REMEMBERED = 4096;

export interface EventNote {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

/** Notes what happened to an object; the same again is counted. */
export type NoteEvent = (object: KubeObject, note: EventNote) => void;

interface Event extends KubeObject {
  readonly count?: number;
  readonly lastTimestamp?: string;
}

/** `component`: who notes. An event that can't be written is let go. */
export function eventRecorder(store: ObjectStore, component: string, now: () => string): NoteEvent {
  const known = new Map<string, string>();
  let serial = Date.now();
  return (object, { type, reason, message }) => {
    const { name, namespace = "default", uid = "", resourceVersion } = object.metadata;
    const key = `${uid} ${type} ${reason} ${message}`;
    const time = now();
    try {
      const before = known.has(key) ? store.get<Event>(EVENTS, namespace, known.get(key) ?? "") : undefined;
      if (before) {
        store.update(EVENTS, { ...before, count: (before.count ?? 1) + 1, lastTimestamp: time } as Event);
        return;
      }
      const made = `${name.slice(0, 230)}.${(serial++).toString(16)}`;
      store.create(EVENTS, {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name: made, namespace },
        involvedObject: {
          apiVersion: object.apiVersion,
          kind: object.kind,
          name,
          namespace: object.metadata.namespace,
          uid,
          resourceVersion,
        },
        type,
        reason,
        message,
        source: { component },
        reportingComponent: component,
        reportingInstance: "",
        count: 1,
        firstTimestamp: time,
        lastTimestamp: time,
      } as unknown as Event);
      known.set(key, made);
      if (known.size > REMEMBERED) known.delete(known.keys().next().value ?? "");
    } catch {
      // The namespace may be going: what happened there is of no interest any more.
    }
  };
}

/** Takes away events whose time is over. */
export function sweepEvents(store: ObjectStore, nowMs: number): void {
  const oldest = nowMs - LIFE_SECONDS * 1000;
  for (const event of store.list<Event>(EVENTS).items) {
    const time = Date.parse(event.lastTimestamp ?? event.metadata.creationTimestamp ?? "");
    if (time < oldest) store.delete(EVENTS, event.metadata.namespace, event.metadata.name);
  }
}
