// Where pods' addresses come from: the node's own ranges (overlay), or blocks that the cluster shares (routed).
import type { AttachmentRecord } from "../cni/index.ts";
import type { Ipam } from "../ipam/index.ts";

/** Whose addresses are asked for. */
export type AddressClaim = Pick<AttachmentRecord, "network" | "containerId" | "interface" | "podNamespace" | "podName">;

export interface PodAddresses {
  /** "10.244.1.7/24" or "10.244.0.7/32", one per family. @throws RangeFullError, PoolsFullError, AddressTakenError, and whatever the API says */
  assign(claim: AddressClaim): Promise<readonly string[]>;
  /** Never throws: what can't be given back now is found later. */
  release(claim: AddressClaim, addresses: readonly string[]): Promise<void>;
  /** Why no pod can have an address; undefined if one can. */
  full(): string | undefined;
  usage(): readonly { readonly range: string; readonly used: number; readonly size: number }[];
  /** Addresses have got their record, or will not get one. */
  settled(claim: AddressClaim): void;
}

/** Addresses of the node's own ranges; what is in use, the records say. */
export function rangeAddresses(ipam: Ipam): PodAddresses {
  return {
    assign: async () => ipam.allocate().map(({ address }) => address),
    release: async (_claim, addresses) => ipam.release(addresses),
    full() {
      const full = ipam.usage().find((range) => range.used >= range.size);
      return full && `no address is free in ${full.range}: ${full.used} of ${full.size} are in use`;
    },
    usage: () => ipam.usage(),
    settled() {},
  };
}
