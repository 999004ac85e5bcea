// The real kernel, in namespaces of the test's own; what is read back is compared with iproute2.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { KernelError } from "../errors.ts";
import type { ConntrackFilter, LinkChange, NetworkNamespace, WatchTopic } from "../kernel.ts";
import type { Link, Route } from "../state.ts";
import { createLinuxKernel } from "./kernel.ts";

const kernel = createLinuxKernel();

type Json = { readonly [key: string]: unknown };

function inNamespace(body: (ns: NetworkNamespace, other: NetworkNamespace) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const ns = kernel.createNamespace();
    const other = kernel.createNamespace();
    try {
      await body(ns, other);
    } finally {
      ns.close();
      other.close();
    }
  };
}

function read(ns: NetworkNamespace, program: string, ...args: string[]): Json[] {
  return ns.run(() => JSON.parse(execFileSync(program, ["-j", "-d", ...args], { encoding: "utf8" }) || "[]"));
}

function apply(ns: NetworkNamespace, ...changes: readonly LinkChange[]): void {
  for (const change of changes) ns.apply(change);
}

function linkNamed(ns: NetworkNamespace, name: string): Link {
  const found = ns.listLinks().find((link) => link.name === name);
  assert.ok(found, `link ${name} is there`);
  return found;
}

function refused(errno: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof KernelError, String(error));
    assert.equal(error.errnoName, errno);
    return true;
  };
}

const BRIDGE: LinkChange = { op: "add", link: { name: "br0", kind: { type: "bridge" }, up: true, mtu: 1450, mac: "02:00:00:00:00:01" } };
const ROUTE = { family: 4, type: "unicast", table: 254, protocol: 84, nexthops: [] } as const;

test(
  "a namespace has lo up, an inode and a path; the thread comes back, also when the action throws or is asynchronous",
  inNamespace((ns, other) => {
    const home = kernel.hostNamespace();
    const inode = (of: NetworkNamespace) =>
      Number(/\d+/.exec(of.run(() => execFileSync("readlink", ["/proc/self/ns/net"], { encoding: "utf8" })))?.[0]);
    assert.equal(linkNamed(ns, "lo").up, true);
    assert.equal(inode(ns), ns.inode);
    assert.equal(kernel.openNamespace(ns.path).inode, ns.inode);
    ns.run(() => assert.equal(inode(other), other.inode));
    assert.throws(
      () =>
        ns.run(() => {
          throw new Error("thrown inside");
        }),
      /thrown inside/,
    );
    assert.throws(() => ns.run(async () => {}), refused("EINVAL"));
    assert.throws(() => ns.spawn("true", [], { uid: 1.5 }));
    assert.equal(Number(/\d+/.exec(execFileSync("readlink", ["/proc/self/ns/net"], { encoding: "utf8" }))?.[0]), home.inode);
    assert.throws(() => kernel.openNamespace("/proc/self/status"), refused("EINVAL"));
    assert.throws(() => kernel.openNamespace("/run/netns/no-such"), refused("ENOENT"));
    home.close();
    home.close();
    assert.throws(() => home.listLinks(), refused("EBADF"));
  }),
);

