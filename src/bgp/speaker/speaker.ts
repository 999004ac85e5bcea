// The speaker: neighbours, routes and the connection to the world. It decides nothing itself; session and routes do.
//
//   Transport ──▶ Link ──▶ Peer ──step──▶ Rib ──flush──▶ groups ──▶ Link
//                                          └──changes──▶ onRoutes (the kernel writer)
import type { Socket } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { type Family, prefixContains, tryParseAddress, tryParsePrefix } from "../../base/index.ts";
import { BgpError } from "../errors.ts";
import { compileFilter } from "../rib/filter.ts";
import { type LocalRoute, Rib, type RouteChange, type RouteView } from "../rib/rib.ts";
import { establishedOf } from "../session/session.ts";
import { parseRouterId } from "../wire/address-text.ts";
import { CEASE } from "../wire/protocol-error.ts";
import { Peer, type PeerHost } from "./peer.ts";
import { checkPeer, isDynamic, minimumTtlOf, type PeerConfig, rangeOf, sessionConfigOf } from "./peer-config.ts";
import type { MonitorLine, PeerEvent, PeerStatus } from "./peer-events.ts";
import { type Clock, systemClock, type Transport } from "./transport.ts";

export interface SpeakerOptions {
  readonly localAs: number;
  /** Dotted quad. */
  readonly routerId: string;
  /** Of the reflectors that share clients; default the router ID. */
  readonly clusterId?: string;
  readonly families?: readonly Family[];
  readonly hostName?: string;
  readonly transport: Transport;
  readonly clock?: Clock;
  /** Our addresses, for next hops of the family that a session does not run over. */
  readonly addresses?: { readonly v4?: string; readonly v6?: string };
  /** Most next hops of one route; default 1. */
  readonly multipath?: number;
  /** Cost of the way to a next hop; undefined: there is none. */
  readonly metricOf?: (nextHop: string) => number | undefined;
  /** We have been here before and our kernel has kept the routes: neighbours are told, and nothing goes out before all have sent theirs. */
  readonly restarting?: boolean;
  /** Seconds to wait for that; default 120. */
  readonly deferralSeconds?: number;
  /** Best routes that changed, in batches. */
  readonly onRoutes?: (changes: readonly RouteChange[]) => void;
  readonly onEvent?: (event: PeerEvent) => void;
}

export interface Speaker {
  /** Sets all neighbours. What did not change is not disturbed; a filter that changed is applied without ending the session. @throws BgpError */
  setPeers(peers: readonly PeerConfig[]): void;
  /** Sets all routes of our own. @throws FairleadError `bad-prefix` */
  setLocalRoutes(routes: readonly LocalRoute[]): void;
  status(): PeerStatus[];
  /** Routes in, with the reason of each choice. */
  routes(filter?: { readonly peer?: string; readonly prefix?: string; readonly family?: Family }): RouteView[];
  bestRoutes(): RouteChange[];
  /** What goes out to a neighbour, and why not. @throws BgpError `unknown-peer` */
  sentTo(peer: string): { readonly prefix: string; readonly sent: boolean; readonly reason: string }[];
  /** Ends a session; it comes again. @throws BgpError `unknown-peer` */
  reset(peer: string, words?: string): void;
  /**
   * JSON lines: first what is (settings, sessions with their OPENs, routes as UPDATEs), then what happens and each message, until the
   * returned function is called. `replayMonitor` reads them again. Passwords are not among them.
   */
  monitor(listener: (line: string) => void): () => void;
  /** BFD says that the neighbour at the address is gone. */
  neighbourLost(address: string): void;
  /** The ways to next hops changed. */
  nextHopsChanged(): void;
  /** Ends all sessions: with a word, or silently so that neighbours with graceful restart keep our routes. */
  close(options?: { readonly words?: string; readonly restarting?: boolean }): void;
}

/** At most one flush in this time: routes that come in a burst go out together. */
const FLUSH_MS = 10;
/** Prefixes that one flush sends: what is written before it can go out takes memory. */
const FLUSH_PREFIXES = 50_000;

/** Starts a speaker. @throws BgpError `bad-router-id` */
export function startSpeaker(options: SpeakerOptions): Speaker {
  return new RunningSpeaker(options);
}

class RunningSpeaker implements Speaker {
  readonly #options: SpeakerOptions;
  readonly #clock: Clock;
  readonly #rib: Rib;
  readonly #host: PeerHost;
  readonly #families: readonly Family[];
  readonly #routerId: number;
  #configs: readonly PeerConfig[] = [];
  readonly #peers = new Map<string, Peer>();
  readonly #monitors = new Set<(line: string) => void>();
  readonly #listener: ReturnType<Transport["listen"]>;
  #restarting: boolean;
  #deferral: { cancel(): void } | undefined;
  #scheduled: { cancel(): void } | undefined;
  #lagging: { cancel(): void } | undefined;
  #lastFlush = 0;
  #closed = false;

