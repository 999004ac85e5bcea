// The one rule model that every policy language is read into: tiers of ordered policies of ordered rules, as plain data.
//
//   tiers by order ──▶ policies by order, name, namespace, kind ──▶ rules as written
//   allow, deny: the verdict      log: noted, then the next rule      pass: the next tier
//   a tier's end: the tier's own (deny or pass), if a policy of it isolates the end point in that direction
//   after the last tier: allowed
//
// A language in which deny wins (Cilium) is two policies: what it denies at DENY_FIRST, what it allows at
// NETWORK_POLICY_ORDER. What the default is (enableDefaultDeny, types, policyTypes) is `isolates`.
import type { Family } from "../base/index.ts";
import type { Owner } from "../kernel/index.ts";

export type Direction = "ingress" | "egress";

/** Key: name. Lower order first. */
export interface Tier {
  readonly name: string;
  readonly order: number;
  /** What befalls a packet that no rule of the tier decided, while some policy of the tier isolates the end point. */
  readonly end: "deny" | "pass";
}

/** The tiers that are always there; Calico's Tier objects stand among them. */
export const ADMIN_TIER: Tier = { name: "kube-admin", order: 1000, end: "pass" };
export const DEFAULT_TIER: Tier = { name: "default", order: 1_000_000, end: "deny" };
export const BASELINE_TIER: Tier = { name: "kube-baseline", order: 10_000_000, end: "pass" };
/** Calico's profiles stand behind all tiers, as one of them. */
export const PROFILE_TIER: Tier = { name: "(profiles)", order: Number.POSITIVE_INFINITY, end: "deny" };

/** Where Kubernetes NetworkPolicies, and what Cilium's policies allow, stand within the default tier. */
export const NETWORK_POLICY_ORDER = 1000;
/** Where denials stand that win over whatever their tier allows. */
export const DENY_FIRST = Number.NEGATIVE_INFINITY;

export interface Policy {
  readonly owner: Owner;
  /** Name of its tier. A policy whose tier is not there is not in force. */
  readonly tier: string;
  /** Lower first; without end (Infinity) for none. */
  readonly order: number;
  readonly subject: Selection;
  /** The directions in which the tier's end concerns whom it selects. */
  readonly isolates: readonly Direction[];
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
  /** It is read, checked and counted, and not in force. */
  readonly staged?: true;
  /** How it treats host end points; without it pods alone are its subjects, or a host's own connections. */
  readonly host?: HostPart;
}

/** Calico's applyOnForward, doNotTrack and preDNAT. A policy of the last two has no say about pods, and no tier's end. */
export interface HostPart {
  readonly at: "connection" | "untracked" | "before-nat";
  /** Whether packets that the host only forwards are meant too. */
  readonly forwarded: boolean;
}

/** Every part that is given must hold. */
export interface Rule {
  readonly action: "allow" | "deny" | "log" | "pass";
  readonly source: Side;
  readonly destination: Side;
  /** One of these; an empty list matches nothing. */
  readonly traffic: readonly Traffic[] | "any";
  readonly family?: Family;
  /** What it asks of the application's protocol (HTTP, gRPC, DNS, SNI), held as it is written for a data path that can see it. */
  readonly application?: object;
  readonly owner: Owner;
}

/** One end of a connection: in each list of `within` one peer must hold it (an empty list holds nobody), none of `except` may. */
export interface Side {
  readonly within: readonly (readonly Peer[])[];
  readonly except: readonly Peer[];
}

export const ANYONE: Side = { within: [], except: [] };

export type Peer = EndPeer | CidrPeer | ServicePeer | NamePeer | EntityPeer;

/** End points by their labels. */
export type EndPeer = { readonly kind: "ends" } & Selection;

/** A block of addresses without its exceptions; canonical text, host bits cleared. */
export interface CidrPeer {
  readonly kind: "cidr";
  readonly cidr: string;
  readonly except: readonly string[];
}

/** The end points of Services, ready or not: one by name, or those with labels. Without a namespace: of every one. */
export interface ServicePeer {
  readonly kind: "service";
  readonly namespace?: string;
  readonly name?: string;
  readonly labels?: LabelMatch;
  /** Whether the end points' own ports are meant, and no other (Calico, on a destination). */
  readonly ports: boolean;
}

/** Addresses that DNS names had in answers: "db.example.com", patterns with "*" (see names.ts), lower case without the last dot. */
export interface NamePeer {
  readonly kind: "names";
  readonly patterns: readonly string[];
}

/**
 * Kinds of ends, in Cilium's words. "host": the node of the policy's own pod, with its host-network pods; "remote-node": every other;
 * "cluster": pods and nodes; "world": whoever is not of the cluster; "kube-apiserver": the end points of default/kubernetes.
 */
