// What routes carry, both ways with BIRD, FRR, GoBGP and ExaBGP: communities of every kind, MED, long AS paths; TTL security; IPv4 by way of IPv6.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, describe, test } from "node:test";
import {
  attributesOf,
  formatAsPath,
  formatCommunity,
  formatExtendedCommunity,
  formatLargeCommunity,
  type PeerConfig,
  parseCommunity,
  type Speaker,
  type SpeakerOptions,
  startSpeaker,
} from "../src/bgp/index.ts";
import { type BgpNetwork, makeBgpNetwork, transportIn } from "./bgp-network.ts";
import { addToGobgp, startBgpd, startBird, startExabgp, startGobgpd } from "./bgp-programs.ts";
import { until } from "./patience.ts";

const speakers: Speaker[] = [];
const networks: BgpNetwork[] = [];
after(() => {
  for (const speaker of speakers) speaker.close();
  for (const network of networks) network.close();
});

function network(): BgpNetwork {
  const made = makeBgpNetwork();
  networks.push(made);
  return made;
}

const OURS = "10.244.1.0/24";
const THEIRS = "192.0.2.0/24";
const values = (kind: "standard" | "extended" | "large", text: string) => {
  const parsed = parseCommunity(text);
  assert.equal(parsed.kind, kind);
  return parsed.value;
};

function speak(on: BgpNetwork, peer: Partial<PeerConfig> = {}, options: Partial<SpeakerOptions> = {}): Speaker {
  const speaker = startSpeaker({
    localAs: 4_200_000_000,
    routerId: "10.0.0.1",
    addresses: { v4: "10.0.0.1", v6: "fd00::1" },
    transport: transportIn(on.ours),
    families: [4],
    ...options,
  });
  speakers.push(speaker);
  speaker.setLocalRoutes([
    {
      prefix: OURS,
      attributes: attributesOf({
        origin: 2,
        med: 77,
        asPath: [{ type: "sequence", ases: [4_200_000_001, 65010] }],
        communities: [values("standard", "64512:7") as number],
        extendedCommunities: [values("extended", "rt:64512:9") as bigint],
        largeCommunities: [values("large", "4200000000:1:2") as readonly [number, number, number]],
      }),
    },
  ]);
  speaker.setPeers([{ name: "peer", address: "10.0.0.2", as: 65001, connectRetrySeconds: 1, ...peer }]);
  return speaker;
}

interface Program {
  readonly name: string;
  readonly path: string;
  /** Starts it; what it then says of our route. */
  start(on: BgpNetwork): () => string;
  readonly says: readonly RegExp[];
}

/** BIRD with one session. */
const bird = (on: BgpNetwork, session: string, head = "") =>
  startBird(
    on,
    `router id 10.0.0.2;\nprotocol device {}\n${head}\nprotocol bgp fairlead { ${session} connect retry time 1; connect delay time 1; }\n`,
  );

const frr = (on: BgpNetwork, lines: string) =>
  startBgpd(
    on,
    `frr defaults datacenter\nrouter bgp 65001\n bgp router-id 10.0.0.2\n no bgp ebgp-requires-policy\n no bgp network import-check\n${lines}\n`,
  );

