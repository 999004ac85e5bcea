// The directive's options, and what the plugin does over time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Chain, chain, lines, tableHandler } from "../../../../test/dns-chain.ts";
import { dnsWorld } from "../../../../test/dns-world.ts";
import { createReplicaSource, sourceFromObjects } from "../../../cluster/index.ts";
import type { KubeObject } from "../../../resources/index.ts";
import { RCODE } from "../../message.ts";
import { type Reply, reply } from "../../query.ts";

const other = reply("table", { rcode: RCODE.NOTIMP });

async function cluster(options: string, zones = "cluster.local in-addr.arpa ip6.arpa"): Promise<Chain> {
  return chain(`kubernetes ${zones} {\n${options}\n}`, { source: sourceFromObjects(dnsWorld()), next: tableHandler({}, other) });
}

/** "rcode; answers" */
async function told(c: Chain, name: string, type: Parameters<Chain["ask"]>[1] = "A"): Promise<string> {
  const given = (await c.ask(`${name}.`, type)) as Reply;
  return [given.rcode, ...lines(given).map((line) => line.split(" ").slice(1).join(" "))].join("; ");
}

const CASES: readonly [options: string, name: string, expected: string, type?: Parameters<Chain["ask"]>[1]][] = [
  ["", "api.production.svc.cluster.local", "0; 5 IN A 10.96.1.1"],
  ["ttl 30", "api.production.svc.cluster.local", "0; 30 IN A 10.96.1.1"],
  ["ttl 0", "api.production.svc.cluster.local", "0; 0 IN A 10.96.1.1"],
  ["", "dns-version.cluster.local", '0; 28800 IN TXT "1.1.0"', "TXT"],
  // Pods.
  ["", "10-244-1-5.production.pod.cluster.local", "3"],
  ["", "production.pod.cluster.local", "3"],
  ["pods disabled", "10-244-1-5.production.pod.cluster.local", "3"],
  ["pods insecure", "10-244-1-5.production.pod.cluster.local", "0; 5 IN A 10.244.1.5"],
  ["pods insecure", "192-0-2-1.quiet.pod.cluster.local", "0; 5 IN A 192.0.2.1"],
  ["pods insecure", "192-0-2-1.nowhere.pod.cluster.local", "3"],
  ["pods insecure", "192-0-2.quiet.pod.cluster.local", "3"],
  ["pods insecure", "fd00--1.quiet.pod.cluster.local", "0; 5 IN AAAA fd00::1", "AAAA"],
  ["pods insecure", "fd00--1.quiet.pod.cluster.local", "0"],
  ["pods verified", "192-0-2-1.production.pod.cluster.local", "3"],
  // End points.
  ["endpoint_pod_names", "cache-x.cache.production.svc.cluster.local", "0; 5 IN A 10.244.1.20"],
  ["endpoint_pod_names", "10-244-1-20.cache.production.svc.cluster.local", "3"],
  ["endpoint_pod_names", "mysql-0.mysql.production.svc.cluster.local", "0; 5 IN A 10.244.1.10"],
  ["endpoint_pod_names", "20.1.244.10.in-addr.arpa", "0; 5 IN PTR cache-x.cache.production.svc.cluster.local.", "PTR"],
  ["noendpoints", "mysql.production.svc.cluster.local", "3"],
  ["noendpoints", "10-244-1-5.api.production.svc.cluster.local", "3"],
  ["noendpoints", "api.production.svc.cluster.local", "0; 5 IN A 10.96.1.1"],
  ["noendpoints", "5.1.244.10.in-addr.arpa", "3", "PTR"],
  ["ignore empty_service", "empty.production.svc.cluster.local", "3"],
  ["ignore empty_service", "api.production.svc.cluster.local", "0; 5 IN A 10.96.1.1"],
  ["ignore empty_service", "outside.production.svc.cluster.local", "0; 5 IN CNAME db.example.org.", "CNAME"],
  // What is shown.
  ["namespaces production", "kubernetes.default.svc.cluster.local", "3"],
  ["namespaces production", "default.svc.cluster.local", "3"],
  ["namespaces production", "1.0.96.10.in-addr.arpa", "3", "PTR"],
  ["namespaces production default", "kubernetes.default.svc.cluster.local", "0; 5 IN A 10.96.0.1"],
  ["namespace_labels team=shop", "api.production.svc.cluster.local", "0; 5 IN A 10.96.1.1"],
  ["namespace_labels team=shop", "kubernetes.default.svc.cluster.local", "3"],
  ["labels app in (api, mysql)", "api.production.svc.cluster.local", "0; 5 IN A 10.96.1.1"],
  ["labels app in (api, mysql),!old", "mysql-0.mysql.production.svc.cluster.local", "0; 5 IN A 10.244.1.10"],
  ["labels app=api", "mysql.production.svc.cluster.local", "3"],
  ["labels app!=api", "api.production.svc.cluster.local", "3"],
  // What is left to others.
  ["", "nope.production.svc.cluster.local", "3"],
  ["fallthrough", "nope.production.svc.cluster.local", "4"],
  ["fallthrough in-addr.arpa", "nope.production.svc.cluster.local", "3"],
  ["fallthrough in-addr.arpa", "1.2.0.192.in-addr.arpa", "4", "PTR"],
  ["", "1.2.0.192.in-addr.arpa", "3", "PTR"],
  ["", "example.org", "4"],
];

