// The main job, end to end: a lab with the shop, seen as a person sees it, with real packets.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { LabStatus, MatrixAnswer, ProbeResult } from "../src/lab/index.ts";
import type { TraceResult } from "../src/trace/index.ts";
import { makePlace, SHOP } from "./fairlead.ts";
import { eventually, until } from "./patience.ts";

const place = makePlace();

describe("a lab with the shop", () => {
  before(() => place.ok("lab", "up", SHOP, "--agents", "processes"));
  after(() => place.close());

  const status = () => place.json<LabStatus>("lab", "status");
  const probe = (from: string, to: string, ...more: string[]) => place.json<ProbeResult>("probe", from, to, ...more);
  const onNode = (node: string, ...words: string[]) =>
    place.run(join(import.meta.dirname, "../bin/fairlead"), ["lab", "node", node, "--", ...words]);

  test("every pair is as the truth table says", async () => {
    const answer = await place.json<MatrixAnswer>("matrix", "--all", "--expect", join(SHOP, "expect.yaml"));
    assert.deepEqual(answer.failures, []);
    assert.ok(answer.pairs.length > 60);
  });

  test("a truth table that is not met is exit status 1, and says which pair", async () => {
    const result = await place.fairlead(
      "matrix",
      "--from",
      "production/api",
      "--to",
      "production/redis",
      "--expect",
      join(import.meta.dirname, "wrong-expect.yaml"),
    );
    assert.equal(result.status, 1);
    assert.match(result.out, /expected connected: production\/api-\S+ → production\/redis-\S+:6379/);
  });

  test("the guide's commands show on a node what the guide says", async () => {
    assert.match(
      (await onNode("node-1", "ip", "-d", "link", "show", "flannel.1")).out,
      /mtu 1450[\s\S]*vxlan id 1 local 10\.112\.0\.51 dev ens160 .*dstport 8472 nolearning/,
    );
    const fdb = (await onNode("node-1", "bridge", "fdb", "show", "dev", "flannel.1")).out;
    assert.match(fdb, /dst 10\.112\.0\.52 self permanent/);
    assert.match(fdb, /dst 10\.112\.0\.53 self permanent/);
    const routes = (await onNode("node-1", "ip", "route")).out;
    assert.match(routes, /10\.244\.0\.0\/24 dev cni0/);
    assert.match(routes, /10\.244\.1\.0\/24 via 10\.244\.1\.0 dev flannel\.1 .*onlink/);
    assert.equal((await onNode("node-1", "cat", "/proc/sys/net/ipv4/ip_forward")).out.trim(), "1");
  });

  test("the five paths of the guide, in both families", async () => {
    const { pods } = await status();
    const named = (prefix: string, node?: string) =>
      pods.find((pod) => pod.name.startsWith(prefix) && (node === undefined || pod.node === node));
    const api = named("api-");
    const order = pods.filter((pod) => pod.name.startsWith("order-"));
    assert.ok(api?.node && order.length === 2);
    const near = order.find((pod) => pod.node === api.node) ?? order[0];
    const far = order.find((pod) => pod.node !== api.node) ?? order[1];
    const from = `production/${api.name}`;
    const addresses = async (pod: string) =>
      (await place.ok("exec", `production/${pod}`, "--", "ip", "-o", "addr", "show", "dev", "eth0")).match(
        /(?<=inet6? )[0-9a-f.:]+(?=\/\d+ .*scope global)/g,
      ) ?? [];

    // Within the pod, by localhost.
    assert.match(await place.ok("exec", from, "--", "sh", "-c", "exec 3<>/dev/null; cat /etc/hosts"), /127\.0\.0\.1\tlocalhost/);
    assert.equal((await place.ok("exec", from, "--", "curl", "-s", "http://127.0.0.1:8080/")).includes(api.name), true);
    for (const pod of [near, far]) {
      assert.ok(pod);
      const both = await addresses(pod.name);
      assert.equal(both.length, 2, `${pod.name} has an address of each family`);
      for (const address of both) {
        const result = await probe(from, address.includes(":") ? `[${address}]:8080` : `${address}:8080`);
        assert.equal(result.verdict, "connected", `${from} → ${pod.name} at ${address}`);
        assert.equal(result.server, `production/${pod.name}`);
        assert.equal((result as { address?: string }).address, address, "it was tried at the address that was written");
      }
    }
    // To the outside, with the node's address.
    const node = (await status()).nodes.find((each) => each.name === api.node);
    assert.equal((await probe(from, "outside:80")).sourceSeen, node?.addresses[0]?.replace(/\/.*/, ""));
    assert.equal((await probe(from, "[2001:db8:64::10]:80")).sourceSeen, node?.addresses[1]?.replace(/\/.*/, ""));
    // From the outside, by NodePort, on a node of either kind, in both families.
    for (const each of (await status()).nodes) {
      assert.equal((await probe("outside", `node/${each.name}:30080`)).verdict, "connected", each.name);
      assert.equal((await probe("outside", `[${each.addresses[1]?.replace(/\/.*/, "")}]:30080`)).verdict, "connected", each.name);
    }
  });

  test("names: search path, Service, headless, reverse, outside; asked by dig from inside a pod", async () => {
    const dig = (...words: string[]) => place.ok("exec", "production/api", "--", "dig", "+short", "+time=2", "+tries=2", ...words);
    assert.match(await dig("+search", "kubernetes.default"), /^10\.96\.0\.1$/m);
    assert.match(await dig("mysql-0.mysql.production.svc.cluster.local"), /^10\.244\./m);
    assert.match(await dig("+tcp", "order-svc.production.svc.cluster.local"), /^10\.(9[6-9]|10\d|11[01])\./m);
    assert.match(await dig("-x", "10.96.0.10"), /^kube-dns\.kube-system\.svc\.cluster\.local\.$/m);
    assert.match(await dig("SRV", "_http._tcp.api-service.production.svc.cluster.local"), /^0 100 80 api-service\.production/m);
    assert.match(await dig("example.com"), /^198\.51\.100\.10$/m);
  });

  test("a pod reaches the API server through Service kubernetes", async () => {
    assert.equal((await probe("production/api", "svc/default/kubernetes:443")).verdict, "connected");
  });

  test("trace names the policy that denies, and exits with 1", async () => {
    const result = await place.fairlead("trace", "monitoring/prometheus", "production/mysql:3306", "-o", "json");
    assert.equal(result.status, 1);
    const trace = JSON.parse(result.out) as { verdict: string; hops: { stage: string; owner?: { name: string } }[] };
    assert.equal(trace.verdict, "dropped");
    assert.ok(trace.hops.some((hop) => hop.stage === "policy" && hop.owner?.name === "default-deny-ingress"));
    assert.equal((await place.fairlead("trace", "production/api", "svc/production/order-svc")).status, 0);
  });

  test("trace walks through the kernels as they are, and --desired through what they should be", async () => {
    const { nodes, pods } = await status();
    const node = nodes.find(({ name }) => name === pods.find((pod) => pod.name.startsWith("mysql"))?.node);
    assert.ok(node?.agentPid);
    const trace = async (...flags: string[]) =>
      JSON.parse(
        (await place.fairlead("trace", "monitoring/prometheus", "production/mysql:3306", "-o", "json", ...flags)).out,
      ) as TraceResult;
    // While the agent stands still, nobody mends.
    process.kill(node.agentPid, "SIGSTOP");
    try {
      await onNode(node.name, "nft", "delete", "table", "inet", "fairlead");
      assert.equal((await trace()).verdict, "delivered", "without our table nobody denies");
      assert.equal((await trace("--desired")).verdict, "dropped");
      await onNode(node.name, "ip", "link", "set", "flannel.1", "down");
      const { verdict, reason } = await trace();
      const remote = pods.find((pod) => pod.name.startsWith("prometheus"))?.node !== node.name;
      if (remote) assert.match(`${verdict} ${reason}`, /^dropped .* has no VXLAN device with VNI 1 that is up/);
    } finally {
      process.kill(node.agentPid, "SIGCONT");
    }
    assert.ok(await eventually(async () => (await trace()).verdict === "dropped" && (await status()).ready), "mended");
  });

  test("what somebody deletes on a node is back within a second, and counted", async () => {
    const mended = async () => (await status()).nodes.find((node) => node.name === "node-2")?.mended ?? 0;
    const damages: [string, string[], string[], RegExp][] = [
      ["flannel.1", ["ip", "link", "del", "flannel.1"], ["ip", "route"], /10\.244\.0\.0\/24 via 10\.244\.0\.0 dev flannel\.1/],
      ["routes", ["ip", "route", "flush", "proto", "84"], ["ip", "route"], /10\.244\.0\.0\/24 via 10\.244\.0\.0 dev flannel\.1/],
      ["the nft table", ["nft", "delete", "table", "inet", "fairlead"], ["nft", "list", "tables"], /table inet fairlead/],
      ["ip_forward", ["sysctl", "-qw", "net.ipv4.ip_forward=0"], ["cat", "/proc/sys/net/ipv4/ip_forward"], /^1$/m],
    ];
    for (const [what, damage, look, expected] of damages) {
      const before = await mended();
      assert.equal((await onNode("node-2", ...damage)).status, 0, what);
      // A second for the agent; the rest for starting commands on a loaded machine.
      assert.ok(await eventually(async () => expected.test((await onNode("node-2", ...look)).out)), `${what} is back`);
      assert.ok(await eventually(async () => (await mended()) > before), `${what} was counted`);
    }
    const { pods } = await status();
    const pod = pods.find((each) => each.node === "node-2" && each.namespace === "production");
    assert.ok(pod);
    await place.run("true", []);
    const inPod = (...words: string[]) =>
      place.run(join(import.meta.dirname, "../bin/fairlead"), ["exec", `production/${pod.name}`, "--", ...words]);
    assert.match((await inPod("ip", "route")).out, /^default via 10\.244\.1\.1 dev eth0/m);
    const result = await place.json<MatrixAnswer>("matrix", "--expect", join(SHOP, "expect.yaml"));
    assert.deepEqual(result.failures, []);
  });

  test("an agent killed with -9 loses no packet of a flow, and adopts everything when it is back", async () => {
    const before = await status();
    const node = before.nodes[0];
    assert.ok(node?.agentPid);
    const link = (await onNode("node-1", "ip", "-o", "link", "show", "flannel.1")).out;
    const { pods } = before;
    const source = pods.find((pod) => pod.node === "node-1" && pod.name.startsWith("api-"));
    const target = pods.find((pod) => pod.node !== "node-1" && pod.name.startsWith("order-"));
    assert.ok(source && target?.address);
    // 100 echo requests, 20 ms apart, across the kill and the restart.
    const pinging = place.ok("exec", `production/${source.name}`, "--", "ping", "-n", "-q", "-i", "0.02", "-c", "100", target.address);
    await new Promise((resolve) => setTimeout(resolve, 600));
    process.kill(node.agentPid, "SIGKILL");
    assert.match(await pinging, /100 packets transmitted, 100 received, 0% packet loss/);
    assert.ok(
      await eventually(async () => (await status()).nodes[0]?.agentPid !== node.agentPid && (await status()).ready),
      "the agent is back and in sync",
    );
    assert.equal((await onNode("node-1", "ip", "-o", "link", "show", "flannel.1")).out, link, "the tunnel device was not touched");
    assert.equal((await status()).nodes[0]?.mended, 0, "nothing had to be mended");
  });

  test("kubectl applies, shows, describes, watches and deletes", async (t) => {
    if ((await place.run("kubectl", ["version", "--client"])).status !== 0) {
      t.skip("NOT RUN: there is no kubectl on this machine");
      return;
    }
    const config = (await place.ok("lab", "kubeconfig")).trim();
    const kubectl = (...words: string[]) =>
      place.run("kubectl", [`--kubeconfig=${config}`, `--cache-dir=${place.directory}/kubectl`, ...words]);
    const manifest = join(import.meta.dirname, "web.yaml");
    assert.match((await kubectl("apply", "-f", manifest)).out, /deployment.apps\/web created/);
    const rollout = await kubectl("rollout", "status", "deployment/web", "-n", "web", "--timeout=60s");
    assert.match(rollout.out, /successfully rolled out/, rollout.err);
    assert.match((await kubectl("get", "pods", "-n", "web", "-o", "wide")).out, /1\/1 +Running .*10\.244\./);
    assert.match((await kubectl("describe", "service", "web", "-n", "web")).out, /Endpoints: +10\.244\./);
    assert.ok(await eventually(async () => (await probe("production/api", "svc/web/web")).verdict === "connected"));
    assert.match((await kubectl("delete", "-f", manifest)).out, /deleted/);
    assert.ok(await eventually(async () => !(await status()).pods.some((pod) => pod.namespace === "web")), "its pods are gone");
  });

  test("a second lab stands beside the first", async () => {
    await place.ok("lab", "up", "--name", "second", "--nodes", "1");
    assert.match(await place.ok("lab", "list"), /second +up/);
    await place.ok("lab", "down", "--name", "second");
    assert.ok(await eventually(async () => (await status()).ready));
  });
});

