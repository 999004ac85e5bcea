// How a node's packets travel: the overlay's part of its plan, or the routed one; and both, while a cluster changes from one to the other.
//
// A cluster changes node by node. A routed node keeps its end of the overlay's tunnel as long as one node is the overlay's:
// packets from there come through it, and packets to there leave by it. Blocks lie within podCIDRs, so that the routes of
// blocks are the longer ones wherever both are there.
import { type IpPrefix, networkOf, parsePrefix } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { annotationsTaken, BRIDGE, isOverlayNode, planOverlay, podCidrs } from "../datapath/overlay/index.ts";
import { planRouted, routedAnnotationsTaken } from "../datapath/routed/index.ts";
import { ACTIVE_NETWORK } from "../ipam/index.ts";
import { type KernelState, MAIN_TABLE, mergeStates, ROUTE_PROTOCOL, type TableContribution, USUAL_GSO_MAX_SIZE } from "../kernel/index.ts";
import type { NodeFacts, NodePlan } from "./plan.ts";
import type { NodeSettings } from "./settings.ts";

export interface Path extends Pick<NodePlan, "annotations" | "podMtu" | "routed" | "follows" | "remarks"> {
  readonly state: Partial<KernelState>;
  readonly table: TableContribution;
  /** The largest TCP packet over IPv4 that pods send in one piece, in bytes. */
  readonly podGsoIpv4MaxSize: number;
}

export function planOverlayPath(snapshot: ClusterSnapshot, facts: NodeFacts): Path {
  const overlay = planOverlay(snapshot, { ...facts, hostLinks: facts.attachments.map((attachment) => attachment.hostLink) });
  const wasRouted = snapshot.nodes.get(facts.node)?.metadata.annotations?.[ACTIVE_NETWORK] !== undefined;
  return {
    ...overlay,
    podGsoIpv4MaxSize: USUAL_GSO_MAX_SIZE,
    annotations: { ...overlay.annotations, ...(wasRouted ? { ...routedAnnotationsTaken, [ACTIVE_NETWORK]: null } : {}) },
  };
}

export function planRoutedPath(snapshot: ClusterSnapshot, facts: NodeFacts, wanted: NodeSettings["fastPath"]): Path {
  const others = [...snapshot.nodes.values()].filter((node) => node.metadata.name !== facts.node && isOverlay(node));
  const mixed = others.length > 0 || facts.keepOverlay === true;
  const otherNetworks = others.flatMap((node): IpPrefix[] => podCidrs(node).map((cidr) => networkOf(parsePrefix(cidr))));
  // The overlay's tunnel is a way of packets, too.
  const { gsoIpv4MaxSize: _, ...usual } = facts.underlay;
  const underlay = mixed ? usual : facts.underlay;
  const lack = facts.lacks?.fastPath;
  const fastPath = wanted === "on" && lack === undefined;
  const { exports, tunnels, ...routed } = planRouted(snapshot, { ...facts, underlay, otherNetworks, fastPath });
  const said =
    wanted === "off" ? "no fast path" : lack === undefined ? "fast path for established TCP connections" : `no fast path: ${lack}`;
  const bridge = mixed ? planBridge(snapshot, facts) : undefined;
  return {
    ...routed,
    state: bridge ? mergeStates(routed.state, bridge.state) : routed.state,
    annotations: { ...(bridge?.annotations ?? annotationsTaken), ...routed.annotations, [ACTIVE_NETWORK]: "routed" },
    routed: { ...exports, tunnels },
    follows: [said, ...routed.follows],
    remarks: [...routed.remarks, ...(bridge?.remarks ?? [])],
  };
}

function isOverlay(node: Parameters<typeof isOverlayNode>[0]): boolean {
  return node.metadata.annotations?.[ACTIVE_NETWORK] !== "routed" && isOverlayNode(node);
}

/** The overlay's tunnel and what leads through it, without a bridge for pods. */
function planBridge(snapshot: ClusterSnapshot, facts: NodeFacts): Pick<Path, "state" | "annotations" | "remarks"> {
  const { state, annotations, remarks } = planOverlay(snapshot, { ...facts, hostLinks: [] });
  const isOurs = ({ link }: { readonly link?: string }) => link !== BRIDGE;
  const dead = podCidrs(snapshot.nodes.get(facts.node)).map((cidr) => {
    const network = networkOf(parsePrefix(cidr));
    return {
      family: network.family,
      destination: cidr,
      type: "blackhole",
      nexthops: [],
      table: MAIN_TABLE,
      protocol: ROUTE_PROTOCOL.fairlead,
    } as const;
  });
  return {
    state: {
      ...state,
      links: state.links?.filter(({ name }) => name !== BRIDGE) ?? [],
      addresses: state.addresses?.filter(isOurs) ?? [],
      // What is the own podCIDR's and no pod's must not leave by the default route.
      routes: [...(state.routes?.filter(({ nexthops }) => nexthops.every(isOurs)) ?? []), ...dead],
      tables: [],
    },
    annotations,
    remarks,
  };
}
