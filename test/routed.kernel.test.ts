// The routed data path on the real kernel: every encapsulation that this kernel has, both families, forged sources, drift.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { KubeObject } from "../src/resources/index.ts";
import { poolObject } from "./ipam-objects.ts";
import { lacksLinux } from "./linux-release.ts";
import { outputOf, type RoutedNetwork, type RoutedPod, raiseRouted } from "./routed-network.ts";

async function raise(t: TestContext, options: Parameters<typeof raiseRouted>[0]): Promise<RoutedNetwork> {
  const network = await raiseRouted(options);
  t.after(() => network.close());
  return network;
}

const ping = (pod: RoutedPod, address: string, ...more: string[]) => pod.run("ping", "-c", "1", "-W", "1", ...more, address) === 0;

const both = (encapsulation: object) => ({
  four: { cidr: "10.244.0.0/16", natOutgoing: true, ...encapsulation },
  six: { cidr: "fd00:10:244::/48", natOutgoing: true, ...encapsulation },
});

const rows: readonly {
  says: string;
  pools: Readonly<Record<string, object>>;
  subnets?: boolean;
  routes: readonly RegExp[];
  mtu: number;
}[] = [
  {
    says: "None on one link: plain routes",
    pools: both({}),
    routes: [/^10\.244\.1\.0\/26 via 10\.112\.0\.52 dev eth0 proto 84/m, /^fd00:10:244:1::\/122 via fd00:112::52 dev eth0 proto 84/m],
    mtu: 1500,
  },
  {
    says: "VXLAN on one link: wrapped all the same",
    pools: both({ vxlanMode: "Always" }),
    routes: [
      /^10\.244\.1\.0\/26 via 10\.244\.1\.1 dev vxlan\.calico proto 84 onlink/m,
      /^fd00:10:244:1::\/122 via fd00:10:244:1::1 dev vxlan-v6\.calico/m,
    ],
    mtu: 1430,
  },
  {
    says: "VXLANCrossSubnet on one link: plain",
    pools: both({ vxlanMode: "CrossSubnet" }),
    routes: [/^10\.244\.1\.0\/26 via 10\.112\.0\.52 dev eth0/m],
    mtu: 1430,
  },
  {
    says: "VXLANCrossSubnet over two: wrapped",
    pools: { four: both({ vxlanMode: "CrossSubnet" }).four },
    subnets: true,
    routes: [/^10\.244\.1\.0\/26 via 10\.244\.1\.1 dev vxlan\.calico proto 84 onlink/m],
    mtu: 1450,
  },
];

for (const { says, pools, subnets, routes, mtu } of rows)
  test(says, async (t) => {
    const network = await raise(t, { nodes: 2, pools, ...(subnets ? { subnets } : {}) });
    const here = [await network.pod(0, "a"), await network.pod(0, "b")] as const;
    const there = await network.pod(1, "c");
    const node = network.nodes[0]?.namespace ?? assert.fail();
    const look = () => `${outputOf(node, "ip", "route")}${outputOf(node, "ip", "-6", "route")}`;
    assert.ok(await network.settle(() => routes.every((route) => route.test(look()))), look());
    assert.equal(here[0].addresses.length, Object.keys(pools).length);
    for (const to of [here[1], there])
      for (const address of to.addresses)
        assert.ok(await network.settle(() => ping(here[0], address)), `${here[0].name} → ${to.name} ${address}`);
    assert.equal(here[0].namespace.listLinks().find(({ name }) => name === "eth0")?.mtu, mtu);
    const full = () => ping(there, here[0].addresses[0] ?? "", "-M", "do", "-s", String(mtu - 28));
    assert.ok(await network.settle(full), "a full packet passes");
  });

