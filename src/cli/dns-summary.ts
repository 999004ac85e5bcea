// What the metrics of DNS servers mean: rates, rcodes, times, cache, upstreams. Pure; it reads CoreDNS's own metrics as well.
import type { DnsReport, WatchedLookup } from "../dns/index.ts";

interface Milliseconds {
  readonly median: number;
  /** The 99th percentile. Both are upper bounds of histogram buckets. */
  readonly slow: number;
}

export interface ServerSummary {
  readonly server: string;
  readonly node: string;
  readonly answers: boolean;
  /** Plugins that are not ready. */
  readonly waiting: readonly string[];
  readonly queries: number;
  /** Queries a second between the two looks; null where there was one look only. */
  readonly rate: number | null;
  readonly rcodes: Readonly<Record<string, number>>;
  readonly milliseconds: Milliseconds | null;
  readonly cache: { readonly hits: number; readonly misses: number; readonly hitRatio: number } | null;
  readonly upstreams: readonly {
    readonly to: string;
    readonly requests: number;
    readonly failures: number;
    readonly milliseconds: Milliseconds | null;
  }[];
  /** Share of answers that were NXDOMAIN: high where search paths make most of the load. */
  readonly nxdomainShare: number;
  readonly searchMisses: number;
  readonly failing: readonly WatchedLookup[];
  readonly slow: readonly WatchedLookup[];
  readonly amplified: readonly WatchedLookup[];
  /** Why the newest Corefile is not in force; null if it is. */
  readonly refused: string | null;
}

export interface DnsSummary {
  readonly servers: readonly ServerSummary[];
  readonly problems: readonly string[];
}

