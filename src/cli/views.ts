// Where a view's objects come from: a folder of manifests, with the cluster that they would become, or the lab.
import { assumeCluster, type ClusterSnapshot, snapshotOf } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { callLab, type LabFlags } from "./lab-client.ts";
import { loadManifests } from "./manifests.ts";

export interface ViewFlags extends LabFlags {
  readonly manifests?: readonly string[];
}

/** The snapshot that a view is calculated from. With --manifests no lab, no cluster and no root is needed. */
export async function viewSnapshot(flags: ViewFlags): Promise<ClusterSnapshot> {
  if (flags.manifests?.length) return snapshotOf(assumeCluster(loadManifests(flags.manifests)));
  return snapshotOf(await callLab<KubeObject[]>(flags, "snapshot"));
}
