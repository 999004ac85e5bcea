// What a cluster's addresses look like from outside: usage by pool and block, whose an address is, and what is not as it should be. Pure.
import { compareAddresses, prefixSize } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { allocationsOf, type BlockAllocation, isSound, nodeOf } from "./block.ts";
import type { BlockAffinity, IpamBlock, IpamHandle } from "./objects.ts";
import { poolOf, readPools } from "./pools.ts";

/** All of a cluster's objects of address management, and what they are about. */
export interface IpamObjects {
  readonly snapshot: ClusterSnapshot;
  readonly blocks: readonly IpamBlock[];
  readonly affinities: readonly BlockAffinity[];
  readonly handles: readonly IpamHandle[];
}

export interface PoolUsage {
  readonly name: string;
  readonly cidr: string;
  readonly blockSize: number;
  readonly encapsulation: string;
  readonly natOutgoing: boolean;
  readonly disabled: boolean;
  readonly blocks: number;
  readonly used: number;
  /** Addresses of the pool; IPv6 pools may have more than a number can tell exactly. */
  readonly size: number;
}

export interface BlockUsage {
  readonly cidr: string;
  readonly pool: string | null;
  readonly node: string | null;
  readonly used: number;
  readonly size: number;
  /** Addresses that other nodes' pods have of it. */
  readonly borrowed: number;
}

export interface AddressUse {
  readonly address: string;
  readonly block: string;
  readonly handle: string | null;
  readonly node: string | null;
  /** "shop/api-1", or what else it is for, such as a tunnel's end. */
  readonly use: string | null;
}

type IpamFindingKind = "leak" | "duplicate" | "unallocated" | "orphan" | "damaged";

export interface IpamFinding {
  readonly kind: IpamFindingKind;
  /** What it is about: an address, a block, a handle. */
  readonly object: string;
  readonly says: string;
  readonly remedy: string;
}

export function poolUsage({ snapshot, blocks }: IpamObjects): PoolUsage[] {
  const pools = readPools(snapshot);
  return pools.all.map((pool) => {
    const own = blocks.filter((block) => isSound(block) && poolOf(pools, block.spec.cidr) === pool);
    return {
      name: pool.name,
      cidr: pool.cidr,
      blockSize: pool.blockSize,
      encapsulation: pool.encapsulation,
      natOutgoing: pool.natOutgoing,
      disabled: pool.disabled,
      blocks: own.length,
      used: own.reduce((sum, block) => sum + allocationsOf(block).length, 0),
      size: Number(prefixSize(pool.prefix)),
    };
  });
}

export function blockUsage({ snapshot, blocks }: IpamObjects): BlockUsage[] {
  const pools = readPools(snapshot);
  return blocks
    .filter(isSound)
    .map((block): BlockUsage => {
      const node = nodeOf(block) ?? null;
      const allocations = allocationsOf(block);
      return {
        cidr: block.spec.cidr,
        pool: poolOf(pools, block.spec.cidr)?.name ?? null,
        node,
        used: allocations.length,
        size: block.spec.allocations.length,
        borrowed: allocations.filter(({ secondary }) => secondary.node !== undefined && secondary.node !== node).length,
      };
    })
    .sort((a, b) => compareAddresses(a.cidr.replace(/\/.*/, ""), b.cidr.replace(/\/.*/, "")));
}

/** Everything that is given out. */
export function addressUses({ blocks }: Pick<IpamObjects, "blocks">): AddressUse[] {
  return blocks.filter(isSound).flatMap((block) =>
    allocationsOf(block).map((allocation) => ({
      address: allocation.address,
      block: block.spec.cidr,
      handle: allocation.handle ?? null,
      node: allocation.secondary.node ?? null,
      use: useOf(allocation) ?? null,
    })),
  );
}

function useOf({ secondary }: BlockAllocation): string | undefined {
  if (secondary.pod !== undefined) return `${secondary.namespace ?? ""}/${secondary.pod}`;
  return secondary.type;
}

/** What is not as it should be. A pod that is just being wired or taken down may show up for a moment: look twice before giving back. */
export function auditIpam(objects: IpamObjects): IpamFinding[] {
  const findings: IpamFinding[] = [];
  for (const block of objects.blocks)
    if (!isSound(block))
      findings.push({
        kind: "damaged",
        object: block.metadata.name,
        says: `IPAMBlock ${block.metadata.name} can't be read, and nothing is given out of it`,
        remedy: "compare it with another block, and correct or delete it",
      });
  const blocks = objects.blocks.filter(isSound);
  const allocations = blocks.flatMap((block) => allocationsOf(block).map((allocation) => ({ ...allocation, cidr: block.spec.cidr })));
  findings.push(...leaks(objects.snapshot, allocations), ...podFindings(objects.snapshot, allocations));
  findings.push(...affinityFindings(objects, blocks), ...handleFindings(objects.handles, allocations));
  return findings;
}