/** One server at one time: the text of its metrics, and its report where it is Fairlead's. */
export interface Look {
  readonly server: string;
  readonly node: string;
  readonly metrics: string | undefined;
  readonly report?: DnsReport;
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** From this share of NXDOMAIN on, search paths are most of what is answered. */
const AMPLIFIED = 0.4;
/** Fewer queries say nothing yet. */
const ENOUGH = 50;

/** `first` is an earlier look at the same servers, `seconds` before. */
export function summarize(looks: readonly Look[], first: readonly Look[] = [], seconds = 1): DnsSummary {
  const servers = looks.map((look) =>
    serverOf(
      look,
      first.find(({ server }) => server === look.server),
      seconds,
    ),
  );
  return { servers, problems: servers.flatMap(problemsOf) };
}

function serverOf(look: Look, before: Look | undefined, seconds: number): ServerSummary {
  const { report } = look;
  const samples = parseMetrics(look.metrics ?? "");
  const rcodes: Record<string, number> = {};
  for (const { labels, value } of named(samples, "coredns_dns_responses_total")) {
    const rcode = labels.rcode ?? "";
    rcodes[rcode] = (rcodes[rcode] ?? 0) + value;
  }
  const counted = sum(named(samples, "coredns_dns_requests_total"));
  const queries = report?.lookups.queries ?? counted;
  const answered = Object.values(rcodes).reduce((total, value) => total + value, 0);
  return {
    server: look.server,
    node: look.node,
    answers: look.metrics !== undefined,
    waiting: report?.status.waiting ?? [],
    queries,
    rate: rateOf(look, before, seconds),
    rcodes,
    milliseconds: quantiles(named(samples, "coredns_dns_request_duration_seconds_bucket")),
    cache: cacheOf(samples),
    upstreams: upstreamsOf(samples),
    nxdomainShare: answered > 0 ? Math.round(((rcodes.NXDOMAIN ?? 0) / answered) * 1000) / 1000 : 0,
    searchMisses: report?.lookups.searchMisses ?? 0,
    failing: report?.lookups.failing ?? [],
    slow: report?.lookups.slow ?? [],
    amplified: report?.lookups.amplified ?? [],
    refused: report?.status.refused ?? null,
  };
}

function queriesOf({ metrics, report }: Look): number {
  return report?.lookups.queries ?? sum(named(parseMetrics(metrics ?? ""), "coredns_dns_requests_total"));
}

function rateOf(look: Look, before: Look | undefined, seconds: number): number | null {
  if (!before || look.metrics === undefined || before.metrics === undefined) return null;
  return Math.max(0, Math.round((queriesOf(look) - queriesOf(before)) / seconds));
}

function cacheOf(samples: readonly Sample[]): ServerSummary["cache"] {
  const hits = sum(named(samples, "coredns_cache_hits_total"));
  const misses = sum(named(samples, "coredns_cache_misses_total"));
  return hits + misses === 0 ? null : { hits, misses, hitRatio: Math.round((hits / (hits + misses)) * 1000) / 1000 };
}

/** Newer CoreDNS counts by proxy, older by forward. */
function upstreamsOf(samples: readonly Sample[]): ServerSummary["upstreams"] {
  const prefix = named(samples, "coredns_proxy_request_duration_seconds_count").length > 0 ? "coredns_proxy" : "coredns_forward";
  const requests = named(samples, `${prefix}_request_duration_seconds_count`);
  const failures = named(samples, `${prefix}_healthcheck_failures_total`);
  const to = [...new Set([...requests, ...failures].map(({ labels }) => labels.to ?? ""))].filter((each) => each !== "").sort();
  const of = (list: readonly Sample[], each: string) => list.filter(({ labels }) => labels.to === each);
  return to.map((each) => ({
    to: each,
    requests: sum(of(requests, each)),
    failures: sum(of(failures, each)),
    milliseconds: quantiles(of(named(samples, `${prefix}_request_duration_seconds_bucket`), each)),
  }));
}

/** Median and 99th percentile of a histogram's buckets, over all of its children. */
function quantiles(buckets: readonly Sample[]): Milliseconds | null {
  const counts = new Map<number, number>();
  for (const { labels, value } of buckets) {
    const bound = labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  const bounds = [...counts].sort(([a], [b]) => a - b);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total === 0) return null;
  const largest = bounds.filter(([bound]) => Number.isFinite(bound)).at(-1)?.[0] ?? 0;
  const at = (share: number) => {
    const bound = bounds.find(([, count]) => count >= share * total)?.[0] ?? largest;
    return Math.round((Number.isFinite(bound) ? bound : largest) * 100_000) / 100;
  };
  return { median: at(0.5), slow: at(0.99) };
}

function problemsOf(each: ServerSummary): string[] {
  const { server } = each;
  if (!each.answers) return [`${server} does not answer: is its pod running? (kubectl -n kube-system get pods)`];
  const problems: string[] = [];
  if (each.refused !== null) problems.push(`${server} keeps its old Corefile, the new one is refused: ${each.refused}`);
  if (each.queries >= ENOUGH && each.nxdomainShare >= AMPLIFIED)
    problems.push(
      `${server}: ${Math.round(each.nxdomainShare * 100)} % of the answers are NXDOMAIN, as search paths make them; see: fairlead dns query NAME --from POD`,
    );
  const failures = (each.rcodes.SERVFAIL ?? 0) + (each.rcodes.REFUSED ?? 0);
  if (each.queries >= ENOUGH && failures > each.queries / 100) problems.push(`${server}: ${failures} of ${each.queries} queries failed`);
  for (const upstream of each.upstreams)
    if (upstream.failures > 0) problems.push(`${server}: upstream ${upstream.to} failed ${upstream.failures} health checks`);
  return problems;
}

function named(samples: readonly Sample[], name: string): Sample[] {
  return samples.filter((sample) => sample.name === name);
}

function sum(samples: readonly Sample[]): number {
  return samples.reduce((total, { value }) => total + value, 0);
}

/** Prometheus' text format; lines that are none are skipped. */
function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const [, name, inside = "", value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line) ?? [];
    if (name === undefined || !Number.isFinite(Number(value))) continue;
    const labels: Record<string, string> = {};
    for (const [, key = "", text = ""] of inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[key] = text.replace(/\\(.)/g, (_whole, character: string) => (character === "n" ? "\n" : character));
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}
