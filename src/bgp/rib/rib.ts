// The routing information bases: routes in from every neighbour, the best of them, and the groups of neighbours they go out to.
import { isDeepStrictEqual } from "node:util";
import { addressToBytes, type Family, familyOf, parseAddress } from "../../base/index.ts";
import { asPathCount } from "../wire/as-path.ts";
import { attributesOf, type PathAttributes } from "../wire/attributes.ts";
import { WELL_KNOWN } from "../wire/communities.ts";
import { ADDRESS_AT, entriesOf, LENGTH_AT, type Nlri, type NlriEntry, nlriOf, strideOf } from "../wire/nlri.ts";
import { type Decision, decide, TIE_BREAK } from "./decision.ts";
import { type ExportContext, ExportGroup, type ExportMember, type ExportSettings } from "./export-group.ts";
import type { Role } from "./export-rules.ts";
import type { CompiledFilter } from "./filter.ts";
import { LONG_LIVED, PathTable, STALE } from "./path-table.ts";

/** A neighbour as the routes see it. Number 0 is this node itself. */
export interface RibPeer {
  readonly name: string;
  readonly address: string;
  readonly role: Role;
  readonly as: number;
  readonly routerId: number;
  readonly importFilter: CompiledFilter | undefined;
  /** Our AS towards it, and how often it may stand in its paths. */
  readonly localAs: number;
  readonly allowOwnAs: number;
}

/** A route of this node's own. */
export interface LocalRoute {
  readonly prefix: string;
  /** Absent: our address on each session. */
  readonly nextHop?: string;
  /** For filters. */
  readonly interface?: string;
  readonly attributes?: Partial<PathAttributes>;
}

/** The best way to a prefix, or that there is none any more. */
export interface RouteChange {
  readonly prefix: string;
  readonly family: Family;
  /** Next hops of the best routes, best first; absent when the route is gone. Empty: it is our own. */
  readonly nextHops?: readonly NextHop[];
}

export interface NextHop {
  readonly address: string;
  /** Name of the neighbour. */
  readonly peer: string;
}

export interface RibOptions {
  readonly localAs: number;
  readonly routerId: number;
  readonly clusterId: number;
  readonly families: readonly Family[];
  /** Most next hops of one route. */
  readonly multipath: number;
  readonly metricOf?: ((nextHop: string) => number | undefined) | undefined;
}

interface Held extends RibPeer {
  readonly local: boolean;
  readonly external: boolean;
  readonly addressOrder: bigint;
  readonly counts: Map<Family, number>;
}

/** One route with all that is known of it, for people. */
export interface RouteView {
  readonly prefix: string;
  readonly peer: string;
  readonly pathId: number;
  readonly attributes: PathAttributes;
  readonly stale: boolean;
  /** "best", "multipath", the step of the decision at which it lost, or why it was rejected. */
  readonly reason: string;
}

const LOCAL = 0;

export class Rib {
  readonly #options: RibOptions;
  readonly #tables = new Map<Family, PathTable>();
  readonly #peers: (Held | undefined)[] = [];
  readonly #groups = new Map<Family, Map<string, ExportGroup>>();
  readonly #splits = new Map<Family, Set<ExportGroup>>();
  readonly #watch = new Map<Family, { queue: ReturnType<PathTable["makeQueue"]>; everyPath: boolean }>();
  readonly #locals = new Map<string, LocalRoute>();
  readonly #context: ExportContext;

