// The fake's connection table: a list that tests fill.
import type { Conntrack, ConntrackFilter, ConntrackFlow } from "../kernel.ts";
import { matchesFlow } from "../netlink/conntrack.ts";

export class FakeConntrack implements Conntrack {
  flows: ConntrackFlow[] = [];

  list(filter: ConntrackFilter = {}): ConntrackFlow[] {
    return this.flows.filter((flow) => matchesFlow(filter, flow));
  }

  async delete(filters: readonly ConntrackFilter[], only?: (flow: ConntrackFlow) => boolean): Promise<void> {
    this.flows = this.flows.filter((flow) => !(filters.some((filter) => matchesFlow(filter, flow)) && (!only || only(flow))));
  }
}
