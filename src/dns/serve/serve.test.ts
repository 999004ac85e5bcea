// The whole server by its Corefile: blocks and ports, reloads, floods, and the Corefiles that people have.
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ask, askTcp, printed } from "../../../test/dns-client.ts";
import { startUpstream } from "../../../test/dns-upstream.ts";
import { dnsWorld } from "../../../test/dns-world.ts";
import { sourceFromObjects } from "../../cluster/index.ts";
import { TYPE } from "../message.ts";
import { type DnsNetwork, hostNetwork } from "../network.ts";
import { decodeMessage, encodeMessage, queryMessage } from "../wire/codec.ts";
import { type DnsOptions, type DnsServer, startDns } from "./start.ts";

/** Queries of the flood. */
const FLOOD = Number(process.env.FAIRLEAD_FLOOD ?? 20_000);

async function serve(
  t: TestContext,
  options: DnsOptions,
): Promise<{ server: DnsServer; port: (index?: number) => number; logged: string[] }> {
  const logged: string[] = [];
  const server = await startDns({ log: (level, plugin, text) => logged.push(`${level} ${plugin}: ${text}`), ...options });
  t.after(() => server.close());
  return { server, logged, port: (index = 0) => server.status().listeners[index]?.port ?? 0 };
}

/** This process's network with other ports than those that a Corefile names: port → the one that was taken. */
function elsewhere(): { network: DnsNetwork; taken: Map<number, number> } {
  const host = hostNetwork();
  const taken = new Map<number, number>();
  /** By port, until the server listens there. */
  const reserved = new Map<number, Server>();
  // TCP's port comes first: it may be in use by far more sockets than UDP's.
  const bindBoth = async (address: string) => {
    for (let attempt = 1; ; attempt++) {
      const tcp = createServer();
      await host.listenTcp(tcp, address, 0);
      const { port } = tcp.address() as AddressInfo;
      try {
        const socket = await host.bindUdp(address, port);
        reserved.set(port, tcp);
        return socket;
      } catch (error) {
        tcp.close();
        if (attempt === 20) throw error;
      }
    }
  };
  return {
    taken,
    network: {
      ...host,
      bindUdp: async (address, port) => {
        const socket = await bindBoth(address);
        taken.set(port, socket.port);
        return socket;
      },
      listenTcp: async (server, address, port) => {
        // DNS asks for the port that UDP was given.
        const held = reserved.get(port);
        if (held) await once(server.listen(held), "listening");
        else {
          await host.listenTcp(server, address, 0);
          taken.set(port, (server.address() as AddressInfo).port);
        }
      },
    },
  };
}

const fetchText = async (port: number | undefined, path: string) => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, text: await response.text() };
};

const GUIDE = `.:53 {
    errors
    health
    ready
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
}`;

