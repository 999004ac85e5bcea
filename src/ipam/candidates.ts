// Which blocks of a pool a node tries to get, best first: those of its own podCIDR, then from a place of its own in the pool.
import { createHash } from "node:crypto";
import {
  addressAt,
  addressBits,
  formatAddress,
  type IpPrefix,
  networkOf,
  prefixContains,
  prefixesOverlap,
  prefixSize,
  tryParsePrefix,
} from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Node } from "../resources/index.ts";
import type { BlockAffinity } from "./objects.ts";
import type { Pool } from "./pools.ts";

/** A pool may have more blocks than anybody can look at (IPv6). */
const MOST_LOOKED_AT = 1 << 16;
export const AFFINITY_KIND = "crd.projectcalico.org/v1/BlockAffinity";

/**
 * Blocks that no node is known to have. A node's podCIDR is left to the node: an overlay's node gives out its addresses without
 * blocks, and a cluster that changes from one to the other keeps its pods' addresses.
 */
export function* candidateBlocks(snapshot: ClusterSnapshot, node: string, pool: Pool): Generator<string> {
  const taken = new Set<string>();
  for (const affinity of snapshot.others.get(AFFINITY_KIND)?.values() ?? []) {
    const { cidr, node: whose } = (affinity as BlockAffinity).spec ?? {};
    if (whose !== node) taken.add(cidr);
  }
  const own = podNetworks(snapshot.nodes.get(node)).filter(
    (prefix) => prefixContains(pool.prefix, prefix) || prefixContains(prefix, pool.prefix),
  );
  for (const share of own) for (const cidr of blocksIn(narrower(share, pool.prefix), pool.blockSize, 0n)) if (!taken.has(cidr)) yield cidr;
  const others = [...snapshot.nodes.values()].filter(({ metadata }) => metadata.name !== node).flatMap(podNetworks);
  const kept = others.filter((prefix) => prefixesOverlap(prefix, pool.prefix));
  const count = prefixSize(pool.prefix) / prefixSize({ ...pool.prefix, length: pool.blockSize });
  const start = BigInt(`0x${createHash("sha256").update(node).digest("hex").slice(0, 16)}`) % count;
  const later: string[] = [];
  for (const cidr of blocksIn(pool.prefix, pool.blockSize, start)) {
    if (taken.has(cidr)) continue;
    const prefix = tryParsePrefix(cidr) as IpPrefix;
    if (own.some((share) => prefixContains(share, prefix))) continue;
    if (kept.some((share) => prefixesOverlap(share, prefix))) later.push(cidr);
    else yield cidr;
  }
  // Only where every node works with blocks, another's podCIDR means nothing.
  if ([...snapshot.nodes.values()].every(isRouted)) yield* later;
}

/** What a routed node says of itself once it gives out addresses of blocks. */
export const ACTIVE_NETWORK = "fairlead.dev/active-network";

function isRouted(node: Node): boolean {
  return node.metadata.annotations?.[ACTIVE_NETWORK] === "routed";
}

function podNetworks(node: Node | undefined): IpPrefix[] {
  const cidrs = node?.spec?.podCIDRs ?? (node?.spec?.podCIDR ? [node.spec.podCIDR] : []);
  return cidrs.flatMap((cidr) => {
    const prefix = tryParsePrefix(cidr);
    return prefix ? [networkOf(prefix)] : [];
  });
}

function narrower(a: IpPrefix, b: IpPrefix): IpPrefix {
  return a.length > b.length ? a : b;
}

/** The blocks of a prefix, once around from a place in it. */
function* blocksIn(prefix: IpPrefix, blockSize: number, start: bigint): Generator<string> {
  if (blockSize < prefix.length || blockSize > addressBits(prefix.family)) return;
  const step = prefixSize({ ...prefix, length: blockSize });
  const count = prefixSize(prefix) / step;
  const most = count > BigInt(MOST_LOOKED_AT) ? MOST_LOOKED_AT : Number(count);
  for (let at = 0; at < most; at++) {
    const number = (start + BigInt(at)) % count;
    yield `${formatAddress(addressAt(prefix, number * step))}/${blockSize}`;
  }
}
