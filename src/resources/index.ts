// The resources room's face.

export { compileSelector } from "./selectors.ts";
export type * from "./types.ts";