/** Also where its parent has not asked yet how: on a busy machine, that may take its time. */
function hasEnded(pid: number): boolean {
  try {
    return /.*\) Z /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
}

describe("a lab that ends badly", () => {
  const other = makePlace();
  after(() => other.close());

  test("a daemon killed with -9 leaves a directory, and nothing else; the next lab up removes it", async () => {
    await other.ok("lab", "up", SHOP);
    const { pid } = await other.json<LabStatus>("lab", "status");
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(/\s+/).map(Number);
    process.kill(pid, "SIGKILL");
    assert.ok(await eventually(() => children.every(hasEnded)), "its processes ended with it");
    assert.match(await other.ok("lab", "list"), /killed/);
    await other.ok("lab", "up", "--nodes", "1");
    await other.ok("lab", "down");
    assert.equal(existsSync(join(other.directory, "lab")), false);
  });

  test("Ctrl-C while a lab stays in the foreground takes it down", async (t) => {
    const child = spawn(join(import.meta.dirname, "../bin/fairlead"), ["lab", "up", "--foreground", "--nodes", "1"], {
      env: { ...process.env, FAIRLEAD_STATE: other.directory },
      stdio: ["ignore", "ignore", "pipe"],
    });
    t.after(() => child.kill("SIGKILL"));
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += chunk;
      // The first moment in which the lab stands: the status is still to be asked for.
      if (!child.killed && /pods ready in/.test(said)) child.kill("SIGINT");
    });
    await until(() => child.killed, "the lab stands");
    await until(() => child.exitCode !== null || child.signalCode !== null, "it ended");
    assert.equal(child.exitCode, 0, said);
    assert.equal(existsSync(join(other.directory, "lab")), false);
  });
});
