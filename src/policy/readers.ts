// The readers of all languages, by the kinds that they read: one row per kind, in no order that matters.
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { calicoParts } from "./calico/objects.ts";
import { readCalicoPolicy } from "./calico/policy.ts";
import { CILIUM_POLICY_KINDS, readCiliumPolicy } from "./cilium/policy.ts";
import { CLUSTER_POLICY_KINDS, readClusterPolicy } from "./cluster-network-policy.ts";
import { readNetworkPolicy, readStagedPolicy } from "./network-policy.ts";
import type { ReadPolicy } from "./rules.ts";

const CALICO_KINDS = [
  "NetworkPolicy",
  "GlobalNetworkPolicy",
  "StagedNetworkPolicy",
  "StagedGlobalNetworkPolicy",
  "StagedKubernetesNetworkPolicy",
];

export interface PolicySource {
  readonly part: Part<KubeObject> | undefined;
  readonly read: (object: never) => ReadPolicy;
}

/** The parts of a snapshot that hold policies, each with its reader; the same parts as long as no policy changes. */
export function policySources(snapshot: ClusterSnapshot): readonly PolicySource[] {
  return [
    { part: snapshot.networkPolicies, read: readNetworkPolicy },
    ...CLUSTER_POLICY_KINDS.map((kind) => ({ part: snapshot.others.get(kind), read: readClusterPolicy })),
    ...CILIUM_POLICY_KINDS.map((kind) => ({ part: snapshot.others.get(kind), read: readCiliumPolicy })),
    ...calicoParts(snapshot, CALICO_KINDS).map((part, at) => ({
      part,
      read: CALICO_KINDS[at] === "StagedKubernetesNetworkPolicy" ? readStagedPolicy : readCalicoPolicy,
    })),
  ];
}

/** Parts that Calico's tiers are read from. */
export function tierParts(snapshot: ClusterSnapshot): readonly (Part<KubeObject> | undefined)[] {
  return calicoParts(snapshot, ["Tier"]);
}
