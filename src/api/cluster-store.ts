// The store of a whole cluster: with what is admitted, what kinds ask for, and the Services' networks as an object.
import type { Service } from "../resources/index.ts";
import { kindRules } from "./kind-rules.ts";
import { quotaAdmission } from "./quota.ts";
import { serviceAccountAdmission } from "./service-accounts.ts";
import { serviceAddresses, serviceCidrObject } from "./service-addresses.ts";
import { SqliteStore, type SqliteStoreOptions } from "./sqlite-store.ts";

const SERVICES = { group: "", version: "v1", plural: "services" } as const;
const SERVICE_CIDRS = { group: "networking.k8s.io", version: "v1", plural: "servicecidrs" } as const;

export interface ClusterStoreOptions extends Pick<SqliteStoreOptions, "path" | "historySize"> {
  /** One range per family; the first is that of addresses where nothing else is said. */
  readonly serviceCidrs: readonly string[];
}

/** @throws FairleadError `store-unreadable` */
export function openClusterStore({ serviceCidrs, ...options }: ClusterStoreOptions): SqliteStore {
  const addresses = serviceAddresses({ serviceCidrs });
  const store = new SqliteStore({ ...options, hooks: [addresses, serviceAccountAdmission, quotaAdmission], rules: kindRules });
  addresses.adopt(store.list<Service>(SERVICES).items);
  const networks = serviceCidrObject(serviceCidrs);
  if (!store.get(SERVICE_CIDRS, undefined, networks.metadata.name)) store.create(SERVICE_CIDRS, networks);
  return store;
}
