// Pauses between attempts.

/** Milliseconds before an attempt, from number 1: doubling from `first` up to `most`; half to all of it, so that many do not come back at once. */
export function backOff(first: number, most: number): (attempt: number) => number {
  return (attempt) => Math.min(most, first * 2 ** Math.min(10, attempt - 1)) * (0.5 + Math.random() / 2);
}

/** Resolves after so many milliseconds, or at once when the signal says so. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
