// One neighbour at work: carries events from sockets and timers to the session's steps, and their effects back.
import type { Socket } from "node:net";
import { type Family, messageOf } from "../../base/index.ts";
import type { ExportGroup } from "../rib/export-group.ts";
import type { Rib } from "../rib/rib.ts";
import { type Negotiated, receivingContext, type SessionConfig } from "../session/negotiate.ts";
import {
  establishedOf,
  initialState,
  type Phase,
  phaseOf,
  type SessionEffect,
  type SessionEvent,
  type SessionState,
  type Side,
  step,
  type TimerName,
} from "../session/session.ts";
import { decodeMessage, EXTENDED_MESSAGE_LIMIT, encodeMessage, type Message, PLAIN_CONTEXT } from "../wire/message.ts";
import type { ProtocolError } from "../wire/protocol-error.ts";
import type { UpdateContext } from "../wire/update.ts";
import { Link } from "./link.ts";
import { minimumTtlOf, type PeerConfig, roleOf } from "./peer-config.ts";
import type { MonitorLine, PeerEvent, PeerStatus } from "./peer-events.ts";
import { exportSettings, importSettings } from "./peer-settings.ts";
import { routesTold } from "./story.ts";
import type { Clock, Transport } from "./transport.ts";

/** What a neighbour needs of the speaker around it. */
export interface PeerHost {
  readonly rib: Rib;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly localAs: number;
  readonly clusterId: number;
  readonly addresses: { readonly v4: string | undefined; readonly v6: string | undefined };
  /** Not yet: after a restart, routes go out when all have come in. */
  readonly holdsBack: () => boolean;
  readonly report: (event: PeerEvent) => void;
  /** Undefined: nobody watches messages. */
  readonly watch: ((direction: "in" | "out", peer: string, bytes: Uint8Array) => void) | undefined;
  readonly changed: () => void;
  /** A dynamic neighbour that is gone. */
  readonly over: (peer: Peer) => void;
}

/** Where a message's type stands, and that of OPEN. */
const TYPE_AT = 18;
const OPEN_TYPE = 1;
/** After how long a neighbour that takes nothing gets a group of its own. */
const SPLIT_AFTER_MS = 1000;

export class Peer {
  config: PeerConfig;
  readonly number: number;
  state: SessionState;
  readonly ended = new Set<Family>();
  readonly groups = new Map<Family, ExportGroup>();
  readonly #host: PeerHost;
  readonly #session: SessionConfig;
  readonly #links = new Map<Side, Link>();
  readonly #timers = new Map<TimerName, { cancel(): void }>();
  /** OPENs by direction and side, in hex. */
  readonly #opens = new Map<string, string>();
  #context: UpdateContext = PLAIN_CONTEXT;
  #phase: Phase = "Idle";
  #since: number;
  #problems = 0;
  #closed = false;

