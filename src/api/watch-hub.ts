// Who hears of what: the bounded history of changes, and the watchers per resource.
import { messageOf } from "../base/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { ApiError } from "./errors.ts";
import type { ObjectFilter } from "./selectors.ts";
import type { WatchEvent } from "./store.ts";

/** One committed change. */
export interface Change {
  readonly resource: string;
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: KubeObject;
  readonly previous: KubeObject | undefined;
}

interface Watcher {
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly filter: ObjectFilter | undefined;
  readonly listener: (event: WatchEvent) => void;
  /** Changes up to this version are already known to it. */
  after: number;
}

function eventFor(change: Change, watcher: Watcher): WatchEvent | undefined {
  if (watcher.namespace !== undefined && watcher.namespace !== (change.object.metadata.namespace ?? "")) return undefined;
  const { filter } = watcher;
  if (!filter) return { type: change.type, object: change.object };
  // An object may move into or out of a selector: that reads as ADDED or DELETED.
  const now = change.type !== "DELETED" && filter(change.object);
  const before = change.previous !== undefined && filter(change.previous);
  if (now) return { type: before ? "MODIFIED" : "ADDED", object: change.object };
  return before ? { type: "DELETED", object: change.object } : undefined;
}

export class WatchHub {
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #capacity: number;
  #history: Change[] = [];
  #floor: number;
  #queue: Change[] = [];
  #delivering = false;

  /** `floor`: the version at which history begins; older ones cannot be resumed. `capacity`: so many changes can be. */
  constructor(floor: number, capacity: number) {
    this.#floor = floor;
    this.#capacity = capacity;
  }

  /** Tells watchers in order; a change made by a listener is told after the present one. */
  publish(change: Change): void {
    this.#history.push(change);
    // In steps: taking off each by itself would move all the others.
    const step = Math.max(1, this.#capacity >> 4);
    if (this.#history.length >= this.#capacity + step) this.#floor = this.#history.splice(0, step).at(-1)?.version ?? this.#floor;
    this.#queue.push(change);
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let at = 0; at < this.#queue.length; at += 1) this.#deliver(this.#queue[at] as Change);
    } finally {
      this.#queue = [];
      this.#delivering = false;
    }
  }

  /** @throws ApiError 410 if `after` lies before the history */
  watch(watcher: Watcher): () => void {
    if (watcher.after < this.#floor) {
      throw new ApiError("Expired", `too old resource version: ${watcher.after} (${this.#floor})`);
    }
    let low = 0;
    let high = this.#history.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#history[middle]?.version ?? 0) <= watcher.after) low = middle + 1;
      else high = middle;
    }
    const missed = this.#history.slice(low);
    watcher.after = Math.max(watcher.after, missed.at(-1)?.version ?? 0);
    let watchers = this.#watchers.get(watcher.resource);
    if (!watchers) {
      watchers = new Set();
      this.#watchers.set(watcher.resource, watchers);
    }
    watchers.add(watcher);
    for (const change of missed) if (change.resource === watcher.resource) this.#tell(change, watcher);
    return () => {
      watchers.delete(watcher);
    };
  }

  #deliver(change: Change): void {
    for (const watcher of [...(this.#watchers.get(change.resource) ?? [])]) {
      if (change.version > watcher.after && this.#watchers.get(change.resource)?.has(watcher)) this.#tell(change, watcher);
    }
  }

  #tell(change: Change, watcher: Watcher): void {
    const event = eventFor(change, watcher);
    if (!event) return;
    try {
      watcher.listener(event);
    } catch (thrown) {
      // The write is committed: a listener's trouble is its own and must not reach the writer or the next listener.
      process.emitWarning(`a watcher of ${change.resource} failed: ${messageOf(thrown)}`, { code: "FAIRLEAD_WATCHER" });
    }
  }
}
