import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { chain, lines, tableHandler } from "../../../../test/dns-chain.ts";
import { dnsWorld } from "../../../../test/dns-world.ts";
import { sourceFromObjects } from "../../../cluster/index.ts";
import { RCODE, type ResourceRecord } from "../../message.ts";
import { type Reply, reply } from "../../query.ts";

const a = (name: string, ttl = 60): ResourceRecord => ({ name, class: 1, ttl, data: { type: "A", address: "203.0.113.10" } });
const missing = reply("table", { rcode: RCODE.NXDOMAIN });

/** As the pod production/api-1 asks, whose address the chain's asker has. */
const fromPod = { origin: { address: "10.244.1.5" } };

async function withKubernetes(table: Record<string, Reply>) {
  const next = tableHandler(table, missing);
  const c = await chain("autopath @kubernetes\nkubernetes cluster.local {\npods verified\n}", {
    source: sourceFromObjects(dnsWorld()),
    next,
  });
  return { c, next };
}

test("the whole search path is walked for the first element's question, and the answer says so by an alias", async () => {
  const { c, next } = await withKubernetes({
    "db.example.org. A": reply("table", { answers: [a("db.example.org.", 20), a("db.example.org.", 30)] }),
  });
  const given = await c.ask("db.example.org.production.svc.cluster.local.", "A", fromPod);
  assert.deepEqual(lines(given)[0], "db.example.org.production.svc.cluster.local. 20 IN CNAME db.example.org.");
  assert.equal(lines(given).length, 3);
  assert.deepEqual(next.asked, ["db.example.org. A"]);
  assert.match(c.metrics.print(), /coredns_autopath_success_total\{server="dns:\/\/:53"\} 1/);
});

test("a name of the first element is answered as it is; one of the second by an alias", async () => {
  const { c, next } = await withKubernetes({});
  assert.deepEqual(lines(await c.ask("api.production.svc.cluster.local.", "A", fromPod)), [
    "api.production.svc.cluster.local. 5 IN A 10.96.1.1",
  ]);
  assert.deepEqual(lines(await c.ask("kubernetes.default.production.svc.cluster.local.", "A", fromPod)), [
    "kubernetes.default.production.svc.cluster.local. 5 IN CNAME kubernetes.default.svc.cluster.local.",
    "kubernetes.default.svc.cluster.local. 5 IN A 10.96.0.1",
  ]);
  assert.deepEqual(next.asked, []);
});

test("what nothing has is the first element's NXDOMAIN; a failure on the way is not an answer", async () => {
  const { c } = await withKubernetes({ "broken.org. A": reply("table", { rcode: RCODE.SERVFAIL }) });
  for (const name of ["nothing.production.svc.cluster.local.", "broken.org.production.svc.cluster.local."]) {
    const given = (await c.ask(name, "A", fromPod)) as Reply;
    assert.equal(given.rcode, RCODE.NXDOMAIN);
    assert.equal(given.by, "kubernetes");
  }
});

test("not walked: names outside of the first element, askers that are no pods", async () => {
  const { c, next } = await withKubernetes({ "db.example.org. A": reply("table", { answers: [a("db.example.org.")] }) });
  for (const [name, fields] of [
    ["db.example.org.default.svc.cluster.local.", fromPod],
    ["db.example.org.svc.cluster.local.", fromPod],
    ["production.svc.cluster.local.", fromPod],
    ["db.example.org.production.svc.cluster.local.", { origin: { address: "192.0.2.9" } }],
  ] as const)
    await c.ask(name, "A", fields);
  assert.deepEqual(next.asked, []);
});

test("the search path of a file, for every asker", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "autopath-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "resolv.conf"), "nameserver 192.0.2.1\nsearch corp.example other.example\n");
  const next = tableHandler({ "www.other.example. A": reply("table", { answers: [a("www.other.example.")] }) }, missing);
  const c = await chain("autopath corp.example ./resolv.conf", { next, path: join(folder, "Corefile") });
  assert.equal(lines(await c.ask("www.corp.example.")).length, 2);
  assert.deepEqual(next.asked, ["www.corp.example. A", "www.other.example. A"]);
});

test("what makes no sense is refused at its place", async () => {
  for (const [text, says] of [
    ["autopath @kubernetes", /this server block has no kubernetes/],
    ["autopath @forward", /forward knows no search paths/],
    ["autopath /nothing/there", /cannot be read/],
    ["autopath", /needs at least 1/],
  ] as const)
    await assert.rejects(chain(text), says);
});
