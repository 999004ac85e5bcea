// How long the fuzz tests go on: FAIRLEAD_FUZZ_SECONDS each. Set it high for a night's run; a failure prints its seed.
import type fc from "fast-check";

const SECONDS = Number(process.env.FAIRLEAD_FUZZ_SECONDS ?? 10);

/** Parameters for fast-check: as many cases as there is time for. */
export function fuzzing(): Pick<fc.Parameters, "numRuns" | "interruptAfterTimeLimit"> {
  return { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: SECONDS * 1000 };
}