const PROGRAMS: readonly Program[] = [
  {
    name: "BIRD",
    path: "/usr/sbin/bird",
    start(on) {
      const head = `filter tell { if source != RTS_STATIC then reject; bgp_med = 5; bgp_community.add((65001,1)); bgp_ext_community.add((rt, 65001, 2)); bgp_large_community.add((65001, 3, 4)); bgp_path.prepend(4200000002); accept; }
protocol static { ipv4; route ${THEIRS} blackhole; }`;
      const session = "local 10.0.0.2 as 65001; neighbor 10.0.0.1 as 4200000000; ipv4 { import all; export filter tell; next hop self; };";
      const { ask } = bird(on, session, head);
      return () => ask(`show route all for ${OURS}`);
    },
    says: [
      /as_path: 4200000000 4200000001 65010/,
      /med: 77/,
      /origin: Incomplete/,
      /BGP.community: \(64512,7\)/,
      /\(rt, 64512, 9\)/,
      /\(4200000000, 1, 2\)/,
    ],
  },
  {
    name: "FRR",
    path: "/usr/lib/frr/bgpd",
    start(on) {
      const { ask } = frr(
        on,
        ` neighbor 10.0.0.1 remote-as 4200000000
 neighbor 10.0.0.1 timers connect 1
 address-family ipv4 unicast
  network ${THEIRS}
  neighbor 10.0.0.1 activate
  neighbor 10.0.0.1 route-map OUT out
 exit-address-family
route-map OUT permit 10
 set metric 5
 set community 65001:1
 set extcommunity rt 65001:2
 set large-community 65001:3:4
 set as-path prepend 4200000002`,
      );
      return () => ask(`show bgp ipv4 unicast ${OURS}`);
    },
    says: [
      /4200000000 4200000001 65010/,
      /metric 77/,
      /Origin incomplete/,
      /Community: 64512:7/,
      /RT:64512:9/,
      /Large Community: 4200000000:1:2/,
    ],
  },
  {
    name: "GoBGP",
    path: "/usr/bin/gobgpd",
    start(on) {
      const { ask: gobgp } = startGobgpd(
        on,
        `[global.config]\n  as = 65001\n  router-id = "10.0.0.2"\n[[neighbors]]\n  [neighbors.config]\n    neighbor-address = "10.0.0.1"\n    peer-as = 4200000000\n  [neighbors.timers.config]\n    connect-retry = 1\n`,
      );
      const attributes = ["community", "65001:1", "med", "5", "rt", "65001:2", "large-community", "65001:3:4", "aspath", "4200000002"];
      return () => {
        addToGobgp(gobgp, [THEIRS], attributes);
        return gobgp("global", "rib", OURS);
      };
    },
    says: [
      /4200000000 4200000001 65010/,
      /\{Med: 77\}/,
      /\{Origin: \?\}/,
      /\{Communities: 64512:7\}/,
      /\{Extcomms: \[64512:9\]\}/,
      /4200000000:1:2/,
    ],
  },
  {
    name: "ExaBGP",
    path: "/usr/sbin/exabgp",
    start(on) {
      return startExabgp(
        on,
        `neighbor 10.0.0.1 {
  router-id 10.0.0.2; local-address 10.0.0.2; local-as 65001; peer-as 4200000000;
  family { ipv4 unicast; }
  api { processes [ sink ]; receive { parsed; update; } }
  static { route ${THEIRS} next-hop 10.0.0.2 med 5 community [ 65001:1 ] extended-community [ target:65001:2 ] large-community [ 65001:3:4 ] as-path [ 65001 4200000002 ]; }
}`,
      ).ask;
    },
    says: [
      /4200000000, 4200000001, 65010/,
      /"med": 77/,
      /"origin": "incomplete"/,
      /64512, 7/,
      /"string": "target:64512:9"/,
      /4200000000, 1 ?, 2/,
    ],
  },
];

