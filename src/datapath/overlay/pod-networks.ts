// The nodes' pod networks, as the API says; what is not valid, or is another node's already, is left out with a remark.
import { addressBits, type Family, formatPrefix, type IpPrefix, networkOf, prefixContains, tryParsePrefix } from "../../base/index.ts";
import type { ClusterSnapshot, Part } from "../../cluster/index.ts";
import type { NftElement } from "../../kernel/index.ts";
import type { Node } from "../../resources/index.ts";

export interface PodNetworks {
  /** By node name: one network per family at most, host bits cleared. */
  readonly byNode: ReadonlyMap<string, readonly IpPrefix[]>;
  /** All of a family, none within another: what an interval set takes. */
  readonly elements: Readonly<Record<Family, readonly NftElement[]>>;
  readonly remarks: readonly string[];
}

/** Bits that a pod network leaves to its pods at least: room for the network, cni0 and one pod. */
const LEAST_HOST_BITS = 2;

/** A node's own pod networks, in the words of the API; one per family at most, only valid ones. */
export function podCidrs(node: Node | undefined): readonly string[] {
  return node ? readNode(node).map(({ text }) => text) : [];
}

const read = new WeakMap<Node, readonly { readonly text: string; readonly network: IpPrefix }[]>();
const nodeRemarks = new WeakMap<Node, readonly string[]>();

function readNode(node: Node): readonly { readonly text: string; readonly network: IpPrefix }[] {
  const before = read.get(node);
  if (before) return before;
  const remarks: string[] = [];
  const found = new Map<Family, { readonly text: string; readonly network: IpPrefix }>();
  for (const text of node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : [])) {
    const prefix = tryParsePrefix(text);
    if (!prefix || prefix.length > addressBits(prefix.family) - LEAST_HOST_BITS || prefix.length === 0)
      remarks.push(`node ${node.metadata.name}: podCIDR "${text}" is no pod network and is left out; write it like 10.244.1.0/24`);
    else if (found.has(prefix.family))
      remarks.push(`node ${node.metadata.name}: podCIDR "${text}" is left out: a node has one pod network per address family`);
    else found.set(prefix.family, { text, network: networkOf(prefix) });
  }
  const result = [...found.values()];
  read.set(node, result);
  nodeRemarks.set(node, remarks);
  return result;
}

const kept = new WeakMap<Part<Node>, PodNetworks>();

/** The pod networks of all nodes; the same object while the nodes stay the same. */
export function podNetworks(nodes: ClusterSnapshot["nodes"]): PodNetworks {
  let result = kept.get(nodes);
  if (!result) {
    result = calculate(nodes);
    kept.set(nodes, result);
  }
  return result;
}

function calculate(nodes: ClusterSnapshot["nodes"]): PodNetworks {
  const remarks: string[] = [];
  const owners = new Map<string, string>();
  const byNode = new Map<string, readonly IpPrefix[]>();
  const all: { readonly node: string; readonly network: IpPrefix }[] = [];
  for (const node of nodes.values()) {
    const { name } = node.metadata;
    const own: IpPrefix[] = [];
    for (const { network } of readNode(node)) {
      const key = formatPrefix(network);
      const owner = owners.get(key);
      if (owner !== undefined) {
        remarks.push(`node ${name}: podCIDR ${key} is node ${owner}'s already; its pods can't be reached from other nodes`);
        continue;
      }
      owners.set(key, name);
      own.push(network);
      all.push({ node: name, network });
    }
    remarks.push(...(nodeRemarks.get(node) ?? []));
    if (own.length > 0) byNode.set(name, own);
  }
  return { byNode, elements: { 4: outermost(all, 4), 6: outermost(all, 6) }, remarks };
}

/** Networks of a family in order, without those that lie within another: intervals of a set must not overlap. */
function outermost(all: readonly { readonly node: string; readonly network: IpPrefix }[], family: Family): readonly NftElement[] {
  const sorted = all
    .filter(({ network }) => network.family === family)
    .sort(({ network: a }, { network: b }) => (a.value === b.value ? a.length - b.length : a.value < b.value ? -1 : 1));
  const result: NftElement[] = [];
  let last: IpPrefix | undefined;
  for (const { node, network } of sorted) {
    if (last && prefixContains(last, network)) continue;
    last = network;
    result.push({ key: [formatPrefix(network)], owner: { kind: "Node", name: node } });
  }
  return result;
}
