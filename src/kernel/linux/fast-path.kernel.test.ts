// The fast path with real connections: a router between a client and a server, whose rules count what goes the long way.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, until } from "../../../test/patience.ts";
import { createLinuxKernel, createReconciler, EMPTY_STATE, type NetworkNamespace, ROUTE_PROTOCOL } from "../index.ts";

const kernel = createLinuxKernel();
const skip =
  process.getuid?.() !== 0
    ? "NOT RUN: it needs root, or root of a user namespace"
    : (kernel.hostNamespace().fastPath.lack()?.replace(/^/, "LACKS ") ?? false);

const CLIENT = { 4: "10.1.0.2", 6: "fd01::2" } as const;
const SERVER = { 4: "10.2.0.2", 6: "fd02::2" } as const;
/** Of one that is translated to the server. */
const VIRTUAL = "10.96.0.1";
const PORT = 7000;
const RULES = `table inet test {
  chain prerouting { type nat hook prerouting priority dstnat
    ip daddr ${VIRTUAL} tcp dport ${PORT} dnat ip to ${SERVER[4]}
  }
  chain forward { type filter hook forward priority filter
    meta l4proto tcp counter comment "long way"
    ct state new tcp flags != syn counter drop comment "unknown"
  }
}
`;

const SYSCTLS = {
  "net.ipv4.ip_forward": "1",
  "net.ipv6.conf.all.forwarding": "1",
  "net.netfilter.nf_conntrack_tcp_be_liberal": "1",
  "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": "1",
  "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "1",
  "net.netfilter.nf_conntrack_tcp_timeout_close": "1",
};

let router: NetworkNamespace;
let client: NetworkNamespace;
let server: NetworkNamespace;
let echo: Server;

before(() => {
  if (skip) return;
  [router, client, server] = [kernel.createNamespace(), kernel.createNamespace(), kernel.createNamespace()];
  for (const [key, value] of Object.entries(SYSCTLS)) router.writeSysctl(key, value);
  // Addresses serve at once.
  for (const each of [router, client, server]) each.writeSysctl("net.ipv6.conf.default.accept_dad", "0");
  for (const [index, end] of [client, server].entries()) {
    const [name, n] = [["client", "server"][index] as string, index + 1];
    router.addVethPair({ name, up: true }, { name: "eth0", namespace: end, up: true });
    for (const address of [`10.${n}.0.1/24`, `fd0${n}::1/64`]) router.apply({ op: "add", address: { link: name, address, nodad: true } });
    for (const address of [`10.${n}.0.2/24`, `fd0${n}::2/64`]) end.apply({ op: "add", address: { link: "eth0", address, nodad: true } });
    for (const [family, destination, via] of [
      [4, "0.0.0.0/0", `10.${n}.0.1`],
      [6, "::/0", `fd0${n}::1`],
    ] as const)
      end.apply({
        op: "add",
        route: { family, destination, type: "unicast", nexthops: [{ via, link: "eth0" }], table: 254, protocol: 4 },
      });
    router.apply({ op: "set", link: { name, fastPath: true } });
  }
  router.nft.run(RULES);
  server.nft.run(`table inet test {
  chain input { type filter hook input priority filter
    ip protocol tcp ip ttl != 63 counter comment "wrong TTL"
    meta nfproto ipv6 meta l4proto tcp ip6 hoplimit != 63 counter comment "wrong TTL"
  }
}
`);
  const fd = server.bindSocket({ protocol: "tcp", address: "::", port: PORT, backlog: 64 });
  echo = createServer((socket) => socket.on("error", () => {}).pipe(socket)).listen({ fd });
});
after(() => {
  echo?.close();
  for (const each of [router, client, server]) each?.close();
});

function count(namespace: NetworkNamespace, comment: string): number {
  const { stdout } = namespace.run(() => spawnSync("nft", ["list", "table", "inet", "test"], { encoding: "utf8" }));
  return [...stdout.matchAll(new RegExp(`counter packets (\\d+) .*comment "${comment}"`, "g"))].reduce((sum, [, n]) => sum + Number(n), 0);
}

async function connect(address: string): Promise<Socket> {
  const fd = client.openSocket({ protocol: "tcp", family: address.includes(":") ? 6 : 4 });
  const socket = new Socket({ fd, readable: true, writable: true });
  socket.setNoDelay(true).connect({ host: address, port: PORT });
  await once(socket, "connect");
  return socket.on("error", () => {});
}

/** Says something and waits for it to come back, so many times. */
async function talk(socket: Socket, rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    socket.write("x");
    await once(socket, "data", { signal: AbortSignal.timeout(PATIENCE_MS) });
  }
}

/** Sends so many bytes and takes as many. */
async function stream(socket: Socket, bytes: number): Promise<void> {
  let taken = 0;
  const all = new Promise<void>((resolve, reject) => {
    socket.on("data", (chunk: Buffer) => {
      taken += chunk.length;
      if (taken === bytes) resolve();
    });
    socket.once("close", () => reject(new Error(`closed after ${taken} of ${bytes} bytes`)));
  });
  for (let left = bytes; left > 0; left -= 65_536)
    if (!socket.write(Buffer.alloc(Math.min(left, 65_536)))) await once(socket, "drain", { signal: AbortSignal.timeout(PATIENCE_MS) });
  await Promise.race([all, once(socket, "close", { signal: AbortSignal.timeout(PATIENCE_MS) })]);
  socket.removeAllListeners("close");
}

const flows = () => router.conntrack.list({ protocol: 6 });