test(
  "links: bridge, veth born elsewhere, hairpin, vxlan, alias, move; as ip says",
  inNamespace((ns, other) => {
    apply(ns, BRIDGE);
    ns.addVethPair(
      { name: "v0", master: "br0", up: true, ifalias: "pod a", mtu: 1400 },
      { name: "eth0", namespace: other, mac: "02:00:00:00:00:02", mtu: 1400, up: true },
    );
    ns.addVethPair({ name: "eth1", namespace: other }, { name: "v1", master: "br0", up: true, ifalias: "pod b" });
    apply(
      ns,
      { op: "set", link: { name: "v0", hairpin: true } },
      { op: "add", address: { link: "br0", address: "10.1.0.1/24" } },
      {
        op: "add",
        link: {
          name: "flannel.1",
          kind: { type: "vxlan", vni: 1, port: 8472, local: "10.1.0.1", device: "br0", learning: false },
          mtu: 1400,
          up: true,
        },
      },
      { op: "add", link: { name: "vx6", kind: { type: "vxlan", vni: 2, port: 4789, local: "fd00::1", device: "br0", learning: true } } },
    );
    assert.deepEqual(
      { ...linkNamed(ns, "v0"), index: 0, mac: "", peerIndex: 0 },
      {
        name: "v0",
        index: 0,
        kind: { type: "veth" },
        mtu: 1400,
        mac: "",
        up: true,
        master: "br0",
        hairpin: true,
        peerIndex: 0,
        ifalias: "pod a",
      },
    );
    assert.equal(linkNamed(ns, "v0").peerIndex, linkNamed(other, "eth0").index);
    assert.equal(linkNamed(ns, "v1").master, "br0");
    assert.equal(linkNamed(ns, "br0").mtu, 1450);
    assert.deepEqual(linkNamed(ns, "flannel.1").kind, {
      type: "vxlan",
      vni: 1,
      port: 8472,
      local: "10.1.0.1",
      device: "br0",
      learning: false,
    });
    assert.deepEqual(linkNamed(ns, "vx6").kind, { type: "vxlan", vni: 2, port: 4789, local: "fd00::1", device: "br0", learning: true });
    assert.deepEqual({ up: linkNamed(other, "eth0").up, mac: linkNamed(other, "eth0").mac }, { up: true, mac: "02:00:00:00:00:02" });
    const theirs = read(ns, "ip", "link").map((l) => {
      const info = (l.linkinfo ?? {}) as { info_kind?: string; info_slave_data?: { hairpin?: boolean } };
      return [
        l.ifname,
        l.mtu,
        l.address,
        (l.flags as string[]).includes("UP"),
        l.master,
        l.ifalias,
        info.info_kind,
        info.info_slave_data?.hairpin,
      ];
    });
    const ours = ns
      .listLinks()
      .map((l) => [l.name, l.mtu, l.mac, l.up, l.master, l.ifalias, l.kind.type === "loopback" ? undefined : l.kind.type, l.hairpin]);
    assert.deepEqual(ours, theirs);
    ns.moveLink("v0", other, "moved");
    assert.equal(linkNamed(other, "moved").kind.type, "veth");
    apply(ns, { op: "set", link: { name: "v1", master: "", up: false, ifalias: "" } }, { op: "delete", link: { name: "vx6" } });
    assert.deepEqual([linkNamed(ns, "v1").master, linkNamed(ns, "v1").up, linkNamed(ns, "v1").ifalias], [undefined, false, undefined]);
    assert.equal(
      ns.listLinks().some((l) => l.name === "vx6"),
      false,
    );
  }),
);

