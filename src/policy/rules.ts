// The one rule model that every policy language is read into: tiers of ordered policies of ordered rules, as plain data.
import type { Owner } from "../kernel/index.ts";
import type { LabelSelector } from "../resources/index.ts";

export type Direction = "ingress" | "egress";

/** The well-known place of Kubernetes NetworkPolicies among Calico's and the cluster-wide tiers. */
export const DEFAULT_TIER: Tier = { name: "default", order: 1_000_000 };
export const NETWORK_POLICY_ORDER = 1000;

/** Lower order first. */
export interface Tier {
  readonly name: string;
  readonly order: number;
}

/**
 * One policy. Its rules are tried in order; tiers by order, policies within a tier by order, then name and namespace.
 * At a tier's end everything is denied in the directions that some policy of the tier, which selects the pod, isolates.
 */
export interface Policy {
  readonly owner: Owner;
  readonly tier: Tier;
  readonly order: number;
  readonly subject: PodSelection;
  readonly isolates: readonly Direction[];
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
}

/** An empty list of peers or ports matches nothing; "any" matches everything. */
export interface Rule {
  readonly action: "allow" | "deny" | "log" | "pass";
  readonly peers: readonly Peer[] | "any";
  readonly ports: readonly PortMatch[] | "any";
  readonly owner: Owner;
}

export type Peer = ({ readonly kind: "pods" } & PodSelection) | CidrPeer;

/** A block of addresses without its exceptions; canonical text, host bits cleared. */
export interface CidrPeer {
  readonly kind: "cidr";
  readonly cidr: string;
  readonly except: readonly string[];
}

/** Pods by labels, in one namespace by name or in those whose labels match. Host-network pods are never among them. */
export interface PodSelection {
  readonly namespace?: string;
  readonly namespaceSelector?: LabelMatch;
  readonly podSelector: LabelMatch;
}

/** A condition on labels. `selector` is there if it came from Kubernetes' language: the snapshot's index takes that. */
export interface LabelMatch {
  readonly test: LabelTest;
  readonly selector?: LabelSelector;
}

/** `in` is false where the label is absent. */
export type LabelTest =
  | { readonly op: "all" | "any"; readonly of: readonly LabelTest[] }
  | { readonly op: "not"; readonly of: LabelTest }
  | { readonly op: "exists"; readonly key: string }
  | { readonly op: "in"; readonly key: string; readonly values: readonly string[] };

/** Ports of the destination: a range (inclusive), a name resolved on the destination pod, or every port of a protocol. */
export type PortMatch =
  | { readonly protocol: "TCP" | "UDP" | "SCTP"; readonly from: number; readonly to: number }
  | { readonly protocol: "TCP" | "UDP" | "SCTP"; readonly name: string };

/** What a reader made of an object: a policy, and what in it is not valid and how that is treated. */
export interface ReadPolicy {
  readonly policy: Policy;
  readonly remarks: readonly string[];
}
