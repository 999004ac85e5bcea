// Policies in a lab: DNS names that pods are let out to as they are answered, and the commands that explain, by a lab and by a kubeconfig.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { makePlace } from "./fairlead.ts";
import { eventually } from "./patience.ts";

const WORLD = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: node-1, containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: node-2, containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: node-1, containers: [{name: c, image: x}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: names, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, k8s-app: kube-dns}}]
      toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]
    - toFQDNs: [{matchName: www.example.com}]
      toPorts: [{ports: [{port: "80", protocol: TCP}]}]
`;
const STRICTER = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}
`;

const place = makePlace();

describe("policies in a lab", () => {
  const file = (name: string, text: string) => {
    const path = join(place.directory, name);
    writeFileSync(path, text);
    return path;
  };
  const web = (...words: string[]) => place.fairlead("exec", "shop/web", "--", ...words);
  const fetches = async (url: string, seconds = "20") =>
    (await web("curl", "-s", "-o", "/dev/null", "--max-time", seconds, url)).status === 0;
  before(() => place.ok("lab", "up", file("world.yaml", WORLD), "--nodes", "2", "--agents", "processes"));
  after(() => place.close());

  test("an address is let out to once its name was answered with it, not before", async () => {
    assert.equal(await fetches("http://198.51.100.10/", "1"), false, "nobody has asked for a name");
    assert.match((await web("dig", "+short", "+tries=1", "outside.test")).out, /198\.51\.100\.10/);
    assert.equal(await fetches("http://198.51.100.10/", "1"), false, "another name's address");
    assert.equal(await fetches("http://www.example.com/"), true);
    assert.equal(await fetches("http://198.51.100.10/"), true, "as the name's address");
    assert.equal(await fetches("http://www.example.com:443/", "1"), false, "another port");
    const explained = await place.fairlead("policy", "explain", "shop/web", "198.51.100.10:80");
    assert.match(explained.out, /198\.51\.100\.10 is among the addresses of www\.example\.com; TCP 80/);
    const traced = await place.ok("trace", "shop/web", "198.51.100.10:80");
    assert.match(traced, /delivered/);
    assert.doesNotMatch(traced, /not in sync/);
  });

  test("without an agent names are resolved all the same", async () => {
    const { nodes } = await place.json<{ nodes: { name: string; agentPid: number }[] }>("lab", "status");
    const pid = nodes.find(({ name }) => name === "node-1")?.agentPid;
    assert.ok(pid);
    process.kill(pid, "SIGSTOP");
    try {
      const answered = async () => (await web("dig", "+short", "+tries=1", "+time=1", "www.example.com")).out.includes("198.51.100.10");
      assert.ok(await eventually(answered));
      assert.equal(await fetches("http://198.51.100.10/"), true, "and what was known stays so");
    } finally {
      process.kill(pid, "SIGCONT");
    }
  });

  test("explain, check, test and diff speak of a lab, and of a cluster by its kubeconfig", async () => {
    const config = (await place.ok("lab", "kubeconfig")).trim();
    for (const where of [[], ["--kubeconfig", config]]) {
      const denied = await place.fairlead("policy", "explain", "shop/web", "shop/db:80", ...where);
      assert.equal(denied.status, 1, denied.err);
      assert.match(denied.out, /CiliumNetworkPolicy shop\/names isolates shop\/web/);
      const checked = await place.fairlead("policy", "check", ...where);
      assert.equal(checked.status, 0, checked.out);
      const table = (verdict: string) =>
        file(`${verdict}.yaml`, `pairs:\n  - {from: shop/client, to: shop/db, port: 80, verdict: ${verdict}}\n`);
      const met = await place.fairlead("policy", "test", table("connected"), ...where);
      assert.deepEqual([met.status, /all 1 as expected/.test(met.out)], [0, true], met.out);
      const missed = await place.fairlead("policy", "test", table("blocked"), "--format", "tap", ...where);
      assert.deepEqual([missed.status, /^not ok 1/m.test(missed.out)], [1, true], missed.out);
      const { changes } = await place.json<{ changes: { from: string; to: string; before: string; after: string }[] }>(
        "policy",
        "diff",
        file("stricter.yaml", STRICTER),
        ...where,
      );
      assert.deepEqual(
        changes.map(({ from, to, before: was, after: is }) => `${from} → ${to}: ${was}, then ${is}`),
        ["shop/client → shop/db: connected, then timeout"],
      );
    }
  });

  test("a policy's status says that it is understood", async () => {
    const config = (await place.ok("lab", "kubeconfig")).trim();
    const kubectl = (...words: string[]) =>
      place.run("kubectl", [`--kubeconfig=${config}`, `--cache-dir=${place.directory}/cache`, ...words]);
    const valid = async () =>
      (
        await kubectl(
          "get",
          "ciliumnetworkpolicies",
          "-n",
          "shop",
          "names",
          "-o",
          'jsonpath={.status.conditions[?(@.type=="Valid")].status}',
        )
      ).out;
    assert.ok(await eventually(async () => (await valid()) === "True"), await valid());
  });
});