test(
  "addresses and routes of both families, with onlink, several next hops, blackhole, metrics and tables; as ip says",
  inNamespace((ns) => {
    const routes: Route[] = [
      { ...ROUTE, destination: "10.2.0.0/24", nexthops: [{ via: "10.2.0.0", link: "br0", onlink: true }], scope: "global", mtu: 1300 },
      {
        ...ROUTE,
        destination: "10.3.0.0/24",
        scope: "global",
        nexthops: [
          { via: "10.1.0.2", link: "br0", weight: 1 },
          { via: "10.1.0.3", link: "br0", weight: 5 },
        ],
      },
      { ...ROUTE, destination: "10.4.0.0/26", type: "blackhole", scope: "global" },
      { ...ROUTE, destination: "10.5.0.1/32", nexthops: [{ link: "br0" }], scope: "link", metric: 7, source: "10.1.0.1" },
      { ...ROUTE, destination: "0.0.0.0/0", nexthops: [{ via: "10.1.0.9", link: "br0" }], table: 1000, scope: "global" },
      { ...ROUTE, destination: "10.6.0.0/24", nexthops: [{ via: "fd00::9", link: "br0" }], scope: "global" },
      { ...ROUTE, family: 6, destination: "fd02::/64", nexthops: [{ via: "fd02::", link: "br0", onlink: true }], metric: 1024 },
      {
        ...ROUTE,
        family: 6,
        destination: "fd03::/64",
        metric: 5,
        nexthops: [
          { via: "fd00::2", link: "br0", weight: 1 },
          { via: "fd00::3", link: "br0", weight: 2 },
        ],
      },
      { ...ROUTE, family: 6, destination: "fd04::/122", type: "unreachable", metric: 1024 },
      { ...ROUTE, family: 6, destination: "::/0", nexthops: [{ via: "fd00::9", link: "br0" }], metric: 1024 },
    ];
    apply(
      ns,
      BRIDGE,
      { op: "add", address: { link: "br0", address: "10.1.0.1/24" } },
      { op: "add", address: { link: "br0", address: "fd00::1/64", nodad: true } },
    );
    apply(ns, ...routes.map((route) => ({ op: "add", route }) as const), ...routes.map((route) => ({ op: "replace", route }) as const));
    const sorted = (list: readonly Route[]) => [...list].sort((a, b) => a.destination.localeCompare(b.destination));
    assert.deepEqual(sorted(ns.listRoutes().filter((r) => r.protocol === 84)), sorted(routes));
    assert.deepEqual(
      ns.listRoutes({ family: 4, table: 1000 }),
      routes.filter((r) => r.table === 1000),
    );
    assert.deepEqual(ns.listRoutes({ table: 4242 }), []);
    assert.ok(ns.listRoutes({ table: 255 }).every((r) => r.table === 255) && ns.listRoutes({ table: 255 }).length > 0);
    for (const family of [4, 6] as const) {
      const theirs = read(ns, "ip", `-${family}`, "-N", "route", "show", "table", "all").filter((r) => r.protocol === "84");
      const text = (r: Route) => (r.destination.endsWith("/0") ? "default" : r.destination.replace(/\/(32|128)$/, ""));
      const ours = ns
        .listRoutes({ family })
        .filter((r) => r.protocol === 84)
        .map((r) => [text(r), r.metric, r.nexthops.length > 1 ? r.nexthops.length : undefined]);
      assert.deepEqual(
        ours.map(String).sort(),
        theirs
          .map((r) => [r.dst, r.metric, (r.nexthops as unknown[] | undefined)?.length])
          .map(String)
          .sort(),
      );
    }
    const ours = ns
      .listAddresses()
      .map((a) => `${a.link} ${a.address} ${a.scope}`)
      .sort();
    const theirs = read(ns, "ip", "address")
      .flatMap((l) => (l.addr_info as Json[]).map((a) => `${l.ifname} ${a.local}/${a.prefixlen} ${a.scope}`))
      .sort();
    assert.deepEqual(ours, theirs);
    apply(ns, ...routes.map((route) => ({ op: "delete", route }) as const), {
      op: "delete",
      address: { link: "br0", address: "fd00::1/64" },
    });
    assert.deepEqual(
      ns.listRoutes().filter((r) => r.protocol === 84),
      [],
    );
  }),
);