  constructor(config: PeerConfig, session: SessionConfig, host: PeerHost, restarting: boolean) {
    this.config = config;
    this.#session = session;
    this.#host = host;
    this.#since = host.clock.now();
    this.state = initialState({ restarting });
    this.number = host.rib.setPeer(importSettings(this.config, this.#localAs, undefined));
  }

  get address(): string {
    return this.config.address;
  }

  /** Takes one event to the session and carries out what follows. */
  feed(event: SessionEvent): undefined {
    if (this.#closed) return;
    const { state, effects } = step(this.#session, this.state, event);
    this.state = state;
    for (const effect of effects) this.#carryOut(effect);
    const phase = phaseOf(this.state);
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#since = this.#host.clock.now();
      this.#host.report({ type: "phase", peer: this.config.name, phase, why: this.state.lastError });
    }
    if (this.config.name.startsWith("dynamic ") && this.#links.size === 0 && this.state.kept.length === 0) this.#host.over(this);
  }

  /** A connection that the neighbour opened. */
  accept(socket: Socket): undefined {
    const link = this.#link("incoming", socket);
    // The step closes an older one of the same side; it must not close this one.
    const older = this.#links.get("incoming");
    older?.abort();
    if (older && this.state.incoming) this.feed({ type: "closed", side: "incoming", why: "the neighbour connected anew" });
    this.#links.set("incoming", link);
    this.feed({ type: "connected", side: "incoming" });
  }

  /** What a monitor that comes later must know: the OPENs of the session, and the routes that came, as messages. */
  story(): MonitorLine[] {
    const up = establishedOf(this.state);
    const peer = this.config.name;
    const lines: MonitorLine[] = [];
    if (up) {
      for (const direction of ["out", "in"] as const) {
        const hex = this.#opens.get(`${direction} ${up.side}`);
        if (hex !== undefined) lines.push({ type: "message", direction, peer, hex });
      }
      lines.push({ type: "phase", peer, phase: "Established", why: undefined });
    }
    for (const family of this.#session.families)
      lines.push(...routesTold(this.#host.rib.received(this.number, family), { peer, family, context: this.#context }));
    return lines;
  }

  /** Ends the session for good and forgets the routes. */
  close(subcode: number, words?: string): undefined {
    this.feed({ type: "stop", subcode, ...(words === undefined ? {} : { words }) });
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#leaveGroups();
    this.#host.rib.removePeer(this.number);
  }

  /** Vanishes without a word, as a process that is killed: the neighbour keeps our routes (graceful restart). */
  abandon(): undefined {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
    for (const link of this.#links.values()) link.abort();
    this.#leaveGroups();
  }

  /** Starts sending routes. */
  join(): undefined {
    const up = establishedOf(this.state);
    const link = up && this.#links.get(up.side);
    if (!up || !link || this.groups.size > 0) return;
    const { negotiated } = up;
    for (const family of negotiated.families) {
      this.#joinGroup(family, negotiated, link);
      this.#send(up.side, { type: "update", announced: [], withdrawn: [], endOfRib: family, problems: [] });
    }
  }

  /** Applies other filters to what has come in and what has gone out; the session stays. */
  setFilters(config: PeerConfig): undefined {
    this.config = config;
    const up = establishedOf(this.state);
    const { rib } = this.#host;
    rib.setPeer(importSettings(this.config, this.#localAs, up?.negotiated), this.number);
    rib.refilter(this.number);
    const link = up && this.#links.get(up.side);
    if (!up || !link || this.groups.size === 0) return;
    const before = [...this.groups];
    this.groups.clear();
    for (const [family, group] of before) {
      const next = this.#joinGroup(family, up.negotiated, link);
      next.withdrawMissing(this.number, group);
      rib.leave(family, group, this.number);
    }
  }

  get isSlow(): boolean {
    const up = establishedOf(this.state);
    return up !== undefined && this.#links.get(up.side)?.slow === true;
  }

  /** Keeps a slow neighbour from holding up those of its groups. */
  splitIfStuck(): undefined {
    const up = establishedOf(this.state);
    const link = up && this.#links.get(up.side);
    if (!link || this.#host.clock.now() - link.lastTaken < SPLIT_AFTER_MS) return;
    for (const [family, group] of this.groups) this.groups.set(family, this.#host.rib.split(family, group, this.number));
  }

  status(): PeerStatus {
    const up = establishedOf(this.state);
    const links = [...this.#links.values()];
    const families = up?.negotiated.families ?? this.#session.families;
    return {
      name: this.config.name,
      address: this.config.address,
      as: up?.negotiated.peerAs ?? this.config.as,
      type: up ? roleOf(this.config, up.negotiated.external) : undefined,
      phase: this.#phase,
      forSeconds: Math.floor((this.#host.clock.now() - this.#since) / 1000),
      lastError: this.state.lastError,
      lastFault: this.state.lastFault,
      hostName: up?.negotiated.hostName,
      holdSeconds: up?.negotiated.holdSeconds,
      families: families.map((family) => ({
        family,
        received: this.#host.rib.countOf(this.number, family),
        sent: this.groups.get(family)?.count().sent ?? 0,
        kept: this.state.kept.some((each) => each.family === family),
      })),
      messagesIn: links.reduce((sum, link) => sum + link.messagesIn, 0),
      messagesOut: links.reduce((sum, link) => sum + link.messagesOut, 0),
      problems: this.#problems,
    };
  }

  #carryOut(effect: SessionEffect): undefined {
    switch (effect.type) {
      case "connect":
        return this.#connect();
      case "send":
        return this.#send(effect.side, effect.message);
      case "close":
        this.#links.get(effect.side)?.close();
        this.#links.delete(effect.side);
        return;
      case "set-timer":
        return this.#setTimer(effect.timer, effect.seconds * 1000);
      case "clear-timer":
        this.#timers.get(effect.timer)?.cancel();
        this.#timers.delete(effect.timer);
        return;
      case "up":
        return this.#up(effect.side, effect.negotiated);
      case "down":
        return this.#down(effect.keep);
      case "sweep":
        this.#host.rib.sweep(this.number, effect.family);
        this.#tellRoutes(effect.family, "sweep");
        this.#host.changed();
        return;
      case "long-lived":
        this.#host.rib.markLongLived(this.number, effect.family);
        this.#tellRoutes(effect.family, "long-lived");
        this.#host.changed();
        return;
      case "refresh":
        return this.#refresh(effect.family, effect.mark);
    }
  }

  #connect(): undefined {
    const { address, port = 179, localAddress, password } = this.config;
    try {
      const socket = this.#host.transport.connect({ address, port, localAddress, password, minimumTtl: minimumTtlOf(this.config) });
      const link = this.#link("outgoing", socket);
      this.#links.set("outgoing", link);
      socket.once("connect", () => {
        if (this.#links.get("outgoing") === link) this.feed({ type: "connected", side: "outgoing" });
      });
    } catch (error) {
      // Not within the step that asked for the connection.
      this.#host.clock.after(0, () => this.feed({ type: "closed", side: "outgoing", why: messageOf(error) }));
    }
  }

  #link(side: Side, socket: Socket): Link {
    const link: Link = new Link(
      socket,
      {
        message: (bytes) => this.#received(side, link, bytes),
        malformed: (error) => this.feed({ type: "malformed", side, error }),
        closed: (why) => {
          if (this.#links.get(side) !== link) return;
          this.#links.delete(side);
          this.feed({ type: "closed", side, why });
        },
        drained: () => this.#host.changed(),
      },
      () => this.#host.clock.now(),
    );
    return link;
  }

  #received(side: Side, link: Link, bytes: Buffer): boolean {
    this.#host.watch?.("in", this.config.name, bytes);
    if (bytes[TYPE_AT] === OPEN_TYPE) this.#opens.set(`in ${side}`, bytes.toString("hex"));
    const connection = this.state[side];
    const established = connection?.phase === "established";
    const decoded = decodeMessage(bytes, established ? this.#context : PLAIN_CONTEXT, EXTENDED_MESSAGE_LIMIT);
    if (!decoded.ok) this.#malformed(side, decoded.error);
    else if (decoded.value.type === "update" && established) this.#takeUpdate(decoded.value);
    else this.feed({ type: "message", side, message: decoded.value });
    return this.#links.get(side) === link;
  }

  #malformed(side: Side, error: ProtocolError): undefined {
    this.feed({ type: "malformed", side, error });
  }

  #takeUpdate(update: Extract<Message, { type: "update" }>): undefined {
    const { rib } = this.#host;
    for (const { says, action } of update.problems) {
      this.#problems++;
      this.#host.report({ type: "problem", peer: this.config.name, says, action });
    }
    for (const nlri of update.withdrawn) rib.withdraw(this.number, nlri);
    for (const { nlri, attributes } of update.announced) {
      rib.announce(this.number, nlri, attributes);
      const limit = this.config.maxPrefixes;
      if (limit !== undefined && rib.countOf(this.number, nlri.family) > limit) {
        this.feed({ type: "prefix-limit", family: nlri.family, limit });
        return;
      }
    }
    if (update.endOfRib !== undefined) {
      this.ended.add(update.endOfRib);
      this.feed({ type: "end-of-rib", family: update.endOfRib });
      this.#host.report({ type: "end-of-rib", peer: this.config.name, family: update.endOfRib });
    }
    this.#host.changed();
  }

  #up(side: Side, negotiated: Negotiated): undefined {
    this.#context = receivingContext(negotiated);
    const link = this.#links.get(side);
    if (link) link.messageLimit = EXTENDED_MESSAGE_LIMIT;
    this.ended.clear();
    this.#host.rib.setPeer(importSettings(this.config, this.#localAs, negotiated), this.number);
    if (!this.#host.holdsBack()) this.join();
    this.#host.changed();
  }

  #down(keep: readonly Family[]): undefined {
    this.#leaveGroups();
    for (const family of this.#session.families) {
      if (keep.includes(family)) this.#host.rib.markStale(this.number, family);
      else this.#host.rib.drop(this.number, family);
      this.#tellRoutes(family, keep.includes(family) ? "stale" : "drop");
    }
    this.#host.changed();
  }

  #tellRoutes(family: Family, what: "drop" | "stale" | "long-lived" | "sweep"): undefined {
    this.#host.report({ type: "routes", peer: this.config.name, family, what });
  }

  #joinGroup(family: Family, negotiated: Negotiated, link: Link): ExportGroup {
    const { addresses, clusterId } = this.#host;
    const ends = { localAs: this.#localAs, clusterId, addresses, local: link.socket.localAddress };
    const settings = exportSettings(this.config, negotiated, family, ends);
    const { filter: _, ...named } = settings;
    const key = JSON.stringify([named, this.config.exportFilter]);
    const member = { peer: this.number, send: (bytes: Uint8Array) => this.#sendRaw(bytes) };
    const group = this.#host.rib.join(family, key, settings, member);
    this.groups.set(family, group);
    return group;
  }

  #leaveGroups(): undefined {
    for (const [family, group] of this.groups) this.#host.rib.leave(family, group, this.number);
    this.groups.clear();
  }

  #refresh(family: Family, mark: "request" | "begin" | "end"): undefined {
    const { rib } = this.#host;
    if (mark === "begin") return rib.markStale(this.number, family);
    if (mark === "end") {
      rib.sweep(this.number, family);
      this.#host.changed();
      return;
    }
    const up = establishedOf(this.state);
    const group = this.groups.get(family);
    if (!up || !group) return;
    // RFC 7313 §4: marks tell what the refresh replaces.
    if (up.negotiated.enhancedRefresh) this.#send(up.side, { type: "route-refresh", family, mark: "begin" });
    group.resend(this.number);
    if (up.negotiated.enhancedRefresh) this.#send(up.side, { type: "route-refresh", family, mark: "end" });
  }

  #setTimer(timer: TimerName, milliseconds: number): undefined {
    this.#timers.get(timer)?.cancel();
    this.#arm(timer, milliseconds, milliseconds);
  }

  #arm(timer: TimerName, wait: number, milliseconds: number): undefined {
    const { clock } = this.#host;
    const expired = () => this.#expired(timer, milliseconds);
    this.#timers.set(timer, timer.startsWith("hold-") ? clock.silence(wait, expired) : clock.after(wait, expired));
  }

  #expired(timer: TimerName, milliseconds: number): undefined {
    this.#timers.delete(timer);
    const side = timer.endsWith("outgoing") ? "outgoing" : "incoming";
    const link = this.#links.get(side);
    if (timer.startsWith("hold-") && link && this.state[side]?.phase === "established") {
      // Setting a timer anew for each UPDATE would cost more than the UPDATE: when it ends, what was heard meanwhile counts.
      const rest = link.lastHeard + milliseconds - this.#host.clock.now();
      if (rest > 1) return this.#arm(timer, rest, milliseconds);
    }
    if (timer.startsWith("keepalive-") && link && link.waiting > 0) {
      const held = Math.max(this.#session.holdSeconds * 2, 60) * 1000;
      if (this.#host.clock.now() - link.lastTaken > held) return this.feed({ type: "send-stalled" });
    }
    this.feed({ type: "timer", timer });
  }

  #send(side: Side, message: Message): undefined {
    const link = this.#links.get(side);
    if (!link) return;
    const bytes = encodeMessage(message, PLAIN_CONTEXT);
    this.#host.watch?.("out", this.config.name, bytes);
    if (message.type === "open") this.#opens.set(`out ${side}`, Buffer.from(bytes).toString("hex"));
    link.messagesOut++;
    link.send(bytes);
  }

  #sendRaw(bytes: Uint8Array): undefined {
    const up = establishedOf(this.state);
    const link = up && this.#links.get(up.side);
    if (!link) return;
    this.#host.watch?.("out", this.config.name, bytes);
    link.messagesOut++;
    link.send(bytes);
  }

  get #localAs(): number {
    return this.config.localAs ?? this.#host.localAs;
  }
}
