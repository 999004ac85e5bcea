// What the routed data path and BGP tell each other: routes learned from peers, and what a node has to announce.

/** A destination that peers announced, with every next hop that is equally good: what BGP's decision left. */
export interface LearnedRoute {
  /** "10.244.1.0/26"; host bits cleared. */
  readonly prefix: string;
  /** Addresses of the nodes or routers that the peers named, of the prefix's family or (RFC 8950) IPv6 for IPv4; one at least. */
  readonly nextHops: readonly string[];
  /** Who announced the first of them, as the speaker names its peers. For people. */
  readonly peer: string;
}

/** What one node answers for, and so what it announces. */
export interface RoutedExports {
  /** Whether BGP carries the routes (Installation, calicoNetwork.bgp); else they come straight from the blocks' affinities. */
  readonly bgp: boolean;
  /** The node's own confirmed blocks, of pools that may be exported: "10.244.0.0/26". Nothing inside of them is announced. */
  readonly blocks: readonly string[];
  /** Pods' addresses on this node that lie in no block of its own (borrowed, floating): "10.244.7.9/32", "fd00::9/128". */
  readonly localPrefixes: readonly string[];
}