test(
  "rules, neighbours and forwarding entries; as ip and bridge say",
  inNamespace((ns) => {
    const rules = [
      { family: 4, priority: 100, table: 300, from: "10.0.0.0/8", mark: 16, markMask: 240, protocol: 84 },
      { family: 6, priority: 101, table: 100, to: "fd00::/8", iif: "lo", protocol: 84 },
    ] as const;
    const vxlan = {
      name: "vx",
      kind: { type: "vxlan", vni: 7, port: 8472, local: "10.1.0.1", device: "br0", learning: false },
      up: true,
    } as const;
    const self = { link: "vx", table: "self", permanent: true } as const;
    apply(ns, BRIDGE, ...rules.map((rule) => ({ op: "add", rule }) as const), { op: "add", link: vxlan });
    ns.addVethPair({ name: "v0", master: "br0", up: true }, { name: "v1", up: true });
    const fdb = [
      { ...self, mac: "02:00:00:00:00:09", destination: "10.1.0.7" },
      { ...self, mac: "00:00:00:00:00:00", destination: "10.1.0.8" },
      { ...self, mac: "00:00:00:00:00:00", destination: "10.1.0.9" },
      { link: "v0", mac: "02:00:00:00:00:0a", table: "master", permanent: true },
    ] as const;
    const neighbours = [
      { link: "vx", address: "10.9.0.0", mac: "02:00:00:00:00:09", state: "permanent" },
      { link: "vx", address: "fd09::", mac: "02:00:00:00:00:09", state: "permanent" },
    ] as const;
    apply(
      ns,
      ...fdb.map((entry) => ({ op: "add", fdb: entry }) as const),
      ...neighbours.map((neighbour) => ({ op: "add", neighbour }) as const),
    );
    for (const entry of fdb) assert.throws(() => ns.apply({ op: "add", fdb: entry }), refused("EEXIST"));
    apply(ns, ...fdb.map((entry) => ({ op: "replace", fdb: entry }) as const), {
      op: "replace",
      fdb: { ...fdb[0], destination: "10.1.0.17" },
    });
    assert.deepEqual(
      ns.listRules().filter((r) => r.protocol === 84),
      rules,
    );
    assert.deepEqual(
      ns.listNeighbours().filter((n) => n.state === "permanent"),
      neighbours,
    );
    const text = (e: Json) => [e.ifname, e.mac, e.dst, (e.flags as string[]).includes("self"), e.state === "permanent"].map(String).join();
    // A bridge learns by itself between the two readings: only what lasts is compared.
    const theirs = read(ns, "bridge", "fdb")
      .filter((e) => e.state === "permanent" && (e.ifname === "vx" || !(e.flags as string[]).includes("self")))
      .map(text)
      .sort();
    assert.deepEqual(
      ns
        .listFdb()
        .filter((e) => e.permanent)
        .map((e) => [e.link, e.mac, e.destination, e.table === "self", e.permanent].map(String).join())
        .sort(),
      theirs,
    );
    assert.ok(theirs.some((line) => line.includes("10.1.0.17")) && !theirs.some((line) => line.includes("10.1.0.7,")));
    apply(
      ns,
      ...rules.map((rule) => ({ op: "delete", rule }) as const),
      ...neighbours.map((neighbour) => ({ op: "delete", neighbour }) as const),
    );
    apply(
      ns,
      { op: "delete", fdb: { ...fdb[0], destination: "10.1.0.17" } },
      ...fdb.slice(1).map((entry) => ({ op: "delete", fdb: entry }) as const),
    );
    assert.deepEqual(
      ns.listFdb().filter((e) => e.link === "vx"),
      [],
    );
    assert.deepEqual(
      ns.listNeighbours().filter((n) => n.state === "permanent"),
      [],
    );
    assert.deepEqual(
      ns.listRules().filter((r) => r.protocol === 84),
      [],
    );
  }),
);

test(
  "what the kernel refuses is said with its errno",
  inNamespace((ns, other) => {
    apply(ns, BRIDGE, { op: "add", address: { link: "br0", address: "10.1.0.1/24" } });
    const route = { ...ROUTE, destination: "10.9.0.0/24" } as const;
    const cases: readonly (readonly [string, LinkChange])[] = [
      ["EEXIST", BRIDGE],
      ["ENODEV", { op: "delete", link: { name: "none" } }],
      ["ENODEV", { op: "set", link: { name: "a-name-that-is-too-long", up: true } }],
      ["EEXIST", { op: "add", address: { link: "br0", address: "10.1.0.1/24" } }],
      ["EADDRNOTAVAIL", { op: "delete", address: { link: "br0", address: "10.1.0.2/24" } }],
      ["ENETUNREACH", { op: "add", route: { ...route, nexthops: [{ via: "192.0.2.1", link: "br0" }] } }],
      ["ESRCH", { op: "delete", route }],
      ["ENOENT", { op: "delete", rule: { family: 4, priority: 9, table: 9, protocol: 84 } }],
      ["ENOENT", { op: "delete", neighbour: { link: "br0", address: "10.1.0.3", state: "permanent" } }],
      ["EINVAL", { op: "set", link: { name: "br0", mtu: 1 } }],
      ["EOPNOTSUPP", { op: "add", link: { name: "v9", kind: { type: "veth" } } }],
    ];
    for (const [errno, change] of cases) assert.throws(() => ns.apply(change), refused(errno), JSON.stringify(change));
    assert.throws(() => ns.addVethPair({ name: "x0" }, { name: "x1", namespace: other, master: "none" }), refused("ENODEV"));
    assert.throws(() => ns.addVethPair({ name: "x0" }, { name: "br0" }), refused("EEXIST"));
    assert.deepEqual(
      ns.listLinks().map((l) => l.name),
      ["lo", "br0"],
    );
    assert.throws(() => ns.apply({ op: "set", link: { name: "br0", mtu: 1 } }), /br0: cannot set link: EINVAL: .*(mtu|minimum)/i);
  }),
);

