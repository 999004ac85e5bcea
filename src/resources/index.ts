// The resources room's face.
export type * from "./types.ts";
