// How a component that runs until it is told ends.
import { messageOf } from "../base/index.ts";

/** Resolves at SIGTERM or Ctrl-C; what nobody caught ends the process with its words. */
export function stopped(component: string): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
    process.on("uncaughtException", (error) => {
      process.stderr.write(`fairlead ${component}: ${messageOf(error)}\n`);
      process.exit(1);
    });
  });
}
