// A lab whose nodes work for an API server of another process: as a person sees it, with kubectl and with real packets.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { LabStatus, MatrixAnswer, ProbeResult } from "../src/lab/index.ts";
import { ApiProcess } from "./api-server.ts";
import { kubectls } from "./clients.ts";
import { makePlace, SHOP } from "./fairlead.ts";
import { type ClusterRanges, KubeControlPlane, lacksControlPlane } from "./kube-control-plane.ts";
import { eventually, until } from "./patience.ts";

interface List {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly namespace?: string };
    readonly spec?: { readonly podCIDRs?: readonly string[] };
    readonly status?: {
      readonly phase?: string;
      readonly podIP?: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
  }[];
}

const KUBECTL = kubectls().at(-1)?.program ?? assert.fail("there is no kubectl here: scripts/clients.sh brings one");

const SERVERS = [
  {
    server: "fairlead api",
    make: (data: string, { pods = "none", services }: ClusterRanges) =>
      new ApiProcess(data, "--pod-cidr", pods, "--service-cidr", services),
    skip: false,
  },
  {
    server: "Kubernetes' own control plane",
    make: (data: string, ranges: ClusterRanges) => new KubeControlPlane(data, ranges),
    skip: lacksControlPlane(),
  },
] as const;
type Make = (typeof SERVERS)[number]["make"];

/** A server and a place for labs, with what a person does there. */
function makeWorld(make: Make, ranges: ClusterRanges) {
  const data = mkdtempSync(join(tmpdir(), "api-foreign-"));
  const server = make(data, ranges);
  const place = makePlace();
  const kubectl = async (...args: string[]): Promise<string> => {
    const run = await place.run(KUBECTL, args, { KUBECONFIG: server.kubeconfig });
    assert.equal(run.status, 0, `kubectl ${args.join(" ")}: ${run.err}`);
    return run.out;
  };
  const list = async (what: string, ...more: string[]) => JSON.parse(await kubectl("get", what, "-o", "json", ...more)) as List;
  const names = async (what: string, ...more: string[]) => (await list(what, ...more)).items.map(({ metadata }) => metadata.name).sort();
  const file = (name: string, text: object) => {
    const path = join(data, name);
    writeFileSync(path, JSON.stringify(text));
    return path;
  };
  const close = async () => {
    try {
      await place.close();
    } finally {
      await server.end("SIGTERM");
      rmSync(data, { recursive: true, force: true });
    }
  };
  return { server, place, kubectl, list, names, file, close };
}

