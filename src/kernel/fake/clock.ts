// A clock that tests turn by hand.
import type { ReconcilerClock } from "../reconcile.ts";

export interface HandClock extends ReconcilerClock {
  /** Lets time pass, ringing what falls due on the way; between, what is queued (events) is delivered. */
  pass(milliseconds: number): Promise<void>;
}

export function createHandClock(): HandClock {
  let now = 0;
  const timers = new Set<{ readonly at: number; readonly action: () => void }>();
  return {
    now: () => now,
    after: (milliseconds, action) => {
      const timer = { at: now + milliseconds, action };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    pass: async (milliseconds) => {
      const end = now + milliseconds;
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve));
        const due = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!due) break;
        timers.delete(due);
        now = Math.max(now, due.at);
        due.action();
      }
      now = end;
    },
  };
}
