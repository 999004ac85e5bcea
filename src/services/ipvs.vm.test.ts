// IPVS in the second kernel, which has it: what ipvsadm and ipset show, schedulers and weights by real connections, and graceful ends.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";
import { until } from "../../test/patience.ts";
import { podAddress, ServiceNetwork } from "../../test/service-network.ts";
import { service, slice } from "../../test/service-objects.ts";
import { createReconciler, EMPTY_STATE, ROUTE_PROTOCOL } from "../kernel/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import { SERVICE_BALANCER } from "./index.ts";

const points = {
  a: { address: podAddress("a"), node: "node-1", pod: "a" },
  b: { address: podAddress("b"), node: "node-1", pod: "b" },
  c: { address: podAddress("c"), node: "node-2", pod: "c" },
};

/** A Service at 10.96.1.N with node port 31000 + N, scheduled so. */
function scheduled(
  name: string,
  number: number,
  scheduler: string,
  port: number,
  endpoints: (typeof points.a)[] = Object.values(points),
): KubeObject[] {
  const made = service(name, { type: "NodePort", clusterIP: `10.96.1.${number}`, ports: [{ port: 80, nodePort: 31_000 + number }] });
  return [
    { ...made, metadata: { ...made.metadata, annotations: { "fairlead.dev/ipvs-scheduler": scheduler } } },
    slice(name, { endpoints, port }),
  ];
}

const weighing = (name: string, weight: string): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, annotations: { "fairlead.dev/ipvs-weight": weight } },
  spec: { containers: [] },
});

const OBJECTS = [
  ...scheduled("even", 1, "rr", 8080),
  ...scheduled("weighted", 2, "wrr", 8080),
  ...scheduled("idle", 3, "lc", 8081),
  ...scheduled("same", 4, "sh", 8080),
  weighing("a", "3"),
  weighing("b", "many"),
  // Once a node knows pods, it takes packets from those alone.
  weighing("c", "1"),
  weighing("d", "1"),
];

let net: ServiceNetwork;
before(() => {
  net = new ServiceNetwork("ipvs");
  net.set(OBJECTS);
});
after(() => net?.close());

const run = (...command: string[]) =>
  net.at("node-1").run(() => spawnSync(command[0] ?? "", command.slice(1), { encoding: "utf8" }).stdout);

async function count(address: string, times: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let at = 0; at < times; at++) {
    const { pod = "nobody" } = await net.connect("d", address, 80);
    counts[pod] = (counts[pod] ?? 0) + 1;
  }
  return counts;
}

test("ipvsadm shows the services, their schedulers and their end points", () => {
  const listed = run("ipvsadm", "-L", "-n");
  assert.match(listed, /^TCP {2}10\.96\.1\.1:80 rr\n(?: {2}-> 10\.244\.\d\.\d:8080 +Masq +1 .*\n){3}/m);
  assert.match(listed, /^TCP {2}10\.112\.0\.51:31001 rr$/m);
  assert.match(listed, /^TCP {2}10\.96\.1\.2:80 wrr\n(?: {2}-> .*\n)*? {2}-> 10\.244\.1\.2:8080 +Masq +3 /m);
  assert.match(listed, /^TCP {2}10\.96\.1\.3:80 lc$/m);
  assert.match(run("ip", "route", "show", "table", "local", "dev", "kube-ipvs0"), /^local 10\.96\.1\.4 proto 84 scope host/m);
  assert.doesNotMatch(run("ip", "-o", "address", "show", "dev", "kube-ipvs0"), /inet /);
});

