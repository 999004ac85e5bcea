// The readers of all languages, by the kinds that they read: one row per kind, in no order that matters.
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { calicoParts } from "./calico/objects.ts";
import { CLUSTER_POLICY_KINDS, readClusterPolicy } from "./cluster-network-policy.ts";
import { readNetworkPolicy } from "./network-policy.ts";
import type { ReadPolicy } from "./rules.ts";

export interface PolicySource {
  readonly part: Part<KubeObject> | undefined;
  readonly read: (object: never) => ReadPolicy;
}

/** The parts of a snapshot that hold policies, each with its reader; the same parts as long as no policy changes. */
export function policySources(snapshot: ClusterSnapshot): readonly PolicySource[] {
  return [
    { part: snapshot.networkPolicies, read: readNetworkPolicy },
    ...CLUSTER_POLICY_KINDS.map((kind) => ({ part: snapshot.others.get(kind), read: readClusterPolicy })),
  ];
}

/** Parts that say something to policies without being policies: tiers. */
export function tierParts(snapshot: ClusterSnapshot): readonly (Part<KubeObject> | undefined)[] {
  return calicoParts(snapshot, ["Tier"]);
}