for (const { server: name, make, skip } of SERVERS)
  describe(`a lab with the shop on another API server: ${name}`, { skip }, () => {
    // Ranges that are not the lab's own: what the server gives is taken.
    const { server, place, kubectl, list, names, file, close } = makeWorld(make, { pods: "10.50.0.0/16", services: "10.60.0.0/20" });
    let slicesBefore: readonly string[] = [];
    before(async () => {
      await server.start();
      slicesBefore = await names("endpointslices", "-n", "default");
      await kubectl("create", "configmap", "mine", "--from-literal=a=b");
      await place.ok("lab", "up", "--kubeconfig", server.kubeconfig, SHOP);
    });
    after(close);

    const probe = (from: string, to: string, ...more: string[]) => place.json<ProbeResult>("probe", from, to, ...more);
    const isReady = ({ status }: List["items"][number]) =>
      status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True");

    test("kubectl there sees Ready nodes with the server's ranges, and Running pods", async () => {
      const nodes = (await list("nodes")).items;
      assert.deepEqual(nodes.map(({ metadata }) => metadata.name).sort(), ["node-1", "node-2", "node-3"]);
      for (const node of nodes) {
        assert.ok(isReady(node), node.metadata.name);
        assert.match(node.spec?.podCIDRs?.[0] ?? "", /^10\.50\.\d+\.0\/24$/);
      }
      const pods = (await list("pods", "-A")).items;
      assert.ok(pods.length >= 10);
      for (const { metadata, status } of pods) {
        assert.equal(status?.phase, "Running", metadata.name);
        assert.match(status?.podIP ?? "", /^10\.50\./);
      }
      assert.deepEqual(await names("leases", "-n", "kube-node-lease"), ["node-1", "node-2", "node-3"]);
      assert.match(await kubectl("describe", "pod", "-n", "production", "-l", "app=api"), /Started container/);
    });

    test("every pair is as the truth table says, by real packets", async () => {
      const answer = await place.json<MatrixAnswer>("matrix", "--all", "--expect", join(SHOP, "expect.yaml"));
      assert.deepEqual(answer.failures, []);
      assert.ok(answer.pairs.length > 60);
    });

    test("status, trace, policy explain and services know the cluster", async () => {
      const status = await place.json<LabStatus>("lab", "status");
      assert.ok(status.ready, status.missing.join());
      assert.equal(status.services.find(({ name }) => name === "kubernetes")?.clusterIP, "10.60.0.1");
      assert.equal(status.services.find(({ name }) => name === "kube-dns")?.clusterIP, "10.60.0.10");
      assert.equal((await place.fairlead("trace", "production/api", "svc/production/order-svc")).status, 0);
      assert.equal((await place.fairlead("trace", "monitoring/prometheus", "production/mysql:3306")).status, 1);
      assert.equal((await place.fairlead("policy", "explain", "monitoring/prometheus", "production/mysql:3306")).status, 1);
      assert.match(await place.ok("services", "production/order-svc"), /order-svc/);
      assert.equal(await place.ok("lab", "kubeconfig", "--print").then((text) => text.includes("127.0.0.1")), true);
    });

    test("a pod reaches that server as Service default/kubernetes, by name and certificate, with its account's token", async () => {
      await kubectl(
        "create",
        "rolebinding",
        "api-reads",
        "--clusterrole",
        "view",
        "--serviceaccount",
        "production:default",
        "-n",
        "production",
      );
      const script = `d=/var/run/secrets/kubernetes.io/serviceaccount
      curl -sS --cacert $d/ca.crt -H "Authorization: Bearer $(cat $d/token)" https://kubernetes.default.svc/api/v1/namespaces/production/pods`;
      const seen = JSON.parse(await place.ok("exec", "production/api", "--", "sh", "-c", script)) as List;
      assert.deepEqual(seen.items.map(({ metadata }) => metadata.name).sort(), await names("pods", "-n", "production"));
    });

    test("the lab's own kubeconfig passes everything on, and serves logs, exec and port-forward of its pods to who may", async () => {
      const path = (await place.ok("lab", "kubeconfig")).trim();
      const inLab = (...args: string[]) => place.run(KUBECTL, args, { KUBECONFIG: path });
      const talker = {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "talker", namespace: "default" },
        spec: { containers: [{ name: "main", image: "image", command: ["sh", "-c", "echo I am; exec sleep infinity"] }] },
      };
      const made = await inLab("apply", "-f", file("talker.json", talker));
      assert.equal(made.status, 0, made.err);
      assert.ok(await eventually(async () => (await inLab("logs", "talker")).out === "I am\n"), (await inLab("logs", "talker")).err);
      assert.equal((await inLab("exec", "talker", "--", "sh", "-c", "echo $HOSTNAME; exit 3")).out, "talker\n");
      assert.equal((await inLab("exec", "talker", "--", "sh", "-c", "exit 3")).status, 3);
      const following = spawn(KUBECTL, ["logs", "-f", "talker"], { env: { ...process.env, KUBECONFIG: path } });
      let followed = "";
      following.stdout.on("data", (chunk) => {
        followed += chunk;
      });
      await until(() => followed !== "", "the log is followed");
      await new Promise((resolve) => setTimeout(resolve, 3000));
      const { exitCode } = following;
      following.kill();
      assert.deepEqual([followed, exitCode], ["I am\n", null], "followed until the client goes");
      const forward = `${KUBECTL} port-forward -n production deploy/api 0:8080 > "$0" & pid=$!
      for i in $(seq 600); do port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/p' "$0"); [ -n "$port" ] && break; sleep 0.1; done
      curl -sS "http://127.0.0.1:$port/"; kill $pid`;
      const forwarded = await place.run("sh", ["-c", forward, file("forward.txt", {})], { KUBECONFIG: path });
      assert.match(forwarded.out, /production\/api-/, forwarded.err);
      const forbidden = await inLab("exec", "talker", "--as", "somebody", "--", "true");
      assert.notEqual(forbidden.status, 0);
      assert.match(forbidden.err, /forbidden/i);
      const stranger = await place.run(
        "sh",
        ["-c", `sed 's/"token": "[^"]*"/"token": "wrong"/' "$KUBECONFIG" > "$0"; KUBECONFIG="$0" ${KUBECTL} get pods`, file("wrong", {})],
        {
          KUBECONFIG: path,
        },
      );
      assert.match(stranger.err, /Unauthorized|must be logged in/);
      assert.equal((await inLab("delete", "pod", "talker", "--now")).status, 0);
    });

    test("a policy applied there is enforced here, and let go with it", async () => {
      const verdict = async (milliseconds = 10_000) =>
        (await probe("production/api", "svc/production/order-svc", "--timeout", String(milliseconds))).verdict;
      assert.equal(await verdict(), "connected");
      const policy = {
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name: "silence", namespace: "production" },
        spec: { podSelector: { matchLabels: { app: "api" } }, policyTypes: ["Egress"], egress: [] },
      };
      await kubectl("apply", "-f", file("silence.json", policy));
      assert.ok(await eventually(async () => (await verdict(500)) === "timeout"), "no policy in force");
      await kubectl("delete", "networkpolicy", "-n", "production", "silence");
      assert.ok(await eventually(async () => (await verdict()) === "connected"), "still in force");
    });

    test("the server killed: connections go on; back again, what changed there comes about", async () => {
      await server.end("SIGKILL");
      const missing = async () => (await place.json<LabStatus>("lab", "status")).missing.join();
      assert.ok(await eventually(async () => /the API server does not answer/.test(await missing())), "lab status says so");
      assert.equal((await probe("production/api", "svc/production/order-svc")).verdict, "connected");
      assert.match(await place.ok("exec", "production/api", "--", "dig", "+short", "order-svc.production.svc.cluster.local"), /^10\.60\./m);
      await server.start();
      await kubectl("scale", "deployment", "-n", "production", "order", "--replicas", "4");
      const running = async () =>
        (await list("pods", "-n", "production", "-l", "app=order")).items.filter((pod) => pod.status?.phase === "Running" && isReady(pod))
          .length;
      assert.ok(await eventually(async () => (await running()) === 4), "four pods");
      assert.equal((await probe("production/api", "svc/production/order-svc")).verdict, "connected");
      await kubectl("scale", "deployment", "-n", "production", "order", "--replicas", "1");
      assert.ok(await eventually(async () => (await names("pods", "-n", "production", "-l", "app=order")).length === 1), "one pod");
    });

    test("manifests are applied to it by a second lab up, others' fields kept", async () => {
      await kubectl("label", "deployment", "-n", "production", "order", "mine=yes");
      await place.ok("lab", "up", SHOP);
      assert.match(await kubectl("get", "deployment", "-n", "production", "order", "--show-labels"), /mine=yes/);
      assert.equal((await names("pods", "-n", "production", "-l", "app=order")).length, 2);
    });

    test("another lab does not take its nodes", async () => {
      const result = await place.fairlead("lab", "up", "--name", "second", "--kubeconfig", server.kubeconfig, "--join");
      assert.equal(result.status, 2);
      assert.match(result.err, /has a node node-1 already, of the lab lab\./);
    });

    test("lab down takes away its nodes and what it made, and nothing else", async () => {
      await place.ok("lab", "down");
      assert.deepEqual(await names("nodes"), []);
      assert.deepEqual(await names("leases", "-n", "kube-node-lease"), []);
      assert.deepEqual(await names("deployments,services,pods", "-n", "kube-system"), []);
      assert.deepEqual(await names("endpointslices", "-n", "default"), slicesBefore);
      assert.deepEqual(await names("services", "-n", "default"), ["kubernetes"]);
      assert.ok((await names("configmaps", "-n", "default")).includes("mine"));
      assert.ok((await names("deployments", "-n", "production")).includes("order"));
    });
  });

