// The resources that the lab itself reads and writes.
import type { ResourceRef } from "../api/index.ts";

const core = (plural: string): ResourceRef => ({ group: "", version: "v1", plural });

export const REFS = {
  namespaces: core("namespaces"),
  nodes: core("nodes"),
  pods: core("pods"),
  services: core("services"),
  configMaps: core("configmaps"),
  secrets: core("secrets"),
  endpointSlices: { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
  replicationControllers: core("replicationcontrollers"),
  leases: { group: "coordination.k8s.io", version: "v1", plural: "leases" },
  jobs: { group: "batch", version: "v1", plural: "jobs" },
  deployments: { group: "apps", version: "v1", plural: "deployments" },
  replicaSets: { group: "apps", version: "v1", plural: "replicasets" },
  daemonSets: { group: "apps", version: "v1", plural: "daemonsets" },
  statefulSets: { group: "apps", version: "v1", plural: "statefulsets" },
  ipPools: { group: "projectcalico.org", version: "v3", plural: "ippools" },
} as const satisfies Record<string, ResourceRef>;
