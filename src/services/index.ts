// The face of the services room.
export { isStale } from "./conntrack.ts";
export { MASQUERADE_MARK, POD_NETWORKS, planServices } from "./nftables.ts";
export {
  type Choice,
  chooseEndpoints,
  entryAddresses,
  type ServiceEndpoint,
  type ServiceEntry,
  type ServiceTable,
  serviceTable,
} from "./table.ts";
