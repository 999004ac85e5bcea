// Runs the command line as a person would, for end-to-end tests: in a state directory of their own.
import { type ExecFileException, execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CLIENTS } from "./clients.ts";

const BIN = fileURLToPath(new URL("../bin/fairlead", import.meta.url));
export const SHOP = fileURLToPath(new URL("../examples/shop", import.meta.url));

export interface Run {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** One place for labs: its command line, and its end. */
export interface Place {
  readonly directory: string;
  fairlead(...words: string[]): Promise<Run>;
  /** As fairlead, of which the exit status must be 0. */
  ok(...words: string[]): Promise<string>;
  json<T>(...words: string[]): Promise<T>;
  run(command: string, words: readonly string[], environment?: Readonly<Record<string, string>>): Promise<Run>;
  close(): Promise<void>;
}

/** A fresh state directory. */
export function makePlace(): Place {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-test-"));
  const run = (command: string, words: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
    new Promise<Run>((resolve) => {
      const options = {
        // kubectl is the machine's own, or the pinned one where there is none.
        env: { ...process.env, PATH: `${process.env.PATH}:${CLIENTS}`, FAIRLEAD_STATE: directory, NO_COLOR: "1", ...environment },
        maxBuffer: 64 << 20,
        timeout: 180_000,
      };
      execFile(command, words, options, (error: ExecFileException | null, out, err) => {
        resolve({ status: error ? (typeof error.code === "number" ? error.code : 255) : 0, out, err });
      });
    });
  const fairlead = (...words: string[]) => run(BIN, words);
  const ok = async (...words: string[]) => {
    const result = await fairlead(...words);
    if (result.status !== 0) throw new Error(`fairlead ${words.join(" ")}: exit status ${result.status}\n${result.out}${result.err}`);
    return result.out;
  };
  return {
    directory,
    run,
    fairlead,
    ok,
    json: async <T>(...words: string[]) => JSON.parse((await fairlead(...words, "-o", "json")).out) as T,
    async close() {
      await ok("lab", "down", "--all");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
