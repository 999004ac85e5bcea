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

export interface Event extends KubeObject {
  readonly count: number;
  readonly lastTimestamp: string;
  readonly [field: string]: unknown;
}

/** Where events are written. An event that can't be written is let go. */
export interface EventSink {
  /** Makes the event; where it is there already, it has happened again: its count and last time are these. */
  put(event: Event): void;
}

/** What an event that has happened again becomes. */
export function countedUp(before: Event, { count, lastTimestamp }: Event): Event {
  return { ...before, count, lastTimestamp };
}

/** A store as a sink. */
export function eventsInStore(store: ObjectStore): EventSink {
  return {
    put(event) {
      try {
        const before = store.get<Event>(EVENTS, event.metadata.namespace, event.metadata.name);
        if (before) store.update(EVENTS, countedUp(before, event));
        else store.create(EVENTS, event);
      } catch {
        // The namespace may be going: what happened there is of no interest any more.
      }
    },
  };
}

/** `component`: who notes. The same again is counted. */
export function eventRecorder(sink: EventSink, component: string, now: () => string): NoteEvent {
  const known = new Map<string, Event>();
  let serial = Date.now();
  return (object, { type, reason, message }) => {
    const { name, namespace = "default", uid = "", resourceVersion } = object.metadata;
    const key = `${uid} ${type} ${reason} ${message}`;
    const time = now();
    const before = known.get(key);
    const event: Event = before
      ? { ...before, count: before.count + 1, lastTimestamp: time }
      : {
          apiVersion: "v1",
          kind: "Event",
          metadata: { name: `${name.slice(0, 230)}.${(serial++).toString(16)}`, namespace },
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
        };
    sink.put(event);
    known.set(key, event);
    if (known.size > REMEMBERED) known.delete(known.keys().next().value ?? "");
  };
}

/** Takes away events whose time is over. */
export function sweepEvents(store: ObjectStore, nowMs: number): void {
  const oldest = nowMs - LIFE_SECONDS * 1000;
  for (const event of store.list<KubeObject & { readonly lastTimestamp?: string }>(EVENTS).items) {
    const time = Date.parse(event.lastTimestamp ?? event.metadata.creationTimestamp ?? "");
    if (time < oldest) store.delete(EVENTS, event.metadata.namespace, event.metadata.name);
  }
}
