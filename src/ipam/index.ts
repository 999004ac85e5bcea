// The face of the address allocation room.

export {
  type AddressUse,
  addressUses,
  auditIpam,
  type BlockUsage,
  blockUsage,
  type IpamFinding,
  type IpamObjects,
  type PoolUsage,
  poolUsage,
} from "./audit.ts";
export { allocationsOf, type BlockAllocation, isSound, nodeOf } from "./block.ts";
export { type AddressOwner, assignPod, BlockIpam } from "./blocks.ts";
export { ACTIVE_NETWORK, AFFINITY_KIND } from "./candidates.ts";
export { type Collected, Collector, type CollectorOptions } from "./collector.ts";
export { AddressTakenError, PoolsFullError, RangeFullError } from "./errors.ts";
export { type Allocation, createIpam, type Ipam } from "./ipam.ts";
export { type BlockAffinity, IPAM_RESOURCES, type IpamBlock, type IpamHandle } from "./objects.ts";
export { type Encapsulation, missingPools, type Pool, type Pools, poolOf, readPools } from "./pools.ts";
export { type PodWishes, podWishes } from "./settings.ts";
