import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { until } from "../../../test/patience.ts";
import type { PeerConfig } from "./peer-config.ts";
import { replayMonitor } from "./replay.ts";
import { type Speaker, type SpeakerOptions, startSpeaker } from "./speaker.ts";
import type { Transport } from "./transport.ts";

/** Addresses to who listens there: a network without a kernel. */
class Network {
  readonly #listeners = new Map<string, (socket: Socket) => void>();
  /** Who takes no bytes. */
  readonly stalled = new Set<string>();
  #held: (() => void)[] = [];

  resume(address: string): void {
    this.stalled.delete(address);
    for (const take of this.#held.splice(0)) take();
  }

  readonly #take = (address: string, take: () => void) => {
    if (this.stalled.has(address)) this.#held.push(take);
    else take();
  };

  transport(own: string): Transport {
    return {
      connect: ({ address }) => {
        const [a, b] = pair(own, address, this.#take);
        setImmediate(() => {
          const accept = this.#listeners.get(address);
          if (!accept) return a.destroy(Object.assign(new Error("refused"), { code: "ECONNREFUSED" }));
          accept(b as unknown as Socket);
          a.emit("connect");
        });
        return a as unknown as Socket;
      },
      listen: (accept) => {
        this.#listeners.set(own, accept);
        return { expect: () => undefined, close: () => this.#listeners.delete(own) };
      },
    };
  }
}

function pair(from: string, to: string, take: (address: string, then: () => void) => void): [Duplex, Duplex] {
  const make = (localAddress: string, remoteAddress: string): Duplex => {
    const end: Duplex = new Duplex({
      read: () => undefined,
      write: (chunk, _, done) =>
        take(remoteAddress, () => {
          setImmediate(() => other(end)?.push(chunk));
          done();
        }),
      final: (done) => {
        setImmediate(() => other(end)?.push(null));
        done();
      },
      destroy: (error, done) => {
        setImmediate(() => other(end)?.destroy());
        done(error);
      },
    });
    return Object.assign(end, { localAddress, remoteAddress, connecting: false, setNoDelay: () => end });
  };
  const a = make(from, to);
  const b = make(to, from);
  const other = (end: Duplex) => [a, b].find((each) => each !== end && !each.destroyed);
  return [a, b];
}

interface Node {
  readonly speaker: Speaker;
  readonly routes: Map<string, readonly string[]>;
}

function node(network: Network, number: number, options: Partial<SpeakerOptions> = {}): Node {
  const routes = new Map<string, readonly string[]>();
  const address = `10.0.0.${number}`;
  const speaker = startSpeaker({
    localAs: 64512,
    routerId: address,
    addresses: { v6: `fd00::${number}` },
    transport: network.transport(address),
    onRoutes: (changes) => {
      for (const { prefix, nextHops } of changes) {
        if (nextHops)
          routes.set(
            prefix,
            nextHops.map(({ address: hop }) => hop),
          );
        else routes.delete(prefix);
      }
    },
    ...options,
  });
  return { speaker, routes };
}

const to = (number: number, rest: Partial<PeerConfig> = {}): PeerConfig => ({
  name: `n${number}`,
  address: `10.0.0.${number}`,
  as: "internal",
  connectRetrySeconds: 1,
  ...rest,
});
const isUp = ({ speaker }: Node, count = 1) => speaker.status().filter(({ phase }) => phase === "Established").length === count;

test("two speakers exchange routes of both families, and a route that goes is withdrawn", async () => {
  const network = new Network();
  const [a, b] = [node(network, 1), node(network, 2)];
  a.speaker.setPeers([to(2)]);
  b.speaker.setPeers([to(1)]);
  a.speaker.setLocalRoutes([{ prefix: "10.244.1.0/24" }, { prefix: "fd00:244:1::/64" }]);
  await until(() => b.routes.size === 2, "both routes at b");
  assert.deepEqual(b.routes.get("10.244.1.0/24"), ["10.0.0.1"]);
  assert.deepEqual(b.routes.get("fd00:244:1::/64"), ["fd00::1"]);
  a.speaker.setLocalRoutes([{ prefix: "10.244.1.0/24" }]);
  await until(() => b.routes.size === 1, "one route at b");
  assert.deepEqual(
    a.speaker.sentTo("n2").map(({ prefix, reason }) => [prefix, reason]),
    [["10.244.1.0/24", "sent"]],
  );
  a.speaker.close({ words: "maintenance" });
  await until(() => b.routes.size === 0, "no route at b");
  assert.match(b.speaker.status()[0]?.lastError ?? "", /shutdown|hard reset/);
  b.speaker.close();
});

test("a monitor from the start and one that comes later replay to the tables as they are", async () => {
  const network = new Network();
  const filter = {
    name: "f",
    statements: [{ match: { prefix: { cidr: "10.8.0.0/16" } }, action: "reject" as const }],
    otherwise: "accept" as const,
  };
  const [a, b, c] = [node(network, 1, { multipath: 2 }), node(network, 2), node(network, 3)];
  const early: string[] = [];
  a.speaker.monitor((line) => early.push(line));
  a.speaker.setPeers([to(2, { importFilter: filter, password: "secret" }), to(3, { addPath: { receive: true } })]);
  a.speaker.setLocalRoutes([{ prefix: "10.1.0.0/16" }]);
  b.speaker.setPeers([to(1)]);
  c.speaker.setPeers([to(1, { addPath: { send: true } })]);
  b.speaker.setLocalRoutes(["10.8.1.0/24", "10.9.0.0/16", "fd00:9::/48"].map((prefix) => ({ prefix })));
  c.speaker.setLocalRoutes(["10.9.0.0/16", "10.10.0.0/16"].map((prefix) => ({ prefix })));
  await until(() => a.speaker.routes().length === 6, "all routes");
  c.speaker.setLocalRoutes([{ prefix: "10.9.0.0/16" }]);
  await until(() => a.speaker.routes().length === 5, "one less");
  const late: string[] = [];
  const stop = a.speaker.monitor((line) => late.push(line));
  const plain = (views: readonly object[]) =>
    JSON.parse(
      JSON.stringify([...views].map((view) => JSON.stringify(view, (_, each) => (typeof each === "bigint" ? String(each) : each))).sort()),
    );
  for (const lines of [early, late]) {
    const replayed = replayMonitor(lines);
    assert.deepEqual(replayed.unread, []);
    assert.deepEqual(plain(replayed.routes), plain(a.speaker.routes()));
  }
  assert.ok(!early.some((line) => line.includes("secret")));
  stop();
  const told = late.length;
  b.speaker.close();
  await until(() => a.routes.size === 2, "b's routes are gone");
  assert.equal(late.length, told);
  assert.deepEqual(plain(replayMonitor(early).routes), plain(a.speaker.routes()));
  for (const each of [a, c]) each.speaker.close();
});

test("a reflector passes routes between clients with originator and cluster list; others are not told", async () => {
  const network = new Network();
  const [reflector, c1, c2, plain] = [node(network, 1), node(network, 2), node(network, 3), node(network, 4)];
  reflector.speaker.setPeers([to(2, { reflectorClient: true }), to(3, { reflectorClient: true }), to(4)]);
  for (const each of [c1, c2, plain]) each.speaker.setPeers([to(1)]);
  c1.speaker.setLocalRoutes([{ prefix: "10.244.2.0/24" }]);
  plain.speaker.setLocalRoutes([{ prefix: "10.244.4.0/24" }]);
  await until(() => c2.routes.size === 2 && plain.routes.size === 2 && c1.routes.size === 2, "all know");
  assert.deepEqual(c2.routes.get("10.244.2.0/24"), ["10.0.0.2"]);
  const [view] = c2.speaker.routes({ prefix: "10.244.2.0/24" });
  assert.deepEqual([view?.attributes.originatorId, view?.attributes.clusterList], [0x0a000002, [0x0a000001]]);
  for (const each of [reflector, c1, c2, plain]) each.speaker.close();
});

test("the best of two ways is told, and the other takes over when it goes; add-paths tells both", async () => {
  const network = new Network();
  const [a, b, middle, far, all] = [
    node(network, 1, { localAs: 1 }),
    node(network, 2, { localAs: 2 }),
    node(network, 3, { localAs: 3, multipath: 4 }),
    node(network, 4, { localAs: 4 }),
    node(network, 5, { localAs: 5, multipath: 4 }),
  ];
  const external = (number: number, rest: Partial<PeerConfig> = {}) => to(number, { as: "external", ...rest });
  middle.speaker.setPeers([external(1), external(2), external(4), external(5, { addPath: { send: true } })]);
  for (const each of [a, b, far]) each.speaker.setPeers([external(3)]);
  all.speaker.setPeers([external(3, { addPath: { receive: true } })]);
  a.speaker.setLocalRoutes([{ prefix: "10.9.0.0/16" }]);
  b.speaker.setLocalRoutes([{ prefix: "10.9.0.0/16" }]);
  await until(() => middle.routes.get("10.9.0.0/16")?.length === 2 && far.routes.size === 1, "both ways");
  await until(() => all.speaker.routes({ prefix: "10.9.0.0/16" }).length === 2, "two paths");
  assert.deepEqual(
    middle.speaker
      .routes()
      .map(({ peer, reason }) => [peer, reason])
      .sort(),
    [
      ["n1", "best"],
      ["n2", "multipath"],
    ],
  );
  assert.deepEqual(far.speaker.routes()[0]?.attributes.asPath, [{ type: "sequence", ases: [3, 1] }]);
  // The neighbour whose route is best is told the other's route only when its own goes.
  assert.equal(
    a.speaker.routes().some(({ peer }) => peer === "n3"),
    false,
  );
  a.speaker.setLocalRoutes([]);
  await until(() => a.routes.size === 1 && b.speaker.routes().length === 1, "the other way");
  assert.deepEqual(far.speaker.routes()[0]?.attributes.asPath, [{ type: "sequence", ases: [3, 2] }]);
  await until(() => all.speaker.routes().length === 1, "one path");
  for (const each of [a, b, middle, far, all]) each.speaker.close();
});

test("graceful restart: routes stay while the neighbour is away, and what it does not send again goes at its End-of-RIB", async () => {
  const network = new Network();
  const restart = { gracefulRestart: { restartSeconds: 10 } };
  let a = node(network, 1);
  const b = node(network, 2);
  a.speaker.setPeers([to(2, restart)]);
  b.speaker.setPeers([to(1, restart)]);
  a.speaker.setLocalRoutes([{ prefix: "10.244.1.0/24" }, { prefix: "10.244.9.0/24" }]);
  await until(() => b.routes.size === 2, "routes");
  a.speaker.close({ restarting: true });
  await until(() => isUp(b, 0), "away");
  assert.equal(b.routes.size, 2);
  assert.deepEqual(
    b.speaker.routes().map(({ stale }) => stale),
    [true, true],
  );
  a = node(network, 1, { restarting: true });
  a.speaker.setLocalRoutes([{ prefix: "10.244.1.0/24" }]);
  a.speaker.setPeers([to(2, restart)]);
  await until(() => b.routes.size === 1, "back");
  assert.deepEqual(
    b.speaker.routes().map(({ prefix, stale }) => [prefix, stale]),
    [["10.244.1.0/24", false]],
  );
  a.speaker.close();
  b.speaker.close();
});

test("long-lived: after the restart time the routes are the last resort", async () => {
  const network = new Network();
  const restart = { gracefulRestart: { restartSeconds: 1, longLivedSeconds: 1 } };
  const [a, b] = [node(network, 1), node(network, 2)];
  a.speaker.setPeers([to(2, restart)]);
  b.speaker.setPeers([to(1, restart)]);
  a.speaker.setLocalRoutes([{ prefix: "10.244.1.0/24" }]);
  await until(() => b.routes.size === 1, "routes");
  a.speaker.close({ restarting: true });
  await until(() => b.speaker.routes()[0]?.attributes.communities.includes(0xffff0006) === true, "long-lived stale");
  assert.equal(b.routes.size, 1);
  await until(() => b.routes.size === 0, "gone");
  b.speaker.close();
});

test("filters: in, with the statement that rejects; out; and changed without ending the session", async () => {
  const network = new Network();
  const [a, b] = [node(network, 1), node(network, 2)];
  const importFilter = {
    name: "in",
    otherwise: "accept",
    statements: [
      { match: { prefix: { cidr: "10.1.0.0/16", minLength: 25 } }, action: "reject" },
      { match: { communities: ["64512:7"] }, set: { localPref: 300, addCommunities: ["64512:1:2"] } },
    ],
  } as const;
  const exportFilter = {
    name: "out",
    otherwise: "reject",
    statements: [{ match: { source: "local", interface: "cali*" }, action: "accept" }],
  } as const;
  a.speaker.setPeers([to(2, { exportFilter })]);
  b.speaker.setPeers([to(1, { importFilter })]);
  const communities = [64512 * 65536 + 7];
  a.speaker.setLocalRoutes([
    { prefix: "10.1.0.0/24", interface: "cali1", attributes: { communities } },
    { prefix: "10.1.0.0/26", interface: "cali1" },
    { prefix: "10.2.0.0/24", interface: "eth0" },
  ]);
  await until(() => b.speaker.routes().length === 2, "routes");
  assert.deepEqual(
    b.speaker
      .routes()
      .map(({ prefix, reason }) => [prefix, reason])
      .sort(),
    [
      ["10.1.0.0/24", "best"],
      ["10.1.0.0/26", "filter in, statement 1"],
    ],
  );
  const [view] = b.speaker.routes({ prefix: "10.1.0.0/24" });
  assert.deepEqual([view?.attributes.localPref, view?.attributes.largeCommunities], [300, [[64512, 1, 2]]]);
  assert.deepEqual(
    a.speaker.sentTo("n2").find(({ prefix }) => prefix === "10.2.0.0/24"),
    { prefix: "10.2.0.0/24", sent: false, reason: "filter out, no statement" },
  );
  a.speaker.setPeers([
    to(2, { exportFilter: { ...exportFilter, statements: [{ match: { prefix: { cidr: "10.2.0.0/16" } }, action: "accept" }] } }),
  ]);
  b.speaker.setPeers([to(1)]);
  await until(() => b.routes.size === 1 && b.routes.has("10.2.0.0/24"), "the other routes");
  assert.equal(b.speaker.status()[0]?.lastError, undefined);
  a.speaker.close();
  b.speaker.close();
});

test("dynamic and passive neighbours; a wrong AS and too many prefixes are named", async () => {
  const network = new Network();
  const [a, b, c] = [node(network, 1), node(network, 2), node(network, 3, { localAs: 65000 })];
  a.speaker.setPeers([{ name: "range", address: "10.0.0.0/29", as: "internal", maxPrefixes: 2 }]);
  b.speaker.setPeers([to(1)]);
  await until(() => isUp(a) && a.speaker.status()[0]?.name === "dynamic range 10.0.0.2", "dynamic");
  c.speaker.setPeers([to(1, { as: "external" })]);
  await until(() => /bad peer AS/.test(c.speaker.status()[0]?.lastError ?? ""), "refused");
  b.speaker.setLocalRoutes([1, 2, 3].map((i) => ({ prefix: `10.${i}.0.0/16` })));
  await until(() => /maximum number of prefixes/.test(b.speaker.status()[0]?.lastError ?? ""), "too many");
  b.speaker.close();
  await until(() => a.speaker.status().length === 0, "forgotten");
  for (const each of [a, c]) each.speaker.close();
});

test("what cannot be is refused with words", () => {
  const { speaker } = node(new Network(), 1);
  for (const bad of [{ address: "x" }, { as: 0 }, { holdSeconds: 2 }, { maxPrefixes: 0 }, { port: 0 }] as const) {
    assert.throws(() => speaker.setPeers([to(2, bad)]), { code: "bad-peer" });
  }
  assert.throws(() => speaker.setPeers([to(2), to(2)]), { code: "duplicate-peer" });
  assert.throws(() => speaker.routes({ peer: "nobody" }), { code: "unknown-peer" });
  assert.throws(() => startSpeaker({ localAs: 1, routerId: "0.0.0.0", transport: new Network().transport("10.0.0.1") }), {
    code: "bad-router-id",
  });
  speaker.close();
});

test("a neighbour that takes nothing holds up no other, and gets what is current when it takes again", async () => {
  const network = new Network();
  const [hub, slow, quick] = [node(network, 1), node(network, 2), node(network, 3)];
  hub.speaker.setPeers([to(2, { passive: true }), to(3, { passive: true })]);
  slow.speaker.setPeers([to(1)]);
  quick.speaker.setPeers([to(1)]);
  await until(() => isUp(hub, 2), "both up");
  network.stalled.add("10.0.0.2");
  const many = (metric: number) =>
    Array.from({ length: 40_000 }, (_, i) => ({
      prefix: `10.${i >> 8}.${i & 255}.0/24`,
      attributes: { med: metric, communities: [i + 1] },
    }));
  hub.speaker.setLocalRoutes(many(1));
  await until(() => quick.routes.size === 40_000, "quick has the first");
  hub.speaker.setLocalRoutes([...many(2).slice(0, 39_999), { prefix: "192.0.2.0/24" }]);
  await until(() => quick.routes.has("192.0.2.0/24"), "quick has the second");
  assert.equal(slow.routes.has("192.0.2.0/24"), false);
  network.resume("10.0.0.2");
  await until(() => slow.routes.has("192.0.2.0/24") && slow.routes.size === 40_000, "slow has all");
  assert.ok(slow.speaker.routes().every(({ prefix, attributes }) => prefix === "192.0.2.0/24" || attributes.med === 2));
  for (const each of [hub, slow, quick]) each.speaker.close();
});
