// What can go wrong when addresses are given out.
import { FairleadError } from "../base/index.ts";

/** No address is free in a range. */
export class RangeFullError extends FairleadError {
  constructor(range: string, used: number) {
    super("range-full", `no address is free in ${range}: ${used} are in use`, {
      remedy: "take pods away, or give the cluster a wider pod range: fairlead lab up --pod-cidr",
    });
  }
}

/** No address is free in any block that the node may take one of. */
export class PoolsFullError extends FairleadError {
  constructor(pools: readonly string[], strict: boolean) {
    super(
      "pools-full",
      pools.length === 0
        ? "no pool gives addresses to this pod on this node"
        : `no address is free in ${pools.length === 1 ? "pool" : "the pools"} ${pools.join(", ")}`,
      {
        remedy:
          pools.length === 0
            ? "add an IPPool whose nodeSelector and namespaceSelector fit, or enable one"
            : `add an IPPool, or look at: fairlead ipam show${strict ? "; strictAffinity keeps the node from other nodes' blocks" : ""}`,
      },
    );
  }
}

/** An address that was asked for by name can't be had. */
export class AddressTakenError extends FairleadError {
  constructor(address: string, why: string) {
    super("address-taken", `${address} can't be given out: ${why}`, { remedy: `look at: fairlead ipam show ${address}` });
  }
}
