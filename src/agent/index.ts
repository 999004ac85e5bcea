// The face of the agent room.

export { NETWORKS, type Network, nodeSettings, SERVICE_MODES, type ServiceMode } from "../plan/index.ts";
export { type Agent, type AgentOptions, type AgentStatus, startAgent } from "./agent.ts";
export type { BgpRoute, BgpRoutesView, BgpView, NeighbourView } from "./bgp/view.ts";
