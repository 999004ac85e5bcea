// Health check node ports: what a load balancer asks a node about a Service whose external traffic stays on the node.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { ServiceEntry } from "./entry.ts";
import { entriesIn, type Subset } from "./subset.ts";
import { chooseEndpoints, type ServiceTable, serviceTable } from "./table.ts";

/** One port at which a node answers for one Service. */
export interface HealthCheck {
  readonly port: number;
  readonly namespace: string;
  readonly name: string;
  /** Ready end points on the node, each pod once. */
  readonly localEndpoints: number;
}

const kept = new WeakMap<ServiceTable, Map<string, readonly HealthCheck[]>>();

/** The health checks of a node (spec.healthCheckNodePort: type LoadBalancer with externalTrafficPolicy Local); the same list while Services stay the same. */
export function healthChecks(snapshot: ClusterSnapshot, node: string): readonly HealthCheck[] {
  const table = serviceTable(snapshot);
  const byNode = kept.get(table) ?? new Map<string, readonly HealthCheck[]>();
  kept.set(table, byNode);
  const known = byNode.get(node);
  if (known) return known;
  const local = Map.groupBy(entriesIn(table, OUTSIDERS_LOCAL), ({ namespace, name }) => `${namespace}/${name}`);
  const checks = [...local].flatMap(([key, entries]): HealthCheck[] => {
    const service = snapshot.services.get(key);
    if (!service) return [];
    const { healthCheckNodePort: port, type } = service.spec;
    if (!port || type !== "LoadBalancer") return [];
    const { namespace = "", name } = service.metadata;
    return [{ port, namespace, name, localEndpoints: countLocal(entries, node) }];
  });
  byNode.set(node, checks);
  return checks;
}

const OUTSIDERS_LOCAL: Subset = { takes: ({ externalLocal }) => externalLocal };
const LOCAL: Subset = { takes: ({ internalLocal, externalLocal }) => internalLocal || externalLocal };

function countLocal(entries: readonly ServiceEntry[], node: string): number {
  const local = new Set<string>();
  for (const { endpoints } of entries)
    for (const endpoint of endpoints) if (endpoint.ready && endpoint.node === node) local.add(endpoint.pod ?? endpoint.address);
  return local.size;
}

const keptCounts = new WeakMap<ServiceTable, Map<string, NoLocal>>();

export interface NoLocal {
  readonly internal: number;
  readonly external: number;
}

/** How many entries of traffic policy Local have end points, but none on a node. */
export function countNoLocal(snapshot: ClusterSnapshot, node: string): NoLocal {
  const table = serviceTable(snapshot);
  const byNode = keptCounts.get(table) ?? new Map<string, NoLocal>();
  keptCounts.set(table, byNode);
  let count = byNode.get(node);
  if (!count) {
    const lacking = (internal: boolean) =>
      entriesIn(table, LOCAL).filter((entry) => {
        const choice = (internal ? entry.internalLocal : entry.externalLocal) ? chooseEndpoints(entry, { node }, internal) : undefined;
        return choice !== undefined && "refuse" in choice && choice.refuse === "drop";
      }).length;
    count = { internal: lacking(true), external: lacking(false) };
    byNode.set(node, count);
  }
  return count;
}
