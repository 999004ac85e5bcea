// The face of the services room.
export { type Announcement, electAnnouncer } from "./announce.ts";
export { planBalancers } from "./balancer.ts";
export { isStale } from "./conntrack.ts";
export { type Fault, type ServiceEntry, selectsNobody } from "./entry.ts";
export { countNoLocal, type HealthCheck, healthChecks } from "./health.ts";
export { SERVICE_CHAINS } from "./iptables.ts";
export { SERVICE_BALANCER } from "./ipvs.ts";
export { IPVS_INPUT } from "./ipvs-marks.ts";
export { type ModePlan, planServiceMode } from "./mode.ts";
export { announceFrame } from "./neighbour-frame.ts";
export { planServices } from "./nftables.ts";
export { entriesIn, type Subset } from "./subset.ts";
export type { ServiceTable } from "./table.ts";
export { serviceTable } from "./table.ts";
export { type EndpointView, type PortView, type ServiceView, viewServices } from "./view.ts";
