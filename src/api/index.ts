// The face of the embedded API: its store, its server, and what hangs into them.
export type { AdmissionContext, AdmissionHook, MutableObject } from "./admission.ts";
export { REF } from "./controllers/context.ts";
export { type EventNote, type EventSink, eventRecorder } from "./controllers/events.ts";
export { type Controllers, type ControllersOptions, startControllers } from "./controllers/index.ts";
export { LEASE_NAMESPACE } from "./controllers/nodes.ts";
export { ApiError, conflict, forbidden, invalid, type Status, type StatusCause } from "./errors.ts";
export { kindRules } from "./kind-rules.ts";
export { applyMergePatch } from "./patch/merge-patch.ts";
export { quotaAdmission } from "./quota.ts";
export { builtinResources, groupVersionOf, type Resource, ResourceTable } from "./resource-table.ts";
export { type ApiServer, type ApiServerOptions, startApiServer } from "./server.ts";
export { serviceAccountAdmission } from "./service-accounts.ts";
export { checkNetworks, type ServiceAddressOptions, serviceAddresses, serviceCidrObject } from "./service-addresses.ts";
export { type KindRules, SqliteStore, type SqliteStoreOptions } from "./sqlite-store.ts";
export type { DeleteOptions, ListOptions, ObjectStore, ResourceRef, UpdateOptions, WatchEvent } from "./store.ts";
export type { CommandStreams, CommandWishes, TerminalSize } from "./stream/command-streams.ts";
export type { LogWishes, PodHost } from "./stream/pod-host.ts";
