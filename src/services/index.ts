// The face of the services room.
export { isStale } from "./conntrack.ts";
export type { ServiceEntry } from "./entry.ts";
export { planServices } from "./nftables.ts";
export type { ServiceTable } from "./table.ts";
export { chooseEndpoints, serviceTable } from "./table.ts";
