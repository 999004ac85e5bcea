// The face of the agent room.
export { type Agent, type AgentOptions, type AgentStatus, startAgent } from "./agent.ts";
