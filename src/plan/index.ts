// The face of the plan room.
export { keepSame } from "./keep.ts";
export { composeTable, planNode, TABLE } from "./node-plan.ts";
export type { NodeFacts, NodePlan, PlanNode, PodAttachment } from "./plan.ts";
export { NETWORKS, type Network, nodeSettings, SERVICE_MODES, type ServiceMode } from "./settings.ts";
