// The face of the trace room.
export { type Hop, type TraceOptions, type TraceResult, trace } from "./trace.ts";
