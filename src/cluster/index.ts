// The cluster room's face.
export type * from "./snapshot.ts";
