// The cluster's nodes as speakers of BGP: addresses, AS number and cluster id, from Calico's annotations or the Node's own status.
import { type Family, familyOf, formatAddress, parsePrefix, tryParseAddress, tryParsePrefix } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Node } from "../resources/index.ts";
import { asNumberOf } from "./objects.ts";

const PREFIX = "projectcalico.org/";

export interface BgpNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Addresses without length. */
  readonly addresses: { readonly 4: string | undefined; readonly 6: string | undefined };
  readonly as: number;
  /** The id of its reflectors' cluster, where it is a route reflector. */
  readonly clusterId: string | undefined;
  readonly remarks: readonly string[];
}

/** Every node that has an address. */
export function bgpNodes(snapshot: ClusterSnapshot, defaultAs: number): Map<string, BgpNode> {
  const nodes = new Map<string, BgpNode>();
  for (const node of snapshot.nodes.values()) {
    const read = bgpNode(node, defaultAs);
    if (read.addresses[4] ?? read.addresses[6]) nodes.set(read.name, read);
  }
  return nodes;
}

function bgpNode(node: Node, defaultAs: number): BgpNode {
  const { name, labels = {}, annotations = {} } = node.metadata;
  const remarks: string[] = [];
  const annotation = (key: string) => annotations[PREFIX + key];
  const address = (family: Family): string | undefined => {
    const given = annotation(`IPv${family}Address`);
    const own = given === undefined ? undefined : plainAddress(given);
    if (own !== undefined && familyOf(own) === family) return own;
    if (given !== undefined) remarks.push(`node ${name}: annotation ${PREFIX}IPv${family}Address "${given}" is no address, and ignored`);
    return (node.status?.addresses ?? []).find((each) => each.type === "InternalIP" && familyOf(each.address) === family)?.address;
  };
  const as = annotation("ASNumber");
  if (as !== undefined && asNumberOf(as) === undefined)
    remarks.push(`node ${name}: annotation ${PREFIX}ASNumber "${as}" is no AS number, and ignored`);
  let clusterId = annotation("RouteReflectorClusterID");
  if (clusterId !== undefined && tryParseAddress(clusterId)?.family !== 4) {
    remarks.push(`node ${name}: annotation ${PREFIX}RouteReflectorClusterID "${clusterId}" is not like 244.0.0.1, and ignored`);
    clusterId = undefined;
  }
  return {
    name,
    labels,
    addresses: { 4: address(4), 6: address(6) },
    as: asNumberOf(as) ?? defaultAs,
    clusterId,
    remarks,
  };
}

function plainAddress(text: string): string | undefined {
  const address = text.includes("/") ? tryParsePrefix(text) && parsePrefix(text) : tryParseAddress(text);
  return address ? formatAddress(address) : undefined;
}
