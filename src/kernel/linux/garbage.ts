// What a large change of the kernel leaves behind in this process: without being asked, V8 keeps it until as much again has gathered.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { trimMemory } from "./libc.ts";

/** Milliseconds after the last large change: more often than not another follows at once. */
const DELAY_MS = 500;

let collect: (() => void) | undefined;
let timer: NodeJS.Timeout | undefined;

/** Collects garbage and gives memory back to the system, once what is under way has come to rest. It takes half a second with a heap of 200 MB. */
export function collectSoon(): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    collect ??= exposedCollector();
    collect();
    trimMemory();
  }, DELAY_MS).unref();
}

/** V8's own `gc`, which Node shows to contexts that are made after the flag is set. As a last resort it also gives up pages that are hardly used. */
function exposedCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as (options: object) => void;
  return () => gc({ type: "major", execution: "sync", flavor: "last-resort" });
}