test("pods send as large packets as the outer interface takes; with a tunnel among the ways, the usual ones", {
  skip: lacksLinux("6.3"),
}, async (t) => {
  const network = await raise(t, { nodes: 2, pools: both({}), gsoIpv4MaxSize: 196_608 });
  const [from, to] = [await network.pod(0, "from"), await network.pod(1, "to")];
  const node = network.nodes[1]?.namespace ?? assert.fail();
  const sizes = () =>
    [from.namespace, to.namespace, ...network.nodes.map(({ namespace }) => namespace)].flatMap((each) =>
      each
        .listLinks()
        .filter(({ kind }) => kind.type === "veth")
        .map(({ name, gsoIpv4MaxSize = 65_536 }) => `${name.replace(/^cali.*/, "cali")} ${gsoIpv4MaxSize}`),
    );
  const outer = ["eth0 196608", "cali 196608", "eth0 196608", "cali 196608"];
  assert.deepEqual(sizes(), ["eth0 196608", "eth0 196608", ...outer]);
  // Behind all rules of the node: packets that one of 65,536 bytes has no room for.
  node.nft.run(`table inet watch {
    chain large { type filter hook forward priority 300; meta length > 70000 counter; }
  }`);
  const large = () => Number(/counter packets (\d+)/.exec(outputOf(node, "nft", "list", "chain", "inet", "watch", "large"))?.[1]);
  const wired = () => to.addresses.every((address) => ping(from, address));
  assert.ok(await network.settle(wired));
  for (const address of to.addresses) assert.equal(...(await transfer(from, to, address)), address);
  assert.ok(large() > 0);

  network.store.create(
    { group: "projectcalico.org", version: "v3", plural: "ippools" },
    poolObject("wrapped", { cidr: "10.245.0.0/16", vxlanMode: "Always" }),
  );
  const usual = ["eth0 196608", "cali 65536", "eth0 196608", "cali 65536"];
  assert.ok(await network.settle(() => String(sizes()) === String(["eth0 65536", "eth0 65536", ...usual])), sizes().join(", "));
  const before = large();
  assert.ok(await network.settle(wired));
  for (const address of to.addresses) assert.equal(...(await transfer(from, to, address)), address);
  assert.equal(large(), before);
});

/** @returns the digest of what was sent and of what arrived */
async function transfer(from: RoutedPod, to: RoutedPod, address: string): Promise<[string, string]> {
  const program = fileURLToPath(new URL("programs/transfer.ts", import.meta.url));
  const taker = to.namespace.spawn(process.execPath, [program, "take", address], { stdio: ["ignore", "pipe", "inherit"] });
  const said = createInterface({ input: taker.stdout ?? assert.fail() })[Symbol.asyncIterator]();
  const port = (await said.next()).value as string;
  const giver = from.namespace.spawn(process.execPath, [program, "give", address, port, "64"], { stdio: ["ignore", "pipe", "inherit"] });
  const [sent] = (await once(giver.stdout ?? assert.fail(), "data")) as [Buffer];
  return [String(sent).trim(), (await said.next()).value as string];
}

test("forged sources, the node's loopback, and addresses that no pod has", async (t) => {
  const network = await raise(t, { nodes: 1, pools: both({}) });
  const [one, two] = [await network.pod(0, "one"), await network.pod(0, "two")];
  const node = network.nodes[0]?.namespace ?? assert.fail();
  const [four = "", six = ""] = two.addresses;
  assert.ok(await network.settle(() => ping(one, four) && ping(one, six)));
  for (const [mine, other] of [
    ["10.244.0.40/32", four],
    ["fd00:10:244::40/128", six],
  ] as const) {
    one.namespace.apply({ op: "add", address: { link: "eth0", address: mine, nodad: true } });
    const heard = outputOf(two.namespace, "cat", "/proc/net/snmp");
    assert.ok(!ping(one, other, "-I", mine.replace(/\/.*/, "")), `${mine} is not the pod's`);
    assert.ok(!ping(one, other.includes(":") ? "fd00:112::51" : "10.112.0.51", "-I", mine.replace(/\/.*/, "")), "nor toward the node");
    assert.ok(heard.length > 0);
  }
  assert.ok(await network.settle(() => ping(one, four)), "its own still passes");
  // route_localnet is on for pods' interfaces: the table must not let them in.
  for (const link of ["eth0", "all"]) one.namespace.writeSysctl(`net.ipv4.conf.${link}.route_localnet`, "1");
  one.namespace.apply({
    op: "delete",
    route: { family: 4, destination: "127.0.0.0/8", type: "local", nexthops: [{ link: "lo" }], table: 255, protocol: 2 },
  });
  one.namespace.apply({
    op: "add",
    route: {
      family: 4,
      destination: "127.9.9.9/32",
      type: "unicast",
      nexthops: [{ via: "169.254.1.1", link: "eth0" }],
      table: 254,
      protocol: 4,
    },
  });
  assert.ok(!ping(one, "127.9.9.9"));
  assert.match(outputOf(node, "ip", "route", "get", "10.244.0.50"), /^$|blackhole/);
  assert.equal(one.run("ping", "-c", "1", "-W", "1", "10.244.0.50"), 1, "no pod has it");
});

