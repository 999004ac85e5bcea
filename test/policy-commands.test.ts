// fairlead policy …: over manifests alone, without a lab and without root, as CI runs them.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { makePlace, SHOP } from "./fairlead.ts";

const place = makePlace();
after(() => place.close());
const EXPECT = join(SHOP, "expect.yaml");
const run = async (...words: string[]) => place.fairlead("policy", ...words);

/** The shop's applications and policies in folders of their own; the policies with one word changed. */
function split(): { apps: string; before: string; after: string } {
  const [apps, before, changed] = ["apps", "before", "after"].map((name) => join(place.directory, name)) as [string, string, string];
  for (const path of [apps, before, changed]) mkdirSync(path);
  for (const file of readdirSync(SHOP).filter((name) => /^\d.*\.yaml$/.test(name))) {
    const text = readFileSync(join(SHOP, file), "utf8");
    if (!file.includes("policies")) writeFileSync(join(apps, file), text);
    else {
      writeFileSync(join(before, file), text);
      writeFileSync(join(changed, file), text.replaceAll("role: backend", "role: nobody"));
    }
  }
  return { apps, before, after: changed };
}

test("explain names every policy that has a say, and says no by its exit status", async () => {
  const denied = await run("explain", "monitoring/prometheus", "production/mysql:3306", "--manifests", SHOP, "-o", "json");
  assert.equal(denied.status, 1);
  const answer = JSON.parse(denied.out) as {
    verdict: string;
    decidedBy: { name: string };
    steps: { policy: { name: string }; decision: string }[];
  };
  assert.equal(answer.verdict, "deny");
  assert.deepEqual(
    answer.steps.map(({ policy, decision }) => `${policy.name} ${decision}`),
    ["allow-same-namespace deny", "default-deny-ingress deny"],
  );
  const allowed = await run("explain", "production/api", "svc/production/order-svc", "--manifests", SHOP);
  assert.equal(allowed.status, 0);
  assert.match(
    allowed.out,
    /8080 TCP, an end point of svc\/production\/order-svc:80\n[\s\S]*tier default\n[\s\S]*✓ spec\.ingress\[0\] allow: production\/api-\S+ is among pods with role=backend of production; every port and protocol {2}\S+60-policies\.yaml:\d+:\d+\n[\s\S]*allowed: NetworkPolicy production\/allow-same-namespace, spec\.ingress\[0\]: allow/,
  );
  const unknown = await run("explain", "production/nobody", "production/mysql", "--manifests", SHOP);
  assert.equal(unknown.status, 2);
  assert.match(unknown.err, /"production\/nobody" is nothing in this cluster \(there are production\/api/);
});

test("explain walks through tiers, policies and rules of every language, and names the line that decides", async () => {
  const folder = join(place.directory, "languages");
  mkdirSync(folder);
  const cluster = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: first}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  ingress:
    - {action: Pass, from: [{namespaces: {matchLabels: {team: shop}}}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: default.second, namespace: shop}
spec:
  order: 10
  selector: app == 'db'
  ingress:
    - {action: Log, source: {selector: all()}}
    - action: Allow
      source: {selector: app == 'nobody'}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: third, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingressDeny:
    - fromEndpoints: [{matchLabels: {app: web}}]
      toPorts: [{ports: [{port: "80", protocol: TCP}]}]
`;
  writeFileSync(join(folder, "all.yaml"), cluster);
  const { status, out } = await run("explain", "shop/web", "shop/db:80", "--manifests", folder);
  assert.equal(status, 1);
  assert.match(
    out,
    /tier kube-admin: the next tier decides\n.*ClusterNetworkPolicy first[\s\S]*spec\.ingress\[0\] pass: shop\/web is among/,
  );
  assert.match(
    out,
    /CiliumNetworkPolicy shop\/third[^\n]*\n *✗ spec\.ingressDeny\[0\] deny: shop\/web is among pods with app=web of shop; TCP 80 {2}\S+all\.yaml:43:7/,
  );
  assert.match(out, /denied: CiliumNetworkPolicy shop\/third, spec\.ingressDeny\[0\]: deny/);
  const json = JSON.parse((await run("explain", "shop/web", "shop/db:81", "--manifests", folder, "-o", "json")).out) as {
    verdict: string;
    walk: {
      direction: string;
      tiers: { tier: string; decision: string; policies: { decision: string; rules: { matches: boolean }[] }[] }[];
    }[];
  };
  assert.equal(json.verdict, "deny");
  const tiers = json.walk.find(({ direction }) => direction === "ingress")?.tiers ?? [];
  assert.deepEqual(
    tiers.map(({ tier, decision }) => `${tier} ${decision}`),
    ["kube-admin pass", "default deny"],
  );
});

test("check finds what is wrong, with file and line", async () => {
  assert.deepEqual([(await run("check", SHOP)).status, (await run("check", SHOP)).out], [0, "✓ 4 policies: nothing to say\n"]);
  const file = join(place.directory, "bad.yaml");
  writeFileSync(
    file,
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: typo, namespace: production}\nspec: {podSelector: {matchLabels: {role: bakend}}}\n",
  );
  const warned = await run("check", SHOP, file);
  assert.equal(warned.status, 0);
  assert.match(warned.out, /NetworkPolicy production\/typo spec\.podSelector {2}.*bad\.yaml:4:21\n {2}it selects pods with role=bakend/);
  assert.equal((await run("check", "--strict", SHOP, file)).status, 1);
});

test("diff shows whose verdict changes, and holds the new policies against a truth table", async () => {
  const { apps, before, after: changed } = split();
  assert.match((await run("diff", before, before, "--with", apps)).out, /no pair changes/);
  const result = await run("diff", before, changed, "--with", apps, "--expect", EXPECT, "-o", "json");
  assert.equal(result.status, 1);
  const { changes, failures } = JSON.parse(result.out) as {
    changes: { from: string; to: string; before: string; after: string; reason: string }[];
    failures: unknown[];
  };
  assert.ok(
    changes.some(
      (change) =>
        change.from === "production/api" && change.to === "production/mysql" && change.before === "connected" && change.after === "timeout",
    ),
  );
  assert.ok(
    changes.every(({ after, reason }) => after === "connected" || /isolate|no ingress rule/.test(reason)),
    changes.map(({ reason }) => reason).join("\n"),
  );
  assert.ok(
    changes.every((change) => !/-[a-z0-9]{9}-/.test(change.from + change.to)),
    "pods are called by their workloads",
  );
  assert.ok(failures.length > 0);
  assert.equal((await run("diff", changed, before, "--with", apps, "--expect", EXPECT)).status, 0);
});

test("test reports a truth table as text, JUnit and TAP", async () => {
  const manifests = ["--manifests", SHOP];
  assert.match((await run("test", EXPECT, ...manifests)).out, /all 75 as expected/);
  const table = join(place.directory, "wrong.yaml");
  writeFileSync(table, "pairs: [{from: monitoring/prometheus, to: production/mysql, port: 3306, verdict: connected}]\n");
  const junit = await run("test", table, ...manifests, "--format", "junit");
  assert.equal(junit.status, 1);
  assert.match(junit.out, /<testsuites tests="1" failures="1">[\s\S]*<failure message="timeout: /);
  const tap = await run("test", table, ...manifests, "--format", "tap");
  assert.match(tap.out, /^TAP version 14\n1\.\.1\nnot ok 1 - .*wrong\.yaml: monitoring\/prometheus/);
});
