// The port for a routed node's own metrics, 9091 as Calico has it, with Felix's names where it is Felix's work.
import { createServer, type Server } from "node:http";
import { messageOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { NetworkNamespace } from "../kernel/index.ts";
import type { NodePlan } from "../plan/index.ts";
import type { AgentStatus } from "./agent.ts";
import type { NodeBgp } from "./bgp/node-bgp.ts";
import { countByFamily } from "./bgp/view.ts";

const DEFAULT_PORT = 9091;
/** A port that somebody else has is asked for again after so many milliseconds. */
const AGAIN_MS = 10_000;

export interface NodeMetricsOptions {
  readonly namespace: NetworkNamespace;
  readonly read: () => NodeReading | undefined;
  readonly log: (message: string) => void;
}

/** What the metrics are made of. */
interface NodeReading {
  readonly status: AgentStatus;
  readonly snapshot: ClusterSnapshot;
  readonly plan: NodePlan;
  readonly bgp: NodeBgp;
}

export interface NodeMetrics {
  /** Serves on this port from now on; undefined: on none. */
  follow(port: number | undefined): void;
  close(): void;
}

/** Where a node tells its metrics; undefined on an overlay's node. Pure. */
export function nodeMetricsPort(snapshot: ClusterSnapshot, plan: Pick<NodePlan, "routed">): number | undefined {
  if (!plan.routed) return undefined;
  const specs = [
    "operator.tigera.io/v1/Installation",
    "projectcalico.org/v3/FelixConfiguration",
    "crd.projectcalico.org/v1/FelixConfiguration",
  ];
  for (const kind of specs) {
    for (const object of snapshot.others.get(kind)?.values() ?? []) {
      const { spec } = object as { readonly spec?: { readonly nodeMetricsPort?: unknown; readonly prometheusMetricsPort?: unknown } };
      const port = spec?.nodeMetricsPort ?? spec?.prometheusMetricsPort;
      if (typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65536) return port;
    }
  }
  return DEFAULT_PORT;
}

/** Serves on all addresses of the node. A port that is taken is logged, and tried again. */
export function createNodeMetrics({ namespace, read, log }: NodeMetricsOptions): NodeMetrics {
  let open: { readonly port: number; readonly server: Server } | undefined;
  let failed = { port: 0, at: Number.NEGATIVE_INFINITY };

  const answer: Parameters<typeof createServer>[1] = (request, response) => {
    const reading = request.url === "/metrics" ? read() : undefined;
    if (!reading) return void response.writeHead(request.url === "/metrics" ? 503 : 404).end();
    response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }).end(writeNodeMetrics(reading));
  };
  const shut = () => {
    open?.server.close();
    open?.server.closeAllConnections();
    open = undefined;
  };

  return {
    follow(port) {
      if (open?.port === port) return;
      shut();
      if (port === undefined || (failed.port === port && performance.now() - failed.at < AGAIN_MS)) return;
      try {
        const fd = namespace.bindSocket({ protocol: "tcp", address: "::", port, reuseAddress: true, backlog: 64 });
        const server = createServer({ requestTimeout: 10_000 }, answer);
        server.on("error", (error) => log(`port ${port}: ${messageOf(error)}`));
        server.listen({ fd });
        server.unref();
        open = { port, server };
      } catch (error) {
        failed = { port, at: performance.now() };
        log(`node metrics on port ${port}: ${messageOf(error)}`);
      }
    },
    close: shut,
  };
}

type Labels = Readonly<Record<string, string>>;

/** The text of a scrape. */
function writeNodeMetrics({ status, snapshot, plan, bgp }: NodeReading): string {
  const lines: string[] = [];
  const gauge = (name: string, help: string, values: readonly (readonly [Labels, number])[], type = "gauge") => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of values) lines.push(`${name}${writeLabels(labels)} ${value}`);
  };
  const one = (value: number) => [[{}, value]] as const;
  const node = { node: status.node };
  gauge("felix_active_local_endpoints", "Pods wired on this node", one(status.pods));
  gauge("felix_active_local_policies", "Policies in force on this node", one(policiesOf(plan)));
  gauge("felix_cluster_num_hosts", "Nodes of the cluster", one(snapshot.nodes.size));
  gauge("felix_cluster_num_workload_endpoints", "Pods of the cluster that are known here", one(snapshot.pods.size));
  gauge("felix_resync_state", "3: the kernel is as planned, 2: it is not", one(status.kernel.inSync ? 3 : 2));
  gauge("felix_int_dataplane_failures", "Reconciliations that failed", one(status.kernel.failures), "counter");
  gauge("felix_int_dataplane_apply_time_seconds", "How long the last reconciliation took", one(status.kernel.lastMs / 1000));
  gauge("ipam_blocks_per_node", "Blocks that this node has addresses of", [[node, status.ranges.length]]);
  const used = status.ranges.reduce((sum, range) => sum + range.used, 0);
  gauge("ipam_allocations_per_node", "Addresses given out on this node", [[node, used]]);
  const usage = process.cpuUsage();
  gauge("process_resident_memory_bytes", "Resident memory of the agent", one(process.memoryUsage.rss()));
  gauge("process_cpu_seconds_total", "Processor time of the agent", one((usage.user + usage.system) / 1e6), "counter");
  if (status.bgp) writeBgp(bgp, gauge);
  return `${lines.join("\n")}\n`;
}

function writeBgp(bgp: NodeBgp, gauge: (name: string, help: string, values: readonly (readonly [Labels, number])[]) => void): void {
  const neighbours = bgp.neighbours();
  const states = new Map<string, number>();
  for (const { neighbour, status } of neighbours) {
    const version = neighbour.peer.address.includes(":") ? "6" : "4";
    const key = `${status?.phase ?? "Idle"} ${version}`;
    states.set(key, (states.get(key) ?? 0) + 1);
  }
  const byState = [...states].map(([key, count]) => {
    const [state = "", version = ""] = key.split(" ");
    return [{ status: state, ip_version: version }, count] as const;
  });
  gauge("bgp_peers", "BGP neighbours by state", byState);
  gauge(
    "fairlead_bgp_session_up",
    "1 while the session with a neighbour is up",
    neighbours.map(({ neighbour, status }) => [
      { peer: neighbour.peer.name, address: neighbour.peer.address },
      status?.phase === "Established" ? 1 : 0,
    ]),
  );
  const imported = countByFamily((bgp.learned ?? []).map(({ prefix }) => prefix));
  const announced = countByFamily((bgp.plan?.routes ?? []).map(({ prefix }) => prefix));
  const versions = (counts: Readonly<Record<4 | 6, number>>) =>
    ([4, 6] as const).map((family) => [{ ip_version: String(family) }, counts[family]] as const);
  gauge("bgp_routes_imported", "Routes that the kernel has from BGP", versions(imported));
  gauge("bgp_routes_announced", "Routes of this node's own that are announced", versions(announced));
}

function writeLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${value.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** Policies that rules of the node's table stand for. */
function policiesOf({ kernel }: NodePlan): number {
  const found = new Set<string>();
  for (const { chains } of kernel.tables)
    for (const { rules } of chains)
      for (const { owner } of rules) if (owner?.kind.endsWith("Policy")) found.add(`${owner.kind} ${owner.namespace ?? ""}/${owner.name}`);
  return found.size;
}