export interface EntityPeer {
  readonly kind: "entity";
  readonly entity: "all" | "cluster" | "world" | "host" | "remote-node" | "kube-apiserver";
}

/**
 * What a selection may hold. "pod": pods with an address of their own; "host": Calico's HostEndpoints; "set": Calico's network sets;
 * "group": Cilium's CIDR groups; "node": Kubernetes nodes. The last four but network sets of a namespace have no namespace.
 */
export type EndKind = "pod" | "host" | "set" | "group" | "node";

/** An end point that is no pod. */
export interface LabelledEnd {
  readonly kind: Exclude<EndKind, "pod">;
  readonly owner: Owner;
  readonly name: string;
  readonly namespace?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Canonical prefixes; a single address has its full length. */
  readonly blocks: readonly string[];
  /** Of host end points: where it is, and what its profiles are. */
  readonly host?: HostPlace;
}

/** Where a host end point is: on a node, at one interface or at all of those that lead off the node. */
export interface HostPlace {
  readonly node: string;
  /** "*": every one. Without a name, the interface that has one of the addresses. */
  readonly interface?: string;
  readonly addresses: readonly string[];
  readonly profiles: readonly string[];
  readonly ports: readonly { readonly name: string; readonly protocol: number; readonly port: number }[];
}

/** End points by labels; every part that is given must hold. */
export interface Selection {
  /** Without it: pods alone. */
  readonly kinds?: readonly EndKind[];
  /** Whose labels they show: those written on them, or with what a language adds (see labels.ts). */
  readonly view?: "calico" | "cilium";
  /** One of these, by "namespace/name" or name. */
  readonly names?: readonly string[];
  /** In this namespace. */
  readonly namespace?: string;
  /** In a namespace with such labels. */
  readonly namespaceSelector?: LabelMatch;
  /** In no namespace. */
  readonly global?: true;
  /** Of one of these service accounts (pods only), by name. */
  readonly serviceAccounts?: readonly string[];
  /** Of a service account with such labels (pods only). */
  readonly serviceAccountSelector?: LabelMatch;
  readonly labels: LabelMatch;
}

/** A condition on labels, and how its author wrote it where that is a text. */
export interface LabelMatch {
  readonly test: LabelTest;
  readonly says?: string;
}

/** Where the label is absent, `exists`, `in`, `contains`, `starts` and `ends` are false. */
export type LabelTest =
  | { readonly op: "all" | "any"; readonly of: readonly LabelTest[] }
  | { readonly op: "not"; readonly of: LabelTest }
  | { readonly op: "exists"; readonly key: string }
  | { readonly op: "in"; readonly key: string; readonly values: readonly string[] }
  | { readonly op: "contains" | "starts" | "ends"; readonly key: string; readonly value: string };

/** What a packet carries; every part that is given must hold. Protocols are IANA's numbers (ICMP 1, TCP 6, UDP 17, ICMPv6 58, SCTP 132, UDPLite 136). */
export interface Traffic {
  readonly protocol?: number;
  readonly notProtocol?: number;
  /** Of the destination: one of these. */
  readonly ports?: readonly PortMatch[];
  readonly notPorts?: readonly PortMatch[];
  readonly sourcePorts?: readonly PortMatch[];
  readonly notSourcePorts?: readonly PortMatch[];
  /** Holds for ICMP and ICMPv6 alone; `protocol` tells which. */
  readonly icmp?: IcmpMatch;
  readonly notIcmp?: IcmpMatch;
}

export interface IcmpMatch {
  readonly type: number;
  readonly code?: number;
}

/** A range (inclusive), or a name: the number that the pod at that end gives it, for the packet's protocol. */
export type PortMatch = { readonly from: number; readonly to: number } | { readonly name: string };

/** What a reader made of an object: its policies (more than one where a language needs it), and what in it is not valid and how that is treated. */
export interface ReadPolicy {
  readonly policies: readonly Policy[];
  readonly remarks: readonly string[];
}

/** Which addresses DNS names have, as pods were answered: what a node's agent learns, and a plan takes in. */
export interface NameBook {
  /** Addresses in canonical text that a name matching the pattern has. */
  addressesOf(pattern: string): readonly string[];
}

/** The end that a rule's policy does not select: the source of what comes in, the destination of what goes out. */
export function peerSide(rule: Rule, direction: Direction): Side {
  return direction === "ingress" ? rule.source : rule.destination;
}

/** A side that holds exactly whom one of the peers holds. */
export function oneOf(peers: readonly Peer[]): Side {
  return { within: [peers], except: [] };
}