for (const [options, name, expected, type] of CASES)
  test(`{ ${options} } ${type ?? "A"} ${name}`, async () => assert.equal(await told(await cluster(options), name, type), expected));

test("several zones answer alike, each under its own name; prefixes stand for reverse zones", async () => {
  const c = await cluster("", "cluster.local corp.example 10.96.0.0/16");
  assert.equal(await told(c, "api.production.svc.corp.example"), "0; 5 IN A 10.96.1.1");
  assert.equal(await told(c, "1.1.96.10.in-addr.arpa", "PTR"), "0; 5 IN PTR api.production.svc.cluster.local.");
  assert.equal(await told(c, "5.1.244.10.in-addr.arpa", "PTR"), "4", "no zone of this one");
  const given = (await c.ask("api.production.svc.corp.example.", "SRV")) as Reply;
  assert.match(lines(given, "additionals").join(), /^api\.production\.svc\.corp\.example\. /);
});

test("until the first full sync it is SERVFAIL and not ready; then a change shows at once", async () => {
  const source = createReplicaSource();
  const c = await chain("kubernetes cluster.local {\nstartup_timeout 10ms\n}", { source });
  const installed = c.block.site.installed("kubernetes");
  assert.equal(await told(c, "api.production.svc.cluster.local"), "2");
  assert.equal(installed?.ready?.(), false);
  assert.match(c.logged.join(), /before the cluster's objects have been read/);
  source.replace(dnsWorld());
  await new Promise(setImmediate);
  assert.equal(installed?.ready?.(), true);
  assert.equal(await told(c, "api.production.svc.cluster.local"), "0; 5 IN A 10.96.1.1");
  const changed = dnsWorld().map((object) =>
    object.metadata.name === "api" && object.kind === "Service"
      ? {
          ...object,
          metadata: { ...object.metadata, resourceVersion: "2" },
          spec: { ...(object.spec as object), clusterIP: "10.96.1.9", clusterIPs: ["10.96.1.9"] },
        }
      : object,
  );
  source.replace(changed as KubeObject[]);
  await new Promise(setImmediate);
  assert.equal(await told(c, "api.production.svc.cluster.local"), "0; 5 IN A 10.96.1.9");
  source.replace(changed.filter(({ metadata }) => metadata.name !== "api") as KubeObject[]);
  await new Promise(setImmediate);
  assert.equal(await told(c, "api.production.svc.cluster.local"), "3");
  installed?.stop?.();
});

test("an ExternalName whose target cannot be resolved is a failure; one that does not exist is its alias alone", async () => {
  const failing = tableHandler(
    { "db.example.org. A": reply("table", { rcode: RCODE.SERVFAIL, error: "down" }) },
    reply("table", { rcode: RCODE.NXDOMAIN }),
  );
  const c = await chain("kubernetes cluster.local", { source: sourceFromObjects(dnsWorld()), next: failing });
  const given = (await c.ask("outside.production.svc.cluster.local.")) as Reply;
  assert.deepEqual({ rcode: given.rcode, error: given.error }, { rcode: RCODE.SERVFAIL, error: "down" });
  assert.equal(await told(c, "lost.production.svc.cluster.local"), "0; 5 IN CNAME nothing.example.org.");
});

test("what makes no sense is refused at its place", async () => {
  for (const [text, says] of [
    ["kubernetes in-addr.arpa", /reverse zones only/],
    ["kubernetes cluster.local {\npods sometimes\n}", /Corefile:3:6: "sometimes" is not one of disabled, insecure, verified/],
    ["kubernetes cluster.local {\nttl 3601\n}", /from 0 to 3600/],
    ["kubernetes cluster.local {\nlabels a=(\n}", /no label selector/],
    ["kubernetes cluster.local {\nendpoint https://x\n}", /name a kubeconfig file instead/],
    ["kubernetes cluster.local {\nignore everything\n}", /not one of empty_service/],
    ["kubernetes cluster.local {\nfalltrough\n}", /did you mean fallthrough/],
    ["kubernetes cluster.local\nkubernetes other.local", /may stand once/],
  ] as const)
    await assert.rejects(chain(text, { source: sourceFromObjects([]) }), says);
});
