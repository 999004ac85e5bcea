import assert from "node:assert/strict";
import { test } from "node:test";
import { chain, tableHandler } from "../../../../test/dns-chain.ts";
import { RCODE } from "../../message.ts";
import { createMetrics } from "../../metrics.ts";
import { reply } from "../../query.ts";

test("queries and answers are counted under CoreDNS's names", async () => {
  const next = tableHandler({ "x. A": reply("table") }, reply("other", { rcode: RCODE.NXDOMAIN }));
  const c = await chain("prometheus", { next });
  await c.ask("x.");
  await c.ask("x.");
  await c.ask("y.", "NAPTR", { origin: { transport: "tcp", address: "fd00::1" }, edns: { udpSize: 1232, version: 0, dnssecOk: true } });
  const route = c.configuration.http[0];
  assert.deepEqual([route?.address, route?.port, route?.path], ["127.0.0.1", 9153, "/metrics"]);
  const answer = await route?.respond();
  assert.match(answer?.contentType ?? "", /^text\/plain; version=0\.0\.4/);
  const of = 'server="dns://:53",zone=".",view=""';
  for (const line of [
    `coredns_dns_requests_total{${of},proto="udp",family="1",type="A"} 2`,
    `coredns_dns_requests_total{${of},proto="tcp",family="2",type="other"} 1`,
    `coredns_dns_responses_total{${of},rcode="NOERROR",plugin="table"} 2`,
    `coredns_dns_responses_total{${of},rcode="NXDOMAIN",plugin="other"} 1`,
    `coredns_dns_do_requests_total{${of}} 1`,
    `coredns_dns_request_duration_seconds_count{${of}} 3`,
    `coredns_dns_request_duration_seconds_bucket{${of},le="0.001"} 3`,
    `coredns_dns_request_size_bytes_bucket{${of},proto="udp",le="100"} 2`,
    `coredns_dns_response_size_bytes_sum{${of},proto="udp"} 200`,
    `coredns_plugin_enabled{${of},name="prometheus"} 1`,
    'coredns_build_info{version="fairlead"} 1',
    "coredns_panics_total 0",
  ])
    assert.ok(answer?.body.includes(`\n${line}\n`), line);
  await assert.rejects(chain("prometheus :9153 {\nx\n}"), /has no option "x"/);
});

test("the text format: help and type once, labels escaped, buckets add up", () => {
  const metrics = createMetrics();
  metrics.counter("a_total", "Counts.", ["of"]).with('say "hi"\n\\').inc(3);
  metrics.gauge("b", "Measures.", []).measure([], () => 7);
  const histogram = metrics.histogram("c", "Spreads.", ["of"], [1, 2]).with("x");
  for (const value of [0.5, 1, 1.5, 9]) histogram.observe(value);
  assert.equal(metrics.counter("a_total", "Counts.", ["of"]), metrics.counter("a_total", "Counts.", ["of"]));
  assert.equal(
    metrics.print(),
    [
      "# HELP a_total Counts.",
      "# TYPE a_total counter",
      'a_total{of="say \\"hi\\"\\n\\\\"} 3',
      "# HELP b Measures.",
      "# TYPE b gauge",
      "b 7",
      "# HELP c Spreads.",
      "# TYPE c histogram",
      'c_bucket{of="x",le="1"} 2',
      'c_bucket{of="x",le="2"} 3',
      'c_bucket{of="x",le="+Inf"} 4',
      'c_sum{of="x"} 12',
      'c_count{of="x"} 4',
      "",
    ].join("\n"),
  );
});
