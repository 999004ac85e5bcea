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
  assert.match(allowed.out, /8080 TCP, an end point of svc\/production\/order-svc:80\n[\s\S]*allowed: allow-same-namespace/);
  const unknown = await run("explain", "production/nobody", "production/mysql", "--manifests", SHOP);
  assert.equal(unknown.status, 2);
  assert.match(unknown.err, /"production\/nobody" is nothing in this cluster \(there are production\/api/);
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
  assert.match(warned.out, /NetworkPolicy production\/typo spec\.podSelector {2}.*bad\.yaml:1\n {2}it selects pods with role=bakend/);
  assert.equal((await run("check", "--strict", SHOP, file)).status, 1);
});

test("diff shows whose verdict changes, and holds the new policies against a truth table", async () => {
  const { apps, before, after: changed } = split();
  assert.match((await run("diff", before, before, "--with", apps)).out, /no pair changes/);
  const result = await run("diff", before, changed, "--with", apps, "--expect", EXPECT, "-o", "json");
  assert.equal(result.status, 1);
  const { changes, failures } = JSON.parse(result.out) as {
    changes: { from: string; to: string; before: string; after: string }[];
    failures: unknown[];
  };
  assert.ok(
    changes.some(
      (change) =>
        change.from === "production/api" && change.to === "production/mysql" && change.before === "connected" && change.after === "timeout",
    ),
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
