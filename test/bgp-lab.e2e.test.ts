// BGP in a lab as the guide has it: sessions, routes, the case of the blocked port, and agents that restart under traffic.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { makePlace, type Place } from "./fairlead.ts";
import { eventually, until } from "./patience.ts";

const BIN = join(import.meta.dirname, "../bin/fairlead");
const INSTALLATION = join(import.meta.dirname, "../examples/guide/calico-installation.yaml");
const PODS = join(import.meta.dirname, "routed-pods.yaml");

interface Neighbour {
  readonly name: string;
  readonly address: string;
  readonly state: string;
  readonly why: { readonly cause: string; readonly says: string; readonly proof: string } | null;
  readonly received: number;
}
interface Status {
  readonly nodes: readonly { readonly node: string; readonly neighbours: readonly Neighbour[] }[];
}

describe("the guide's routed network, with agents in processes of their own", { concurrency: false }, () => {
  let place: Place;
  const status = () => place.json<Status>("bgp", "status");
  /** Every session, with what the other side has to tell. */
  const allUp = async () =>
    (await status()).nodes.every(
      ({ neighbours }) => neighbours.length === 2 && neighbours.every(({ state, received }) => state === "Established" && received >= 1),
    );
  const verdict = async (from: string, to: string, milliseconds = 10_000) =>
    (await place.json<{ verdict: string }>("probe", `shop/${from}`, `shop/${to}:80`, "--timeout", String(milliseconds))).verdict;
  const routesOf = (node: string) => onNode(node, "ip", "route");
  const onNode = (node: string, ...command: string[]) => place.ok("lab", "node", node, "--", ...command);

  before(async () => {
    place = makePlace();
    await place.ok("lab", "up", INSTALLATION, PODS, "--nodes", "3", "--subnets", "2", "--agents", "processes");
    assert.ok(await eventually(allUp), await place.ok("bgp", "status"));
  });
  after(() => place.close());

  test("every session is up, blocks are routed straight or by VXLAN, and every pod reaches every other", async () => {
    const table = await place.ok("bgp", "status");
    assert.match(table, /PEER ADDRESS +PEER TYPE +STATE +SINCE +INFO/);
    assert.match(table, /10\.112\.1\.51 +node-to-node mesh +up +\d\d:\d\d:\d\d +Established/);
    const expected = [/10\.244\.1\.0\/26 via \S+ dev vxlan\.calico/, /10\.244\.2\.0\/26 via 10\.112\.0\.52 dev ens160/];
    let routes = "";
    await until(
      async () => {
        routes = await routesOf("node-1");
        return expected.every((each) => each.test(routes));
      },
      () => routes,
    );
    // The other nodes hear of each other by sessions of their own.
    for (const node of ["node-2", "node-3"])
      await until(async () => ((await routesOf(node)).match(/^10\.244\.\d\.0\/26 via/gm) ?? []).length === 2, `${node} has all routes`);
    const { pairs } = await place.json<{ pairs: readonly { verdict: string }[] }>("matrix", "--namespace", "shop", "--timeout", "10000");
    assert.deepEqual([pairs.length, pairs.filter((pair) => pair.verdict !== "connected")], [12, []]);
    assert.match(await onNode("node-1", "ping", "-c1", "-W20", "-I", "10.244.0.1", "10.244.2.1"), / 0% packet loss/);
  });

  test("routes tell where they come from and why they are taken", async () => {
    const { nodes } = await place.json<{
      nodes: readonly { in: readonly { prefix: string; peer: string; reason: string }[]; out: readonly object[] }[];
    }>("bgp", "routes", "--node", "node-1", "10.244.1.0/26");
    assert.deepEqual(
      nodes[0]?.in.map(({ prefix, peer, reason }) => [prefix, peer, reason]),
      [["10.244.1.0/26", "node-2", "best"]],
    );
    assert.deepEqual(nodes[0]?.out.at(0), { peer: "node-2", prefix: "10.244.1.0/26", sent: false, reason: "internal-to-internal" });
  });

  test("a node's metrics on the port that the Installation names", async () => {
    const text = await onNode("node-2", "curl", "-s", "http://10.112.0.51:9091/metrics");
    assert.match(text, /^bgp_peers\{status="Established",ip_version="4"\} 2$/m);
    assert.match(text, /^bgp_routes_imported\{ip_version="4"\} 2$/m);
    assert.match(text, /^felix_cluster_num_hosts 3$/m);
    assert.match(text, /^ipam_blocks_per_node\{node="node-1"\} 1$/m);
  });

  test("an agent that is killed comes back, and no packet is lost meanwhile", async () => {
    const pids = async () => (await place.json<{ nodes: readonly { name: string; agentPid: number }[] }>("lab", "status")).nodes;
    const address = (await place.json<{ pods: readonly { name: string; address: string }[] }>("lab", "status")).pods.find(
      ({ name }) => name === "on-2",
    )?.address;
    const pinging = place.fairlead("exec", "shop/on-1", "--", "ping", "-i", "0.02", "-c", "200", "-W", "1", address ?? "");
    await new Promise((resolve) => setTimeout(resolve, 500));
    const first = (await pids()).find(({ name }) => name === "node-2")?.agentPid ?? 0;
    process.kill(first, "SIGKILL");
    assert.ok(await eventually(async () => ((await pids()).find(({ name }) => name === "node-2")?.agentPid ?? first) !== first));
    assert.match((await pinging).out, /200 packets transmitted, 200 received/);
    assert.ok(await eventually(allUp), await place.ok("bgp", "status"));
    await until(async () => /10\.244\.1\.0\/26 via/.test(await routesOf("node-1")), "the route is there");
  });

  test("what a monitor writes is read again", async () => {
    const file = join(place.directory, "session.jsonl");
    const watching = spawn(BIN, ["bgp", "monitor", "--node", "node-1"], { env: { ...process.env, FAIRLEAD_STATE: place.directory } });
    let lines = "";
    watching.stdout.setEncoding("utf8").on("data", (text: string) => {
      lines += text;
    });
    const told = async () => {
      writeFileSync(file, lines.slice(0, lines.lastIndexOf("\n") + 1));
      const replayed = await place.json<{ routes: readonly { prefix: string }[]; unread: readonly object[] }>("bgp", "replay", file);
      assert.deepEqual(replayed.unread, []);
      return (
        replayed.routes
          .map(({ prefix }) => prefix)
          .sort()
          .join() === "10.244.0.0/26,10.244.1.0/26,10.244.2.0/26"
      );
    };
    assert.ok(await eventually(told), lines);
    const exit = new Promise((resolve) => watching.once("exit", resolve));
    watching.kill("SIGINT");
    assert.equal(await exit, 0);
  });

  test("case 1: TCP 179 blocked on one node: its own pods reach each other, no others; the cause is named; unblocked, it heals", async () => {
    const chain = (hook: string) =>
      `add chain inet firewall ${hook} { type filter hook ${hook} priority -10; }; add rule inet firewall ${hook} tcp dport 179 drop;`;
    await onNode("node-2", "nft", `add table inet firewall; ${chain("input")} ${chain("output")}`);
    const cutOff = async () =>
      (await verdict("on-1", "on-2", 500)) !== "connected" &&
      (await verdict("on-3", "on-2", 500)) !== "connected" &&
      !/10\.244\.1\.0\/26/.test(await routesOf("node-1"));
    assert.ok(await eventually(cutOff), await routesOf("node-1"));
    assert.equal(await verdict("also-on-2", "on-2"), "connected");
    assert.equal(await verdict("on-1", "on-3"), "connected");
    const named = async () => {
      const { nodes } = await status();
      const why = nodes.find(({ node }) => node === "node-3")?.neighbours.find(({ name }) => name === "node-2")?.why;
      return (
        why?.cause === "no-answer" &&
        /SYN-SENT \S+ → 10\.112\.1\.51:179/.test(why.proof) &&
        /node-2.*chain input in table firewall/.test(why.says)
      );
    };
    assert.ok(await eventually(named), JSON.stringify(await status()));
    assert.equal((await place.fairlead("bgp", "status")).status, 1);
    await onNode("node-2", "nft", "delete table inet firewall");
    assert.ok(
      await eventually(async () => (await allUp()) && (await verdict("on-1", "on-2")) === "connected"),
      await place.ok("bgp", "status"),
    );
    assert.equal((await place.fairlead("bgp", "status")).status, 0);
  });
});
