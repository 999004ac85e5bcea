// Cluster DNS in a lab as people meet it: the guide's session, both C libraries, a changed Corefile, scaling, a rolling restart.
//
// FAIRLEAD_DNS_RATE: queries a second during the rolling restart (5000 on an idle machine; a few hundred by default).
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { DnsSummary } from "../src/cli/dns-summary.ts";
import type { ToldQuery } from "../src/dns/index.ts";
import type { LabStatus } from "../src/lab/index.ts";
import { makePlace, SHOP } from "./fairlead.ts";
import { eventually, until } from "./patience.ts";
import { compileResolvers } from "./resolvers.ts";

const BIN = join(import.meta.dirname, "../bin/fairlead");
const LOAD = join(import.meta.dirname, "programs/dns-load.ts");
const RATE = Number(process.env.FAIRLEAD_DNS_RATE ?? 300);
const API = "production/api";
const place = makePlace();

/** The guide's Corefile, with one plugin more. */
const corefile = (more: string) => `.:53 {
    errors
    health
    ready
    ${more}
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . 10.112.0.1
    cache 30
    loop
    reload
    loadbalance
}
`;

describe("cluster DNS in a lab", () => {
  let kubeconfig = "";
  before(async () => {
    await place.ok("lab", "up", SHOP);
    kubeconfig = (await place.ok("lab", "kubeconfig")).trim();
  });
  after(() => place.close());

  const inPod = (...words: string[]) => place.run(BIN, ["exec", API, "--", ...words]);
  const kubectl = async (...words: string[]) => {
    const result = await place.run("kubectl", [`--kubeconfig=${kubeconfig}`, `--cache-dir=${place.directory}/kubectl`, ...words]);
    if (result.status !== 0) throw new Error(`kubectl ${words.join(" ")}: ${result.out}${result.err}`);
    return result.out;
  };
  const query = (...words: string[]) => place.json<ToldQuery>("dns", "query", ...words);
  const setCorefile = async (text: string) => {
    const patch = JSON.stringify({ data: { Corefile: text } });
    await kubectl("-n", "kube-system", "patch", "configmap", "coredns", "--type=merge", "-p", patch);
  };
  const answers = (name: string, expected: RegExp) =>
    eventually(async () => expected.test((await inPod("dig", "+short", "+time=2", name)).out));

  test("the guide's session: names, resolv.conf, the servers' logs", async () => {
    assert.match(
      (await inPod("cat", "/etc/resolv.conf")).out,
      /^search production\.svc\.cluster\.local svc\.cluster\.local cluster\.local\nnameserver 10\.96\.0\.10\noptions ndots:5$/m,
    );
    assert.match(
      (await inPod("nslookup", "kubernetes.default")).out,
      /Name:\s+kubernetes\.default\.svc\.cluster\.local\nAddress: 10\.96\.0\.1/,
    );
    assert.match(await kubectl("logs", "-n", "kube-system", "-l", "k8s-app=kube-dns", "--tail=200"), /serving on/);
    const pods = JSON.parse(await kubectl("get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "-o", "json")) as {
      items: unknown[];
    };
    assert.equal(pods.items.length, 2);
  });

  test("glibc, musl, dig and busybox from inside a pod find the same addresses", async (t) => {
    const expected = (await query("order-svc", "--from", API)).addresses;
    assert.equal(expected.length, 1);
    assert.equal((await inPod("getent", "ahostsv4", "order-svc")).out.split(/\s+/)[0], expected[0]);
    assert.match(
      (await inPod("busybox", "nslookup", "order-svc.production.svc.cluster.local")).out,
      new RegExp(`Address.*: ${expected[0]}`),
    );
    const programs = compileResolvers(place.directory);
    for (const kind of ["glibc", "musl"] as const) {
      const program = programs[kind];
      if (!program) {
        t.diagnostic(`NOT RUN: no compiler for ${kind} (Debian: musl-tools)`);
        continue;
      }
      // A pod sees the machine's files, but has a /tmp of its own.
      const { out } = await place.run("sh", [
        "-c",
        `"$0" exec ${API} -- sh -c 'cat > /run/resolve && chmod 755 /run/resolve && /run/resolve order-svc example.com nope' < "$1"`,
        BIN,
        program,
      ]);
      assert.match(out, new RegExp(`^order-svc found ${expected[0]}$`, "m"), kind);
      assert.match(out, /^example\.com found .*198\.51\.100\.10/m, kind);
      assert.match(out, /^nope no-name$/m, kind);
    }
  });

  test("dns query: each question, who answered, from which object, and what would save questions", async () => {
    const outside = await query("example.com", "--from", API);
    assert.equal(outside.questions.length, 8);
    assert.deepEqual(
      outside.questions.map(({ rcode }) => rcode),
      [...Array(6).fill("NXDOMAIN"), "NOERROR", "NOERROR"],
    );
    for (const each of outside.questions)
      assert.match(each.by ?? "", /^kube-system\/coredns-/, "a pod of the Deployment answered, not the Service's address");
    assert.equal(outside.questions[6]?.plugin, "forward 10.112.0.1");
    assert.deepEqual(
      outside.alternatives.map(({ way, questions }) => [way, questions]),
      [
        ["as configured", 8],
        ["trailing dot", 2],
        ["ndots", 2],
        ["autopath", 2],
      ],
    );
    const inside = await query("mysql.production", "--from", "monitoring/prometheus", "--resolver", "musl");
    assert.equal(inside.found, "mysql.production.svc.cluster.local.");
    assert.deepEqual(
      inside.questions[2]?.objects.map(({ kind }) => kind),
      ["Service", "EndpointSlice", "Pod"],
    );
    const missing = await place.fairlead("dns", "query", "redis", "--from", "monitoring/prometheus");
    assert.equal(missing.status, 1);
    assert.match(missing.out, /there is no Service monitoring\/redis; there is one in production/);
  });

  test("dns query by calculation says what the lab's packets say", async () => {
    for (const words of [["order-svc"], ["mysql.production"], ["example.com"], ["nope"], ["order-svc", "--resolver", "musl"]]) {
      const [real, calculated] = [await query(...words, "--from", API), await query(...words, "--from", API, "--manifests", SHOP)];
      assert.deepEqual(
        calculated.questions.map(({ name, type }) => `${name} ${type}`),
        real.questions.map(({ name, type }) => `${name} ${type}`),
        words.join(" "),
      );
      // Beyond the cluster nobody is asked by calculation.
      if (words[0] !== "nope") assert.equal(calculated.outcome, real.outcome, words.join(" "));
    }
  });

  test("a changed ConfigMap is in force at once; a bad one is told and the old one stays", async () => {
    await setCorefile(corefile("hosts {\n        10.9.9.9 special.test\n        fallthrough\n    }"));
    assert.ok(await answers("special.test", /^10\.9\.9\.9$/m));
    await setCorefile(corefile("hostz {\n    }"));
    const refused = async () => (await place.json<DnsSummary>("dns", "status")).problems.join("\n");
    assert.ok(
      await eventually(async () =>
        /keeps its old Corefile.*\/etc\/coredns\/Corefile:5:5: there is no plugin "hostz" \(did you mean hosts\?/.test(await refused()),
      ),
    );
    assert.match(await kubectl("logs", "-n", "kube-system", "-l", "k8s-app=kube-dns", "--tail=20"), /no plugin "hostz".*stays in force/);
    assert.ok(await answers("special.test", /^10\.9\.9\.9$/m));
    await setCorefile(corefile("nsid"));
    assert.ok(await eventually(async () => !/keeps its old Corefile/.test(await refused())));
  });

  test("health, readiness and metrics answer on the pods' addresses", async () => {
    const { pods } = await place.json<LabStatus>("lab", "status");
    const servers = pods.filter(({ name }) => name.startsWith("coredns"));
    for (const { address } of servers) {
      assert.equal((await inPod("curl", "-s", `http://${address}:8080/health`)).out, "OK");
      assert.equal((await inPod("curl", "-s", `http://${address}:8181/ready`)).out, "OK");
      assert.match((await inPod("curl", "-s", `http://${address}:9153/metrics`)).out, /coredns_dns_requests_total\{/);
    }
    const summary = await place.json<DnsSummary>("dns", "status");
    assert.equal(summary.servers.length, 2);
    assert.ok(summary.servers.every(({ answers: serves, queries }) => serves && queries > 0));
    assert.ok(
      summary.servers.flatMap(({ amplified }) => amplified).some(({ name }) => name === "example.com."),
      "the search path's work is told",
    );
    assert.ok(summary.servers.flatMap(({ upstreams }) => upstreams).some(({ to, requests }) => to === "10.112.0.1:53" && requests > 0));
  });

  test("kubectl scales it; whoever is not ready gets no query", async () => {
    const ready = async () => (await place.json<LabStatus>("lab", "status")).services.find(({ name }) => name === "kube-dns")?.endpoints;
    await kubectl("-n", "kube-system", "scale", "deployment", "coredns", "--replicas=3");
    assert.ok(await eventually(async () => (await ready()) === 3));
    await kubectl("-n", "kube-system", "scale", "deployment", "coredns", "--replicas=2");
    assert.ok(await eventually(async () => (await ready()) === 2));
    // One that can't start: the Corefile is bad from its beginning. The others go on.
    await setCorefile(corefile("nonsense"));
    await kubectl("-n", "kube-system", "scale", "deployment", "coredns", "--replicas=3");
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.equal(await ready(), 2);
    assert.ok(await answers("order-svc.production.svc.cluster.local", /^10\./m));
    await setCorefile(corefile("nsid"));
    await kubectl("-n", "kube-system", "scale", "deployment", "coredns", "--replicas=2");
  });

  test(`no query fails while the replicas are restarted one after the other, at ${RATE} a second`, async () => {
    await kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=30s");
    const asking = inPod(
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      LOAD,
      "10.96.0.10",
      "order-svc.production.svc.cluster.local",
      String(RATE),
      "10",
    );
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const before = (await place.json<LabStatus>("lab", "status")).pods
      .filter(({ name }) => name.startsWith("coredns"))
      .map(({ name }) => name);
    await kubectl("-n", "kube-system", "rollout", "restart", "deployment", "coredns");
    await kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=30s");
    const result = JSON.parse((await asking).out) as { sent: number; answered: number; failed: number; wrong: number };
    assert.deepEqual([result.failed, result.wrong, result.answered], [0, 0, result.sent], JSON.stringify(result));
    assert.ok(result.sent > RATE * 5);
    // One that ends is ready for as long as it answers what was asked before.
    await until(async () => {
      const { pods } = await place.json<LabStatus>("lab", "status");
      const now = pods.filter(({ name, ready }) => name.startsWith("coredns") && ready);
      return now.length === 2 && now.every(({ name }) => !before.includes(name));
    }, "both are new");
  });
});

describe("a lab with a DNS cache on every node", () => {
  const other = makePlace();
  before(() => other.ok("lab", "up", SHOP, "--nodes", "2", "--node-local-dns"));
  after(() => other.close());

  test("the cache answers at both addresses, and the cluster's servers again when it is gone", async () => {
    const told = await other.json<ToldQuery>("dns", "query", "order-svc", "--from", API);
    assert.match(told.questions[0]?.by ?? "", /^kube-system\/node-local-dns-/);
    const dig = (...words: string[]) => other.run(BIN, ["exec", API, "--", "dig", "+short", "+time=2", ...words]);
    assert.equal((await dig("@169.254.20.10", "order-svc.production.svc.cluster.local")).out.trim(), told.addresses[0]);
    assert.match((await dig("+tcp", "example.com")).out, /^198\.51\.100\.10$/m);
    const config = (await other.ok("lab", "kubeconfig")).trim();
    await other.run("kubectl", [`--kubeconfig=${config}`, "-n", "kube-system", "delete", "daemonset", "node-local-dns"]);
    const byServer = async () => (await other.json<ToldQuery>("dns", "query", "order-svc", "--from", API)).questions[0]?.by ?? "";
    assert.ok(await eventually(async () => /^kube-system\/coredns-/.test(await byServer())));
  });
});
