// The face of the agent room.

export { NETWORKS, type Network, nodeSettings, SERVICE_MODES, type ServiceMode } from "../plan/index.ts";
export { type Agent, type AgentOptions, type AgentStatus, startAgent } from "./agent.ts";
export { type BgpRoute, type BgpRoutesView, type BgpView, type NeighbourView, viewRoute } from "./bgp/view.ts";
export { holdLease } from "./lease.ts";
export { type PolicyDuties, startPolicyDuties } from "./policy-duties.ts";
export { type ServiceDuties, type ServiceDutiesOptions, startServiceDuties } from "./service-duties.ts";
