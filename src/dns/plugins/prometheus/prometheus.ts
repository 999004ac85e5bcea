// Counts queries and answers under CoreDNS's names. Each combination of labels is looked up once and kept by number.
import { rcodeName, typeName } from "../../message.ts";
import { type Counter, type Family, type Histogram, TIME_BUCKETS } from "../../metrics.ts";
import type { Answered, Site } from "../../plugin.ts";

const SIZE_BUCKETS = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];
/** Types with a label of their own; any other is "other", so that a flood of odd types makes no metrics. */
const KNOWN_TYPES = [
  "A",
  "AAAA",
  "CNAME",
  "DNSKEY",
  "DS",
  "HTTPS",
  "MX",
  "NS",
  "NSEC",
  "NSEC3",
  "PTR",
  "RRSIG",
  "SOA",
  "SRV",
  "TXT",
  "ANY",
];

/** What is counted for one zone of a server. */
interface ZoneMetrics {
  readonly duration: Histogram;
  readonly dnssec: Counter;
  readonly requestSize: readonly [Histogram, Histogram];
  readonly responseSize: readonly [Histogram, Histogram];
  readonly requests: Map<number, Counter>;
  readonly responses: Map<string, Counter>[];
}

export function createAnswerMetrics(site: Site): { observe(answered: Answered): void; start(): void } {
  const { metrics } = site.host;
  const labels = ["server", "zone", "view"];
  const requests = metrics.counter("coredns_dns_requests_total", "Counter of DNS requests made per zone, protocol and family.", [
    ...labels,
    "proto",
    "family",
    "type",
  ]);
  const durationHelp = "Histogram of the time (in seconds) each request took per zone.";
  const durations = metrics.histogram("coredns_dns_request_duration_seconds", durationHelp, labels, TIME_BUCKETS);
  const dnssec = metrics.counter("coredns_dns_do_requests_total", "Counter of DNS requests with DO bit set per zone.", labels);
  const sizeHelp = "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.";
  const requestSizes = metrics.histogram("coredns_dns_request_size_bytes", sizeHelp, [...labels, "proto"], SIZE_BUCKETS);
  const responseSizes = metrics.histogram(
    "coredns_dns_response_size_bytes",
    "Size of the returned response in bytes.",
    [...labels, "proto"],
    SIZE_BUCKETS,
  );
  const responses = metrics.counter("coredns_dns_responses_total", "Counter of response status codes.", [...labels, "rcode", "plugin"]);
  const zones = new Map<string, ZoneMetrics>();

  const metricsOf = (server: string, zone: string): ZoneMetrics => {
    let found = zones.get(zone);
    if (!found) {
      const both = (family: Family<Histogram>) => [family.with(server, zone, "", "udp"), family.with(server, zone, "", "tcp")] as const;
      found = {
        duration: durations.with(server, zone, ""),
        dnssec: dnssec.with(server, zone, ""),
        requestSize: both(requestSizes),
        responseSize: both(responseSizes),
        requests: new Map(),
        responses: [],
      };
      zones.set(zone, found);
    }
    return found;
  };

  const observe = ({ query, reply, size, milliseconds }: Answered) => {
    const { transport, address, server } = query.origin;
    const of = metricsOf(server, query.zone);
    const tcp = transport === "tcp" ? 1 : 0;
    of.duration.observe(milliseconds / 1000);
    of.requestSize[tcp].observe(query.size);
    of.responseSize[tcp].observe(size);
    if (query.edns?.dnssecOk) of.dnssec.inc();
    const family = address.includes(":") ? 1 : 0;
    const key = query.type * 4 + tcp * 2 + family;
    let counted = of.requests.get(key);
    if (!counted) {
      const name = typeName(query.type);
      counted = requests.with(server, query.zone, "", transport, family === 1 ? "2" : "1", KNOWN_TYPES.includes(name) ? name : "other");
      of.requests.set(key, counted);
    }
    counted.inc();
    let byPlugin = of.responses[reply.rcode];
    if (!byPlugin) {
      byPlugin = new Map();
      of.responses[reply.rcode] = byPlugin;
    }
    let answered = byPlugin.get(reply.by);
    if (!answered) {
      answered = responses.with(server, query.zone, "", rcodeName(reply.rcode), reply.by);
      byPlugin.set(reply.by, answered);
    }
    answered.inc();
  };

  const start = () => {
    metrics.counter("coredns_panics_total", "A metrics that counts the number of panics.", []).with();
    metrics.gauge("coredns_build_info", "A metric with a constant '1' value labeled by version.", ["version"]).with("fairlead").set(1);
    const enabled = metrics.gauge(
      "coredns_plugin_enabled",
      "A metric that indicates whether a plugin is enabled on per server and zone basis.",
      [...labels, "name"],
    );
    for (const zone of site.zones) for (const plugin of site.plugins) enabled.with(site.server, zone, "", plugin).set(1);
    const memory = metrics.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", []);
    memory.measure([], () => process.memoryUsage.rss());
    const cpu = metrics.gauge("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", []);
    cpu.measure([], () => (process.cpuUsage().user + process.cpuUsage().system) / 1e6);
  };
  return { observe, start };
}
