// The policy room's face.
export { checkPolicies } from "./check.ts";
export type { PolicyStep, PolicyVerdict } from "./decide.ts";
export type { End } from "./ends.ts";
export { type Connection, evaluatePolicies } from "./evaluate.ts";
export { type DirectionWalk, explainPolicies, type PolicyExplanation } from "./explain.ts";
export type { PolicyFinding } from "./finding.ts";
export { cutFlows } from "./flows.ts";
export { DNS_GROUP, DNS_HELD, DNS_PORT, DNS_WATCH } from "./name-watch.ts";
export { type DnsAnswers, joinBooks, NO_NAMES, nameBook, nameMatches } from "./names.ts";
export { type PodChoice, type PolicyNeed, policyNeeds } from "./needs.ts";
export { readNetworkPolicy } from "./network-policy.ts";
export { type LocalPod, type PolicyPlan, planPolicy } from "./nftables.ts";
export { directionOfChain } from "./policy-chains.ts";
export { policiesMayDiffer, policyParts } from "./policy-index.ts";
export { type PolicyCondition, type PolicyStatus, policyStatuses } from "./policy-status.ts";
export { rulePath } from "./rule-path.ts";
export { LOG_GROUP } from "./rule-writer.ts";
export type * from "./rules.ts";