test("ipset shows kube-proxy's sets", () => {
  const members = (name: string) => run("ipset", "list", name).split("Members:\n")[1]?.trim().split("\n").sort();
  assert.deepEqual(members("KUBE-CLUSTER-IP"), ["10.96.1.1,tcp:80", "10.96.1.2,tcp:80", "10.96.1.3,tcp:80", "10.96.1.4,tcp:80"]);
  assert.deepEqual(members("KUBE-NODE-PORT-TCP"), ["31001", "31002", "31003", "31004"]);
  assert.ok(members("KUBE-LOOP-BACK")?.includes("10.244.1.2,tcp:8080,10.244.1.2"));
  const names = run("ipset", "list", "-n").split("\n");
  for (const name of [
    "KUBE-EXTERNAL-IP",
    "KUBE-LOAD-BALANCER",
    "KUBE-LOAD-BALANCER-SOURCE-CIDR",
    "KUBE-NODE-PORT-UDP",
    "KUBE-6-CLUSTER-IP",
  ])
    assert.ok(names.includes(name), name);
});

test("the sysctls are those of kube-proxy", () => {
  const value = (key: string) => net.at("node-1").readSysctl(`net.ipv4.vs.${key}`);
  assert.deepEqual([value("conntrack"), value("conn_reuse_mode"), value("expire_nodest_conn")], ["1", "0", "1"]);
});

test("rr is exact, and wrr by weight", async () => {
  assert.deepEqual(await count("10.96.1.1", 30), { a: 10, b: 10, c: 10 });
  assert.deepEqual(await count("10.96.1.2", 30), { a: 18, b: 6, c: 6 });
});

test("sh sends a client to the same end point", async () => {
  assert.equal(Object.keys(await count("10.96.1.4", 10)).length, 1);
});

test("lc sends new connections to the idle end point while long ones are held on the others", async () => {
  const held = [];
  for (let at = 0; at < 3; at++) held.push(await net.hold("d", "10.96.1.3", 80));
  assert.deepEqual(held.map(({ pod }) => pod).sort(), ["a", "b", "c"]);
  const freed = held.pop();
  freed?.close();
  for (let at = 0; at < 3; at++) {
    const next = await net.hold("d", "10.96.1.3", 80);
    assert.equal(next.pod, freed?.pod);
    next.close();
  }
  for (const connection of held) connection.close();
});

test("a weight that is no number is told, and weighs 1", () => {
  assert.match(net.remarks("node-1").join("\n"), /Pod shop\/b, annotation fairlead\.dev\/ipvs-weight: "many" is no number/);
});

test("an end point that goes keeps its connections and gets no new ones; when they have ended it is gone", async () => {
  const all = scheduled("leaving", 5, "rr", 8081);
  net.set(all);
  const held = [await net.hold("d", "10.96.1.5", 80), await net.hold("d", "10.96.1.5", 80), await net.hold("d", "10.96.1.5", 80)];
  const leaving = held.find(({ pod }) => pod === "a");
  assert.ok(leaving);
  const weights = () =>
    net
      .at("node-1")
      .ipvs.list()
      .find(({ address }) => address === "10.96.1.5")
      ?.destinations.map(({ address, weight }) => `${address} ${weight}`)
      .sort();
  net.set(scheduled("leaving", 5, "rr", 8081, [points.b, points.c]));
  assert.deepEqual(weights(), ["10.244.1.2 0", "10.244.1.3 1", "10.244.2.2 1"]);
  assert.equal(await leaving.say("still there"), "still there");
  const fresh = [];
  for (let at = 0; at < 6; at++) fresh.push(await net.hold("d", "10.96.1.5", 80));
  assert.ok(fresh.every(({ pod }) => pod !== "a"));
  for (const connection of [...held, ...fresh]) connection.close();
  await untilForgotten(() => weights()?.length === 2);
  assert.deepEqual(weights(), ["10.244.1.3 1", "10.244.2.2 1"]);
});