for (const { server: name, make, skip } of SERVERS)
  describe(`an API server that is not the lab's alone: ${name}`, { skip }, () => {
    // No podCIDRs either: the lab gives them.
    const { server, place, kubectl, list, names, file, close } = makeWorld(make, { services: "10.96.0.0/16" });
    const up = (...words: string[]) => place.fairlead("lab", "up", "--nodes", "1", "--kubeconfig", server.kubeconfig, ...words);
    const theirs = (name: string, podCIDR: string) => ({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name },
      spec: { podCIDR, podCIDRs: [podCIDR], taints: [{ key: "theirs", effect: "NoSchedule" }] },
    });
    before(async () => {
      await server.start();
      await kubectl("apply", "-f", file("node.json", theirs("theirs", "10.244.0.0/24")));
    });
    after(close);

    test("nodes of others: refused, unless the person says so", async () => {
      const refused = await up();
      assert.equal(refused.status, 2);
      assert.match(refused.err, /the cluster has 1 node that is not this lab's: theirs/);
      assert.match(refused.err, /--join/);
      assert.deepEqual(await names("nodes"), ["theirs"]);
      assert.equal((await place.fairlead("lab", "up", "--join")).status, 2);
      assert.equal((await up("--join", "--keep")).status, 2);
    });

    test("joined: a share that nobody has, and end points that the server says are where pods reach it", async () => {
      // As a server that is reached at an address of its machine has it.
      const slice = {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
        addressType: "IPv4",
        endpoints: [{ addresses: ["203.0.113.7"], conditions: { ready: true } }],
        ports: [{ name: "https", port: 6443, protocol: "TCP" }],
      };
      await kubectl("apply", "-f", file("slice.json", slice));
      const result = await up("--join");
      assert.equal(result.status, 0, result.err);
      assert.equal((await list("nodes")).items.find(({ metadata }) => metadata.name === "node-1")?.spec?.podCIDRs?.[0], "10.244.1.0/24");
      const reached = await probe(place, "node/node-1", "10.96.0.1:443");
      assert.equal(reached.verdict, "connected");
    });

    test("a killed lab's nodes are taken away by lab down", async () => {
      const { pid } = await place.json<LabStatus>("lab", "status");
      process.kill(pid, "SIGKILL");
      await place.ok("lab", "down");
      assert.deepEqual(await names("nodes"), ["theirs"]);
      assert.deepEqual(await names("endpointslices", "-n", "default"), ["kubernetes"]);
    });

    test("a server that is away at lab down: said, and made good when it is back", async () => {
      assert.equal((await up("--join")).status, 0);
      await server.end("SIGKILL");
      const down = await place.fairlead("lab", "down");
      assert.equal(down.status, 2);
      assert.match(down.err, /still has the lab's Nodes/);
      await server.start();
      assert.deepEqual(await names("nodes"), ["node-1", "theirs"]);
      await place.ok("lab", "down");
      assert.deepEqual(await names("nodes"), ["theirs"]);
    });
  });

for (const { server: name, make, skip } of SERVERS)
  describe(`a routed lab on another API server: ${name}`, { skip }, () => {
    const { server, place, kubectl, names, file, close } = makeWorld(make, { pods: "10.50.0.0/16", services: "10.60.0.0/20" });
    const calico = (metadata: object, spec: object) => ({ apiVersion: "projectcalico.org/v3", kind: "NetworkPolicy", metadata, spec });
    before(async () => {
      await server.start();
      await place.ok("lab", "up", "--nodes", "2", "--network", "routed", "--kubeconfig", server.kubeconfig, SHOP);
    });
    after(close);

    test("blocks of addresses are objects there, and every pair is as the truth table says", async () => {
      assert.ok((await names("ipamblocks.crd.projectcalico.org")).length >= 2);
      const answer = await place.json<MatrixAnswer>("matrix", "--expect", join(SHOP, "expect.yaml"));
      assert.deepEqual(answer.failures, []);
    });

    test("policies of Calico can be applied there, and are enforced", async () => {
      const verdict = async (milliseconds = 10_000) =>
        (await place.json<ProbeResult>("probe", "production/api", "svc/production/order-svc", "--timeout", String(milliseconds))).verdict;
      assert.equal(await verdict(), "connected");
      const silence = calico({ name: "silence", namespace: "production" }, { selector: "app == 'api'", types: ["Egress"], egress: [] });
      await kubectl("apply", "-f", file("calico.json", silence));
      assert.ok(await eventually(async () => (await verdict(500)) === "timeout"), "no policy in force");
      await kubectl("delete", "-f", file("calico.json", silence));
      assert.ok(await eventually(async () => (await verdict()) === "connected"), "still in force");
    });

    test("lab down leaves no block, and of the kinds it defined those that are in use", async () => {
      const defined = await names("customresourcedefinitions");
      const own = calico({ name: "mine", namespace: "production" }, { selector: "app == 'mine'" });
      await kubectl("apply", "-f", file("own.json", own));
      await place.ok("lab", "down");
      const used = "networkpolicies.projectcalico.org";
      assert.deepEqual(await names("customresourcedefinitions"), defined.includes(used) ? [used] : []);
      assert.deepEqual(await names(used, "-n", "production"), ["mine"]);
    });
  });

async function probe(place: ReturnType<typeof makePlace>, from: string, to: string): Promise<ProbeResult> {
  return place.json<ProbeResult>("probe", from, to);
}
