// What an agent counts, in Prometheus' words: kube-proxy's names where it does kube-proxy's work, fairlead_ for the rest.
import type { Histogram, Registry } from "prom-client";
import type { AgentStatus } from "./agent.ts";

export interface AgentMetrics {
  /** A plan was calculated and written. */
  synced(sync: Sync): void;
  /** Somebody asked for /healthz. */
  asked(code: number): void;
  /** The text of a scrape. */
  read(status: AgentStatus): Promise<{ readonly type: string; readonly text: string }>;
}

export interface Sync {
  readonly seconds: number;
  /** The first plan after a start writes everything. */
  readonly full: boolean;
  readonly serviceChanges: number;
  readonly endpointChanges: number;
  /** Seconds since what changed the end points, for each slice that is in the kernel now. */
  readonly programming: readonly number[];
  /** Services of policy Local that have end points, but none on this node. */
  readonly noLocal: { readonly internal: number; readonly external: number };
}

/** Doublings from a millisecond up to 16 seconds, as kube-proxy has them. */
const BUCKETS = Array.from({ length: 15 }, (_, exponent) => 0.001 * 2 ** exponent);
/** As kube-proxy has them for the way from a pod to the rules: up to five minutes. */
const PROGRAMMING_BUCKETS = [0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60, 90, 120, 180, 240, 300];
/** What is kept until somebody scrapes for the first time, when the library is loaded: it takes longer to load than a lab's node to start. */
const MOST_WAITING = 1000;

/** Metrics of one agent. */
export function createMetrics(): AgentMetrics {
  const waiting: Sync[] = [];
  const healthz = new Map<number, number>();
  const totals = { serviceChanges: 0, endpointChanges: 0 };
  let newest: Sync | undefined;
  let lastSync = 0;
  let loaded: Promise<Loaded> | undefined;

  return {
    synced(sync) {
      newest = sync;
      lastSync = Date.now() / 1000;
      totals.serviceChanges += sync.serviceChanges;
      totals.endpointChanges += sync.endpointChanges;
      if (waiting.length < MOST_WAITING) waiting.push(sync);
    },
    asked(code) {
      healthz.set(code, (healthz.get(code) ?? 0) + 1);
    },
    async read(status) {
      loaded ??= load();
      const { registry, durations, programming } = await loaded;
      const [all, full, partial] = durations;
      for (const sync of waiting.splice(0)) {
        all.observe(sync.seconds);
        (sync.full ? full : partial).observe(sync.seconds);
        for (const seconds of sync.programming) programming.observe(seconds);
      }
      const { Gauge, Registry } = await import("prom-client");
      const now = new Registry();
      const gauge = (name: string, help: string, values: readonly (readonly [Record<string, string>, number])[]) => {
        const labelNames = Object.keys(values[0]?.[0] ?? {});
        const made = new Gauge({ name, help, labelNames, registers: [now] });
        for (const [labels, value] of values) made.set(labels, value);
      };
      gauge("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "The last time the rules were synced", [[{}, lastSync]]);
      gauge("kubeproxy_sync_proxy_rules_service_changes_total", "Changes of Services that were synced", [[{}, totals.serviceChanges]]);
      gauge("kubeproxy_sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices that were synced", [
        [{}, totals.endpointChanges],
      ]);
      gauge("kubeproxy_sync_proxy_rules_no_local_endpoints_total", "Services of policy Local without an end point on this node", [
        [{ traffic_policy: "internal" }, newest?.noLocal.internal ?? 0],
        [{ traffic_policy: "external" }, newest?.noLocal.external ?? 0],
      ]);
      gauge(
        "kubeproxy_proxy_healthz_total",
        "Answers of /healthz by status",
        [...healthz].map(([code, count]) => [{ code: String(code) }, count]),
      );
      gauge("fairlead_in_sync", "1 if the node's kernel is as planned", [[{}, status.kernel.inSync ? 1 : 0]]);
      gauge("fairlead_reconcile_runs_total", "Reconciliations of the node's kernel", [[{}, status.kernel.runs]]);
      gauge("fairlead_reconcile_failures_total", "Reconciliations that failed", [[{}, status.kernel.failures]]);
      gauge("fairlead_mended_total", "Objects put back after somebody else changed them", [
        ...Object.entries(status.kernel.mended).map(([kind, count]) => [{ kind }, count] as const),
        [{ kind: "pod" }, status.podDrifts] as const,
      ]);
      gauge("fairlead_pods", "Pods wired on the node", [[{}, status.pods]]);
      gauge(
        "fairlead_addresses_used",
        "Addresses given out, by range",
        status.ranges.map(({ range, used }) => [{ range }, used] as const),
      );
      gauge(
        "fairlead_addresses",
        "Addresses of a range",
        status.ranges.map(({ range, size }) => [{ range }, size] as const),
      );
      return { type: registry.contentType, text: `${await registry.metrics()}${await now.metrics()}` };
    },
  };
}

interface Loaded {
  readonly registry: Registry;
  readonly durations: readonly [Histogram, Histogram, Histogram];
  readonly programming: Histogram;
}

async function load(): Promise<Loaded> {
  const { Histogram, Registry } = await import("prom-client");
  const registry = new Registry();
  const histogram = (name: string, help: string, buckets = BUCKETS) => new Histogram({ name, help, buckets, registers: [registry] });
  return {
    registry,
    durations: [
      histogram("kubeproxy_sync_proxy_rules_duration_seconds", "How long a sync took"),
      histogram("kubeproxy_sync_full_proxy_rules_duration_seconds", "How long a full sync took"),
      histogram("kubeproxy_sync_partial_proxy_rules_duration_seconds", "How long a partial sync took"),
    ],
    programming: histogram(
      "kubeproxy_network_programming_duration_seconds",
      "Time from a change of end points until it was in the kernel",
      PROGRAMMING_BUCKETS,
    ),
  };
}
