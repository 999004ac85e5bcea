// The face of the services room.
export { isStale } from "./conntrack.ts";
export type { ServiceEntry } from "./entry.ts";
export { countNoLocal, type HealthCheck, healthChecks } from "./health.ts";
export { SERVICE_CHAINS } from "./iptables.ts";
export { type ModePlan, planServiceMode } from "./mode.ts";
export { planServices } from "./nftables.ts";
export type { ServiceTable } from "./table.ts";
export { serviceTable } from "./table.ts";
export { type EndpointView, type PortView, type ServiceView, viewServices } from "./view.ts";