  constructor(options: SpeakerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#families = options.families ?? [4, 6];
    this.#routerId = parseRouterId(options.routerId);
    const clusterId = parseRouterId(options.clusterId ?? options.routerId);
    this.#restarting = options.restarting ?? false;
    const { localAs, metricOf, multipath = 1 } = options;
    this.#rib = new Rib({ localAs, routerId: this.#routerId, clusterId, families: this.#families, multipath, metricOf });
    if (options.onRoutes) this.#rib.watch();
    const monitors = this.#monitors;
    const watch = (direction: "in" | "out", peer: string, bytes: Uint8Array) =>
      this.#tell({ type: "message", direction, peer, hex: Buffer.from(bytes).toString("hex") });
    this.#host = {
      rib: this.#rib,
      clock: this.#clock,
      transport: options.transport,
      localAs,
      clusterId,
      addresses: { v4: options.addresses?.v4, v6: options.addresses?.v6 },
      holdsBack: () => this.#restarting,
      report: (event) => this.#report(event),
      get watch() {
        return monitors.size > 0 ? watch : undefined;
      },
      changed: () => this.#schedule(),
      over: (peer) => this.#forgetDynamic(peer),
    };
    this.#listener = options.transport.listen((socket) => this.#accept(socket));
    if (this.#restarting) this.#deferral = this.#clock.after((options.deferralSeconds ?? 120) * 1000, () => this.#restarted());
  }