test(
  "sysctls are those of the namespace",
  inNamespace((ns, other) => {
    ns.addVethPair({ name: "eth0.100" }, { name: "v1" });
    ns.writeSysctl("net.ipv4.ip_forward", "1");
    ns.writeSysctl("net.ipv4.conf.eth0/100.proxy_arp", "1");
    assert.deepEqual([ns.readSysctl("net.ipv4.ip_forward"), other.readSysctl("net.ipv4.ip_forward")], ["1", "0"]);
    assert.deepEqual(ns.observe({ sysctls: ["net.ipv4.conf.eth0/100.proxy_arp", "net.no.such"] }).sysctls, {
      "net.ipv4.conf.eth0/100.proxy_arp": "1",
    });
    assert.throws(() => ns.writeSysctl("net.no.such", "1"), refused("ENOENT"));
    assert.throws(() => ns.writeSysctl("net.ipv4.ip_forward", "many"), refused("EINVAL"));
    assert.throws(() => ns.readSysctl("net.//.x"), refused("EINVAL"));
  }),
);

test(
  "events: what others do is told once per topic, own changes are not, and nothing after the stop",
  inNamespace(async (ns, other) => {
    const seen = new Set<WatchTopic>();
    const stop = ns.watch(["link", "address", "route", "rule", "neighbour", "netconf"], (topic) => seen.add(topic));
    apply(
      ns,
      BRIDGE,
      { op: "add", address: { link: "br0", address: "10.1.0.1/24" } },
      { op: "add", address: { link: "br0", address: "fd00::1/64" } },
    );
    ns.addVethPair({ name: "v0", master: "br0", up: true }, { name: "e0", namespace: other, up: true });
    apply(
      ns,
      { op: "add", fdb: { link: "v0", mac: "02:00:00:00:00:0a", table: "master", permanent: true } },
      { op: "set", link: { name: "v0", hairpin: true } },
    );
    apply(ns, { op: "add", route: { ...ROUTE, destination: "10.9.0.0/24", nexthops: [{ via: "10.1.0.2" }] } });
    ns.writeSysctl("net.ipv4.conf.v0.forwarding", "1");
    await sleep(150);
    assert.deepEqual([...seen], [], "own changes");
    const foreign: readonly (readonly [WatchTopic, string, string])[] = [
      ["link", "ip", "link set br0 mtu 1300"],
      ["link", "bridge", "link set dev v0 hairpin off"],
      ["address", "ip", "address add 10.8.0.1/24 dev br0"],
      ["address", "ip", "address del fd00::1/64 dev br0"],
      ["route", "ip", "route del 10.9.0.0/24"],
      ["rule", "ip", "rule add priority 9 table 9"],
      ["neighbour", "ip", "neigh add 10.1.0.5 lladdr 02:00:00:00:00:05 dev br0"],
      ["neighbour", "bridge", "fdb del 02:00:00:00:00:0a dev v0 master"],
      ["netconf", "sysctl", "-qw net.ipv4.conf.v0.forwarding=0"],
    ];
    for (const [topic, program, args] of foreign) {
      seen.clear();
      ns.run(() => execFileSync(program, args.split(" ")));
      for (let i = 0; i < 100 && !seen.has(topic); i++) await sleep(10);
      assert.ok(seen.has(topic), `${program} ${args}`);
    }
    stop();
    seen.clear();
    ns.run(() => execFileSync("ip", ["link", "delete", "br0"]));
    await sleep(50);
    assert.deepEqual([...seen], []);
  }),
);

