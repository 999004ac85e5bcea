// Our BGP speaker against BIRD 2, FRR, GoBGP and ExaBGP of Debian, in namespaces: sessions, routes both ways, MD5, reflection, add-paths, restart.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { Socket } from "node:net";
import { after, test } from "node:test";
import {
  attributesOf,
  encodeMessage,
  nlriOf,
  type PeerConfig,
  PLAIN_CONTEXT,
  type RouteChange,
  type Speaker,
  type SpeakerOptions,
  startSpeaker,
} from "../src/bgp/index.ts";
import { type BgpNetwork, makeBgpNetwork, transportIn } from "./bgp-network.ts";
import { addToGobgp, startBgpd, startBird, startExabgp, startGobgpd } from "./bgp-programs.ts";
import { until } from "./patience.ts";

const OURS = ["10.244.1.0/24", "fd00:244:1::/64"] as const;
const THEIRS = ["192.0.2.0/24", "2001:db8::/32"] as const;
const speakers: Speaker[] = [];
const networks: BgpNetwork[] = [];

after(() => {
  for (const speaker of speakers) speaker.close();
  for (const network of networks) network.close();
});

interface Ours {
  readonly speaker: Speaker;
  readonly routes: Map<string, RouteChange>;
}

function network(): BgpNetwork {
  const made = makeBgpNetwork();
  networks.push(made);
  return made;
}

function speak(on: BgpNetwork, peers: readonly PeerConfig[], options: Partial<SpeakerOptions> = {}): Ours {
  const routes = new Map<string, RouteChange>();
  const speaker = startSpeaker({
    localAs: 64512,
    routerId: "10.0.0.1",
    addresses: { v4: "10.0.0.1", v6: "fd00::1" },
    transport: transportIn(on.ours),
    multipath: 4,
    onRoutes: (changes) => {
      for (const change of changes) {
        if (change.nextHops) routes.set(change.prefix, change);
        else routes.delete(change.prefix);
      }
    },
    ...options,
  });
  speakers.push(speaker);
  speaker.setLocalRoutes(OURS.map((prefix) => ({ prefix })));
  speaker.setPeers(peers);
  return { speaker, routes };
}

const why = ({ speaker, routes }: Ours, more = "") => JSON.stringify([speaker.status(), [...routes.keys()]]) + more;
const peer = (rest: Partial<PeerConfig> = {}): PeerConfig => ({
  name: "peer",
  address: "10.0.0.2",
  as: 65001,
  connectRetrySeconds: 1,
  ...rest,
});
const has = (ours: Ours, prefixes: readonly string[]) => prefixes.every((prefix) => ours.routes.has(prefix));

/** A peer program: where it is, how it starts with one session to us, and the prefixes it has from us. */
interface Program {
  readonly name: string;
  readonly path: string;
  /** It announces only routes of the family that the session runs over. */
  readonly ownFamilyOnly?: boolean;
  start(on: BgpNetwork, options: { readonly as: number; readonly over: 4 | 6; readonly password?: string }): () => string;
}

const address = (over: 4 | 6, number: number) => (over === 4 ? `10.0.0.${number}` : `fd00::${number}`);

const birdConfig = (as: number, over: 4 | 6, extra: { session?: string; channel?: string; routes?: string; head?: string } = {}) => `
router id 10.0.0.2;
${extra.head ?? ""}
protocol device {}
protocol static s4 { ipv4; route 192.0.2.0/24 blackhole; ${extra.routes ?? ""} }
protocol static s6 { ipv6; route 2001:db8::/32 blackhole; }
protocol bgp fairlead {
  local ${address(over, 2)} as ${as};
  neighbor ${address(over, 1)} as 64512;
  connect retry time 1; connect delay time 1;
  ${extra.session ?? ""}
  ipv4 { import all; export where source = RTS_STATIC; next hop self; ${over === 6 ? "next hop address 10.0.0.2;" : ""} ${extra.channel ?? ""} };
  ipv6 { import all; export where source = RTS_STATIC; next hop self; ${over === 4 ? "next hop address fd00::2;" : ""} ${extra.channel ?? ""} };
}`;

