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

/** Where events are written. An event that can't be written is let go. */
export interface EventSink {
  create(event: KubeObject): void;
  /** The event has happened again. */
  change(namespace: string, name: string, change: (event: KubeObject) => KubeObject): void;
}

/** A store as a sink. */
export function eventsInStore(store: ObjectStore): EventSink {
  const attempt = (write: () => void) => {
    try {
      write();
    } catch {
      // The namespace may be going: what happened there is of no interest any more.
    }
  };
  return {
    create: (event) => attempt(() => store.create(EVENTS, event)),
    change: (namespace, name, change) =>
      attempt(() => {
        const before = store.get(EVENTS, namespace, name);
        if (before) store.update(EVENTS, change(before));
      }),
  };
}

/** `component`: who notes. The same again is counted. */
export function eventRecorder(sink: EventSink, component: string, now: () => string): NoteEvent {
  const known = new Map<string, { readonly name: string; count: number }>();
  let serial = Date.now();
  return (object, { type, reason, message }) => {
    const { name, namespace = "default", uid = "", resourceVersion } = object.metadata;
    const key = `${uid} ${type} ${reason} ${message}`;
    const time = now();
    const before = known.get(key);
    if (before) {
      before.count++;
      const { count } = before;
      sink.change(namespace, before.name, (event) => ({ ...event, count, lastTimestamp: time }) as Event);
      return;
    }
    const made = `${name.slice(0, 230)}.${(serial++).toString(16)}`;
    sink.create({
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
    known.set(key, { name: made, count: 1 });
    if (known.size > REMEMBERED) known.delete(known.keys().next().value ?? "");
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
