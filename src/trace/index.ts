// The face of the trace room.
export { type Prediction, predict } from "./static-matrix.ts";
export { type Hop, type TraceOptions, type TraceResult, trace } from "./trace.ts";