const PROGRAMS: readonly Program[] = [
  {
    name: "BIRD",
    path: "/usr/sbin/bird",
    start(on, { as, over, password }) {
      const { ask } = startBird(on, birdConfig(as, over, { session: password ? `password "${password}";` : "" }));
      return () => ask("show route");
    },
  },
  {
    name: "FRR",
    path: "/usr/lib/frr/bgpd",
    start(on, { as, over, password }) {
      const us = address(over, 1);
      const { ask } = startBgpd(
        on,
        `frr defaults datacenter
router bgp ${as}
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor ${us} remote-as 64512
 neighbor ${us} timers connect 1
${password ? ` neighbor ${us} password ${password}\n` : ""} address-family ipv4 unicast
  network 192.0.2.0/24
  neighbor ${us} activate
  neighbor ${us} route-map OUT out
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8::/32
  neighbor ${us} activate
  neighbor ${us} route-map OUT out
 exit-address-family
route-map OUT permit 10
 set ip next-hop 10.0.0.2
 set ipv6 next-hop global fd00::2
`,
      );
      return () => ask("show bgp ipv4 unicast") + ask("show bgp ipv6 unicast");
    },
  },
  {
    name: "GoBGP",
    path: "/usr/bin/gobgpd",
    start(on, { as, over, password }) {
      const us = address(over, 1);
      const { ask: gobgp } = startGobgpd(
        on,
        `[global.config]
  as = ${as}
  router-id = "10.0.0.2"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${us}"
    peer-as = 64512
${password ? `    auth-password = "${password}"\n` : ""}  [neighbors.timers.config]
    connect-retry = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
`,
      );
      return () => {
        addToGobgp(gobgp, THEIRS);
        return gobgp("global", "rib", "-a", "ipv4") + gobgp("global", "rib", "-a", "ipv6");
      };
    },
  },
  {
    name: "ExaBGP",
    // 4.2.21 takes 10.0.0.1 for a range of neighbours once it has read an IPv6 prefix.
    ownFamilyOnly: true,
    path: "/usr/sbin/exabgp",
    start(on, { as, over, password }) {
      return startExabgp(
        on,
        `neighbor ${address(over, 1)} {
  router-id 10.0.0.2; local-address ${address(over, 2)}; local-as ${as}; peer-as 64512;
  ${password ? `md5-password "${password}";` : ""}
  family { ipv4 unicast; ipv6 unicast; }
  api { processes [ sink ]; receive { parsed; update; } }
  static { ${over === 4 ? "route 192.0.2.0/24 next-hop 10.0.0.2;" : "route 2001:db8::/32 next-hop fd00::2;"} }
}`,
      ).ask;
    },
  },
];

for (const program of PROGRAMS) {
  const skip = existsSync(program.path) ? false : `NOT RUN: ${program.name} is missing (apt-get install it)`;
  for (const over of [4, 6] as const) {
    test(`${program.name} over IPv${over}: a session with MD5, routes of both families both ways, an orderly end`, { skip }, async () => {
      const on = network();
      const seen = program.start(on, { as: 65001, over, password: "fairlead" });
      const ours = speak(on, [peer({ address: address(over, 2), password: "fairlead" })]);
      const expected = program.ownFamilyOnly ? [THEIRS[over === 4 ? 0 : 1]] : THEIRS;
      await until(
        () => {
          const theirs = seen();
          return has(ours, expected) && OURS.every((prefix) => theirs.includes(prefix));
        },
        () => why(ours, seen()),
      );
      for (const prefix of expected) {
        assert.deepEqual(ours.routes.get(prefix)?.nextHops, [{ address: prefix === THEIRS[0] ? "10.0.0.2" : "fd00::2", peer: "peer" }]);
      }
      ours.speaker.close({ words: "maintenance" });
      if (program.name === "BIRD")
        await until(
          () => !seen().includes(OURS[0]),
          () => seen(),
        );
      on.close();
    });
  }
}

const skip = existsSync("/usr/sbin/bird") ? false : "NOT RUN: BIRD is missing (apt-get install bird2)";

test("BIRD with another password never gets a session; with ours it does", { skip }, async () => {
  const on = network();
  startBird(on, birdConfig(65001, 4, { session: 'password "right";' }));
  const ours = speak(on, [peer({ password: "wrong" })]);
  await new Promise((resolve) => setTimeout(resolve, 4000));
  assert.notEqual(ours.speaker.status()[0]?.phase, "Established");
  ours.speaker.setPeers([peer({ password: "right" })]);
  await until(
    () => has(ours, THEIRS),
    () => why(ours),
  );
  on.close();
});

