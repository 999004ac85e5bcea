// The resources that the lab itself reads and writes.
import type { ResourceRef } from "../api/index.ts";

const core = (plural: string): ResourceRef => ({ group: "", version: "v1", plural });

export const REFS = {
  namespaces: core("namespaces"),
  nodes: core("nodes"),
  pods: core("pods"),
  services: core("services"),
  deployments: { group: "apps", version: "v1", plural: "deployments" },
  replicaSets: { group: "apps", version: "v1", plural: "replicasets" },
  daemonSets: { group: "apps", version: "v1", plural: "daemonsets" },
  statefulSets: { group: "apps", version: "v1", plural: "statefulsets" },
} as const satisfies Record<string, ResourceRef>;
