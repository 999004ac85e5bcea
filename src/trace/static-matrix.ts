// The matrix by calculation: what every pair would see, without sending a packet.
import type { ClusterSnapshot, Pair } from "../cluster/index.ts";
import type { TraceResult } from "./hop.ts";
import { trace } from "./trace.ts";

export interface Prediction extends Pair {
  readonly verdict: "connected" | "refused" | "timeout" | "unreachable";
  /** Why, in words. */
  readonly reason: string;
}

/** What a probe would report for how a packet's way ends. */
const VERDICTS: Readonly<Record<TraceResult["verdict"], Prediction["verdict"]>> = {
  delivered: "connected",
  dropped: "timeout",
  rejected: "refused",
  refused: "refused",
  unroutable: "unreachable",
};

/** Predicts pairs. Their ends must exist in the snapshot. @throws FairleadError as trace does */
export function predict(snapshot: ClusterSnapshot, pairs: readonly Pair[]): Prediction[] {
  return pairs.map((pair) => {
    const to = pair.to.includes(":") ? `[${pair.to}]:${pair.port}` : `${pair.to}:${pair.port}`;
    const { verdict, reason } = trace(snapshot, { from: pair.from, to, protocol: pair.protocol === "UDP" ? "udp" : "tcp" });
    return { ...pair, verdict: VERDICTS[verdict], reason };
  });
}
