// What a node must hold for Services, in each way to balance them.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { KernelState, TableContribution } from "../kernel/index.ts";
import { planIptables } from "./iptables.ts";
import { planIpvs } from "./ipvs.ts";
import { planServices } from "./nftables.ts";
import type { PodNetworks } from "./pod-sources.ts";

export interface ModePlan {
  /** The rooms' common nft table's part. */
  readonly table: TableContribution;
  readonly state: Partial<KernelState>;
  readonly remarks: readonly string[];
}

export interface ModeOptions {
  readonly mode: "nftables" | "iptables" | "ipvs";
  readonly podNetworks: PodNetworks;
  /** The node's own addresses, without lengths; for IPVS. */
  readonly own?: readonly string[];
}

/** Plans the Services of a node in one mode. Pure; what did not change is the same object as before. */
export function planServiceMode(snapshot: ClusterSnapshot, node: string, { mode, podNetworks, own = [] }: ModeOptions): ModePlan {
  if (mode === "iptables") return planIptables(snapshot, node, podNetworks);
  if (mode === "ipvs") return planIpvs(snapshot, node, own);
  const { table, remarks } = planServices(snapshot, node);
  return { table, state: {}, remarks };
}
