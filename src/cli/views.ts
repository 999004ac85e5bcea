// Where a view's objects come from: a folder of manifests, with the cluster that they would become, or the lab.
import { FairleadError } from "../base/index.ts";
import { assumeCluster, type ClusterSnapshot, snapshotOf, sourceFromKubernetes } from "../cluster/index.ts";
import { type DnsAnswers, joinBooks, type NameBook, NO_NAMES, nameBook } from "../policy/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { desiredWorld, type Observation, observedWorld, type TraceOptions, type TraceResult, trace } from "../trace/index.ts";
import { callLab, type LabFlags } from "./lab-client.ts";
import { loadManifests } from "./manifests.ts";

export interface ViewFlags extends LabFlags {
  readonly manifests?: readonly string[];
  /** Of another cluster than a lab. */
  readonly kubeconfig?: string;
}

/** How long another cluster may take to tell all that is asked for, in milliseconds. */
const CLUSTER_WAIT_MS = 30_000;

/** The snapshot that a view is calculated from. With --manifests no lab, no cluster and no root is needed. */
export async function viewSnapshot(flags: ViewFlags): Promise<ClusterSnapshot> {
  if (flags.manifests?.length) return snapshotOf(assumeCluster(loadManifests(flags.manifests)));
  if (flags.kubeconfig !== undefined) return readCluster(flags.kubeconfig);
  return snapshotOf(await callLab<KubeObject[]>(flags, "snapshot"));
}

/** What a lab's pods were answered about the names that policies speak of; of other views nothing is known. */
export async function viewNames(flags: ViewFlags): Promise<NameBook> {
  if (flags.manifests?.length || flags.kubeconfig !== undefined) return NO_NAMES;
  return joinBooks(Object.values(await callLab<Record<string, DnsAnswers>>(flags, "dnsAnswers")).map(nameBook));
}

/** Every object that the network is calculated from, read once. @throws FairleadError `cluster-unread`, KubeconfigError */
async function readCluster(kubeconfig: string): Promise<ClusterSnapshot> {
  let problem = "it did not answer";
  const source = sourceFromKubernetes({
    kubeconfig,
    onProblem: (says) => {
      problem = says;
    },
  });
  try {
    return await new Promise<ClusterSnapshot>((resolve, reject) => {
      const give = () =>
        reject(
          new FairleadError("cluster-unread", `the cluster could not be read: ${problem}`, {
            where: kubeconfig,
            remedy: "check the server, and that its kinds may be listed",
          }),
        );
      const timer = setTimeout(give, CLUSTER_WAIT_MS);
      const done = (snapshot: ClusterSnapshot) => {
        clearTimeout(timer);
        resolve(snapshot);
      };
      source.subscribe(done);
      if (source.synced) done(source.snapshot);
    });
  } finally {
    source.close();
  }
}

export interface TraceFlags extends ViewFlags {
  /** Walk through what should be instead of what the kernels hold. */
  readonly desired?: boolean;
}

/** A trace through what the lab's kernels hold now; with --manifests or --desired through what they should hold. */
export async function viewTrace(flags: TraceFlags, options: Omit<TraceOptions, "world">): Promise<TraceResult> {
  const snapshot = await viewSnapshot(flags);
  if (flags.manifests?.length || flags.desired) return trace(snapshot, { ...options, world: desiredWorld(snapshot) });
  // Only the nodes on the way are read, and which these are is seen by walking.
  let nodes = nodesOf(snapshot, trace(snapshot, options));
  for (;;) {
    const observation = await callLab<Observation>(flags, "observe", { nodes });
    const result = trace(snapshot, { ...options, world: observedWorld(snapshot, observation) });
    const more = nodesOf(snapshot, result).filter((name) => !nodes.includes(name));
    if (more.length === 0) return result;
    nodes = [...nodes, ...more];
  }
}

function nodesOf(snapshot: ClusterSnapshot, { hops }: TraceResult): string[] {
  return [...new Set(hops.map(({ node }) => node))].filter((name) => snapshot.nodes.get(name));
}
