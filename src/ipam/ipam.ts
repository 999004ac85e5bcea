// A node's address allocator: one range per family, all families or none. What is in use is known from the attachment
// records alone, so there is no second record that could disagree with them after a crash.
import { familyOf } from "../base/index.ts";
import { AddressRange } from "./range.ts";

export interface Allocation {
  /** "10.244.1.7/24" */
  readonly address: string;
  readonly gateway: string;
}

export interface Ipam {
  /** One address of each range. @throws RangeFullError, and then nothing is taken */
  allocate(): Allocation[];
  release(addresses: readonly string[]): void;
  usage(): readonly { readonly range: string; readonly used: number; readonly size: number }[];
  /** Addresses in use that lie in none of the ranges: the node's podCIDR was changed under them. */
  readonly outside: readonly string[];
}

/** @param ranges the node's podCIDRs @param inUse "address/length" of every attachment on record */
export function createIpam(ranges: readonly string[], inUse: Iterable<string>): Ipam {
  const pools = ranges.map((range) => new AddressRange(range));
  const outside: string[] = [];
  const plain = (address: string) => address.replace(/\/.*/, "");
  for (const address of inUse) {
    const pool = pools.find((candidate) => candidate.family === familyOf(address) && candidate.contains(plain(address)));
    if (!pool?.claim(plain(address))) outside.push(address);
  }
  const release = (addresses: readonly string[]) => {
    for (const address of addresses) for (const pool of pools) if (pool.family === familyOf(address)) pool.release(plain(address));
  };
  return {
    outside,
    allocate() {
      const taken: Allocation[] = [];
      try {
        for (const pool of pools) taken.push({ address: `${pool.take()}/${pool.prefixLength}`, gateway: pool.gateway });
      } catch (error) {
        release(taken.map((allocation) => allocation.address));
        throw error;
      }
      return taken;
    },
    release,
    usage: () => pools.map((pool) => ({ range: pool.cidr, used: pool.used, size: pool.size })),
  };
}
