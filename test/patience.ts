// Waiting in tests, in time that this process was awake: a machine that stands still for seconds uses up nobody's patience.
// For one answer there is `deadline` in src/base.
import { fail } from "node:assert/strict";

/** How long what should happen may take. Only who waits in vain waits so long. */
export const PATIENCE_MS = 60_000;
/** Between two looks. */
const REST_MS = 20;
/** Longer than this between two looks, the machine stood still or a question was answered: not all of it counts. */
const MOST_MS = 1000;

/** Asks again until the answer is yes; false after the time. */
export async function eventually(question: () => boolean | Promise<boolean>, milliseconds = PATIENCE_MS): Promise<boolean> {
  let left = milliseconds;
  for (let last = performance.now(); ; ) {
    if (await question()) return true;
    if (left <= 0) return false;
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    const now = performance.now();
    left -= Math.min(now - last, MOST_MS);
    last = now;
  }
}

/** Waits until it holds. @throws AssertionError if it never does, with what is said then */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string) = "it came to that",
  milliseconds = PATIENCE_MS,
): Promise<void> {
  if (!(await eventually(holds, milliseconds))) fail(`never: ${typeof what === "string" ? what : what()}`);
}
