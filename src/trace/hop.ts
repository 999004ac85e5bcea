// One step of a packet's way, and what a trace answers.
import type { Owner } from "../kernel/index.ts";

export type Stage = "route" | "neighbour" | "fdb" | "hook" | "service" | "policy" | "encapsulate" | "deliver";

export interface Hop {
  /** Name of the node, or "outside". */
  readonly node: string;
  /** "pod production/api-1", "node" or "outside". */
  readonly namespace: string;
  readonly stage: Stage;
  readonly decision: string;
  /** The object that the deciding rule comes from. */
  readonly owner?: Owner;
  readonly says: string;
}

export interface TraceResult {
  readonly verdict: "delivered" | "dropped" | "rejected" | "refused" | "unroutable";
  readonly reason: string;
  readonly remedy: string;
  readonly hops: readonly Hop[];
  /** What in foreign rules was not understood and passed over; absent if nothing. */
  readonly doubts?: readonly string[];
}
