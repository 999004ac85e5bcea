// A monitor's lines taken in again: the same messages into the same tables give the same routes, for the same reasons.
import type { Family } from "../../base/index.ts";
import { compileFilter } from "../rib/filter.ts";
import { Rib, type RouteView } from "../rib/rib.ts";
import { type Negotiated, negotiate, receivingContext } from "../session/negotiate.ts";
import { parseRouterId } from "../wire/address-text.ts";
import { decodeMessage, EXTENDED_MESSAGE_LIMIT, type Message, PLAIN_CONTEXT } from "../wire/message.ts";
import type { OpenMessage } from "../wire/open.ts";
import { AttributeMemo, type UpdateContext } from "../wire/update.ts";
import { type PeerConfig, roleOf, sessionConfigOf } from "./peer-config.ts";
import type { MonitorLine } from "./peer-events.ts";

/** What a line says; `message` is there for lines that carry one. */
export interface ReplayedEvent {
  readonly time: number | undefined;
  readonly line: MonitorLine;
  readonly message: Message | undefined;
}

export interface Replay {
  readonly events: readonly ReplayedEvent[];
  /** The routes as they were after the last line. */
  readonly routes: readonly RouteView[];
  /** Lines that are none of a monitor's, by number from 1. */
  readonly unread: readonly { readonly line: number; readonly why: string }[];
}

type Speaking = Extract<MonitorLine, { type: "speaker" }>;

/** Reads a monitor's lines. Total: a line that is not understood is told, and left out. */
export function replayMonitor(lines: Iterable<string>): Replay {
  const events: ReplayedEvent[] = [];
  const unread: { line: number; why: string }[] = [];
  let tables: Tables | undefined;
  let number = 0;
  for (const text of lines) {
    number++;
    if (text.trim() === "") continue;
    try {
      const { time, ...line } = JSON.parse(text) as MonitorLine & { readonly time?: number };
      if (line.type === "speaker") tables = new Tables(line);
      else if (!tables) throw new SyntaxError("nothing said before whose neighbours these are");
      events.push({ time, line, message: tables.take(line) });
    } catch (error) {
      unread.push({ line: number, why: error instanceof Error ? error.message : String(error) });
    }
  }
  return { events, routes: tables?.rib.routes() ?? [], unread };
}

interface Replayed {
  readonly number: number;
  readonly config: PeerConfig;
  readonly opens: { in?: OpenMessage; out?: OpenMessage };
  established: boolean;
  context: UpdateContext;
  negotiated: Negotiated | undefined;
}

class Tables {
  readonly rib: Rib;
  readonly #own: Speaking;
  readonly #peers = new Map<string, Replayed>();

  constructor(own: Speaking) {
    this.#own = own;
    this.rib = new Rib({
      localAs: own.localAs,
      routerId: parseRouterId(own.routerId),
      clusterId: parseRouterId(own.clusterId),
      families: own.families,
      multipath: own.multipath,
    });
    this.rib.setLocalRoutes(own.routes);
  }

  take(line: MonitorLine): Message | undefined {
    switch (line.type) {
      case "local":
        this.rib.setLocalRoutes(line.routes);
        return undefined;
      case "peer":
        this.#configure(line.config);
        return undefined;
      case "phase":
        this.#phase(this.#peer(line.peer), line.phase === "Established");
        return undefined;
      case "routes":
        this.#routes(this.#peer(line.peer).number, line.family, line.what);
        return undefined;
      case "message":
        return this.#message(this.#peer(line.peer), line.direction, Buffer.from(line.hex, "hex"));
      default:
        return undefined;
    }
  }

  #peer(name: string): Replayed {
    const peer = this.#peers.get(name);
    if (!peer) throw new SyntaxError(`nothing said before of neighbour ${name}`);
    return peer;
  }

  /** A neighbour that is told of again has other filters, or other settings and then soon another session. */
  #configure(config: PeerConfig): void {
    const before = this.#peers.get(config.name);
    const number = this.rib.setPeer(this.#ribPeer(config, before?.negotiated), before?.number);
    if (before) this.rib.refilter(number);
    const fresh = { opens: {}, established: false, context: PLAIN_CONTEXT, negotiated: undefined };
    this.#peers.set(config.name, { ...fresh, ...before, number, config });
  }

  #ribPeer(config: PeerConfig, negotiated: Negotiated | undefined) {
    const localAs = config.localAs ?? this.#own.localAs;
    const external = negotiated?.external ?? (config.as === "external" || (typeof config.as === "number" && config.as !== localAs));
    return {
      name: config.name,
      address: config.address.split("/")[0] ?? config.address,
      role: roleOf(config, external),
      as: negotiated?.peerAs ?? 0,
      routerId: negotiated?.routerId ?? 1,
      importFilter: config.importFilter ? compileFilter(config.importFilter) : undefined,
      localAs,
      allowOwnAs: config.allowOwnAs ?? 0,
    };
  }

  #phase(peer: Replayed, established: boolean): void {
    if (established && !peer.established) this.#establish(peer);
    peer.established = established;
  }

  #establish(peer: Replayed): void {
    const { in: theirs } = peer.opens;
    if (!theirs) throw new SyntaxError(`the OPEN of neighbour ${peer.config.name} is missing`);
    const { localAs, families, routerId } = this.#own;
    const session = sessionConfigOf(peer.config, { localAs, routerId: parseRouterId(routerId), families, hostName: undefined });
    const negotiated = negotiate(session, theirs);
    peer.negotiated = negotiated;
    peer.context = receivingContext(negotiated);
    this.rib.setPeer(this.#ribPeer(peer.config, negotiated), peer.number);
  }

  #routes(number: number, family: Family, what: "drop" | "stale" | "long-lived" | "sweep"): void {
    if (what === "drop") this.rib.drop(number, family);
    else if (what === "stale") this.rib.markStale(number, family);
    else if (what === "long-lived") this.rib.markLongLived(number, family);
    else this.rib.sweep(number, family);
  }

  #message(peer: Replayed, direction: "in" | "out", bytes: Buffer): Message | undefined {
    const context = direction === "in" && peer.established ? peer.context : this.#outwards(peer, direction);
    const decoded = decodeMessage(bytes, context, EXTENDED_MESSAGE_LIMIT);
    if (!decoded.ok) throw new SyntaxError(`neighbour ${peer.config.name}: ${decoded.error.says}`);
    const message = decoded.value;
    if (message.type === "open") peer.opens[direction] = message;
    if (message.type !== "update" || direction !== "in" || !peer.established) return message;
    for (const nlri of message.withdrawn) this.rib.withdraw(peer.number, nlri);
    for (const { nlri, attributes } of message.announced) this.rib.announce(peer.number, nlri, attributes);
    return message;
  }

  /** How what went out is read: with path identifiers where the neighbour takes them. */
  #outwards({ context, negotiated, established }: Replayed, direction: "in" | "out"): UpdateContext {
    if (direction === "in" || !established || !negotiated) return PLAIN_CONTEXT;
    return { ...context, addPath: negotiated.addPathSend, memo: new AttributeMemo() };
  }
}
