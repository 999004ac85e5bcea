// Blocks of addresses for a cluster that is only on paper: routed nodes of manifests have claimed none, so each has those that its pods' addresses lie in.
import { addressAt, addressBits, formatAddress, formatPrefix, networkOf, parsePrefix } from "../base/index.ts";
import { type ClusterSnapshot, snapshotOf } from "../cluster/index.ts";
import { podCidrs } from "../datapath/overlay/index.ts";
import type { TunnelKind } from "../datapath/routed/index.ts";
import { AFFINITY_KIND, type BlockAffinity, poolOf, readPools } from "../ipam/index.ts";
import { nodeSettings } from "../plan/index.ts";
import { podAddressesOf } from "./objects.ts";

/** The snapshot with affinities of assumed blocks, where it is routed and has none at all; else the snapshot itself. */
export function withBlocks(snapshot: ClusterSnapshot): ClusterSnapshot {
  if ((snapshot.others.get(AFFINITY_KIND)?.size ?? 0) > 0) return snapshot;
  const pools = readPools(snapshot);
  const owners = new Map<string, string>();
  for (const { metadata } of snapshot.nodes.values()) {
    if (nodeSettings(snapshot, metadata.name).network !== "routed") continue;
    for (const pod of snapshot.pods.onNode(metadata.name))
      for (const address of pod.spec.hostNetwork ? [] : podAddressesOf(pod)) {
        const pool = poolOf(pools, address);
        const block = pool && formatPrefix(networkOf(parsePrefix(`${address}/${pool.blockSize}`)));
        if (block !== undefined && !owners.has(block)) owners.set(block, metadata.name);
      }
  }
  const affinities = [...owners].map(
    ([cidr, node], i): BlockAffinity => ({
      apiVersion: "crd.projectcalico.org/v1",
      kind: "BlockAffinity",
      metadata: { name: `assumed-${i}` },
      spec: { cidr, node, state: "confirmed", deleted: "false" },
    }),
  );
  const part = snapshotOf(affinities).others.get(AFFINITY_KIND);
  return part ? { ...snapshot, others: new Map(snapshot.others).set(AFFINITY_KIND, part) } : snapshot;
}

/** Addresses of a node's tunnels' ends that it would have taken: the first of its pod networks, or of its blocks. */
export function assumedTunnels(snapshot: ClusterSnapshot, name: string): Partial<Record<TunnelKind, string>> {
  const blocks = [...(snapshot.others.get(AFFINITY_KIND)?.values() ?? [])].flatMap((object) => {
    const { cidr, node } = (object as BlockAffinity).spec;
    return node === name ? [cidr] : [];
  });
  const networks = [...podCidrs(snapshot.nodes.get(name)), ...blocks].map(parsePrefix);
  const first = (family: 4 | 6): string | undefined => {
    const network = networks.find((each) => each.family === family && each.length < addressBits(family));
    return network && formatAddress(addressAt(network, 1n));
  };
  const [four, six] = [first(4), first(6)];
  return { ...(four === undefined ? {} : { vxlan4: four, ipip: four }), ...(six === undefined ? {} : { vxlan6: six }) };
}