test("a forged source gets nowhere either when its owner has an open connection", async (t) => {
  const network = await raise(t, { nodes: 1, pools: both({}) });
  const [owner, server, forger] = [await network.pod(0, "owner"), await network.pod(0, "server"), await network.pod(0, "forger")];
  for (const [index, own] of owner.addresses.entries()) {
    const at = server.addresses[index] ?? assert.fail();
    const type = own.includes(":") ? "udp6" : "udp4";
    const answering = `const s = require("dgram").createSocket("${type}"); s.bind(7000, "${at}", () => console.log("listens"));
      s.on("message", (text, from) => { console.log(String(text)); s.send("yes", from.port, from.address); });`;
    const listener = server.namespace.spawn(process.execPath, ["-e", answering], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => listener.kill());
    const heard = createInterface({ input: listener.stdout ?? assert.fail() })[Symbol.asyncIterator]();
    assert.equal((await heard.next()).value, "listens");
    /** Who is heard may take its time; of who is not, nothing comes later either. */
    const ask = (pod: RoutedPod, text: string, milliseconds = 10_000) =>
      pod.run(
        process.execPath,
        "-e",
        `const s = require("dgram").createSocket("${type}"); s.bind(7001, "${own}", () => s.send("${text}", 7000, "${at}"));
         s.on("message", () => process.exit(0)); setTimeout(() => process.exit(3), ${milliseconds});`,
      );
    assert.equal(ask(owner, "from its owner"), 0);
    forger.namespace.apply({ op: "add", address: { link: "eth0", address: `${own}/${type === "udp4" ? 32 : 128}`, nodad: true } });
    assert.equal(ask(forger, "forged", 500), 3);
    assert.equal(ask(owner, "from its owner again"), 0);
    assert.deepEqual([(await heard.next()).value, (await heard.next()).value], ["from its owner", "from its owner again"]);
  }
});

test("what is damaged is mended: a host end's settings, routes, the tunnel, and a pod's router", async (t) => {
  const network = await raise(t, { nodes: 2, pools: both({ vxlanMode: "Always" }) });
  const [one, two] = [await network.pod(0, "one"), await network.pod(1, "two")];
  const { namespace: node, agent } = network.nodes[0] ?? assert.fail();
  const link = node.listLinks().find(({ name }) => name.startsWith("cali"))?.name ?? assert.fail();
  const address = two.addresses[0] ?? "";
  assert.ok(await network.settle(() => ping(one, address)));
  const other = (...words: string[]) => outputOf(node, ...words);
  for (const damage of [
    ["sysctl", "-qw", `net.ipv4.conf.${link}.proxy_arp=0`],
    ["ip", "route", "flush", "proto", "84"],
    ["ip", "-6", "route", "flush", "proto", "84"],
    ["ip", "link", "del", "vxlan.calico"],
    ["ip", "link", "set", link, "address", "02:00:00:00:00:09"],
    ["ip", "neigh", "flush", "dev", "vxlan.calico", "nud", "permanent"],
    ["nft", "delete", "table", "inet", "fairlead"],
  ]) {
    const before = agent.status.kernel.drifts;
    other(...damage);
    assert.ok(await network.settle(() => agent.status.kernel.drifts > before && agent.status.kernel.inSync), damage.join(" "));
    outputOf(one.namespace, "ip", "neigh", "flush", "all");
    for (const each of two.addresses) assert.ok(await network.settle(() => ping(one, each)), `${damage.join(" ")}: ${each}`);
  }
  one.namespace.apply({
    op: "delete",
    route: { family: 4, destination: "0.0.0.0/0", type: "unicast", nexthops: [], table: 254, protocol: 84 },
  });
  assert.ok(await network.settle(() => ping(one, address)), "the pod's default route is back");
});

test("DEL takes all of a pod away: routes, addresses, and its place in the block; again is no error", async (t) => {
  const network = await raise(t, { nodes: 1, pools: both({}) });
  const { namespace: node, agent } = network.nodes[0] ?? assert.fail();
  const pod = await network.pod(0, "one");
  const used = () => agent.status.ranges.map((range) => range.used);
  assert.deepEqual(used(), [1, 1]);
  await network.remove(0, pod);
  await network.remove(0, pod);
  assert.deepEqual(used(), [0, 0]);
  assert.ok(await network.settle(() => !outputOf(node, "ip", "route").includes("cali")));
  assert.ok(await network.settle(() => agent.status.kernel.inSync));
  const next = await network.pod(0, "two");
  assert.notEqual(next.addresses[0], pod.addresses[0], "an address rests");
});

