// Two nodes run `fairlead agent` against an API server, as nodes of a real cluster do: no lab, no daemon, only HTTPS and CNI.
//
//   API server 10.112.0.1 ──┬── node-1 10.112.0.51 ── fairlead agent ── CNI ── pods
//          └── two relays ────┴── node-2 10.112.0.52 ── fairlead agent ── CNI ── pods
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { deadline } from "../src/base/index.ts";
import { createLinuxKernel, type NetworkNamespace } from "../src/kernel/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { type AgentCluster, CLUSTERS } from "./agent-clusters.ts";
import { callCni } from "./cni-call.ts";
import { eventually, until } from "./patience.ts";
import { makePki } from "./pki.ts";

const BIN = join(import.meta.dirname, "../bin/fairlead");
const POD_PORT = 8080;

for (const { what, make, skip } of CLUSTERS)
  describe(`agents of a cluster: ${what}`, { skip }, () => {
    const kernel = createLinuxKernel();
    const directory = mkdtempSync(join(tmpdir(), "fairlead-agent-"));
    const places = new Map<string, NetworkNamespace>();
    const agents = new Map<string, ChildProcess>();
    const logs = new Map<string, string>();
    const closers: (() => void)[] = [];
    let cluster: AgentCluster;

    const said = (name: string) => logs.get(name) ?? "";
    const at = (name: string) => {
      const namespace = places.get(name);
      assert.ok(namespace, name);
      return namespace;
    };

    function plug(name: string, address: string): void {
      const namespace = kernel.createNamespace();
      places.set(name, namespace);
      namespace.apply({ op: "set", link: { name: "lo", up: true } });
      at("underlay").addVethPair({ name, master: "br0", up: true }, { name: "eth0", namespace, up: true });
      namespace.apply({ op: "add", address: { link: "eth0", address } });
    }

    /** Relays by port, beside the API server. */
    const relays = new Map<number, ChildProcess>();

    function startRelay(port: number): void {
      const flags = ["relay", "--kubeconfig", join(directory, "kubeconfig"), "--listen", `10.112.0.1:${port}`];
      const tls = [
        "--tls-cert",
        join(directory, "relay.crt"),
        "--tls-key",
        join(directory, "relay.key"),
        "--token-file",
        join(directory, "token"),
      ];
      const child = spawn("nsenter", [`--net=${at("api").path}`, "--", BIN, ...flags, ...tls], { stdio: ["ignore", "pipe", "pipe"] });
      for (const stream of [child.stdout, child.stderr])
        stream?.setEncoding("utf8").on("data", (text: string) => logs.set(`relay-${port}`, said(`relay-${port}`) + text));
      relays.set(port, child);
    }

    function startAgent(name: string): void {
      const state = join(directory, name);
      const flags = ["agent", "--node", name, "--kubeconfig", join(directory, "kubeconfig"), "--state", join(state, "state")];
      if (name === "node-2")
        flags.push(
          "--relay",
          "10.112.0.1:5473,10.112.0.1:5474",
          "--relay-ca",
          join(directory, "ca.crt"),
          "--relay-token-file",
          join(directory, "token"),
        );
      const child = spawn(
        "nsenter",
        [`--net=${at(name).path}`, "--", BIN, ...flags, "--cni-bin", join(state, "bin"), "--cni-conf", join(state, "net.d")],
        {
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...process.env, KUBECONFIG: "" },
        },
      );
      for (const stream of [child.stdout, child.stderr])
        stream?.setEncoding("utf8").on("data", (text: string) => logs.set(name, said(name) + text));
      agents.set(name, child);
    }

    /** A pod as a scheduler, a kubelet and a container runtime make it: object, namespace, CNI ADD; it answers with its own name. */
    async function startPod(node: string, name: string): Promise<string> {
      const made = cluster.create({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { namespace: "default", name, labels: { app: name } },
        spec: { nodeName: node, containers: [{ name: "c", image: "c" }] },
      } as KubeObject);
      const namespace = kernel.createNamespace();
      places.set(name, namespace);
      namespace.apply({ op: "set", link: { name: "lo", up: true } });
      const state = join(directory, node);
      const list = JSON.parse(readFileSync(join(state, "net.d/10-fairlead.conflist"), "utf8")) as {
        cniVersion: string;
        name: string;
        plugins: object[];
      };
      const environment = {
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: name,
        CNI_NETNS: namespace.path,
        CNI_IFNAME: "eth0",
        CNI_PATH: join(state, "bin"),
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=${made.metadata.uid}`,
      };
      const answer = await callCni([join(state, "bin/fairlead")], environment, {
        ...list.plugins[0],
        cniVersion: list.cniVersion,
        name: list.name,
      });
      assert.equal(answer.status, 0, answer.text);
      const ip = (answer.json.ips as { address: string }[])[0]?.address.replace(/\/.*/, "") ?? "";
      cluster.setStatus({ ...made, status: { phase: "Running", podIP: ip, podIPs: [{ ip }] } } as KubeObject);
      const listener = createServer((socket) => socket.on("error", () => {}).end(name));
      listener.listen({ fd: namespace.bindSocket({ protocol: "tcp", address: "0.0.0.0", port: POD_PORT, backlog: 16 }) });
      closers.push(() => listener.close());
      return ip;
    }

    /** Who answers; undefined if nobody does within the time, which is short where nobody should. */
    function connect(from: string, address: string, timeoutMs = 20_000): Promise<string | undefined> {
      return new Promise((resolve) => {
        const socket = new Socket({ fd: at(from).openSocket({ protocol: "tcp", family: 4 }), manualStart: true } as never);
        let text = "";
        const finish = (answer: string | undefined) => {
          endWait();
          socket.destroy();
          resolve(answer);
        };
        const endWait = deadline(timeoutMs, () => finish(undefined));
        socket.on("data", (chunk) => {
          text += chunk.toString();
        });
        socket.on("error", () => finish(undefined));
        socket.on("end", () => finish(text));
        socket.connect({ host: address, port: POD_PORT });
      });
    }

    const inside = (name: string, ...words: string[]) =>
      execFileSync("nsenter", [`--net=${at(name).path}`, "--", ...words], { encoding: "utf8" });

    const ips = new Map<string, string>();
    const ip = (pod: string) => ips.get(pod) ?? "";

    before(async () => {
      places.set("underlay", kernel.createNamespace());
      at("underlay").apply({ op: "add", link: { name: "br0", kind: { type: "bridge" }, up: true } });
      plug("api", "10.112.0.1/24");
      const site = { namespace: at("api"), address: "10.112.0.1", directory, kubeconfig: join(directory, "kubeconfig") };
      cluster = make(site);
      await cluster.start();
      for (const number of [1, 2]) {
        plug(`node-${number}`, `10.112.0.5${number}/24`);
        const node = {
          apiVersion: "v1",
          kind: "Node",
          metadata: { name: `node-${number}` },
          spec: { podCIDRs: [`10.244.${number}.0/24`], podCIDR: `10.244.${number}.0/24` },
          status: { addresses: [{ type: "InternalIP", address: `10.112.0.5${number}` }] },
        } as KubeObject;
        cluster.create(node);
      }
      const pki = await makePki(["10.112.0.1"]);
      for (const [file, bytes] of Object.entries({
        "ca.crt": pki.ca,
        "relay.crt": pki.server.cert,
        "relay.key": pki.server.key,
        token: "t0ken",
      }))
        writeFileSync(join(directory, file), bytes, { mode: 0o600 });
      for (const port of [5473, 5474]) startRelay(port);
      for (const name of ["node-1", "node-2"]) startAgent(name);
    });
    after(async () => {
      for (const child of [...agents.values(), ...relays.values()]) child.kill("SIGKILL");
      for (const close of closers) close();
      await cluster.end();
      for (const namespace of places.values()) namespace.close();
      rmSync(directory, { recursive: true, force: true });
    });

    test("the CNI configuration appears once a node can serve, and each node tells where its tunnel ends", async () => {
      for (const name of ["node-1", "node-2"]) {
        assert.ok(await eventually(async () => existsSync(join(directory, name, "net.d/10-fairlead.conflist"))), said(name));
        const annotation = () => cluster.get("Node", name)?.metadata.annotations?.["flannel.alpha.coreos.com/backend-data"];
        assert.ok(await eventually(async () => annotation()?.includes("VtepMAC") === true), said(name));
      }
    });

    test("pods of both nodes reach each other", async () => {
      for (const [node, pod] of [
        ["node-1", "a"],
        ["node-1", "b"],
        ["node-2", "c"],
      ] as const)
        ips.set(pod, await startPod(node, pod));
      assert.equal(await connect("a", ip("b")), "b");
      // Without a route an attempt ends at once: each node must have heard of the other first.
      await until(
        async () => (await connect("a", ip("c"))) === "c",
        () => said("node-1"),
      );
      await until(
        async () => (await connect("c", ip("a"))) === "a",
        () => said("node-2"),
      );
    });

    test("a policy is in force on the node of its pods as soon as the API has it", async () => {
      cluster.create({
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { namespace: "default", name: "only-b" },
        spec: { podSelector: { matchLabels: { app: "a" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "b" } } }] }] },
      } as KubeObject);
      assert.ok(await eventually(async () => (await connect("c", ip("a"), 300)) === undefined), "c is denied");
      assert.equal(await connect("b", ip("a")), "a");
    });

    test("an agent whose relay is killed goes on with the other, and misses nothing", async () => {
      const following = () =>
        [...relays].find(([port]) => inside("api", "ss", "-Htn", "state", "established", `sport = :${port}`).trim() !== "");
      const [port, relay] = following() ?? [];
      assert.ok(port && relay, said("node-2"));
      relay.kill("SIGKILL");
      const policy = { podSelector: { matchLabels: { app: "c" } }, ingress: [{ from: [{ podSelector: { matchLabels: { app: "b" } } }] }] };
      assert.equal(await connect("a", ip("c")), "c");
      cluster.create({
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { namespace: "default", name: "c-from-b" },
        spec: policy,
      } as KubeObject);
      assert.ok(await eventually(async () => (await connect("a", ip("c"), 300)) === undefined), `a is denied: ${said("node-2")}`);
      assert.equal(await connect("b", ip("c")), "c", "of the peer that the policy names, the agent knows the address");
      assert.notEqual(following()?.[0], port);
      cluster.delete("NetworkPolicy", "c-from-b");
      assert.ok(await eventually(async () => (await connect("a", ip("c"), 300)) === "c"));
    });

    test("agent status tells what the agent does, and its exit status whether all is well", () => {
      const status = JSON.parse(inside("node-1", BIN, "agent", "status", "-o", "json")) as { node: string; ready: boolean; pods: number };
      assert.deepEqual([status.node, status.ready, status.pods], ["node-1", true, 2]);
      assert.match(inside("node-1", BIN, "agent", "status"), /2 of 253 in 10\.244\.1\.0\/24/);
    });

    test("killed and started again without the API server, an agent takes everything over, and wires new pods by what it knew", async () => {
      const exit = new Promise((resolve) => agents.get("node-1")?.once("exit", resolve));
      const known = () => readFileSync(join(directory, "node-1/state/snapshot.json"), "utf8").includes("only-b");
      assert.ok(await eventually(async () => known()), "the snapshot on disk is of two seconds ago at most");
      agents.get("node-1")?.kill("SIGKILL");
      await exit;
      await cluster.end();
      const link = inside("node-1", "ip", "-o", "link", "show", "flannel.1");
      assert.equal(await connect("b", ip("a")), "a", "the data path needs no agent");
      startAgent("node-1");
      const ready = () => {
        try {
          return (JSON.parse(inside("node-1", BIN, "agent", "status", "-o", "json")) as { ready: boolean }).ready;
        } catch {
          return false;
        }
      };
      assert.ok(await eventually(async () => ready()), said("node-1"));
      assert.equal(inside("node-1", "ip", "-o", "link", "show", "flannel.1"), link, "nothing flapped");
      assert.equal(await connect("c", ip("a"), 300), undefined, "the policy is still in force");
      assert.equal(await connect("a", ip("c")), "c");
      inside("node-1", "ip", "route", "flush", "proto", "84");
      assert.ok(await eventually(async () => (await connect("a", ip("c"), 300)) === "c"), "drift is mended without the API server");
    });

    test("stopped, it leaves the network as it is", async () => {
      const agent = agents.get("node-2");
      const exit = new Promise((resolve) => agent?.once("exit", resolve));
      agent?.kill("SIGTERM");
      assert.equal(await exit, 0, said("node-2"));
      assert.match(said("node-2"), /stopped; the node's network stays as it is/);
      for (const [name, text] of logs) assert.doesNotMatch(text, /forbidden/i, `what ${name} needs is in deploy/rbac.yaml`);
      assert.equal(await connect("a", ip("c")), "c");
    });
  });
