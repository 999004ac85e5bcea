// Our BGP speaker with FRR, GoBGP and ExaBGP in every role: reflector and client exchanged, add-paths both ways, graceful restart of either side.
// (With BIRD: bgp-interop.e2e.test.ts.)
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, describe, test } from "node:test";
import { type PeerConfig, type Speaker, type SpeakerOptions, startSpeaker } from "../src/bgp/index.ts";
import { type BgpNetwork, makeBgpNetwork, transportIn } from "./bgp-network.ts";
import { addToGobgp, type BgpProgram, startBgpd, startExabgp, startGobgpd } from "./bgp-programs.ts";
import { until } from "./patience.ts";

const speakers: Speaker[] = [];
const networks: BgpNetwork[] = [];
after(() => {
  for (const speaker of speakers) speaker.close();
  for (const network of networks) network.close();
});

/** Another program in AS 64512 or another, at 10.0.0.2. */
interface Router extends Pick<BgpProgram, "process" | "again"> {
  /** What it says of a prefix that it has. */
  shown(prefix: string): string;
}

interface Session {
  readonly address: string;
  readonly as: number;
  readonly passive?: boolean;
  readonly client?: boolean;
  readonly addPath?: boolean;
}

interface Setting {
  readonly as: number;
  readonly sessions: readonly Session[];
  /** Its own routes, each with its path identifiers where it has several. */
  readonly routes?: readonly string[];
  readonly restart?: boolean;
}

function frr(on: BgpNetwork, { as, sessions, routes = [], restart }: Setting): Router {
  const lines = sessions.flatMap(({ address, as: theirs, passive, client, addPath }) => [
    [
      ` neighbor ${address} remote-as ${theirs}`,
      ` neighbor ${address} timers connect 1`,
      ...(passive ? [` neighbor ${address} passive`] : []),
    ],
    [
      `  neighbor ${address} activate`,
      ...(client ? [`  neighbor ${address} route-reflector-client`] : []),
      ...(addPath ? [`  neighbor ${address} addpath-tx-all-paths`] : []),
    ],
  ]);
  const { process, ask, again } = startBgpd(
    on,
    `frr defaults datacenter
router bgp ${as}
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
${restart ? " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n" : ""}${lines
  .filter((_, at) => at % 2 === 0)
  .flat()
  .join("\n")}
 address-family ipv4 unicast
${routes.map((prefix) => `  network ${prefix}`).join("\n")}
${lines
  .filter((_, at) => at % 2 === 1)
  .flat()
  .join("\n")}
 exit-address-family
`,
  );
  return { process, again, shown: (prefix) => ask(`show bgp ipv4 unicast ${prefix}`) };
}

