// Finds addresses that nobody has any more: what a crash left half done, and what nodes that are gone had.
//
//   a round: look ─▶ suspects of this round and of one before, for longer than the grace ─▶ look once more ─▶ give back
//
// All addresses of a handle are judged by one question, so that none of them goes while another stays.

import { createHash } from "node:crypto";
import type { ClusterSnapshot, ObjectApi } from "../cluster/index.ts";
import { allocationsOf, type BlockAllocation, isSound, nodeOf } from "./block.ts";
import type { BlockIpam } from "./blocks.ts";
import { AFFINITY_KIND } from "./candidates.ts";
import { type BlockAffinity, blockName, IPAM_RESOURCES, type IpamBlock } from "./objects.ts";

export interface CollectorOptions {
  readonly node: string;
  readonly ipam: BlockIpam;
  readonly api: ObjectApi;
  readonly snapshot: () => ClusterSnapshot;
  /** Whether something on this node stands behind a handle: a record, or an ADD that is under way. */
  readonly isHeld: (handle: string) => boolean;
  /** Seconds that an address is suspected before it is given back. */
  readonly grace?: number;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** What a round gave back. */
export interface Collected {
  readonly addresses: readonly string[];
  readonly blocks: readonly string[];
}

const GRACE = 60;

export class Collector {
  readonly #options: CollectorOptions;
  /** Suspected allocations, and since when. */
  #suspects = new Map<string, number>();

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** One look at the own blocks, and at those of gone nodes that fall to this one. @throws as the API does */
  async round(): Promise<Collected> {
    const { ipam, grace = GRACE, now = Date.now } = this.#options;
    await ipam.refresh();
    const addresses: string[] = [];
    const blocks: string[] = [];
    const suspects = new Map<string, number>();
    const nameOf = (cidr: string, { ordinal, sequence, handle }: BlockAllocation) => `${cidr} ${ordinal} ${sequence} ${handle}`;
    for (const { block, gone } of await this.#blocks()) {
      const { cidr } = block.spec;
      for (const allocation of allocationsOf(block)) {
        if (!this.#isLost(allocation)) continue;
        const name = nameOf(cidr, allocation);
        const since = this.#suspects.get(name);
        if (since === undefined || (now() - since) / 1000 < grace) suspects.set(name, since ?? now());
        // Asked once more, as it may have been answered otherwise meanwhile; the block itself sees to it that it is the same allocation.
        else if (this.#isLost(allocation) && (await ipam.reclaim(cidr, allocation))) addresses.push(allocation.address);
      }
      if (gone === undefined) continue;
      const name = `${cidr} of ${gone}`;
      const since = this.#suspects.get(name);
      if (since === undefined || (now() - since) / 1000 < grace) suspects.set(name, since ?? now());
      else if (!this.#options.snapshot().nodes.get(gone)) {
        await ipam.releaseBlock(cidr, gone);
        blocks.push(cidr);
      }
    }
    this.#suspects = suspects;
    return { addresses, blocks };
  }

  async #blocks(): Promise<{ readonly block: IpamBlock; readonly gone?: string }[]> {
    const { api, ipam, node, snapshot } = this.#options;
    const found: { readonly block: IpamBlock; readonly gone?: string }[] = ipam.blocks.map((block) => ({ block }));
    const { nodes, others } = snapshot();
    for (const affinity of others.get(AFFINITY_KIND)?.values() ?? []) {
      const { cidr, node: whose } = (affinity as BlockAffinity).spec ?? {};
      if (typeof cidr !== "string" || typeof whose !== "string" || nodes.get(whose) || heirOf(nodes, cidr) !== node) continue;
      const block = await api.get<IpamBlock>(IPAM_RESOURCES.blocks, blockName(cidr));
      if (block && isSound(block) && nodeOf(block) === whose) found.push({ block, gone: whose });
      // An affinity without its block is what a crash left of a claim.
      else if (!block) await ipam.releaseBlock(cidr, whose);
    }
    return found;
  }

  /** Whether nobody has this address. What is not known is not lost. */
  #isLost({ handle, secondary, address }: BlockAllocation): boolean {
    const { node, isHeld, snapshot } = this.#options;
    const { nodes, pods } = snapshot();
    const whose = secondary.node;
    if (handle === undefined || whose === undefined) return false;
    if (!nodes.get(whose)) return true;
    if (whose === node) return !isHeld(handle);
    // Another node's, borrowed from here: only the API tells.
    const { namespace, pod: name } = secondary;
    if (namespace === undefined || name === undefined || name === "") return false;
    const pod = pods.get(`${namespace}/${name}`);
    if (!pod) return true;
    const addresses = (pod.status?.podIPs ?? []).map(({ ip }) => ip);
    return pod.status?.phase === "Running" && addresses.length > 0 && !addresses.includes(address);
  }
}

/** Which of the nodes looks after what a gone node had: one, the same for all who ask. */
function heirOf(nodes: ClusterSnapshot["nodes"], cidr: string): string | undefined {
  let heir: { readonly name: string; readonly weight: string } | undefined;
  for (const { metadata } of nodes.values()) {
    const weight = createHash("sha256").update(`${cidr} ${metadata.name}`).digest("hex");
    if (!heir || weight > heir.weight) heir = { name: metadata.name, weight };
  }
  return heir?.name;
}
