// Writes that come about, be the server away for a while: per object in their order, the newest of a kind, tried again with pauses.
import { messageOf } from "../../base/index.ts";
import { ApiConflict, KubernetesApiError } from "../errors.ts";
import { pause } from "./pause.ts";

export interface LastingWrites {
  /** Writes to `object` behind what waits for it; a waiting write of the same label is dropped. */
  put(object: string, label: string, write: () => Promise<void>): void;
  /** Whether none waits. */
  readonly idle: boolean;
  close(): void;
}

export interface LastingOptions {
  /** Told of each write that failed. */
  readonly problem: (message: string) => void;
  /** Milliseconds to wait before an attempt, from number 1. */
  readonly pause: (attempt: number) => number;
}

/** So many objects are written at once. */
const AT_ONCE = 16;

type Write = () => Promise<void>;

export function createLastingWrites({ problem, pause: wait }: LastingOptions): LastingWrites {
  const waiting = new Map<string, Map<string, Write>>();
  const turns: (() => void)[] = [];
  const stop = new AbortController();
  let active = 0;

  async function turn(): Promise<void> {
    if (active < AT_ONCE) active++;
    else await new Promise<void>((resolve) => turns.push(resolve));
  }

  function leave(): void {
    const next = turns.shift();
    if (next) next();
    else active--;
  }

  /** One attempt; whether the write is over, one way or the other. */
  async function attempt(object: string, write: Write): Promise<boolean> {
    await turn();
    try {
      if (!stop.signal.aborted) await write();
      return true;
    } catch (error) {
      problem(`${object}: ${messageOf(error)}`);
      return !isPassing(error);
    } finally {
      leave();
    }
  }

  async function run(object: string, writes: Map<string, Write>): Promise<void> {
    let failed = 0;
    for (let [next] = writes; next && !stop.signal.aborted; [next] = writes) {
      const [label, write] = next;
      if (await attempt(object, write)) {
        failed = 0;
        // A newer one may have taken its place meanwhile.
        if (writes.get(label) === write) writes.delete(label);
      } else await pause(wait(++failed), stop.signal);
    }
    waiting.delete(object);
  }

  return {
    put(object, label, write) {
      const writes = waiting.get(object);
      if (writes) {
        writes.delete(label);
        writes.set(label, write);
        return;
      }
      const first = new Map([[label, write]]);
      waiting.set(object, first);
      void run(object, first);
    },
    get idle() {
      return waiting.size === 0;
    },
    close: () => stop.abort(),
  };
}

/** Whether the same may be taken later: the server is away, busy, or others were quicker; also credentials are renewed. */
function isPassing(error: unknown): boolean {
  if (error instanceof ApiConflict) return true;
  if (!(error instanceof KubernetesApiError)) return false;
  return error.status === 0 || error.status === 401 || error.status === 429 || error.status >= 500;
}