function gobgpd(on: BgpNetwork, { as, sessions, routes = [], restart }: Setting): Router {
  const neighbours = sessions.map(
    ({ address, as: theirs, passive, client, addPath }) => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${address}"
    peer-as = ${theirs}
  [neighbors.timers.config]
    connect-retry = 1
${passive ? "  [neighbors.transport.config]\n    passive-mode = true\n" : ""}${client ? '  [neighbors.route-reflector.config]\n    route-reflector-client = true\n    route-reflector-cluster-id = "10.0.0.2"\n' : ""}${restart ? "  [neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = 30\n" : ""}  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
${addPath ? "    [neighbors.afi-safis.add-paths.config]\n      receive = true\n      send-max = 8\n" : ""}${restart ? "    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true\n" : ""}`,
  );
  const { process, ask: gobgp, again } = startGobgpd(on, `[global.config]\n  as = ${as}\n  router-id = "10.0.0.2"\n${neighbours.join("")}`);
  return {
    process,
    again,
    shown(prefix) {
      addToGobgp(gobgp, routes);
      return gobgp("global", "rib", prefix);
    },
  };
}

function exabgp(on: BgpNetwork, { as, sessions, routes = [], restart }: Setting): Router {
  const blocks = sessions.map(
    ({ address, as: theirs, addPath }) => `neighbor ${address} {
  router-id 10.0.0.2; local-address 10.0.0.2; local-as ${as}; peer-as ${theirs};
  capability { ${addPath ? "add-path send/receive;" : ""} ${restart ? "graceful-restart 30;" : ""} }
  family { ipv4 unicast; }
  ${addPath ? "add-path { ipv4 unicast; }" : ""}
  api { processes [ sink ]; receive { parsed; update; } }
  static { ${routes.map((route) => `route ${route} next-hop 10.0.0.2;`).join(" ")} }
}`,
  );
  const { process, ask, again } = startExabgp(on, blocks.join("\n"));
  const lines = (prefix: string) =>
    ask()
      .split("\n")
      .filter((line) => line.includes(prefix));
  return { process, again, shown: (prefix) => lines(prefix).join("\n") };
}

interface Kind {
  readonly name: string;
  readonly path: string;
  readonly start: (on: BgpNetwork, setting: Setting) => Router;
  /** It may be a reflector, and keeps our routes while we are away. ExaBGP is neither a router nor one that keeps any. */
  readonly isRouter: boolean;
  /** Its words for an originator and a cluster list. */
  readonly reflected: RegExp;
  readonly paths: (shown: string) => number;
}

const KINDS: readonly Kind[] = [
  {
    name: "FRR",
    path: "/usr/lib/frr/bgpd",
    start: frr,
    isRouter: true,
    reflected: /Originator: 10\.0\.0\.3, Cluster list: 10\.0\.0\.1/,
    paths: (shown) => shown.match(/AddPath ID: RX [1-9]/g)?.length ?? 0,
  },
  {
    name: "GoBGP",
    path: "/usr/bin/gobgpd",
    start: gobgpd,
    isRouter: true,
    reflected: /\{Originator: 10\.0\.0\.3\} \{ClusterList: \[10\.0\.0\.1\]\}/,
    paths: (shown) => shown.match(/ 6500[34] /g)?.length ?? 0,
  },
  {
    name: "ExaBGP",
    path: "/usr/sbin/exabgp",
    start: exabgp,
    isRouter: false,
    reflected: /"originator-id": "10\.0\.0\.3", "cluster-list": \[ "?10\.0\.0\.1"? \]/,
    paths: (shown) => new Set(shown.match(/"path-information": "[^"]+"/g)).size,
  },
];

function network(): BgpNetwork {
  const made = makeBgpNetwork();
  networks.push(made);
  return made;
}

function ours(on: BgpNetwork, peers: readonly PeerConfig[], options: Partial<SpeakerOptions> = {}): Speaker {
  const speaker = startSpeaker({
    localAs: 64512,
    routerId: "10.0.0.1",
    transport: transportIn(on.ours),
    families: [4],
    multipath: 4,
    ...options,
  });
  speakers.push(speaker);
  speaker.setLocalRoutes([{ prefix: "10.244.1.0/24" }]);
  speaker.setPeers(peers);
  return speaker;
}

/** One more speaker of ours, beside the other program, that connects from 10.0.0.N. */
function another(
  on: BgpNetwork,
  number: number,
  to: string,
  options: { readonly as?: number; readonly routes: readonly string[] },
): Speaker {
  const { as = 64512, routes } = options;
  const speaker = startSpeaker({
    localAs: as,
    routerId: `10.0.0.${number}`,
    transport: transportIn(on.theirs, 1790 + number),
    families: [4],
  });
  speakers.push(speaker);
  speaker.setLocalRoutes(routes.map((prefix) => ({ prefix, nextHop: `10.0.0.${number}` })));
  const peerAs = to === "10.0.0.1" ? 64512 : ("external" as const);
  speaker.setPeers([
    { name: "far", address: to, as: as === 64512 ? "internal" : peerAs, localAddress: `10.0.0.${number}`, connectRetrySeconds: 1 },
  ]);
  return speaker;
}

const peer = (rest: Partial<PeerConfig> = {}): PeerConfig => ({
  name: "peer",
  address: "10.0.0.2",
  as: 65001,
  connectRetrySeconds: 1,
  ...rest,
});
const told = (speaker: Speaker, prefix: string) => speaker.routes({ prefix });
const say = (speaker: Speaker) =>
  JSON.stringify([speaker.status(), speaker.routes()], (_, value) => (typeof value === "bigint" ? String(value) : value));

describe("roles with other programs", { concurrency: 4 }, () => {
  for (const { name, path, start, isRouter, reflected, paths } of KINDS) {
    const skip = existsSync(path) ? false : `NOT RUN: ${name} is missing (apt-get install it)`;

    test(`${name} as client of our reflector sees originator and cluster list of another client`, { skip }, async () => {
      const on = network();
      const router = start(on, { as: 64512, sessions: [{ address: "10.0.0.1", as: 64512 }], routes: ["192.0.2.0/24"] });
      const speaker = ours(on, [
        peer({ as: "internal", reflectorClient: true }),
        peer({ name: "second", address: "10.0.0.3", as: "internal", reflectorClient: true, passive: true }),
      ]);
      const second = another(on, 3, "10.0.0.1", { routes: ["10.244.3.0/24"] });
      await until(
        () => reflected.test(router.shown("10.244.3.0/24")) && told(second, "192.0.2.0/24").length === 1,
        () => say(speaker) + router.shown("10.244.3.0/24"),
      );
      assert.deepEqual(told(second, "192.0.2.0/24")[0]?.attributes.clusterList, [0x0a000001]);
    });

    if (isRouter) {
      test(`we are a client of ${name}'s reflector, with another client`, { skip }, async () => {
        const on = network();
        const sessions = [
          { address: "10.0.0.1", as: 64512, client: true },
          { address: "10.0.0.3", as: 64512, client: true, passive: true },
        ];
        start(on, { as: 64512, sessions });
        const speaker = ours(on, [peer({ as: "internal" })]);
        another(on, 3, "10.0.0.2", { routes: ["10.244.3.0/24"] });
        await until(
          () => told(speaker, "10.244.3.0/24").length === 1,
          () => say(speaker),
        );
        const [route] = told(speaker, "10.244.3.0/24");
        assert.deepEqual(
          [route?.attributes.originatorId, route?.attributes.clusterList, route?.attributes.nextHop],
          [0x0a000003, [0x0a000002], "10.0.0.3"],
        );
      });
    }

    test(`add-paths with ${name}: it sees both of our paths, and we both of its`, { skip }, async () => {
      const on = network();
      const sessions = [
        { address: "10.0.0.1", as: 64512, addPath: true },
        ...(isRouter ? [5, 6].map((number) => ({ address: `10.0.0.${number}`, as: 65000 + number, passive: true })) : []),
      ];
      const routes = isRouter ? [] : ["203.0.113.0/24 path-information 0.0.0.1", "203.0.113.0/24 path-information 0.0.0.2"];
      const router = start(on, { as: 65001, sessions, routes });
      const speaker = ours(on, [
        peer({ addPath: { receive: true, send: true } }),
        ...[3, 4].map((number) => peer({ name: `n${number}`, address: `10.0.0.${number}`, as: 65000 + number, passive: true })),
      ]);
      for (const number of [3, 4]) another(on, number, "10.0.0.1", { as: 65000 + number, routes: ["198.51.100.0/24"] });
      if (isRouter) for (const number of [5, 6]) another(on, number, "10.0.0.2", { as: 65000 + number, routes: ["203.0.113.0/24"] });
      await until(
        () => paths(router.shown("198.51.100.0/24")) === 2 && told(speaker, "203.0.113.0/24").length === 2,
        () => say(speaker) + router.shown("198.51.100.0/24"),
      );
      assert.equal(new Set(told(speaker, "203.0.113.0/24").map(({ pathId }) => pathId)).size, 2);
    });

    test(`graceful restart with ${name}: what it told stays while it is away${isRouter ? ", and what we told while we are" : ""}`, {
      skip,
    }, async () => {
      const on = network();
      const setting = { as: 65001, sessions: [{ address: "10.0.0.1", as: 64512 }], routes: ["192.0.2.0/24"], restart: true };
      const router = start(on, setting);
      const restart = { gracefulRestart: { restartSeconds: 30 } };
      let speaker = ours(on, [peer(restart)]);
      const both = () => /10\.244\.1\.0/.test(router.shown("10.244.1.0/24")) && told(speaker, "192.0.2.0/24").some(({ stale }) => !stale);
      await until(both, () => say(speaker) + router.shown("10.244.1.0/24"));

      router.process().kill("SIGKILL");
      await until(
        () => speaker.status()[0]?.phase !== "Established",
        () => say(speaker),
      );
      assert.deepEqual(
        told(speaker, "192.0.2.0/24").map(({ stale, reason }) => [stale, reason]),
        [[true, "best"]],
      );
      router.again();
      await until(both, () => say(speaker) + router.shown("10.244.1.0/24"));
      if (!isRouter) return;

      speaker.close({ restarting: true });
      await new Promise((resolve) => setTimeout(resolve, 1000));
      assert.match(router.shown("10.244.1.0/24"), /10\.0\.0\.1/, "it keeps our route");
      speaker = ours(on, [peer(restart)], { restarting: true, deferralSeconds: 10 });
      await until(both, () => say(speaker) + router.shown("10.244.1.0/24"));
    });
  }
});