test("settings on the running network: ports of masquerade, VNI and port of the tunnel, a pool that is wrapped otherwise", async (t) => {
  const network = await raise(t, { nodes: 2, pools: { four: both({ vxlanMode: "Always" }).four } });
  const [one, two] = [await network.pod(0, "one"), await network.pod(1, "two")];
  const { namespace: node, agent } = network.nodes[0] ?? assert.fail();
  const address = two.addresses[0] ?? "";
  const calico = (kind: string, name: string, spec: object) =>
    ({ apiVersion: "projectcalico.org/v3", kind, metadata: { name }, spec }) as KubeObject;
  const ref = (plural: string) => ({ group: "projectcalico.org", version: "v3", plural });
  network.store.create(
    ref("felixconfigurations"),
    calico("FelixConfiguration", "default", { natPortRange: "40000:50000", vxlanVNI: 77, vxlanPort: 4444 }),
  );
  const device = () => outputOf(node, "ip", "-d", "link", "show", "vxlan.calico");
  assert.ok(await network.settle(() => /vxlan id 77 .*dstport 4444/.test(device())), device());
  assert.match(outputOf(node, "nft", "list", "chain", "inet", "fairlead", "postrouting-nat"), /masquerade to :40000-50000 fully-random/);
  assert.ok(await network.settle(() => ping(one, address)));
  assert.equal(agent.status.kernel.lastError, undefined);
  const pool = network.store.get<KubeObject & { spec: object }>(ref("ippools"), undefined, "four") ?? assert.fail();
  network.store.update(ref("ippools"), { ...pool, spec: { ...pool.spec, vxlanMode: "Never" } });
  assert.ok(await network.settle(() => /^10\.244\.1\.0\/26 via 10\.112\.0\.52 dev eth0/m.test(outputOf(node, "ip", "route"))));
  assert.ok(await network.settle(() => !outputOf(node, "ip", "link").includes("vxlan.calico")), "the tunnel goes");
  assert.ok(await network.settle(() => agent.status.ranges[0]?.used === 1), "its address is given back");
  assert.ok(await network.settle(() => ping(one, address)));
});

test("a node without pods goes to the overlay and back: its blocks and what it said of itself go and come", async (t) => {
  const network = await raise(t, { nodes: 2, pools: { four: both({ vxlanMode: "Always" }).four } });
  const { namespace: node, agent } = network.nodes[0] ?? assert.fail();
  const ref = { group: "", version: "v1", plural: "nodes" };
  const affinities = () =>
    network.store
      .list<KubeObject>({ group: "crd.projectcalico.org", version: "v1", plural: "blockaffinities" })
      .items.map(({ metadata }) => metadata.name);
  const read = () => network.store.get<KubeObject>(ref, undefined, "node-1") ?? assert.fail();
  const ask = (value: string) => {
    const { metadata, ...rest } = read();
    network.store.update(ref, {
      ...rest,
      metadata: { ...metadata, annotations: { ...metadata.annotations, "fairlead.dev/network": value } },
    });
  };
  assert.ok(await network.settle(() => affinities().includes("node-1-10-244-0-0-26")));
  ask("overlay");
  assert.ok(
    await network.settle(() => agent.status.network === "overlay" && !affinities().some((name) => name.startsWith("node-1"))),
    affinities().join(),
  );
  assert.ok(await network.settle(() => /cni0/.test(outputOf(node, "ip", "link")) && !/vxlan\.calico/.test(outputOf(node, "ip", "link"))));
  assert.ok(
    await network.settle(() => !Object.keys(read().metadata.annotations ?? {}).some((key) => /^projectcalico|active-network/.test(key))),
  );
  const pod = await network.pod(0, "bridged");
  assert.deepEqual(pod.addresses, ["10.244.0.2", "fd00:10:244::2"], "of the podCIDRs");
  const there = await network.pod(1, "routed");
  assert.ok(await network.settle(() => ping(pod, there.addresses[0] ?? "")), "an overlay's node and a routed one");
  await network.remove(0, pod);
  ask("routed");
  assert.ok(await network.settle(() => agent.status.network === "routed" && affinities().includes("node-1-10-244-0-0-26")));
  const again = await network.pod(0, "again");
  assert.ok(await network.settle(() => ping(again, there.addresses[0] ?? "")));
});
