// Cuts flows that must not go on: to end points that are gone, denied by a new policy, of addresses that were given back.
//
// The kernel keeps one table of flows for all namespaces, and a walk through it costs milliseconds: what is to be cut is
// collected, and looked for in one walk.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Conntrack, ConntrackFlow } from "../kernel/index.ts";
import { cutFlows } from "../policy/index.ts";
import { isStale, type ServiceTable, serviceTable } from "../services/index.ts";

export interface FlowCutter {
  /** The node follows `after` from now on. */
  follow(after: ClusterSnapshot): void;
  /** These addresses have no owner any more. */
  forget(addresses: Iterable<string>): void;
  /** These addresses are about to be given out: if their flows are yet to be cut, it happens now. */
  settle(addresses: readonly string[]): void;
  close(): void;
}

/** Milliseconds that changes are collected for. */
const COLLECT_MS = 50;
/** A walk may take this share of the time at most. */
const SHARE = 10;

/** A cutter over one namespace's flows. */
export function createFlowCutter(conntrack: Conntrack, log: (message: string) => void): FlowCutter {
  let newest: ClusterSnapshot | undefined;
  /** What the flows that are there were last compared with. */
  let compared: ClusterSnapshot | undefined;
  const forgotten = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let lastMs = 0;

  function schedule(): void {
    timer ??= setTimeout(run, Math.max(COLLECT_MS, lastMs * SHARE)).unref();
  }

  function run(): void {
    timer = undefined;
    const [before, after] = [compared, newest];
    compared = newest;
    const addresses = new Set(forgotten);
    forgotten.clear();
    const services =
      before && after && concernsServices(before, after) ? ([serviceTable(before), serviceTable(after)] as const) : undefined;
    const policy = before && after && concernsPolicy(before, after);
    if (!services && !policy && addresses.size === 0) return;
    const started = performance.now();
    try {
      conntrack.delete(
        (flow: ConntrackFlow) =>
          addresses.has(flow.source) ||
          addresses.has(flow.replySource) ||
          (services !== undefined && isStale(...services, flow)) ||
          (policy === true && cutFlows(before, after, [flow]).length > 0),
      );
    } catch (error) {
      log(`conntrack: ${error instanceof Error ? error.message : String(error)}`);
    }
    lastMs = performance.now() - started;
  }

  return {
    follow(after) {
      if (after === newest) return;
      newest = after;
      compared ??= after;
      if (concernsServices(compared, after) || concernsPolicy(compared, after)) schedule();
    },
    forget(addresses) {
      for (const address of addresses) forgotten.add(address);
      if (forgotten.size > 0) schedule();
    },
    settle(addresses) {
      if (!addresses.some((address) => forgotten.has(address))) return;
      clearTimeout(timer);
      run();
    },
    close() {
      clearTimeout(timer);
    },
  };
}

function concernsPolicy(before: ClusterSnapshot, after: ClusterSnapshot): boolean {
  if (after.networkPolicies.size === 0) return false;
  return before.networkPolicies !== after.networkPolicies || before.pods !== after.pods || before.namespaces !== after.namespaces;
}

/** Whether a Service without connections of its own (UDP, SCTP) changed: only its flows can go stale. */
function concernsServices(before: ClusterSnapshot, after: ClusterSnapshot): boolean {
  if (before.endpointSlices === after.endpointSlices && before.services === after.services) return false;
  const [was, is] = [serviceTable(before), serviceTable(after)];
  const connectionless = (table: ServiceTable) => table.entries.filter((entry) => entry.protocol !== "tcp");
  const known = new Set(connectionless(was));
  const now = connectionless(is);
  return now.length !== known.size || now.some((entry) => !known.has(entry));
}