type Placed = BlockAllocation & { readonly cidr: string };

function leaks(snapshot: ClusterSnapshot, allocations: readonly Placed[]): IpamFinding[] {
  return allocations.flatMap((allocation): IpamFinding[] => {
    const { address, secondary } = allocation;
    const why = whyLeaked(snapshot, allocation);
    if (why === undefined) return [];
    const whose = useOf(allocation) ?? secondary.node ?? "somebody";
    return [
      {
        kind: "leak",
        object: address,
        says: `${address} is given out to ${whose}, but ${why}`,
        remedy: `the node's agent gives it back within minutes; at once: fairlead ipam release ${address} --yes`,
      },
    ];
  });
}

function whyLeaked({ nodes, pods }: ClusterSnapshot, { address, secondary }: BlockAllocation): string | undefined {
  const { node, namespace, pod: name } = secondary;
  if (node !== undefined && !nodes.get(node)) return `there is no node ${node}`;
  if (namespace === undefined || name === undefined || name === "") return undefined;
  const pod = pods.get(`${namespace}/${name}`);
  if (!pod) return "there is no such pod";
  if (pod.spec.nodeName !== undefined && node !== undefined && pod.spec.nodeName !== node)
    return `the pod is on ${pod.spec.nodeName}, not on ${node}`;
  const own = (pod.status?.podIPs ?? []).map(({ ip }) => ip);
  return own.length > 0 && !own.includes(address) ? `the pod has ${own.join(", ")}` : undefined;
}

/** Pods' addresses that two pods have, or that no block knows of. */
function podFindings(snapshot: ClusterSnapshot, allocations: readonly Placed[]): IpamFinding[] {
  const findings: IpamFinding[] = [];
  const given = new Set(allocations.map(({ address }) => address));
  const pools = readPools(snapshot);
  const owners = new Map<string, string>();
  for (const pod of snapshot.pods.values()) {
    if (pod.spec.hostNetwork || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") continue;
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
    for (const { ip } of pod.status?.podIPs ?? []) {
      const other = owners.get(ip);
      if (other !== undefined)
        findings.push({
          kind: "duplicate",
          object: ip,
          says: `${other} and ${name} both have ${ip}`,
          remedy: "delete one of the pods; what it was given again is another address",
        });
      owners.set(ip, name);
      if (other === undefined && !given.has(ip) && poolOf(pools, ip))
        findings.push({
          kind: "unallocated",
          object: ip,
          says: `${name} has ${ip}, which no block knows to be given out: another pod may get it, too`,
          remedy: "restart the agent of the pod's node, which puts it on record, or delete the pod",
        });
    }
  }
  return findings;
}

function affinityFindings({ affinities, snapshot }: IpamObjects, blocks: readonly IpamBlock[]): IpamFinding[] {
  const byCidr = new Map(blocks.map((block) => [block.spec.cidr, block]));
  const claimed = new Set<string>();
  const findings: IpamFinding[] = [];
  const orphan = (object: string, says: string, remedy: string) => findings.push({ kind: "orphan", object, says, remedy });
  for (const { metadata, spec } of affinities) {
    const { cidr, node } = spec;
    claimed.add(`${cidr} ${node}`);
    const block = byCidr.get(cidr);
    if (!snapshot.nodes.get(node))
      orphan(metadata.name, `${cidr} is kept for node ${node}, which is gone`, "another node's agent gives it back within minutes");
    else if (!block)
      orphan(metadata.name, `node ${node} claims ${cidr}, but there is no such block`, "the node's agent ends the claim at its next start");
    else if (nodeOf(block) !== node)
      orphan(
        metadata.name,
        `node ${node} claims ${cidr}, which is ${nodeOf(block) === undefined ? "nobody's" : `${nodeOf(block)}'s`}`,
        `kubectl delete blockaffinities.crd.projectcalico.org ${metadata.name}`,
      );
  }
  for (const block of blocks) {
    const node = nodeOf(block);
    if (node !== undefined && !claimed.has(`${block.spec.cidr} ${node}`))
      orphan(
        block.metadata.name,
        `block ${block.spec.cidr} is ${node}'s, but has no affinity: nobody routes to it`,
        `restart the agent of ${node}`,
      );
  }
  return findings;
}

function handleFindings(handles: readonly IpamHandle[], allocations: readonly Placed[]): IpamFinding[] {
  const held = new Set(allocations.map(({ handle }) => handle));
  return handles.flatMap(({ metadata, spec }): IpamFinding[] =>
    held.has(spec.handleID)
      ? []
      : [
          {
            kind: "orphan",
            object: spec.handleID,
            says: `handle ${spec.handleID} has no address`,
            remedy: `kubectl delete ipamhandles.crd.projectcalico.org ${metadata.name}`,
          },
        ],
  );
}
