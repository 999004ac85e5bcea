// A controller's work queue: keys to bring in order, each at most once at a time, tried again with growing pauses.
import { messageOf } from "../../base/index.ts";
import { ApiError } from "../errors.ts";

export interface WorkQueue {
  add(key: string): void;
  readonly idle: boolean;
  close(): void;
}

const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 5000;

/** Calls `work` for every key that was added, after the changes of this moment are in. */
export function createQueue(name: string, work: (key: string) => void, log: (message: string) => void): WorkQueue {
  const waiting = new Set<string>();
  const pauses = new Map<string, number>();
  const timers = new Set<NodeJS.Timeout>();
  let scheduled: NodeJS.Immediate | undefined;
  let closed = false;

  function run(): void {
    scheduled = undefined;
    const keys = [...waiting];
    waiting.clear();
    for (const key of keys) {
      try {
        work(key);
        pauses.delete(key);
      } catch (error) {
        retry(key, error);
      }
    }
  }

  function retry(key: string, error: unknown): void {
    const pause = pauses.get(key) ?? FIRST_PAUSE_MS;
    pauses.set(key, Math.min(LONGEST_PAUSE_MS, pause * 2));
    if (!(error instanceof ApiError) || error.httpCode !== 409) log(`${name} ${key}: ${messageOf(error)}`);
    const timer = setTimeout(() => {
      timers.delete(timer);
      add(key);
    }, pause);
    timers.add(timer.unref());
  }

  function add(key: string): void {
    if (closed) return;
    waiting.add(key);
    scheduled ??= setImmediate(run);
  }

  return {
    add,
    get idle() {
      return waiting.size === 0 && timers.size === 0;
    },
    close() {
      closed = true;
      if (scheduled) clearImmediate(scheduled);
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
