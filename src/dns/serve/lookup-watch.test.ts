import assert from "node:assert/strict";
import { test } from "node:test";
import { RCODE, TYPE } from "../message.ts";
import { createMetrics } from "../metrics.ts";
import type { Answered } from "../plugin.ts";
import { reply } from "../query.ts";
import { watchLookups } from "./lookup-watch.ts";

const answered = (name: string, rcode: number, milliseconds = 1, address = "10.244.0.7") =>
  ({ query: { name, type: TYPE.A, origin: { address } }, reply: reply("x", { rcode }), size: 50, milliseconds }) as unknown as Answered;

test("failing, slow and amplified look-ups, the commonest first", () => {
  const metrics = createMetrics();
  const watch = watchLookups("cluster.local", metrics);
  const see = (...of: Parameters<typeof answered>) => watch.observe(answered(...of));
  see("web.shop.svc.cluster.local.", RCODE.NOERROR);
  for (const search of ["shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local."]) see(`example.com.${search}`, RCODE.NXDOMAIN);
  see("web.other.svc.cluster.local.", RCODE.NXDOMAIN);
  see("nope.cluster.local.", RCODE.NXDOMAIN);
  see("example.org.", RCODE.NXDOMAIN);
  see("broken.example.", RCODE.SERVFAIL, 1, "10.244.0.8");
  see("late.example.", RCODE.NOERROR, 250.4);
  const { queries, failing, slow, amplified, searchMisses } = watch.report();
  assert.equal(queries, 9);
  assert.deepEqual(failing, [{ name: "broken.example. A", from: "10.244.0.8", count: 1, detail: "SERVFAIL" }]);
  assert.deepEqual(slow, [{ name: "late.example. A", from: "10.244.0.7", count: 1, detail: "250 ms" }]);
  // NAME.NAMESPACE.svc may be a Service that is missing, so it is not counted as the search path's work.
  assert.equal(searchMisses, 2);
  assert.deepEqual(
    amplified.map(({ name, count }) => [name, count]),
    [["example.com.", 2]],
  );
  assert.match(metrics.print(), /fairlead_dns_search_path_misses_total 2/);
  assert.match(metrics.print(), /fairlead_dns_failures_total\{rcode="SERVFAIL"\} 1/);
});

test("any number of names takes bounded memory, and the commonest is still found", () => {
  const watch = watchLookups("cluster.local", createMetrics());
  for (let i = 0; i < 5000; i++) {
    watch.observe(answered(`n${i}.example.`, RCODE.SERVFAIL));
    if (i % 4 === 0) watch.observe(answered("often.example.", RCODE.SERVFAIL));
  }
  const { failing } = watch.report();
  assert.equal(failing.length, 10);
  assert.equal(failing[0]?.name, "often.example. A");
});
