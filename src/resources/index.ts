// The resources room's face.
export { applyDefaults } from "./defaults.ts";
export { calculateEndpointSlices, type EndpointContext } from "./endpoints.ts";
export { compileSelector } from "./selectors.ts";
export type * from "./types.ts";
