// Clients that are not ours, for end-to-end tests: kubectl and helm, the machine's own or those that scripts/clients.sh brings.
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where scripts/clients.sh leaves its programs. */
export const CLIENTS = fileURLToPath(new URL("../.build/clients", import.meta.url));

export interface Client {
  /** Path of the executable. */
  readonly program: string;
  /** "1.35.2" */
  readonly version: string;
  /** "1.35" */
  readonly minor: string;
}

/** Every kubectl that is here: the machine's own, and the pinned one; the oldest first, one for each minor version. */
export function kubectls(): readonly Client[] {
  const found = [...(process.env.PATH ?? "").split(":"), CLIENTS].map((directory) => join(directory, "kubectl")).filter(isExecutable);
  const clients = new Map<string, Client>();
  for (const program of found) {
    const { stdout } = spawnSync(program, ["version", "--client"], { encoding: "utf8" });
    const [, version, minor] = /Client Version: v((\d+\.\d+)\.\d+)/.exec(stdout ?? "") ?? [];
    if (version && minor && !clients.has(minor)) clients.set(minor, { program, version, minor });
  }
  return [...clients.values()].sort((a, b) => a.minor.localeCompare(b.minor, "en", { numeric: true }));
}

/** The pinned helm; undefined where scripts/clients.sh could not bring it. */
export function helm(): string | undefined {
  const program = join(CLIENTS, "helm");
  return isExecutable(program) ? program : undefined;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return existsSync(file);
  } catch {
    return false;
  }
}