  setPeers(peers: readonly PeerConfig[]): undefined {
    const names = new Set<string>();
    for (const peer of peers) {
      checkPeer(peer);
      if (names.has(peer.name))
        throw new BgpError("duplicate-peer", `two neighbours are named ${peer.name}`, { remedy: "give each its own name" });
      names.add(peer.name);
      for (const filter of [peer.importFilter, peer.exportFilter]) if (filter) compileFilter(filter);
    }
    const before = this.#configs;
    this.#configs = peers;
    this.#listener.expect(peers.map((peer) => ({ from: rangeOf(peer), password: peer.password, minimumTtl: minimumTtlOf(peer) })));
    const named = new Map(peers.map((peer) => [peer.name, peer]));
    for (const old of before) {
      const now = named.get(old.name);
      if (now && isDeepStrictEqual(now, old)) continue;
      for (const peer of [...this.#peers.values()].filter(
        ({ config }) => config.name === old.name || config.name.startsWith(`dynamic ${old.name} `),
      )) {
        if (now && isDeepStrictEqual(withoutFilters(now), withoutFilters(old))) {
          const { name, address, passive } = peer.config;
          peer.setFilters({ ...now, name, address, ...(passive === undefined ? {} : { passive }) });
          if (this.#monitors.size > 0) this.#tell(introduction(peer.config));
          continue;
        }
        this.#peers.delete(peer.config.name);
        peer.close(now ? CEASE.otherChange : CEASE.deconfigured);
      }
    }
    for (const config of peers) {
      if (isDynamic(config) || this.#peers.has(config.name)) continue;
      this.#add(config).feed({ type: "start" });
    }
    this.#schedule();
  }

  setLocalRoutes(routes: readonly LocalRoute[]): undefined {
    this.#rib.setLocalRoutes(routes);
    if (this.#monitors.size > 0) this.#tell({ type: "local", routes: this.#rib.localRoutes() });
    this.#schedule();
  }

  status(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => peer.status());
  }

  routes(filter: { readonly peer?: string; readonly prefix?: string; readonly family?: Family } = {}): RouteView[] {
    const { peer, ...rest } = filter;
    return this.#rib.routes(peer === undefined ? rest : { ...rest, peer: this.#named(peer).number });
  }

  bestRoutes(): RouteChange[] {
    return this.#rib.bestRoutes();
  }

  sentTo(name: string): { readonly prefix: string; readonly sent: boolean; readonly reason: string }[] {
    const peer = this.#named(name);
    return [...peer.groups].flatMap(([family, group]) => this.#rib.sentTo(family, group, peer.number));
  }

  reset(name: string, words?: string): undefined {
    this.#named(name).feed({ type: "reset", subcode: CEASE.reset, ...(words === undefined ? {} : { words }) });
  }

  monitor(listener: (line: string) => void): () => void {
    const { localAs, routerId, clusterId = routerId, multipath = 1 } = this.#options;
    const say = (what: MonitorLine) => listener(JSON.stringify({ time: Date.now(), ...what }));
    say({ type: "speaker", localAs, routerId, clusterId, families: this.#families, multipath, routes: this.#rib.localRoutes() });
    for (const peer of this.#peers.values()) {
      say(introduction(peer.config));
      for (const line of peer.story()) say(line);
    }
    this.#monitors.add(listener);
    return () => void this.#monitors.delete(listener);
  }

  neighbourLost(address: string): undefined {
    for (const peer of this.#peers.values()) if (peer.address === address) peer.feed({ type: "bfd-down" });
    this.#flush();
  }

  nextHopsChanged(): undefined {
    this.#rib.decideAll();
    this.#schedule();
  }

  close(options: { readonly words?: string; readonly restarting?: boolean } = {}): undefined {
    this.#closed = true;
    this.#scheduled?.cancel();
    this.#lagging?.cancel();
    this.#deferral?.cancel();
    this.#listener.close();
    for (const peer of this.#peers.values()) {
      if (options.restarting) peer.abandon();
      else peer.close(CEASE.shutdown, options.words);
    }
    this.#peers.clear();
  }

  #named(name: string): Peer {
    const peer = this.#peers.get(name);
    if (!peer)
      throw new BgpError("unknown-peer", `there is no neighbour ${name}`, { remedy: `one of: ${[...this.#peers.keys()].join(", ")}` });
    return peer;
  }

  #add(config: PeerConfig): Peer {
    const { localAs, hostName } = this.#options;
    const session = sessionConfigOf(config, { localAs, routerId: this.#routerId, families: this.#families, hostName });
    const peer = new Peer(config, session, this.#host, this.#restarting);
    this.#peers.set(config.name, peer);
    if (this.#monitors.size > 0) this.#tell(introduction(config));
    return peer;
  }

  #accept(socket: Socket): undefined {
    const from = (socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "").split("%")[0] ?? "";
    const known = [...this.#peers.values()].find(({ address }) => address.split("%")[0] === from);
    if (known) return known.accept(socket);
    const address = tryParseAddress(from);
    const range = this.#configs.find((config) => {
      const prefix = isDynamic(config) ? tryParsePrefix(config.address) : undefined;
      return address && prefix && prefixContains(prefix, address);
    });
    if (!range || this.#closed) {
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    const peer = this.#add({ ...range, name: `dynamic ${range.name} ${from}`, address: from, passive: true });
    peer.feed({ type: "start" });
    peer.accept(socket);
  }

  #forgetDynamic(peer: Peer): undefined {
    if (this.#closed || this.#peers.get(peer.config.name) !== peer || establishedOf(peer.state)) return;
    // Not within the step that reported it; and not while its first connection is being taken.
    this.#clock.after(0, () => {
      if (peer.state.incoming || this.#peers.get(peer.config.name) !== peer) return;
      this.#peers.delete(peer.config.name);
      peer.close(CEASE.deconfigured);
    });
  }

  #tell(what: MonitorLine): undefined {
    const line = JSON.stringify({ time: Date.now(), ...what });
    for (const listener of [...this.#monitors]) listener(line);
  }

  #report(event: PeerEvent): undefined {
    this.#options.onEvent?.(event);
    if (this.#monitors.size > 0) this.#tell(event);
    if (this.#restarting && event.type === "end-of-rib") this.#checkRestarted();
  }

  /** RFC 4724 §4.1: routes go out once every neighbour has sent its own. */
  #checkRestarted(): undefined {
    const done = [...this.#peers.values()].every((peer) => {
      const up = establishedOf(peer.state);
      return up?.negotiated.families.every((family) => peer.ended.has(family)) ?? false;
    });
    if (done) this.#restarted();
  }

  #restarted(): undefined {
    if (!this.#restarting) return;
    this.#restarting = false;
    this.#deferral?.cancel();
    for (const peer of this.#peers.values()) {
      peer.feed({ type: "restarted" });
      peer.join();
    }
    this.#flush();
    this.#report({ type: "restarted" });
  }

  #schedule(): undefined {
    if (this.#scheduled || this.#closed) return;
    const wait = Math.max(0, this.#lastFlush + FLUSH_MS - this.#clock.now());
    this.#scheduled = this.#clock.after(wait, () => this.#flush());
  }

  #flush(): undefined {
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
    if (this.#closed) return;
    const slow = new Set<number>();
    for (const peer of this.#peers.values()) {
      if (!peer.isSlow) continue;
      peer.splitIfStuck();
      slow.add(peer.number);
    }
    const left = this.#rib.flush(
      (group) => slow.size === 0 || ![...group.members.keys()].some((number) => slow.has(number)),
      FLUSH_PREFIXES,
    );
    if (this.#options.onRoutes && !this.#restarting) {
      const changes = this.#rib.takeChanges();
      if (changes.length > 0) this.#options.onRoutes(changes);
    }
    this.#lastFlush = this.#clock.now();
    // A slow neighbour may never drain: it must still be noticed.
    this.#lagging?.cancel();
    if (left.more) this.#schedule();
    this.#lagging = left.held ? this.#clock.after(200, () => this.#flush()) : undefined;
  }
}

function withoutFilters({ importFilter: _, exportFilter: __, ...rest }: PeerConfig): object {
  return rest;
}

/** What a monitor is told of a neighbour's settings: all but its password. */
function introduction({ password: _, ...config }: PeerConfig): MonitorLine {
  return { type: "peer", peer: config.name, config };
}
