// The face of the agent room.

export { SERVICE_MODES, type ServiceMode } from "../plan/index.ts";
export { type Agent, type AgentOptions, type AgentStatus, startAgent } from "./agent.ts";
export { holdLease } from "./lease.ts";
export { type PolicyDuties, startPolicyDuties } from "./policy-duties.ts";
export { type ServiceDuties, type ServiceDutiesOptions, startServiceDuties } from "./service-duties.ts";
