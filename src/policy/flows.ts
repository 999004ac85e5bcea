// Established flows that policies no longer allow.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { ConntrackFlow } from "../kernel/index.ts";
import { evaluatePolicies } from "./evaluate.ts";
import { policiesMayDiffer } from "./policy-index.ts";
import type { NameBook } from "./rules.ts";

/**
 * The flows to delete: those that `after` denies, judged by their real ends (the source before, the destination after
 * translation). Nothing if the change between the snapshots cannot concern policies.
 */
export function cutFlows(
  before: ClusterSnapshot,
  after: ClusterSnapshot,
  flows: readonly ConntrackFlow[],
  names?: NameBook,
): ConntrackFlow[] {
  if (!policiesMayDiffer(before, after)) return [];
  return flows.filter((flow) => {
    const port = flow.replySourcePort ?? flow.destinationPort;
    const connection = {
      from: { address: flow.source },
      to: { address: flow.replySource },
      protocol: String(flow.protocol),
      ...(port === undefined ? {} : { port }),
      ...(flow.sourcePort === undefined ? {} : { sourcePort: flow.sourcePort }),
    };
    return evaluatePolicies(after, connection, names).verdict === "deny";
  });
}
