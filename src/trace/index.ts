// The face of the trace room.
export type { Hop, TraceResult } from "./hop.ts";
export { type Prediction, predict } from "./static-matrix.ts";
export { type TraceOptions, trace } from "./trace.ts";
export { desiredWorld, type Observation, observedWorld, type World } from "./world.ts";