test("BIRD with TTL security", { skip }, async () => {
  const on = network();
  startBird(on, birdConfig(65001, 4, { session: "ttl security on;" }));
  const ours = speak(on, [peer({ ttlSecurityHops: 1 })]);
  await until(
    () => has(ours, THEIRS),
    () => why(ours),
  );
  on.close();
});

test("BIRD as client of our reflector sees originator and cluster list of another client", { skip }, async () => {
  const on = network();
  const { ask } = startBird(on, birdConfig(64512, 4));
  const ours = speak(on, [
    peer({ as: "internal", reflectorClient: true }),
    peer({ name: "second", address: "10.0.0.3", as: "internal", reflectorClient: true, passive: true }),
  ]);
  const second = startSpeaker({ localAs: 64512, routerId: "10.0.0.3", transport: transportIn(on.theirs, 1790), families: [4] });
  speakers.push(second);
  second.setLocalRoutes([{ prefix: "10.244.3.0/24" }]);
  second.setPeers([{ name: "reflector", address: "10.0.0.1", as: "internal", localAddress: "10.0.0.3", connectRetrySeconds: 1 }]);
  await until(
    () =>
      /BGP.originator_id: 10\.0\.0\.3\s+BGP.cluster_list: 10\.0\.0\.1/.test(ask("show route all for 10.244.3.0/24")) &&
      second.bestRoutes().some(({ prefix }) => prefix === THEIRS[0]),
    () => why(ours, ask("show route all")),
  );
  on.close();
});

test("we are a client of BIRD's reflector", { skip }, async () => {
  const on = network();
  startBird(on, birdConfig(64512, 4, { session: "rr client; rr cluster id 9.9.9.9;", channel: "" }));
  const ours = speak(on, [peer({ as: "internal" })]);
  await until(
    () => has(ours, THEIRS),
    () => why(ours),
  );
  on.close();
});

test("add-paths with BIRD, both ways", { skip }, async () => {
  const on = network();
  const { ask } = startBird(on, birdConfig(65001, 4, { channel: "add paths on;", routes: "" }));
  const ours = speak(on, [
    peer({ addPath: { receive: true, send: true } }),
    ...[3, 4].map((number) => peer({ name: `n${number}`, address: `10.0.0.${number}`, as: 65000 + number, passive: true })),
  ]);
  for (const number of [3, 4]) {
    const other = startSpeaker({
      localAs: 65000 + number,
      routerId: `10.0.0.${number}`,
      transport: transportIn(on.theirs, 1790 + number),
      families: [4],
    });
    speakers.push(other);
    other.setLocalRoutes([{ prefix: "198.51.100.0/24" }]);
    other.setPeers([{ name: "us", address: "10.0.0.1", as: 64512, localAddress: `10.0.0.${number}`, connectRetrySeconds: 1 }]);
  }
  await until(
    () => {
      const shown = ask("show route all for 198.51.100.0/24");
      return ["64512 65003", "64512 65004"].every((path) => shown.includes(`BGP.as_path: ${path}`));
    },
    () => why(ours, ask("show route all")),
  );
  await until(
    () => has(ours, THEIRS),
    () => why(ours),
  );
  on.close();
});

test("graceful restart of either side with BIRD: no route goes meanwhile", { skip }, async () => {
  const on = network();
  const bird = startBird(on, birdConfig(65001, 4, { session: "graceful restart on;", head: "graceful restart wait 5;" }));
  const { ask } = bird;
  const restart = { gracefulRestart: { restartSeconds: 30 } };
  let ours = speak(on, [peer(restart)]);
  const both = () => has(ours, THEIRS) && ask("show route").includes(OURS[0]);
  await until(both, () => why(ours, ask("show route")));

  bird.process().kill("SIGKILL");
  await until(
    () => ours.speaker.status()[0]?.phase !== "Established",
    () => why(ours),
  );
  assert.ok(has(ours, THEIRS));
  assert.ok(ours.speaker.routes({ peer: "peer" }).every(({ stale }) => stale));
  bird.again();
  await until(
    () => ours.speaker.routes({ peer: "peer" }).length === 2 && ours.speaker.routes({ peer: "peer" }).every(({ stale }) => !stale),
    () => why(ours),
  );
  assert.ok(has(ours, THEIRS));

  ours.speaker.close({ restarting: true });
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.ok(ask("show route").includes(OURS[0]), "BIRD keeps our route");
  ours = speak(on, [peer(restart)], { restarting: true, deferralSeconds: 10 });
  await until(both, () => why(ours, ask("show route all")));
  on.close();
});