  constructor(options: RibOptions) {
    this.#options = options;
    const { routerId, localAs } = options;
    this.#peers[LOCAL] = {
      name: "local",
      address: "0.0.0.0",
      role: "internal",
      as: localAs,
      routerId,
      importFilter: undefined,
      localAs,
      allowOwnAs: 0,
      local: true,
      external: false,
      addressOrder: 0n,
      counts: new Map(),
    };
    for (const family of options.families) {
      this.#tables.set(family, new PathTable(family, { sourceOf: (peer) => this.#peer(peer), metricOf: options.metricOf }));
      this.#groups.set(family, new Map());
      this.#splits.set(family, new Set());
    }
    this.#context = {
      originOf: (peer) => this.#peer(peer),
      interfaceOf: (family, prefix) => this.#locals.get(this.#table(family).prefixes.text(prefix))?.interface,
    };
  }

  /** Adds or replaces a neighbour; returns its number. Numbers are used again. */
  setPeer(peer: RibPeer, number = this.#freeNumber()): number {
    const bytes = addressToBytes(parseAddress(peer.address.split("%")[0] ?? peer.address));
    const addressOrder = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const counts = this.#peers[number]?.counts ?? new Map();
    this.#peers[number] = { ...peer, local: false, external: peer.role === "external", addressOrder, counts };
    return number;
  }

  /** Forgets a neighbour and its routes. */
  removePeer(number: number): undefined {
    for (const family of this.#options.families) this.drop(number, family);
    this.#peers[number] = undefined;
  }

  /** Takes routes from a neighbour. */
  announce(number: number, nlri: Nlri, received: PathAttributes): undefined {
    const peer = this.#peer(number);
    const table = this.#table(nlri.family);
    const { family, words } = nlri;
    const stride = strideOf(family);
    const accepted = this.#loop(peer, received) ?? received;
    const filter = typeof accepted === "string" ? undefined : peer.importFilter;
    const given = { length: 0, pathId: 0, received, used: accepted };
    let fresh = 0;
    for (let at = 0; at < nlri.count * stride; at += stride) {
      given.pathId = words[at] ?? 0;
      given.length = words[at + LENGTH_AT] ?? 0;
      if (filter) given.used = this.#filtered(filter, peer, { words, at: at + ADDRESS_AT, length: given.length, family }, received);
      if (table.set(number, words, at + ADDRESS_AT, given)) fresh++;
    }
    this.#count(peer, family, fresh);
  }

  withdraw(number: number, nlri: Nlri): undefined {
    const table = this.#table(nlri.family);
    const { words } = nlri;
    const stride = strideOf(nlri.family);
    let gone = 0;
    for (let at = 0; at < nlri.count * stride; at += stride) {
      if (table.unset(number, words, at + ADDRESS_AT, { length: words[at + LENGTH_AT] ?? 0, pathId: words[at] ?? 0 })) gone++;
    }
    this.#count(this.#peer(number), nlri.family, -gone);
  }

  /** Sets this node's own routes; those not among them go. The same routes twice change nothing. */
  setLocalRoutes(routes: readonly LocalRoute[]): undefined {
    const wanted = new Map(routes.map((route) => [normal(route.prefix), route]));
    for (const prefix of [...this.#locals.keys()]) {
      if (wanted.has(prefix)) continue;
      this.#locals.delete(prefix);
      this.withdraw(LOCAL, nlriOf(familyOf(prefix), [{ prefix }]));
    }
    for (const [prefix, route] of wanted) {
      const family = familyOf(prefix);
      if (!this.#tables.has(family) || isDeepStrictEqual(this.#locals.get(prefix), route)) continue;
      this.#locals.set(prefix, route);
      this.announce(LOCAL, nlriOf(family, [{ prefix }]), attributesOf({ ...route.attributes, nextHop: route.nextHop ?? "" }));
    }
  }

  localRoutes(): LocalRoute[] {
    return [...this.#locals.values()];
  }

  /** What a neighbour has sent and is kept, as it came, with equal attributes together. */
  received(
    number: number,
    family: Family,
  ): { readonly attributes: PathAttributes; readonly entries: NlriEntry[]; readonly stale: boolean }[] {
    const table = this.#table(family);
    const groups = new Map<string, { readonly attributes: PathAttributes; readonly entries: NlriEntry[]; readonly stale: boolean }>();
    const names = new Map<PathAttributes, number>();
    this.#each(number, family, (path) => {
      const attributes = table.received[path];
      if (!attributes) return;
      const stale = ((table.marks[path] ?? 0) & STALE) !== 0;
      const name = names.get(attributes) ?? names.size;
      names.set(attributes, name);
      const group = groups.get(`${name} ${stale}`) ?? { attributes, entries: [], stale };
      group.entries.push({ prefix: table.prefixes.text(table.prefixOf[path] ?? 0), pathId: table.pathIds[path] ?? 0 });
      groups.set(`${name} ${stale}`, group);
    });
    return [...groups.values()];
  }

  /** Marks a neighbour's routes stale (RFC 4724 §4.2); those that are already go. */
  markStale(number: number, family: Family): undefined {
    const table = this.#table(family);
    this.#each(number, family, (path) => {
      if ((table.marks[path] ?? 0) & STALE) this.#remove(number, family, path);
      else table.marks[path] = STALE;
    });
  }

  /** Marks routes long-lived stale: the last resort from now on (RFC 9494 §4.2). */
  markLongLived(number: number, family: Family): undefined {
    const table = this.#table(family);
    this.#each(number, family, (path) => {
      const used = table.used[path];
      if (!((table.marks[path] ?? 0) & STALE)) return;
      if (typeof used === "object" && used.communities.includes(WELL_KNOWN["no-llgr"])) return this.#remove(number, family, path);
      table.marks[path] = STALE | LONG_LIVED;
      if (typeof used !== "object") return;
      const communities = [...new Set([...used.communities, WELL_KNOWN["llgr-stale"]])];
      table.setUsed(path, attributesOf({ ...used, communities }));
    });
  }

  /** Drops what is still stale. */
  sweep(number: number, family: Family): undefined {
    const table = this.#table(family);
    this.#each(number, family, (path) => {
      if ((table.marks[path] ?? 0) & STALE) this.#remove(number, family, path);
    });
  }

  /** Drops all routes of a neighbour. */
  drop(number: number, family: Family): undefined {
    this.#each(number, family, (path) => this.#remove(number, family, path));
  }

  /** Applies the neighbour's import filter anew to what it has sent. */
  refilter(number: number): undefined {
    const peer = this.#peer(number);
    for (const [family, table] of this.#tables) {
      const { width, addresses, lengths } = table.prefixes;
      this.#each(number, family, (path) => {
        const received = table.received[path];
        const prefix = table.prefixOf[path] ?? 0;
        if (!received || (table.marks[path] ?? 0) & LONG_LIVED) return;
        const route = { words: addresses, at: prefix * width, length: lengths[prefix] ?? 0, family };
        const used =
          this.#loop(peer, received) ?? (peer.importFilter ? this.#filtered(peer.importFilter, peer, route, received) : received);
        if (used !== table.used[path]) table.setUsed(path, used);
      });
    }
  }

  /** Decides anew: the ways to next hops changed. */
  decideAll(): undefined {
    for (const table of this.#tables.values()) table.decideAll();
  }

  /** Routes that a neighbour has sent, rejected ones included. */
  countOf(number: number, family: Family): number {
    return this.#peers[number]?.counts.get(family) ?? 0;
  }

  /** Adds a neighbour to those that are sent routes of the family; all routes are sent to it at once. `key` names equal settings. */
  join(family: Family, key: string, settings: ExportSettings, member: ExportMember): ExportGroup {
    const groups = this.#groups.get(family) ?? new Map<string, ExportGroup>();
    let group = groups.get(key);
    if (!group) {
      group = new ExportGroup(this.#table(family), settings, this.#context);
      groups.set(key, group);
    }
    group.join(member);
    return group;
  }

  leave(family: Family, group: ExportGroup, number: number): undefined {
    group.leave(number);
    if (group.members.size > 0) return;
    group.close();
    this.#splits.get(family)?.delete(group);
    for (const [key, each] of this.#groups.get(family) ?? []) if (each === group) this.#groups.get(family)?.delete(key);
  }

  /** Gives a slow neighbour a group of its own, so that the others need not wait; that group, or the same where it was alone. */
  split(family: Family, group: ExportGroup, number: number): ExportGroup {
    const own = group.split(number);
    if (own) this.#splits.get(family)?.add(own);
    return own ?? group;
  }

  /** Sends what changed, of at most `limit` prefixes, to the groups that `ready` lets; what is left, and why. */
  flush(ready: (group: ExportGroup) => boolean, limit: number): { readonly more: boolean; readonly held: boolean } {
    const left = { more: false, held: false };
    for (const family of this.#options.families) {
      for (const group of [...(this.#groups.get(family)?.values() ?? []), ...(this.#splits.get(family) ?? [])]) {
        if (group.queue.length === 0) continue;
        if (ready(group)) {
          group.flush(limit);
          if (group.queue.length > 0) left.more = true;
        } else left.held = true;
      }
    }
    return left;
  }

  /** From now on `takeChanges` tells what changed; at first, all there is. */
  watch(): undefined {
    for (const [family, table] of this.#tables) {
      const reader = { queue: table.makeQueue(), everyPath: this.#options.multipath > 1 };
      table.addReader(reader);
      this.#watch.set(family, reader);
    }
    this.decideAll();
  }

  takeChanges(): RouteChange[] {
    const changes: RouteChange[] = [];
    for (const [family, reader] of this.#watch) {
      if (reader.queue.length === 0) continue;
      const table = this.#table(family);
      const taken = table.takeChanges(reader);
      for (const prefix of taken) {
        changes.push(this.#changeOf(table, family, prefix));
        table.release(prefix);
      }
    }
    return changes;
  }

  /** All best routes. */
  bestRoutes(): RouteChange[] {
    const routes: RouteChange[] = [];
    for (const [family, table] of this.#tables) {
      for (let prefix = 0; prefix < table.prefixes.end; prefix++) {
        if ((table.heads[prefix] ?? -1) >= 0 && (table.bests[prefix] ?? -1) >= 0) routes.push(this.#changeOf(table, family, prefix));
      }
    }
    return routes;
  }

  /** Routes with the reason of each choice; of one neighbour or one prefix where given. */
  routes(filter: { readonly peer?: number; readonly prefix?: string; readonly family?: Family } = {}): RouteView[] {
    const views: RouteView[] = [];
    for (const [family, table] of this.#tables) {
      if (filter.family !== undefined && filter.family !== family) continue;
      for (let prefix = 0; prefix < table.prefixes.end; prefix++) {
        const head = table.heads[prefix] ?? -1;
        if (head < 0 || (filter.prefix !== undefined && table.prefixes.text(prefix) !== filter.prefix)) continue;
        views.push(...this.#views(table, prefix).filter(({ number }) => filter.peer === undefined || number === filter.peer));
      }
    }
    return views;
  }

  /** What a neighbour is sent of a family. */
  sentTo(
    family: Family,
    group: ExportGroup,
    number: number,
  ): { readonly prefix: string; readonly sent: boolean; readonly reason: string }[] {
    const table = this.#table(family);
    const views = [];
    for (let prefix = 0; prefix < table.prefixes.end; prefix++) {
      const best = table.bests[prefix] ?? -1;
      if ((table.heads[prefix] ?? -1) < 0 || best < 0) continue;
      const sent = group.hasSent(prefix, number);
      const outcome = group.outcome(prefix, best);
      const reason = typeof outcome === "string" ? outcome : table.peers[best] === number ? "its-own" : sent ? "sent" : "waiting";
      views.push({ prefix: table.prefixes.text(prefix), sent, reason });
    }
    return views;
  }

  #views(table: PathTable, prefix: number): (RouteView & { readonly number: number })[] {
    const paths: number[] = [];
    for (let path = table.heads[prefix] ?? -1; path >= 0; path = table.next[path] ?? -1) paths.push(path);
    const accepted = paths.filter((path) => typeof table.used[path] === "object");
    const decision: Decision = decide(accepted.map((path) => table.candidate(path)));
    return paths.map((path) => {
      const used = table.used[path];
      const number = table.peers[path] ?? 0;
      return {
        number,
        prefix: table.prefixes.text(prefix),
        peer: this.#peer(number).name,
        pathId: table.pathIds[path] ?? 0,
        attributes: typeof used === "object" ? used : (table.received[path] ?? attributesOf({})),
        stale: ((table.marks[path] ?? 0) & STALE) !== 0,
        reason: typeof used === "object" ? (decision.reasons[accepted.indexOf(path)] ?? "") : (used ?? ""),
      };
    });
  }

  #changeOf(table: PathTable, family: Family, prefix: number): RouteChange {
    const text = table.prefixes.text(prefix);
    const best = table.bests[prefix] ?? -1;
    if ((table.heads[prefix] ?? -1) < 0 || best < 0) return { prefix: text, family };
    if (table.peers[best] === LOCAL) return { prefix: text, family, nextHops: [] };
    const nextHops = table.multipath(prefix, this.#options.multipath, TIE_BREAK).map((path) => {
      const { nextHop, linkLocalNextHop } = table.used[path] as PathAttributes;
      return { address: nextHop || (linkLocalNextHop ?? ""), peer: this.#peer(table.peers[path] ?? 0).name };
    });
    const distinct = nextHops.filter(({ address }, index) => nextHops.findIndex((other) => other.address === address) === index);
    return { prefix: text, family, nextHops: distinct };
  }

  /** RFC 4271 §9.1.2, RFC 4456 §8: routes that have been here before. */
  #loop({ local, localAs, allowOwnAs }: Held, attributes: PathAttributes): string | undefined {
    if (local) return undefined;
    const { routerId, clusterId } = this.#options;
    if (asPathCount(attributes.asPath, localAs) > allowOwnAs) return "as-loop";
    if (localAs !== this.#options.localAs && asPathCount(attributes.asPath, this.#options.localAs) > allowOwnAs) return "as-loop";
    if (attributes.originatorId === routerId) return "originator-loop";
    if (attributes.clusterList.includes(clusterId)) return "cluster-loop";
    return undefined;
  }

  #filtered(
    filter: CompiledFilter,
    { local, external }: Held,
    route: { readonly words: Uint32Array; readonly at: number; readonly length: number; readonly family: Family },
    attributes: PathAttributes,
  ): PathAttributes | string {
    return filter({ ...route, local, external, interface: undefined }, attributes);
  }

  #each(number: number, family: Family, action: (path: number) => void): undefined {
    const table = this.#tables.get(family);
    if (!table) return;
    for (let path = 0; path < table.end; path++) if (table.peers[path] === number && (table.prefixOf[path] ?? -1) >= 0) action(path);
  }

  #remove(number: number, family: Family, path: number): undefined {
    this.#table(family).remove(path);
    this.#count(this.#peer(number), family, -1);
  }

  #count({ counts }: Held, family: Family, by: number): undefined {
    if (by !== 0) counts.set(family, (counts.get(family) ?? 0) + by);
  }

  #peer(number: number): Held {
    const peer = this.#peers[number];
    if (!peer) throw new RangeError(`no neighbour has number ${number}`);
    return peer;
  }

  #freeNumber(): number {
    const free = this.#peers.indexOf(undefined);
    return free < 0 ? this.#peers.length : free;
  }

  #table(family: Family): PathTable {
    const table = this.#tables.get(family);
    if (!table) throw new RangeError(`no routes of IPv${family}`);
    return table;
  }
}

function normal(prefix: string): string {
  return entriesOf(nlriOf(familyOf(prefix), [{ prefix }]))[0]?.prefix ?? prefix;
}
