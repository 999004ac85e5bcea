// A source that the directive itself opens, shared by all that name the same cluster: a reload lists nothing again.
import { readFileSync } from "node:fs";
import { type ClusterSource, inClusterAccess, readKubeconfig, sourceFromKubernetes } from "../../../cluster/index.ts";
import { DNS_RESOURCES, slimObject } from "./watched.ts";

interface Shared {
  readonly source: ClusterSource;
  readonly problems: Set<(message: string) => void>;
  users: number;
}

const open = new Map<string, Shared>();

export interface OwnSource {
  readonly source: ClusterSource;
  release(): void;
}

/** The cluster of a kubeconfig file, or that of this pod. @throws KubeconfigError, and the system's errors for the file */
export function openOwnSource(
  file: { readonly path: string; readonly context?: string | undefined } | undefined,
  problem: (message: string) => void,
): OwnSource {
  // By what the file says, so that other credentials are another source.
  const key = file ? `${file.path} ${file.context ?? ""} ${readFileSync(file.path, "utf8")}` : "in the cluster";
  let shared = open.get(key);
  if (!shared) {
    const problems = new Set<(message: string) => void>();
    const onProblem = (message: string) => {
      for (const each of problems) each(message);
    };
    const kubeconfig = file ? readKubeconfig(file.path, file.context) : inClusterAccess();
    shared = { source: sourceFromKubernetes({ kubeconfig, resources: DNS_RESOURCES, keep: slimObject, onProblem }), problems, users: 0 };
    open.set(key, shared);
  }
  const held = shared;
  held.users++;
  held.problems.add(problem);
  const release = () => {
    if (!held.problems.delete(problem)) return;
    held.users--;
    if (held.users > 0) return;
    held.source.close();
    open.delete(key);
  };
  return { source: held.source, release };
}
