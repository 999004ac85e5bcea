// The face of the relay room.
export { parseRelays, type RelayAccess, type RelayClientOptions, type RelaySource, sourceFromRelay } from "./client.ts";
export { checkRelay, type Relay, type RelayOptions, type RelayStatus, startRelay } from "./server.ts";
