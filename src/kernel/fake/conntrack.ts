// The fake's connection table: a list that tests fill.
import { familyOf } from "../../base/index.ts";
import type { Conntrack, ConntrackFilter, ConntrackFlow } from "../kernel.ts";

export class FakeConntrack implements Conntrack {
  flows: ConntrackFlow[] = [];

  list(filter: ConntrackFilter = {}): ConntrackFlow[] {
    return this.flows.filter((flow) => matches(filter, flow));
  }

  delete(filter: ConntrackFilter | ((flow: ConntrackFlow) => boolean)): number {
    const before = this.flows.length;
    const goes = typeof filter === "function" ? filter : (flow: ConntrackFlow) => matches(filter, flow);
    this.flows = this.flows.filter((flow) => !goes(flow));
    return before - this.flows.length;
  }
}

function matches(filter: ConntrackFilter, flow: ConntrackFlow): boolean {
  if (filter.family !== undefined && familyOf(flow.source) !== filter.family) return false;
  for (const field of ["protocol", "source", "destination", "destinationPort", "replySource", "replyDestination"] as const) {
    if (filter[field] !== undefined && filter[field] !== flow[field]) return false;
  }
  return true;
}
