import assert from "node:assert/strict";
import { test } from "node:test";
import { summarize } from "./dns-summary.ts";

/** As CoreDNS prints them. */
const metrics = (requests: number, nxdomain: number, checks = 0) => `# HELP coredns_dns_requests_total Counter
# TYPE coredns_dns_requests_total counter
coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="A",view="",zone="."} ${requests / 2}
coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="AAAA",view="",zone="."} ${requests / 2}
coredns_dns_responses_total{plugin="kubernetes",rcode="NOERROR",server="dns://:53",view="",zone="."} ${requests - nxdomain}
coredns_dns_responses_total{plugin="kubernetes",rcode="NXDOMAIN",server="dns://:53",view="",zone="."} ${nxdomain}
coredns_dns_request_duration_seconds_bucket{server="dns://:53",zone=".",le="0.00025"} ${requests * 0.6}
coredns_dns_request_duration_seconds_bucket{server="dns://:53",zone=".",le="0.001"} ${requests * 0.995}
coredns_dns_request_duration_seconds_bucket{server="dns://:53",zone=".",le="+Inf"} ${requests}
coredns_cache_hits_total{server="dns://:53",type="success",zones="."} 30
coredns_cache_misses_total{server="dns://:53",zones="."} 10
coredns_proxy_request_duration_seconds_bucket{proxy_name="forward",rcode="NOERROR",to="10.112.0.1:53",le="0.004"} 7
coredns_proxy_request_duration_seconds_bucket{proxy_name="forward",rcode="NOERROR",to="10.112.0.1:53",le="+Inf"} 7
coredns_proxy_request_duration_seconds_count{proxy_name="forward",rcode="NOERROR",to="10.112.0.1:53"} 7
coredns_proxy_healthcheck_failures_total{proxy_name="forward",to="10.112.0.1:53"} ${checks}
nonsense line
`;
const look = (text: string | undefined) => ({ server: "a", node: "node-1", metrics: text });

test("rates, rcodes, times, cache and upstreams, from the metrics alone", () => {
  const { servers, problems } = summarize([look(metrics(1000, 100))], [look(metrics(900, 90))], 2);
  const [server] = servers;
  assert.deepEqual([server?.queries, server?.rate, server?.rcodes], [1000, 50, { NOERROR: 900, NXDOMAIN: 100 }]);
  assert.deepEqual(server?.milliseconds, { median: 0.25, slow: 1 });
  assert.deepEqual(server?.cache, { hits: 30, misses: 10, hitRatio: 0.75 });
  assert.deepEqual(server?.upstreams, [{ to: "10.112.0.1:53", requests: 7, failures: 0, milliseconds: { median: 4, slow: 4 } }]);
  assert.equal(server?.nxdomainShare, 0.1);
  assert.deepEqual(problems, []);
});

test("what is wrong is said: amplified, an upstream that fails, a server that does not answer", () => {
  const { problems } = summarize([look(metrics(1000, 700, 3)), { ...look(undefined), server: "b" }]);
  assert.match(problems[0] ?? "", /^a: 70 % of the answers are NXDOMAIN/);
  assert.match(problems[1] ?? "", /^a: upstream 10\.112\.0\.1:53 failed 3 health checks/);
  assert.match(problems[2] ?? "", /^b does not answer/);
  assert.equal(summarize([look(metrics(10, 9))]).problems.length, 0, "ten queries say nothing yet");
});