const KUBEADM = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
`;

for (const [who, corefile] of [
  ["the guide's", GUIDE],
  ["kubeadm's", KUBEADM.replace("/etc/resolv.conf", "10.112.0.1").replace("lameduck 5s", "lameduck 50ms")],
] as const)
  test(`${who} Corefile: names, health, readiness and metrics`, async (t) => {
    const { network, taken } = elsewhere();
    const { server } = await serve(t, { corefile, network, source: sourceFromObjects(dnsWorld()) });
    const port = taken.get(53) ?? 0;
    assert.deepEqual(
      [...taken.keys()].sort((a, b) => a - b),
      [53, 8080, 8181, 9153],
    );
    assert.equal((await ask("api.production.svc.cluster.local.", "A", { port })).answers.length, 1);
    assert.equal((await ask("nope.production.svc.cluster.local.", "A", { port, tcp: true })).rcode, 3);
    assert.deepEqual(await fetchText(taken.get(8080), "/health"), { status: 200, text: "OK" });
    assert.deepEqual(await fetchText(taken.get(8181), "/ready"), { status: 200, text: "OK" });
    assert.equal((await fetchText(taken.get(8181), "/other")).status, 404);
    const metrics = (await fetchText(taken.get(9153), "/metrics")).text;
    assert.match(metrics, /coredns_dns_requests_total\{server="dns:\/\/:53",zone="\.",view="",proto="udp",family="1",type="A"\} 1\n/);
    assert.match(metrics, /coredns_dns_responses_total\{server="dns:\/\/:53",zone="\.",view="",rcode="NXDOMAIN",plugin="kubernetes"\} 1\n/);
    assert.match(metrics, /coredns_plugin_enabled\{server="dns:\/\/:53",zone="\.",view="",name="kubernetes"\} 1\n/);
    assert.equal(server.status().queries, 2);
  });

test("blocks: the longest zone answers, on its port; what is nobody's is refused", async (t) => {
  const [up, sub] = [await startUpstream(), await startUpstream()];
  t.after(() => Promise.all([up.close(), sub.close()]));
  const other = (port: number) => `{\n forward . 127.0.0.1:${port}\n}\n`;
  const { port } = await serve(t, {
    corefile: `example.org:0 ${other(up.port)} db.example.org:0 192.0.2.0/24:0 ${other(sub.port)}`.replaceAll(
      "192.0.2.0/24:0",
      "2.0.192.in-addr.arpa:0",
    ),
  });
  for (const name of ["www.example.org.", "db.example.org.", "a.db.example.org.", "1.2.0.192.in-addr.arpa."])
    await ask(name, "A", { port: port() });
  assert.deepEqual(up.asked, ["www.example.org. A udp"]);
  assert.deepEqual(sub.asked, ["db.example.org. A udp", "a.db.example.org. A udp", "1.2.0.192.in-addr.arpa. A udp"]);
  assert.equal((await ask("example.com.", "A", { port: port() })).rcode, 5);
  // A zone's DS record is the parent's.
  await ask("db.example.org.", "DS", { port: port() });
  assert.equal(up.asked.at(-1), "db.example.org. DS udp");
});

test("a Corefile that cannot be served says where and why", async () => {
  for (const [corefile, says] of [
    ["", /Corefile:1:1: no server block/],
    [".:53 {\n cash 30\n}", /Corefile:2:2: there is no plugin "cash" \(did you mean cache\? the plugins are acl, any, /],
    [".:53 {\n route53 x\n}", /plugin route53 is one of CoreDNS's that Fairlead does not have \(use file or forward\)/],
    ["a.org {\n errors\n}\na.org {\n errors\n}", /Corefile:4:1: a\.org\.:53 is served by another block already/],
    ["tls://. {\n errors\n}", /tls:\/\/ is not served here/],
  ] as const)
    await assert.rejects(startDns({ corefile }), says);
});

test("a port that is taken: the server does not start, and says which", async (t) => {
  const { port } = await serve(t, { corefile: ".:0 {\n errors\n}" });
  await assert.rejects(
    startDns({ corefile: `.:${port()} {\n errors\n}` }),
    /cannot serve UDP on every address, port \d+: .*EADDRINUSE.*end what listens there/,
  );
});

test("a reload takes a sound Corefile into force without losing a query, and keeps the old one where the new is bad", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "reload-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "Corefile");
  const up = await startUpstream();
  t.after(() => up.close());
  // The port is chosen by the first start and kept by name: port 0 in both.
  const text = (ttl: number, extra = "") =>
    `.:0 {\n kubernetes cluster.local {\n ttl ${ttl}\n }\n forward . 127.0.0.1:${up.port}\n ${extra}\n}\n`;
  writeFileSync(path, text(5));
  const { server, port } = await serve(t, { path, source: sourceFromObjects(dnsWorld()) });
  const before = port();
  const asking = { on: true, sent: 0, failed: 0 };
  const client = (async () => {
    while (asking.on) {
      asking.sent++;
      const names = ["api.production.svc.cluster.local.", "db.example.org."];
      const answers = await Promise.all(names.map((name) => ask(name, "A", { port: before }).catch(() => undefined)));
      if (answers.some((each) => each?.answers.length !== 1)) asking.failed++;
    }
  })();
  for (let ttl = 6; ttl < 26; ttl++) {
    writeFileSync(path, text(ttl));
    await server.reload();
    assert.equal((await ask("api.production.svc.cluster.local.", "A", { port: before })).answers[0]?.ttl, ttl);
    for (const sent = asking.sent; asking.sent < sent + 2; ) await new Promise(setImmediate);
  }
  for (const bad of [`${text(99)}}`, text(5, "nonsense"), text(5, "forward . nowhere"), ""]) {
    writeFileSync(path, bad);
    await assert.rejects(server.reload());
    assert.match(server.status().refused ?? "", /Corefile:\d+:\d+: /);
    assert.equal((await ask("api.production.svc.cluster.local.", "A", { port: before })).answers[0]?.ttl, 25);
  }
  writeFileSync(path, text(7));
  await server.reload();
  assert.equal(server.status().refused, undefined);
  asking.on = false;
  await client;
  assert.equal(asking.failed, 0);
  assert.ok(asking.sent > 20);
  assert.equal(port(), before);
});

test("a reload that cannot have a port keeps what it has", async (t) => {
  const taken = await serve(t, { corefile: ".:0 {\n errors\n}" });
  const { server, port } = await serve(t, { corefile: ".:0 {\n errors\n}" });
  await assert.rejects(server.reload(`.:0 {\n errors\n}\n.:${taken.port()} {\n errors\n}`), /EADDRINUSE/);
  assert.equal(server.status().listeners.length, 1);
  assert.equal((await ask("x.", "A", { port: port() })).rcode, 5);
  await server.reload(".:0 {\n health 127.0.0.1:0\n}");
  assert.deepEqual(
    server.status().blocks.map(({ plugins }) => plugins),
    [["health"]],
  );
});

test("what had come before the end is answered", async (t) => {
  const server = await startDns({ corefile: ".:0 {\n errors\n}" });
  const client = createSocket("udp4");
  t.after(() => client.close());
  client.connect(server.status().listeners[0]?.port ?? 0, "127.0.0.1");
  await once(client, "connect");
  const answered = once(client, "message", { signal: AbortSignal.timeout(30_000) });
  client.send(encodeMessage(queryMessage({ name: "x.", type: TYPE.A })));
  // The kernel has its time to bring it, and nobody reads it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  await server.close();
  assert.equal(decodeMessage((await answered)[0] as Buffer).rcode, 5);
});

test("a query of 65,535 bytes by TCP is answered", async (t) => {
  const { port } = await serve(t, { corefile: ".:0 {\n kubernetes cluster.local\n}", source: sourceFromObjects(dnsWorld()) });
  const plain = queryMessage({ name: "api.production.svc.cluster.local.", type: TYPE.A });
  const room = 65_535 - encodeMessage(plain).length - 11 - 4;
  const bytes = encodeMessage({
    ...plain,
    edns: { udpSize: 1232, version: 0, dnssecOk: false, options: [{ code: 12, bytes: new Uint8Array(room) }] },
  });
  assert.equal(bytes.length, 65_535);
  assert.equal(decodeMessage(await askTcp(bytes, { port: port() })).answers.length, 1);
});

test("under a flood of names whose upstream is dead, cluster names are answered and memory is bounded", async (t) => {
  const dead = await startUpstream();
  t.after(() => dead.close());
  dead.behave = () => undefined;
  const corefile = `.:0 {\n errors\n kubernetes cluster.local\n cache 30\n forward . 127.0.0.1:${dead.port} {\n max_concurrent 1000\n }\n}`;
  const { server, port } = await serve(t, { corefile, source: sourceFromObjects(dnsWorld()), log: () => {} });
  const flood = createSocket("udp4");
  t.after(() => flood.close());
  const before = process.memoryUsage().rss;
  let answered = 0;
  for (let i = 0; i < FLOOD; i++) {
    flood.send(encodeMessage(queryMessage({ name: `${i}.flood.example.org.`, type: TYPE.A }, { id: i & 0xffff })), port(), "127.0.0.1");
    if (i % 200 !== 0) continue;
    await new Promise(setImmediate);
    if (i % 2000 === 0 && (await ask("api.production.svc.cluster.local.", "A", { port: port() })).answers.length === 1) answered++;
  }
  assert.equal(answered, Math.ceil(FLOOD / 2000));
  assert.ok(server.status().inFlight <= 1000, `${server.status().inFlight} at work`);
  const grown = (process.memoryUsage().rss - before) / 1e6;
  // Some kilobytes for each of the thousand at work, and what the collector leaves for later.
  assert.ok(grown < 300, `${grown} MB more`);
  assert.match(printed(await ask("one.more.example.org.", "A", { port: port() })).join(), /^[25]/);
});