test(
  "flows are found and deleted by what their tuples say, few among many",
  inNamespace(async (ns) => {
    ns.run(() =>
      execFileSync("nft", [
        "add table ip t; add chain ip t o { type filter hook output priority 0; }; add rule ip t o ct state new accept",
      ]),
    );
    // None is forgotten before all were looked for.
    ns.writeSysctl("net.netfilter.nf_conntrack_udp_timeout", "600");
    const sender = createSocket("udp4").unref();
    const fd = ns.bindSocket({ protocol: "udp", address: "127.0.0.1", port: 0 });
    sender.bind({ fd });
    const send = (port: number, address: string) => new Promise((resolve) => sender.send("x", port, address, resolve));
    // More than are looked at one by one.
    for (let port = 1; port <= 5000; port++) await send(port, "127.0.0.2");
    for (const port of [1, 2, 3]) await send(port, "127.0.0.3");
    const told = (filter: ConntrackFilter) => ns.conntrack.list(filter).map((flow) => `${flow.destination}:${flow.destinationPort}`);
    assert.deepEqual(told({ destination: "127.0.0.3" }).sort(), ["127.0.0.3:1", "127.0.0.3:2", "127.0.0.3:3"]);
    assert.deepEqual(told({ family: 4, protocol: 17, destinationPort: 2 }).sort(), ["127.0.0.2:2", "127.0.0.3:2"]);
    assert.deepEqual(told({ protocol: 17, destinationPort: 2 }).sort(), ["127.0.0.2:2", "127.0.0.3:2"], "of any family");
    assert.deepEqual(told({ destinationPort: 3 }).sort(), ["127.0.0.2:3", "127.0.0.3:3"], "a port of any protocol");
    assert.equal(told({ replySource: "127.0.0.2", replied: false }).length, 5000);
    assert.equal(told({ replySource: "127.0.0.2", replied: true }).length, 0);
    assert.equal(told({ protocol: 6 }).length, 0);
    assert.equal(told({ family: 6 }).length, 0);
    await ns.conntrack.delete([{ destination: "127.0.0.3", protocol: 17, destinationPort: 2 }]);
    assert.deepEqual(told({ destination: "127.0.0.3" }).sort(), ["127.0.0.3:1", "127.0.0.3:3"]);
    await ns.conntrack.delete([{ protocol: 17, replied: false }], (flow) => flow.destinationPort === 3);
    assert.deepEqual([told({ destination: "127.0.0.3" }), told({}).length], [["127.0.0.3:1"], 5000]);
    await ns.conntrack.delete([{ source: "127.0.0.9" }, { replySource: "127.0.0.2" }]);
    assert.deepEqual(told({}), ["127.0.0.3:1"]);
    sender.close();
  }),
);

test(
  "sockets for net and dgram, their errors, and the flows they leave in conntrack",
  inNamespace(async (ns) => {
    // Connection tracking starts with the first rule that asks for it.
    ns.run(() =>
      execFileSync("nft", [
        "add table ip t; add chain ip t o { type filter hook output priority 0; }; add rule ip t o ct state new accept",
      ]),
    );
    const fd = ns.bindSocket({ protocol: "tcp", address: "127.0.0.1", port: 8080 });
    const server = createServer((socket) => socket.end("hello")).listen({ fd });
    server.unref();
    const client = ns.spawn("bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/8080; cat <&3"]);
    assert.ok(client.stdout);
    assert.equal(String((await once(client.stdout, "data"))[0]), "hello");
    assert.throws(() => ns.bindSocket({ protocol: "tcp", address: "127.0.0.1", port: 8080 }), refused("EADDRINUSE"));
    assert.throws(() => ns.bindSocket({ protocol: "udp", address: "192.0.2.1", port: 53 }), refused("EADDRNOTAVAIL"));
    const udp = createSocket("udp6").unref();
    udp.bind({ fd: ns.bindSocket({ protocol: "udp", address: "::", port: 5353 }) });
    const child = ns.spawn("bash", ["-c", "echo -n question > /dev/udp/127.0.0.1/5353"]);
    assert.equal(String((await once(udp, "message"))[0]), "question");
    if (child.exitCode === null) await once(child, "exit");
    const flows = ns.conntrack.list({ family: 4, protocol: 17, destinationPort: 5353 });
    assert.deepEqual(
      flows.map((f) => [f.source, f.destination, f.replySource, f.replySourcePort]),
      [["127.0.0.1", "127.0.0.1", "127.0.0.1", 5353]],
    );
    const thrower = () => {
      throw new Error("thrown by the filter");
    };
    await assert.rejects(ns.conntrack.delete([{}], thrower), /thrown by the filter/);
    await ns.conntrack.delete([{ protocol: 17, destinationPort: 5353 }]);
    assert.deepEqual(
      ns.conntrack.list().map((flow) => flow.destinationPort),
      [8080],
    );
    await ns.conntrack.delete([{}], (flow) => flow.destinationPort === 8080);
    assert.deepEqual(ns.conntrack.list(), []);
    server.close();
    udp.close();
    const pair = [1, 2].map(() => ns.bindSocket({ protocol: "udp", address: "127.0.0.1", port: 99, reusePort: true }));
    for (const each of pair) closeSync(each);
  }),
);
