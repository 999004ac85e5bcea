// The two ends of a connection: which pod, node or outside address stands behind each, and which addresses they use.
import { addressAt, addressBits, familyOf, formatAddress, parseAddress, tryParseAddress, tryParsePrefix } from "../base/index.ts";
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { Node, Pod } from "../resources/index.ts";
import { PolicyError } from "./errors.ts";

/** One end of a connection: a pod ("namespace/name"), an address, or a node by name (with the address it uses, if known). */
export type End = { readonly pod: string } | { readonly address: string } | { readonly node: string; readonly address?: string };

/** An end looked up. A host-network pod is its node. */
export interface ResolvedEnd {
  /** A pod that policies can select, or that a peer's selector can name. */
  readonly pod?: Pod;
  /** The node, for a node and for host-network pods. */
  readonly node?: string;
  readonly addresses: readonly string[];
  /** How it is called in sentences. */
  readonly name: string;
}

/** @throws PolicyError `unknown-pod`, `unknown-node`, `bad-address` */
export function resolveEnd(snapshot: ClusterSnapshot, end: End): ResolvedEnd {
  if ("pod" in end) {
    const pod = snapshot.pods.get(end.pod);
    if (!pod) throw new PolicyError("unknown-pod", `there is no pod ${end.pod}`, { remedy: "write it namespace/name" });
    return podEnd(snapshot, pod, podAddresses(pod));
  }
  if ("node" in end) {
    const node = snapshot.nodes.get(end.node);
    if (!node) throw new PolicyError("unknown-node", `there is no node ${end.node}`);
    return { node: end.node, addresses: end.address === undefined ? nodeAddresses(node) : [end.address], name: `node ${end.node}` };
  }
  const parsed = tryParseAddress(end.address);
  if (!parsed)
    throw new PolicyError("bad-address", `"${end.address}" is not an IP address`, { remedy: "write it like 10.244.0.1 or fd00::1" });
  const address = formatAddress(parsed);
  const pod = snapshot.pods.byAddress(address);
  if (pod && !pod.spec.hostNetwork) return podEnd(snapshot, pod, [address]);
  const node = nodesByAddress(snapshot.nodes).get(address);
  if (node !== undefined) return { node, addresses: [address], name: `node ${node}` };
  return { addresses: [address], name: address };
}

function podEnd(snapshot: ClusterSnapshot, pod: Pod, addresses: readonly string[]): ResolvedEnd {
  const name = `${pod.metadata.namespace ?? "default"}/${pod.metadata.name}`;
  if (!pod.spec.hostNetwork) return { pod, addresses, name };
  const node = pod.spec.nodeName === undefined ? undefined : snapshot.nodes.get(pod.spec.nodeName);
  const own = addresses.length > 0 || !node ? addresses : nodeAddresses(node);
  return { ...(pod.spec.nodeName === undefined ? {} : { node: pod.spec.nodeName }), addresses: own, name };
}

const addressesOfPods = new WeakMap<Pod, readonly string[]>();

/** The addresses of a pod in canonical text; a finished pod has none. */
export function podAddresses(pod: Pod): readonly string[] {
  let addresses = addressesOfPods.get(pod);
  if (!addresses) {
    addresses = readAddresses(pod);
    addressesOfPods.set(pod, addresses);
  }
  return addresses;
}

function readAddresses(pod: Pod): readonly string[] {
  const { phase, podIP, podIPs } = pod.status ?? {};
  if (phase === "Succeeded" || phase === "Failed") return [];
  const all = new Set<string>();
  for (const text of [...(podIPs ?? []).map(({ ip }) => ip), ...(podIP === undefined ? [] : [podIP])]) {
    const parsed = tryParseAddress(text);
    if (parsed) all.add(formatAddress(parsed));
  }
  return [...all];
}

/** The addresses of one family that the connection uses: the first family that both ends have. */
export function pairAddresses(from: ResolvedEnd, to: ResolvedEnd): { readonly from: string | undefined; readonly to: string | undefined } {
  for (const target of to.addresses) {
    const source = from.addresses.find((address) => familyOf(address) === familyOf(target));
    if (source !== undefined) return { from: source, to: target };
  }
  return { from: from.addresses.length > 0 && to.addresses.length > 0 ? undefined : from.addresses[0], to: to.addresses[0] };
}

/** A node's own addresses in canonical text. */
export function nodeAddresses(node: Node): string[] {
  const addresses = node.status?.addresses ?? [];
  return addresses.flatMap(({ type, address }) =>
    type === "InternalIP" && tryParseAddress(address) ? [formatAddress(parseAddress(address))] : [],
  );
}

const nodeIndexes = new WeakMap<Part<Node>, Map<string, string>>();

/** Addresses of nodes: their own, and in each pod prefix the overlay device's (the network address) and the bridge's (the next). */
export function nodesByAddress(nodes: Part<Node>): Map<string, string> {
  const known = nodeIndexes.get(nodes);
  if (known) return known;
  const index = new Map<string, string>();
  for (const node of nodes.values()) {
    for (const { type, address } of node.status?.addresses ?? []) {
      const parsed = type === "InternalIP" || type === "ExternalIP" ? tryParseAddress(address) : undefined;
      if (parsed) index.set(formatAddress(parsed), node.metadata.name);
    }
    const prefixes = node.spec?.podCIDRs ?? (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
    for (const text of prefixes) {
      const prefix = tryParsePrefix(text);
      if (!prefix) continue;
      for (const offset of [0n, 1n]) index.set(formatAddress(addressAt(prefix, offset)), node.metadata.name);
    }
  }
  nodeIndexes.set(nodes, index);
  return index;
}

/** An address as a prefix of full length. */
export function blockOf(address: string): string {
  return `${address}/${addressBits(familyOf(address))}`;
}
