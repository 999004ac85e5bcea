// Established flows that policies no longer allow.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { ConntrackFlow } from "../kernel/index.ts";
import { evaluatePolicies } from "./evaluate.ts";
import { policiesMayDiffer } from "./policy-index.ts";
import type { NameBook } from "./rules.ts";

const PROTOCOLS: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPV6", 132: "SCTP" };

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
      protocol: PROTOCOLS[flow.protocol] ?? String(flow.protocol),
      ...(port === undefined ? {} : { port }),
    };
    return evaluatePolicies(after, connection, names).verdict === "deny";
  });
}
