// The resources room's face.
export { compileCalicoSelector } from "./calico-selector.ts";
export { isReady } from "./conditions.ts";
export { applyDefaults } from "./defaults.ts";
export { type CustomResourceDefinition, definitionsOf } from "./definitions.ts";
export { calculateEndpointSlices, type EndpointContext } from "./endpoints.ts";
export { apiVersionOf, closeKinds, findKind, KINDS, type KindInfo } from "./kinds.ts";
export type { ManifestProblem } from "./manifests/documents.ts";
export { type ManifestObject, type Manifests, parseManifests } from "./manifests/parse.ts";
export { readManifests } from "./manifests/read.ts";
export { hostPorts, whyNotOn } from "./placement.ts";
export { compileSelector } from "./selectors.ts";
export type * from "./types.ts";
export { type ValidateOptions, validate, validateBody } from "./validate.ts";
export { validateMetadata } from "./validation/metadata.ts";
export { keyFault, labelValueFault } from "./validation/names.ts";
export type { FieldError, FieldErrorReason } from "./validation/place.ts";
