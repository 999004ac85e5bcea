// The nodes of a cluster that is assumed: those given, or invented ones, with an address and a share of the pod networks each.
import {
  addressAt,
  formatAddress,
  formatPrefix,
  freeSubnet,
  type IpPrefix,
  parsePrefix,
  prefixSize,
  tryParsePrefix,
} from "../base/index.ts";
import type { Node, Pod } from "../resources/index.ts";

const INVENTED = ["node-1", "node-2", "node-3"];
/** Where invented nodes stand in the underlay: the first is number 51 of each network. */
const UNDERLAYS = [parsePrefix("10.112.0.0/24"), parsePrefix("fd00:112::/64")];
const FIRST_NODE = 51n;
const POD_NETWORKS = [
  { network: parsePrefix("10.244.0.0/16"), share: 24 },
  { network: parsePrefix("fd00:10:244::/48"), share: 64 },
];

/**
 * The nodes, each Ready and with its share of the pod networks; what they say of themselves stands. Where none is given, those
 * that pods name, and of the guide's as many as make three.
 */
export function assumeNodes(given: readonly Node[], pods: readonly Pod[]): Node[] {
  const nodes = given.length > 0 ? given : inventedNames(pods).map(inventNode);
  const taken = nodes.flatMap(sharesOf);
  const next = [0n, 0n];
  const place = { next: FIRST_NODE };
  const addresses = new Set(nodes.flatMap((node) => (node.status?.addresses ?? []).map(({ address }) => address)));
  return nodes.map((node) => withAddress(withShares(node, taken, next), addresses, place));
}

function inventedNames(pods: readonly Pod[]): string[] {
  const named = new Set(pods.flatMap((pod) => (pod.spec.nodeName ? [pod.spec.nodeName] : [])));
  const names = [...new Set([...INVENTED.slice(0, Math.max(0, INVENTED.length - named.size)), ...named])];
  for (const name of INVENTED) if (names.length < INVENTED.length && !names.includes(name)) names.push(name);
  return names.sort();
}

function inventNode(name: string): Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux" } },
  };
}

function sharesOf(node: Node): IpPrefix[] {
  const cidrs = node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []);
  return cidrs.flatMap((cidr) => tryParsePrefix(cidr) ?? []);
}

function withShares(node: Node, taken: IpPrefix[], next: bigint[]): Node {
  if (sharesOf(node).length > 0) {
    const podCIDRs = node.spec?.podCIDRs ?? [node.spec?.podCIDR ?? ""];
    return { ...node, spec: { ...node.spec, podCIDR: podCIDRs[0] ?? "", podCIDRs } };
  }
  const podCIDRs = POD_NETWORKS.flatMap(({ network, share }, family) => {
    const found = freeSubnet(network, share, taken, next[family]);
    if (found) next[family] = found.number + 1n;
    return found ? [formatPrefix(found.subnet)] : [];
  });
  return podCIDRs.length === 0 ? node : { ...node, spec: { ...node.spec, podCIDR: podCIDRs[0] ?? "", podCIDRs } };
}

function withAddress(node: Node, taken: Set<string>, place: { next: bigint }): Node {
  const addresses = [...(node.status?.addresses ?? [])];
  if (!addresses.some(({ type }) => type === "InternalIP")) {
    let own: string[];
    do {
      const number = place.next++;
      own = UNDERLAYS.filter((network) => number < prefixSize(network)).map((network) => formatAddress(addressAt(network, number)));
    } while (own.some((address) => taken.has(address)));
    addresses.unshift(...own.map((address) => ({ type: "InternalIP" as const, address })));
  }
  if (!addresses.some(({ type }) => type === "Hostname")) addresses.push({ type: "Hostname", address: node.metadata.name });
  const conditions = node.status?.conditions ?? [{ type: "Ready", status: "True", reason: "Assumed" } as const];
  return { ...node, status: { ...node.status, addresses, conditions } };
}
