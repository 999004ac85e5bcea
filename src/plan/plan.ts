// NodePlan: what one node must hold, calculated from a snapshot and from what the node knows of itself.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { LearnedRoute, RoutedExports, TunnelKind } from "../datapath/routed/index.ts";
import type { KernelState } from "../kernel/index.ts";
import type { DnsAnswers } from "../policy/index.ts";
import type { Announcement } from "../services/index.ts";
import type { Network, NodeAbilities, NodeSettings } from "./settings.ts";

/** What a node knows that the API does not (yet). */
export interface NodeFacts extends NodeAbilities {
  readonly node: string;
  /** The outer interface and its addresses, as observed. */
  readonly underlay: {
    readonly link: string;
    readonly mtu: number;
    /** The largest TCP packet over IPv4 that it takes in one piece, in bytes; absent: the usual size. */
    readonly gsoIpv4MaxSize?: number;
    readonly addresses: readonly string[];
  };
  /** Pods wired on this node, from the CNI records: known before their addresses reach the API. */
  readonly attachments: readonly PodAttachment[];
  /** MAC address of `flannel.1`, kept over restarts. */
  readonly vtepMac?: string;
  /** The network that is in effect here, while that is not yet the one that is asked for. */
  readonly network?: Network;
  /** Addresses of the own tunnels that the Node object does not tell yet. */
  readonly tunnels?: Readonly<Partial<Record<TunnelKind, string>>>;
  /** A node of the overlay was seen a moment ago: packets may still come from there. */
  readonly keepOverlay?: boolean;
  /** Routes that BGP peers announced; undefined where no speaker runs, and then routes come from the blocks' affinities alone. */
  readonly learnedRoutes?: readonly LearnedRoute[];
  /** Nodes whose heartbeats have stopped: others announce their load balancers' addresses. */
  readonly lost?: ReadonlySet<string>;
  /** Addresses that DNS names had in answers to the node's pods. */
  readonly dnsAnswers?: DnsAnswers;
}

/** One pod's wiring, as the CNI records keep it. */
export interface PodAttachment {
  readonly containerId: string;
  readonly interface: string;
  readonly podNamespace: string;
  readonly podName: string;
  readonly podUid?: string;
  /** Path of the pod's network namespace. */
  readonly netns: string;
  readonly hostLink: string;
  readonly mac: string;
  /** "10.244.1.7/24", "fd00:10:244:1::7/64" */
  readonly addresses: readonly string[];
}

export interface NodePlan {
  readonly node: string;
  readonly revision: number;
  /** What the node's own namespace must hold. */
  readonly kernel: KernelState;
  /** What each wired pod's namespace must hold, by container id. */
  readonly pods: ReadonlyMap<string, KernelState>;
  /** Annotations that this node's Node object must carry (Flannel's, Calico's); null takes one away. */
  readonly annotations: Readonly<Record<string, string | null>>;
  /** MTU of the pods' interfaces, in bytes. */
  readonly podMtu: number;
  /** What a routed node answers for, and which of its tunnels need an address; undefined on an overlay's node. */
  readonly routed?: RoutedExports & { readonly tunnels: readonly TunnelKind[] };
  /** What of the network's configuration is followed, in words. */
  readonly follows?: readonly string[];
  /** Load balancers' addresses: which this node announces, and who announces others. */
  readonly announcement: Announcement;
  /** Patterns of the DNS names that the node's policies speak of: answers about them are worth learning. */
  readonly namePatterns: readonly string[];
  /** How it is done here: said by objects, or by default. */
  readonly settings: NodeSettings;
  /** What in the configuration is not understood or not followed, and why. */
  readonly remarks: readonly string[];
}

export type PlanNode = (snapshot: ClusterSnapshot, facts: NodeFacts) => NodePlan;