test("a device that is taken down, or deleted, comes back with its routes; the node itself reaches a Service by IPv6", async () => {
  const node = net.at("node-1");
  const address = "fd00:10:96::7";
  net.set([
    ...OBJECTS,
    service("six", { clusterIP: address, ports: [{ port: 80 }] }),
    slice("six", { endpoints: [{ address: podAddress("a", 6), node: "node-1" }], port: 8080, family: 6 }),
  ]);
  const all = node.listLocalRoutes().length;
  const works = async () => {
    for (const [from, to] of [
      ["node-1", address],
      ["d", address],
      ["node-1", "10.96.1.1"],
      ["d", "10.96.1.1"],
    ] as const)
      assert.equal((await net.connect(from, to, 80)).verdict, "connected", `${from} to ${to}`);
  };
  await works();
  for (const command of ["ip link set kube-ipvs0 down", "ip link delete kube-ipvs0", "ip -6 route delete table local fd00:10:96::7"]) {
    run(...command.split(" "));
    assert.ok(node.listLocalRoutes().length < all, command);
    net.drifts();
    assert.equal(node.listLocalRoutes().length, all, command);
    await works();
  }
});

test("after an agent that had addresses on the device, routes stand on a new one", async () => {
  const node = net.at("node-1");
  net.set(OBJECTS);
  node.apply({ op: "delete", link: { name: "kube-ipvs0" } });
  node.apply({ op: "add", link: { name: "kube-ipvs0", kind: { type: "other", name: "dummy" }, ifalias: "fairlead", up: true } });
  for (const number of [1, 9]) node.apply({ op: "add", address: { link: "kube-ipvs0", address: `10.96.1.${number}/32` } });
  const { links, localRoutes, ipsets, ipvs } = net.planned("node-1");
  const device = links.filter(({ name }) => name === "kube-ipvs0");
  const owns = { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [], ipvs: SERVICE_BALANCER };
  const next = createReconciler({ namespace: node, owns, watch: false });
  assert.equal(next.set({ ...EMPTY_STATE, links: device, localRoutes, ipsets, ipvs }).lastError, undefined);
  assert.ok(!node.listAddresses().some(({ link, address }) => link === "kube-ipvs0" && address.endsWith("/32")));
  assert.equal(node.listLocalRoutes().length, localRoutes.length);
  next.close();
  net.drifts();
  assert.equal((await net.connect("d", "10.96.1.1", 80)).verdict, "connected");
});

test("IPVS is left: its open connections live on beside the new mode, and with the last of them all of it goes", async () => {
  const chat = scheduled("chat", 6, "rr", 8081);
  // A fresh one, so that there is nothing to be forgotten but what is held here.
  net.close();
  net = new ServiceNetwork("ipvs");
  net.set(chat);
  const node = net.at("node-1");
  const held = [
    await net.hold("d", "10.96.1.6", 80),
    await net.hold("node-1", "10.96.1.6", 80),
    await net.hold("client", "10.112.0.51", 31_006),
  ];
  net.mode = "nftables";
  net.set(chat);
  assert.deepEqual(
    node.listLocalRoutes().map(({ destination }) => destination),
    ["10.96.1.6/32"],
  );
  for (const connection of held) assert.equal(await connection.say("in peace"), "in peace");
  const fresh = await net.hold("d", "10.96.1.6", 80);
  assert.ok(node.ipvs.list().every(({ destinations }) => destinations.every(({ weight }) => weight === 0)));
  for (const connection of held) connection.close();
  await untilForgotten(() => node.ipvs.list().length === 0);
  assert.deepEqual(node.ipvs.list(), []);
  assert.ok(!node.listLinks().some(({ name }) => name === "kube-ipvs0"));
  assert.deepEqual(node.listLocalRoutes(), []);
  assert.deepEqual(
    node.ipsets.list((name) => name.startsWith("KUBE-")),
    [],
  );
  assert.equal(await fresh.say("as before"), "as before");
  fresh.close();
});

/** Waits for what IPVS forgets: a connection that was reset, after ten seconds; one that ended, after two minutes (ip_vs_proto_tcp.c). */
async function untilForgotten(done: () => boolean): Promise<void> {
  const looked = async () => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    net.drifts();
    return done();
  };
  await until(looked, "forgotten", 300_000);
}
