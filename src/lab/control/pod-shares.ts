// Shares of the pod networks for nodes of a cluster that gives out none. Pure.
import { formatPrefix, freeSubnet, parsePrefix, tryParsePrefix } from "../../base/index.ts";
import type { Node } from "../../resources/index.ts";
import type { ClusterNetworks } from "../networks.ts";

/** A node's podCIDRs, by its name, for those of `nodes` that have none; none overlaps with what any node has. A range that is used up gives none. */
export function missingShares(
  nodes: readonly string[],
  all: readonly Node[],
  { podCidrs, nodeMask }: Pick<ClusterNetworks, "podCidrs" | "nodeMask">,
): ReadonlyMap<string, readonly string[]> {
  const taken = all.flatMap(({ spec }) => (spec?.podCIDRs ?? []).flatMap((cidr) => tryParsePrefix(cidr) ?? []));
  const having = new Set(all.filter(({ spec }) => (spec?.podCIDRs ?? []).length > 0).map(({ metadata }) => metadata.name));
  const shares = new Map<string, readonly string[]>();
  for (const node of nodes) {
    if (having.has(node)) continue;
    shares.set(
      node,
      podCidrs.flatMap((cidr) => {
        const range = parsePrefix(cidr);
        const share = freeSubnet(range, nodeMask[range.family], taken)?.subnet;
        if (!share) return [];
        taken.push(share);
        return [formatPrefix(share)];
      }),
    );
  }
  return shares;
}