const CONTEXT = { ...PLAIN_CONTEXT, fourByteAs: true };

/** A neighbour that writes what it is told: a raw connection with an OPEN and a KEEPALIVE sent. */
async function rawNeighbour(on: BgpNetwork): Promise<Socket> {
  const socket = new Socket({ fd: on.theirs.openSocket({ protocol: "tcp", family: 4 }), manualStart: true } as never);
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.connect({ host: "10.0.0.1", port: 179, localAddress: "10.0.0.2" }, () => resolve(undefined)));
  const capabilities = [
    { type: "multiprotocol", family: 4 },
    { type: "four-byte-as", as: 65001 },
  ] as const;
  socket.write(encodeMessage({ type: "open", as: 65001, holdSeconds: 180, routerId: 0x0a000002, capabilities }, CONTEXT));
  socket.write(encodeMessage({ type: "keepalive" }, CONTEXT));
  socket.resume();
  return socket;
}

/** Repeatable noise. */
function noise(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** An UPDATE whose lengths and prefix are right and whose attributes are not: RFC 7606 withdraws the route or discards the attribute. */
function malformedUpdate(random: (below: number) => number): Buffer {
  const attribute = (flags: number, type: number, value: readonly number[]) => [flags, type, value.length, ...value];
  const bytes = (length: number) => Array.from({ length }, () => random(256));
  const good = [attribute(0x40, 1, [0]), attribute(0x40, 2, [2, 1, 0, 0, 0xfd, 0xe9]), attribute(0x40, 3, [10, 0, 0, 2])];
  const known = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 18, 32];
  const type = known[random(known.length)] ?? 1;
  const own = [0, 0x40, 0x40, 0x40, 0x80, 0x40, 0x40, 0xc0, 0xc0, 0x80, 0x80][type] ?? 0xc0;
  const bad = attribute(random(3) === 0 ? (random(16) << 4) & 0xe0 : own, type, bytes(random(40)));
  const attributes = good.filter((each) => each[1] !== type || random(4) === 0);
  attributes.splice(random(attributes.length + 1), 0, bad);
  const flat = attributes.flat();
  const body = [0, 0, flat.length >> 8, flat.length & 255, ...flat, 24, 198, 18, random(256)];
  return Buffer.from([...new Array(16).fill(0xff), (body.length + 19) >> 8, (body.length + 19) & 255, 2, ...body]);
}

test("10,000 malformed messages end no session that RFC 7606 keeps; noise ends only its own connection", async () => {
  const on = network();
  const ours = speak(on, [peer({ passive: true })]);
  const socket = await rawNeighbour(on);
  await until(
    () => ours.speaker.status()[0]?.phase === "Established",
    () => why(ours),
  );
  const random = noise(7);
  for (let i = 0; i < 10_000; i++) socket.write(malformedUpdate(random));
  const attributes = attributesOf({ asPath: [{ type: "sequence", ases: [65001] }], nextHop: "10.0.0.2" });
  const nlri = nlriOf(4, [{ prefix: "203.0.113.0/24" }]);
  socket.write(encodeMessage({ type: "update", announced: [{ nlri, attributes }], withdrawn: [], problems: [] }, CONTEXT));
  await until(
    () => ours.routes.has("203.0.113.0/24"),
    () => why(ours),
  );
  const [status] = ours.speaker.status();
  assert.ok((status?.problems ?? 0) > 5000, JSON.stringify(status));
  assert.equal(status?.lastError, undefined);

  for (let i = 0; i < 100; i++) {
    const noisy = await rawNeighbour(on);
    const message = malformedUpdate(random);
    for (let change = 0; change < 8; change++) message[random(message.length)] = random(256);
    noisy.end(Buffer.concat([message, Buffer.from(Array.from({ length: 200 }, () => random(256)))]));
  }
  await until(
    () => ours.speaker.status()[0]?.phase === "Active",
    () => why(ours),
  );
  const last = await rawNeighbour(on);
  await until(
    () => ours.speaker.status()[0]?.phase === "Established",
    () => why(ours),
  );
  last.destroy();
  on.close();
});
