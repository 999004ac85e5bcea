// Where a lab keeps its files: one directory per lab, readable by its owner only.
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { FairleadError } from "../base/index.ts";

export interface LabPaths {
  readonly directory: string;
  /** The daemon's Unix socket. */
  readonly socket: string;
  /** Process id and start time of the daemon, for finding one that was killed. */
  readonly daemon: string;
  readonly kubeconfig: string;
  /** The kubeconfig that a person gave, of a cluster that is not the lab's own. */
  readonly given: string;
  /** Says whose objects are the lab's in that cluster. */
  readonly owner: string;
  /** What outlives the lab where that is asked for (--keep): the API's objects, and what makes the server the same. */
  readonly kept: string;
  readonly database: string;
  readonly identity: string;
  readonly log: string;
  node(name: string): string;
  pod(uid: string): string;
}

const KEPT = ".kept";

/** Root of all labs of this user. */
export function labsDirectory(): string {
  if (process.env.FAIRLEAD_STATE) return process.env.FAIRLEAD_STATE;
  if (process.getuid?.() === 0 && !process.env.FAIRLEAD_ROOTLESS) return "/run/fairlead";
  return process.env.XDG_RUNTIME_DIR ? join(process.env.XDG_RUNTIME_DIR, "fairlead") : `/tmp/fairlead-${process.getuid?.() ?? 0}`;
}

const NAME = /^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/;

/** Paths of the lab `name`. @throws FairleadError `bad-name` */
export function labPaths(name: string): LabPaths {
  if (!NAME.test(name)) {
    throw new FairleadError("bad-name", `"${name}" can't name a lab`, { remedy: "use lower case letters, digits and dashes, at most 32" });
  }
  const directory = join(labsDirectory(), name);
  const kept = join(labsDirectory(), `${name}${KEPT}`);
  return {
    directory,
    socket: join(directory, "daemon.sock"),
    daemon: join(directory, "daemon.json"),
    kubeconfig: join(directory, "kubeconfig"),
    given: join(directory, "given-kubeconfig"),
    owner: join(directory, "owner"),
    kept,
    database: join(kept, "api.db"),
    identity: join(kept, "identity.json"),
    log: join(directory, "daemon.log"),
    node: (node) => join(directory, "nodes", node),
    pod: (uid) => join(directory, "pods", uid),
  };
}

/** Makes the lab's directory, closed to others. */
export function makeLabDirectory(paths: LabPaths): void {
  mkdirSync(labsDirectory(), { recursive: true, mode: 0o700 });
  mkdirSync(paths.directory, { recursive: true, mode: 0o700 });
}

/** Names of the labs that have a directory. */
export function listLabs(): string[] {
  return directories().filter((name) => NAME.test(name));
}

/** Names of the labs whose objects are kept. */
export function listKept(): string[] {
  return directories().flatMap((name) =>
    name.endsWith(KEPT) && NAME.test(name.slice(0, -KEPT.length)) ? [name.slice(0, -KEPT.length)] : [],
  );
}

/** What lies there; others may have put theirs beside the labs'. */
function directories(): string[] {
  try {
    return readdirSync(labsDirectory(), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .sort();
  } catch {
    return [];
  }
}
