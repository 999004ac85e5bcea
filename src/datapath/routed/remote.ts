// Routes to what other nodes have, by BGP or by the blocks' affinities, with the entries that they need; kept while nothing of it changes.
import { familyOf, formatPrefix, networkOf, tryParsePrefix } from "../../base/index.ts";
import type { ClusterSnapshot, Part } from "../../cluster/index.ts";
import { AFFINITY_KIND, type BlockAffinity, type Pools, poolOf } from "../../ipam/index.ts";
import { type FdbEntry, MAIN_TABLE, type Neighbour, type Nexthop, ROUTE_PROTOCOL, type Route } from "../../kernel/index.ts";
import type { KubeObject, Node } from "../../resources/index.ts";
import { type RoutedNode, readNode } from "./annotations.ts";
import type { LearnedRoute } from "./exports.ts";
import { type Way, Ways } from "./ways.ts";

export interface RemoteOptions {
  readonly node: string;
  readonly underlay: { readonly link: string; readonly addresses: readonly string[] };
  readonly pools: Pools;
  /** Tunnels' devices that this node has. */
  readonly devices: ReadonlySet<string>;
  /** What BGP has brought; undefined: by affinities. */
  readonly learned?: readonly LearnedRoute[];
}

export interface RemotePlan {
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly remarks: readonly string[];
}

interface Kept {
  readonly affinities: Part<KubeObject> | undefined;
  readonly options: RemoteOptions;
  readonly key: string;
  readonly plan: RemotePlan;
}

/** The last plan of each node, by the Nodes that it was made of. */
const kept = new WeakMap<Part<Node>, Map<string, Kept>>();

/** The same object while nodes, affinities, pools and what was learned are the same objects. */
export function planRemote(snapshot: ClusterSnapshot, options: RemoteOptions): RemotePlan {
  const affinities = snapshot.others.get(AFFINITY_KIND);
  const key = JSON.stringify([options.underlay, [...options.devices]]);
  const plans = kept.get(snapshot.nodes) ?? new Map<string, Kept>();
  kept.set(snapshot.nodes, plans);
  const last = plans.get(options.node);
  const same = last?.affinities === affinities && last?.options.pools === options.pools && last?.options.learned === options.learned;
  if (last && same && last.key === key) return last.plan;
  const ways = new Ways(options);
  const { routes, remarks } = options.learned
    ? fromPeers(snapshot, options, ways, options.learned)
    : fromAffinities(snapshot, options, ways);
  const plan = {
    routes: [...ways.routes.values(), ...routes],
    neighbours: [...ways.neighbours.values()],
    fdb: [...ways.fdb.values()],
    remarks,
  };
  plans.set(options.node, { affinities, options, key, plan });
  return plan;
}

const blocksOf = new WeakMap<Part<KubeObject>, readonly { readonly node: string; readonly cidr: string }[]>();

/** Who has which block. A claim that is not confirmed counts as absent. */
export function confirmedBlocks(snapshot: ClusterSnapshot): readonly { readonly node: string; readonly cidr: string }[] {
  const part = snapshot.others.get(AFFINITY_KIND);
  if (!part) return [];
  let blocks = blocksOf.get(part);
  if (!blocks) {
    blocks = [...part.values()].flatMap((object) => {
      const { cidr, node, state, deleted } = (object as BlockAffinity).spec ?? {};
      const prefix = typeof cidr === "string" ? tryParsePrefix(cidr) : undefined;
      if (!prefix || typeof node !== "string" || state !== "confirmed" || deleted === "true") return [];
      return [{ node, cidr: formatPrefix(networkOf(prefix)) }];
    });
    blocksOf.set(part, blocks);
  }
  return blocks;
}

/** A route to a prefix, still without its kind and next hops. */
export const routeTo = (destination: string): Omit<Route, "nexthops" | "type"> => ({
  family: familyOf(destination),
  destination,
  table: MAIN_TABLE,
  protocol: ROUTE_PROTOCOL.fairlead,
});

type Found = Pick<RemotePlan, "routes" | "remarks">;

/** Without BGP: every confirmed block of another node, and what nodes say that they have beside. */
function fromAffinities(snapshot: ClusterSnapshot, { node: own, pools }: RemoteOptions, ways: Ways): Found {
  const routes = new Map<string, Route>();
  const said = new Set<string>();
  const add = (prefix: string, node: RoutedNode) => {
    if (routes.has(prefix)) return;
    const way = ways.toNode(node, familyOf(prefix), poolOf(pools, prefix)?.encapsulation ?? "None");
    if ("hop" in way) routes.set(prefix, { ...routeTo(prefix), type: "unicast", nexthops: [way.hop] });
    else said.add(way.why);
  };
  for (const { cidr, node } of confirmedBlocks(snapshot)) {
    const peer = node === own ? undefined : snapshot.nodes.get(node);
    if (peer) add(cidr, readNode(peer));
  }
  for (const peer of snapshot.nodes.values())
    if (peer.metadata.name !== own) for (const prefix of readNode(peer).localPrefixes) add(prefix, readNode(peer));
  return { routes: [...routes.values()], remarks: [...said] };
}

/** By BGP: each next hop is a node, reached as the prefix's pool says, or a router on the link. */
function fromPeers(snapshot: ClusterSnapshot, options: RemoteOptions, ways: Ways, learned: readonly LearnedRoute[]): Found {
  const byAddress = new Map<string, RoutedNode>();
  for (const node of snapshot.nodes.values())
    for (const address of Object.values(readNode(node).addresses)) byAddress.set(address, readNode(node));
  const said = new Set<string>();
  const routes = learned.flatMap(({ prefix, nextHops }): Route[] => {
    const hops = new Map<string, Nexthop>();
    for (const nextHop of nextHops) {
      const node = byAddress.get(nextHop);
      if (node?.name === options.node) continue;
      const way = wayTo(ways, { nextHop, node, prefix, pools: options.pools });
      if ("hop" in way) hops.set(`${way.hop.via} ${way.hop.link}`, way.hop);
      else said.add(way.why);
    }
    return hops.size === 0 ? [] : [{ ...routeTo(prefix), type: "unicast", nexthops: [...hops.values()] }];
  });
  return { routes, remarks: [...said] };
}

interface Target {
  readonly nextHop: string;
  /** Whose the next hop is; undefined for a router. */
  readonly node: RoutedNode | undefined;
  readonly prefix: string;
  readonly pools: Pools;
}

function wayTo(ways: Ways, { nextHop, node, prefix, pools }: Target): Way {
  const encapsulation = poolOf(pools, prefix)?.encapsulation ?? "None";
  const family = familyOf(prefix);
  if (!node) return ways.toRouter(nextHop);
  // IPv4 by way of IPv6 (RFC 8950): the next hop that was announced is the one.
  if (familyOf(nextHop) !== family && ways.isOnLink(nextHop) && (encapsulation === "None" || encapsulation.endsWith("CrossSubnet")))
    return ways.toRouter(nextHop);
  return ways.toNode(node, family, encapsulation);
}