async function untilForgotten(): Promise<void> {
  await until(
    () => flows().length === 0,
    () => `forgotten: ${JSON.stringify(flows())}`,
  );
}

describe("fast path", { skip }, () => {
  for (const family of [4, 6] as const)
    test(`an open connection's packets go past the rules, IPv${family}`, async () => {
      const socket = await connect(SERVER[family]);
      const before = count(router, "long way");
      const begun = performance.now();
      await talk(socket, 1000);
      // Of 2000 packets and more, those of the beginning, and a few in each 50 ms.
      const most = 20 + 8 * Math.ceil((performance.now() - begun) / 50);
      const long = count(router, "long way") - before;
      assert.ok(long < most, `${long} packets went the long way, ${most} were to be expected at most`);
      assert.equal(count(server, "wrong TTL"), 0);
      socket.destroy();
    });

  test("what is deleted from connection tracking goes the long way at once", async () => {
    for (let i = 0; i < 20; i++) {
      const socket = await connect(SERVER[4]);
      await talk(socket, 20);
      const before = count(router, "unknown");
      await router.conntrack.delete([{ source: CLIENT[4] }]);
      socket.write("x");
      await assert.rejects(once(socket, "data", { signal: AbortSignal.timeout(60) }), /abort/i);
      assert.ok(count(router, "unknown") > before);
      socket.destroy();
      await router.conntrack.delete([{ source: CLIENT[4] }, { source: SERVER[4] }]);
    }
  });

  test("a translated connection is none of the fast path's", async () => {
    const socket = await connect(VIRTUAL);
    const before = count(router, "long way");
    await talk(socket, 200);
    assert.ok(count(router, "long way") - before >= 400);
    socket.destroy();
  });

  for (const [how, end] of [
    ["ended", (socket: Socket) => socket.end()],
    ["reset", (socket: Socket) => socket.resetAndDestroy()],
  ] as const)
    test(`a connection that is ${how} after a long stream is forgotten`, async () => {
      const socket = await connect(SERVER[4]);
      await stream(socket, 64 << 20);
      end(socket);
      await untilForgotten();
    });

  test("a route that takes smaller packets is respected", async () => {
    const socket = await connect(SERVER[4]);
    await stream(socket, 1 << 20);
    const setMtu = (mtu: number) => {
      router.apply({ op: "set", link: { name: "server", mtu } });
      server.apply({ op: "set", link: { name: "eth0", mtu } });
    };
    setMtu(1280);
    await stream(socket, 1 << 20);
    socket.destroy();
    setMtu(1500);
  });

  test("what another process left is told, put anew, and taken away; others' programs stay", () => {
    const fastPath = (namespace: NetworkNamespace) => namespace.listLinks().find(({ name }) => name === "extra")?.fastPath;
    const tc = (...words: string[]) => router.run(() => spawnSync("tc", words, { encoding: "utf8" }));
    router.addVethPair({ name: "extra", up: true }, { name: "eth1", namespace: client, up: true });
    router.apply({ op: "set", link: { name: "extra", fastPath: true } });
    assert.equal(fastPath(router), true);
    const later = kernel.openNamespace(router.path);
    assert.equal(fastPath(later), false);
    later.apply({ op: "set", link: { name: "extra", fastPath: true } });
    assert.equal(fastPath(later), true);
    assert.equal(tc("filter", "show", "dev", "extra", "ingress").stdout.match(/fairlead-forward/g)?.length, 1);
    tc("filter", "add", "dev", "extra", "ingress", "prio", "9", "protocol", "all", "u32", "match", "u32", "0", "0", "classid", "1:1");
    later.apply({ op: "set", link: { name: "extra", fastPath: false } });
    assert.match(tc("filter", "show", "dev", "extra", "ingress").stdout, /u32/);
    assert.doesNotMatch(tc("filter", "show", "dev", "extra", "ingress").stdout, /fairlead/);
    tc("filter", "del", "dev", "extra", "ingress", "prio", "9");
    later.apply({ op: "set", link: { name: "extra", fastPath: true } });
    later.apply({ op: "set", link: { name: "extra", fastPath: false } });
    assert.equal(fastPath(later), undefined);
    assert.doesNotMatch(tc("qdisc", "show", "dev", "extra").stdout, /clsact/);
    later.close();
  });

  test("a reconciler puts it where it is wanted, mends it, and takes it away", () => {
    const node = kernel.createNamespace();
    const far = kernel.createNamespace();
    for (const name of ["a", "b"]) node.addVethPair({ name, up: true }, { name, namespace: far, up: true });
    const owns = { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [] };
    const reconciler = createReconciler({ namespace: node, owns, watch: false });
    const standing = () => node.listLinks().flatMap(({ name, fastPath }) => (fastPath === undefined ? [] : [`${name} ${fastPath}`]));
    const wanted = { ...EMPTY_STATE, links: [{ name: "a", kind: { type: "physical" }, fastPath: true } as const] };
    assert.equal(reconciler.set(wanted).inSync, true);
    assert.deepEqual(standing(), ["a true"]);
    assert.equal(reconciler.resync().drifts, 0);
    node.run(() => spawnSync("tc", ["qdisc", "del", "dev", "a", "clsact"]));
    assert.deepEqual(standing(), []);
    assert.equal(reconciler.resync().inSync, true);
    assert.deepEqual(standing(), ["a true"]);
    reconciler.set(EMPTY_STATE);
    assert.deepEqual(standing(), []);
    reconciler.close();
    for (const each of [node, far]) each.close();
  });
});