describe("attributes with other programs", { concurrency: 4 }, () => {
  for (const { name, path, start, says } of PROGRAMS) {
    const skip = existsSync(path) ? false : `NOT RUN: ${name} is missing (apt-get install it)`;
    test(`${name}: what our route carries arrives, and what its route carries`, { skip }, async () => {
      const on = network();
      const shown = start(on);
      const speaker = speak(on);
      await until(
        () => says.every((expected) => expected.test(shown())) && speaker.routes({ prefix: THEIRS }).length === 1,
        () => shown() + JSON.stringify(speaker.status()),
      );
      const [route] = speaker.routes({ prefix: THEIRS });
      assert.ok(route);
      const { attributes } = route;
      assert.equal(formatAsPath(attributes.asPath), "65001 4200000002");
      assert.equal(attributes.med, 5);
      assert.deepEqual(attributes.communities.map(formatCommunity), ["65001:1"]);
      assert.deepEqual(attributes.extendedCommunities.map(formatExtendedCommunity), ["rt:65001:2"]);
      assert.deepEqual(attributes.largeCommunities.map(formatLargeCommunity), ["65001:3:4"]);
    });
  }

  const skipFrr = existsSync("/usr/lib/frr/bgpd") ? false : "NOT RUN: FRR is missing (apt-get install frr)";
  const skipBird = existsSync("/usr/sbin/bird") ? false : "NOT RUN: BIRD is missing (apt-get install bird2)";

  test("FRR with TTL security: none with a plain neighbour, one by a hop", { skip: skipFrr }, async () => {
    const on = network();
    const { ask } = frr(
      on,
      ` neighbor 10.0.0.1 remote-as 4200000000
 neighbor 10.0.0.1 timers connect 1
 neighbor 10.0.0.1 ttl-security hops 1
 address-family ipv4 unicast
  network ${THEIRS}
  neighbor 10.0.0.1 activate`,
    );
    const summary = () => ask("show bgp ipv4 unicast summary");
    await until(() => summary().includes("10.0.0.1 "), summary);
    const speaker = speak(on);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    // Our OPEN may come before FRR has set the least TTL of a connection that it accepted: we may think the session up, FRR never does.
    assert.deepEqual(speaker.routes({ prefix: THEIRS }), [], "our packets have a TTL of 64");
    assert.match(summary(), /10\.0\.0\.1 .*(Idle|Connect|Active|OpenSent|OpenConfirm)/);
    speaker.setPeers([{ name: "peer", address: "10.0.0.2", as: 65001, connectRetrySeconds: 1, ttlSecurityHops: 1 }]);
    await until(
      () => speaker.routes({ prefix: THEIRS }).length === 1,
      () => JSON.stringify(speaker.status()),
    );
  });

  const sixOnly = { name: "peer", address: "fd00::2", as: 65001, connectRetrySeconds: 1, extendedNextHop: true } as const;

  test("BIRD: IPv4 routes with IPv6 next hops (RFC 8950), both ways", { skip: skipBird }, async () => {
    const on = network();
    const session =
      "local fd00::2 as 65001; neighbor fd00::1 as 4200000000; ipv4 { import all; export where source = RTS_STATIC; next hop self; extended next hop on; };";
    const { ask } = bird(on, session, `protocol static { ipv4; route ${THEIRS} blackhole; }`);
    const speaker = speak(on, sixOnly, { addresses: { v6: "fd00::1" } });
    await until(
      () =>
        speaker.routes({ prefix: THEIRS })[0]?.attributes.nextHop === "fd00::2" &&
        /next_hop: fd00::1/.test(ask(`show route all for ${OURS}`)),
      () => JSON.stringify(speaker.status()) + ask("show route all"),
    );
  });

  test("FRR: IPv4 routes with IPv6 next hops (RFC 8950), both ways", { skip: skipFrr }, async () => {
    const on = network();
    const { ask } = frr(
      on,
      ` neighbor fd00::1 remote-as 4200000000
 neighbor fd00::1 timers connect 1
 neighbor fd00::1 capability extended-nexthop
 address-family ipv4 unicast
  network ${THEIRS}
  neighbor fd00::1 activate`,
    );
    const speaker = speak(on, sixOnly, { addresses: { v6: "fd00::1" } });
    await until(
      () => speaker.routes({ prefix: THEIRS })[0]?.attributes.nextHop === "fd00::2" && /fd00::1/.test(ask(`show bgp ipv4 unicast ${OURS}`)),
      () => JSON.stringify(speaker.status()) + ask("show bgp ipv4 unicast"),
    );
  });

  test("BIRD keeps long-lived stale routes of ours, and we of it (RFC 9494)", { skip: skipBird }, async () => {
    const on = network();
    const session = `local 10.0.0.2 as 65001; neighbor 10.0.0.1 as 4200000000; graceful restart on; graceful restart time 1; long lived graceful restart on; long lived stale time 60;
      ipv4 { import all; export where source = RTS_STATIC; next hop self; };`;
    const { ask } = bird(on, session, `protocol static { ipv4; route ${THEIRS} blackhole; }`);
    const restart = { gracefulRestart: { restartSeconds: 1, longLivedSeconds: 60 } };
    const speaker = speak(on, restart);
    await until(
      () => speaker.routes({ prefix: THEIRS }).length === 1 && ask("show route").includes(OURS),
      () => JSON.stringify(speaker.status()),
    );
    speaker.close({ restarting: true });
    const kept = () => ask(`show route all for ${OURS}`);
    await until(() => /65535,\s?6/.test(kept()), kept);
  });
});
