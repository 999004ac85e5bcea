// The face of the peering room.
export type { Neighbour, NeighbourKind, SecretKey } from "./neighbours.ts";
export { type BgpFacts, type BgpPlan, bgpParts, isForKernel, planBgp } from "./plan.ts";
