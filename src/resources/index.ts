// The resources room's face.

export { calculateEndpointSlices, type EndpointContext } from "./endpoints.ts";
export { type ManifestObject, type ManifestProblem, type Manifests, parseManifests, readManifests } from "./manifests.ts";
export { compileSelector } from "./selectors.ts";
export type * from "./types.ts";
