// Neighbours that are sent the same: what they were sent is known once, and each message is written once for all of them.
//
//   changed prefixes ──▶ best (or all) paths ──▶ filter, rules ──▶ buckets of equal attributes ──▶ messages ──▶ chunks ──▶ members
//
// A route is not sent back to where it came from; since a bucket's routes have one source, its messages go to all members but that one.
import type { Family } from "../../base/index.ts";
import { writeAttributes } from "../wire/attribute-encode.ts";
import type { PathAttributes } from "../wire/attributes.ts";
import { ByteWriter } from "../wire/byte-writer.ts";
import { endMessage, startMessage } from "../wire/message.ts";
import { prefixBytes, writePrefix } from "../wire/nlri.ts";
import { isClassic, writeReach, writeUnreach } from "../wire/update.ts";
import type { ChangeQueue } from "./change-queue.ts";
import { type ExportRules, type ExportSource, exportAttributes } from "./export-rules.ts";
import type { CompiledFilter, FilterRoute } from "./filter.ts";
import type { PathTable } from "./path-table.ts";
import { grown } from "./prefix-table.ts";

/** What makes the messages to a neighbour what they are. Neighbours with equal settings share a group. */
export interface ExportSettings extends ExportRules {
  readonly fourByteAs: boolean;
  readonly messageLimit: number;
  readonly addPath: boolean;
  readonly filter: CompiledFilter | undefined;
}

export interface ExportMember {
  readonly peer: number;
  readonly send: (bytes: Uint8Array) => void;
}

/** What a group asks about the source of a path. */
interface ExportOrigin extends ExportSource {
  readonly external: boolean;
}

export interface ExportContext {
  readonly originOf: (peer: number) => ExportOrigin;
  readonly interfaceOf: (family: Family, prefix: number) => string | undefined;
}

const UPDATE = 2;
const CHUNK = 65536;
const NOBODY = -1;

/** To all members but one, or to one alone. */
interface Audience {
  readonly except: number;
  readonly only: number;
}

interface Bucket {
  readonly source: number;
  readonly attributes: PathAttributes;
  readonly prefixes: number[];
  readonly pathIds: number[];
}

interface SentPath {
  stamp: number;
  source: number;
}

export class ExportGroup {
  readonly settings: ExportSettings;
  readonly members = new Map<number, ExportMember>();
  queue: ChangeQueue;
  readonly everyPath: boolean;
  readonly #table: PathTable;
  readonly #context: ExportContext;
  /** Without add-paths, by prefix: number of the change that was sent (0: nothing) and whose route it was. */
  #sentStamps = new Uint32Array(0);
  #sentSources = new Int32Array(0);
  /** With add-paths: prefix → path → what was sent. */
  readonly #sentPaths = new Map<number, Map<number, SentPath>>();
  readonly #writer = new ByteWriter(CHUNK + 8192);
  #audience: Audience = { except: NOBODY, only: NOBODY };

  constructor(table: PathTable, settings: ExportSettings, context: ExportContext) {
    this.#table = table;
    this.settings = settings;
    this.#context = context;
    this.everyPath = settings.addPath;
    this.queue = table.makeQueue();
    table.addReader(this);
  }

  /** Adds a neighbour and sends it all that the others have. */
  join(member: ExportMember): void {
    if (this.members.size === 0) this.#forgetSent();
    else this.flush();
    this.members.set(member.peer, member);
    if (this.members.size === 1) {
      for (let prefix = 0; prefix < this.#table.prefixes.end; prefix++) if ((this.#table.heads[prefix] ?? -1) >= 0) this.#requeue(prefix);
      this.flush();
    } else this.resend(member.peer);
  }

  /** Sends a neighbour again all that it has been sent. */
  resend(peer: number): void {
    this.flush();
    this.#audience = { except: NOBODY, only: peer };
    const buckets = new Buckets();
    if (this.settings.addPath) {
      for (const [prefix, paths] of this.#sentPaths) {
        for (const [path, { source }] of paths) if (source !== peer) this.#collect(buckets, prefix, path);
      }
    } else {
      for (let prefix = 0; prefix < this.#sentStamps.length; prefix++) {
        if (this.#sentStamps[prefix] !== 0 && this.#sentSources[prefix] !== peer)
          this.#collect(buckets, prefix, this.#table.bests[prefix] ?? -1);
      }
    }
    this.#announce(buckets, false);
    this.#cut();
  }

  /** Withdraws from a neighbour what another group had sent it and this one does not. */
  withdrawMissing(peer: number, before: ExportGroup): void {
    const gone = new Withdrawals();
    if (this.settings.addPath) {
      for (const [prefix, paths] of before.#sentPaths) {
        for (const [path, { source }] of paths) {
          if (source !== peer && !this.#sentPaths.get(prefix)?.has(path)) gone.add(NOBODY, peer, prefix, path + 1);
        }
      }
    } else {
      for (let prefix = 0; prefix < before.#sentStamps.length; prefix++) {
        if (before.hasSent(prefix, peer) && !this.hasSent(prefix, peer)) gone.add(NOBODY, peer, prefix, 0);
      }
    }
    this.#withdraw(gone);
    this.#cut();
  }

  leave(peer: number): void {
    this.members.delete(peer);
  }

  /** A group of its own for a member that is slower than the others, with the same knowledge of what was sent. */
  split(peer: number): ExportGroup | undefined {
    const member = this.members.get(peer);
    if (!member || this.members.size < 2) return undefined;
    const group = new ExportGroup(this.#table, this.settings, this.#context);
    this.#table.removeReader(group);
    group.queue = this.queue.copy();
    this.#table.addReader(group);
    group.#sentStamps = this.#sentStamps.slice();
    group.#sentSources = this.#sentSources.slice();
    for (const [prefix, paths] of this.#sentPaths) group.#sentPaths.set(prefix, structuredClone(paths));
    group.members.set(peer, member);
    this.members.delete(peer);
    return group;
  }

  close(): void {
    this.#table.removeReader(this);
  }

  /** Number of routes that the members have, and of prefixes yet to be looked at. */
  count(): { readonly sent: number; readonly waiting: number } {
    let sent = 0;
    for (const stamp of this.#sentStamps) if (stamp !== 0) sent++;
    for (const paths of this.#sentPaths.values()) sent += paths.size;
    return { sent, waiting: this.queue.length };
  }

  /** Whether a neighbour of the group has been sent a path of the prefix. */
  hasSent(prefix: number, peer: number): boolean {
    if (this.settings.addPath) return [...(this.#sentPaths.get(prefix)?.values() ?? [])].some(({ source }) => source !== peer);
    return (this.#sentStamps[prefix] ?? 0) !== 0 && this.#sentSources[prefix] !== peer;
  }

  /** The attributes that go out for a path, or why it does not. */
  outcome(prefix: number, path: number): PathAttributes | string {
    const table = this.#table;
    const used = table.used[path];
    if (used === undefined || typeof used === "string") return used ?? "";
    const { family, width } = table.prefixes;
    const origin = this.#context.originOf(table.peers[path] ?? 0);
    let attributes: PathAttributes | string = used;
    if (this.settings.filter) {
      const { addresses, lengths } = table.prefixes;
      const route: FilterRoute = {
        words: addresses,
        at: prefix * width,
        length: lengths[prefix] ?? 0,
        family,
        local: origin.local,
        external: origin.external,
        interface: origin.local ? this.#context.interfaceOf(family, prefix) : undefined,
      };
      attributes = this.settings.filter(route, used);
      if (typeof attributes === "string") return attributes;
    }
    return exportAttributes(attributes, origin, family, this.settings);
  }

  /** Sends what changed, of at most `limit` prefixes. */
  flush(limit?: number): void {
    if (this.queue.length === 0) return;
    const changed = this.#table.takeChanges(this, limit);
    if (this.members.size === 0) {
      for (const prefix of changed) this.#table.release(prefix);
      return;
    }
    const buckets = new Buckets();
    const gone = new Withdrawals();
    if (this.settings.addPath) for (const prefix of changed) this.#compareAll(prefix, buckets, gone);
    else {
      this.#fitSent();
      for (const prefix of changed) this.#compareBest(prefix, buckets, gone);
    }
    this.#withdraw(gone);
    this.#announce(buckets, true);
    this.#cut();
    for (const prefix of changed) this.#table.release(prefix);
  }

  #requeue(prefix: number): void {
    const table = this.#table;
    if (this.queue.add(prefix)) table.countWaiting(prefix);
  }

  #forgetSent(): void {
    this.#sentStamps.fill(0);
    this.#sentPaths.clear();
  }

  #fitSent(): void {
    const { capacity } = this.#table.prefixes;
    if (this.#sentStamps.length >= capacity) return;
    this.#sentStamps = grown(this.#sentStamps, new Uint32Array(capacity));
    this.#sentSources = grown(this.#sentSources, new Int32Array(capacity));
  }

  #compareBest(prefix: number, buckets: Buckets, gone: Withdrawals): void {
    const table = this.#table;
    const best = table.bests[prefix] ?? -1;
    const sent = this.#sentStamps[prefix] ?? 0;
    const sentSource = this.#sentSources[prefix] ?? 0;
    if (best >= 0 && sent !== 0 && table.stamps[best] === sent) return;
    if (best < 0 || !this.#collect(buckets, prefix, best)) {
      if (sent !== 0) gone.add(sentSource, NOBODY, prefix, 0);
      this.#sentStamps[prefix] = 0;
      return;
    }
    const source = table.peers[best] ?? 0;
    // The neighbour whose route is best now is not told of it, and must not keep what it was told before.
    if (sent !== 0 && sentSource !== source && this.members.has(source)) gone.add(NOBODY, source, prefix, 0);
    this.#sentStamps[prefix] = table.stamps[best] ?? 0;
    this.#sentSources[prefix] = source;
  }

  #compareAll(prefix: number, buckets: Buckets, gone: Withdrawals): void {
    const table = this.#table;
    const sent = this.#sentPaths.get(prefix) ?? new Map<number, SentPath>();
    const seen = new Set<number>();
    for (let path = table.heads[prefix] ?? -1; path >= 0; path = table.next[path] ?? -1) {
      if (!table.isUsable(path)) continue;
      const stamp = table.stamps[path] ?? 0;
      const source = table.peers[path] ?? 0;
      const before = sent.get(path);
      if (before?.stamp === stamp) seen.add(path);
      else if (this.#collect(buckets, prefix, path)) {
        if (before && before.source !== source && this.members.has(source)) gone.add(NOBODY, source, prefix, path + 1);
        sent.set(path, { stamp, source });
        seen.add(path);
      }
    }
    for (const [path, { source }] of sent) {
      if (seen.has(path)) continue;
      gone.add(source, NOBODY, prefix, path + 1);
      sent.delete(path);
    }
    if (sent.size > 0) this.#sentPaths.set(prefix, sent);
    else this.#sentPaths.delete(prefix);
  }

  /** Puts a path in its bucket; whether it may be sent. */
  #collect(buckets: Buckets, prefix: number, path: number): boolean {
    const table = this.#table;
    const used = table.used[path];
    if (used === undefined || typeof used === "string") return false;
    const source = table.peers[path] ?? 0;
    let bucket: Bucket | string | undefined;
    if (this.settings.filter) {
      const outcome = this.outcome(prefix, path);
      // A filter decides by prefix: equal outcomes of one attribute object are found by its text.
      bucket = typeof outcome === "string" ? outcome : buckets.filtered(source, used, outcome);
    } else {
      bucket = buckets.find(source, used);
      if (bucket === undefined) bucket = buckets.make(source, used, this.outcome(prefix, path));
    }
    if (typeof bucket === "string") return false;
    bucket.prefixes.push(prefix);
    if (this.settings.addPath) bucket.pathIds.push(path + 1);
    return true;
  }

  #announce(buckets: Buckets, toAll: boolean): void {
    for (const [source, list] of buckets.bySource()) {
      if (toAll) this.#address({ except: source, only: NOBODY });
      for (const bucket of list) this.#writeBucket(bucket);
    }
  }

  #writeBucket({ attributes, prefixes, pathIds }: Bucket): void {
    const { family } = this.#table.prefixes;
    const { fourByteAs, messageLimit } = this.settings;
    const classic = isClassic(family, attributes.nextHop);
    const writer = this.#writer;
    const own = new ByteWriter(128);
    writeAttributes(own, attributes, { fourByteAs, withNextHop: classic });
    const attributesBytes = own.bytes.subarray(0, own.length);
    // Header, two lengths, and for MP_REACH_NLRI its header with a next hop of up to 32 bytes.
    const room = Math.min(messageLimit, CHUNK) - 23 - own.length - (classic ? 0 : 4 + 5 + 32);
    if (room < 21) return;
    for (let at = 0; at < prefixes.length; ) {
      const start = startMessage(writer, UPDATE);
      writer.u16(0);
      const lengthAt = writer.length;
      writer.u16(0);
      if (classic) {
        writer.raw(attributesBytes);
        writer.patch16(lengthAt, writer.length - lengthAt - 2);
        at = this.#writePrefixes(prefixes, pathIds, at, room);
      } else {
        writeReach(writer, family, attributes, () => {
          at = this.#writePrefixes(prefixes, pathIds, at, room);
        });
        writer.raw(attributesBytes);
        writer.patch16(lengthAt, writer.length - lengthAt - 2);
      }
      endMessage(writer, start);
      if (writer.length >= CHUNK) this.#cut();
    }
  }

  #withdraw(gone: Withdrawals): void {
    const { family } = this.#table.prefixes;
    const writer = this.#writer;
    const room = Math.min(this.settings.messageLimit, CHUNK) - 23 - 7;
    for (const { except, only, prefixes, pathIds } of gone.lists.values()) {
      this.#address({ except, only });
      for (let at = 0; at < prefixes.length; ) {
        const start = startMessage(writer, UPDATE);
        const lengthAt = writer.length;
        writer.u16(0);
        if (family === 4) {
          at = this.#writePrefixes(prefixes, pathIds, at, room);
          writer.patch16(lengthAt, writer.length - lengthAt - 2);
          writer.u16(0);
        } else {
          writer.u16(0);
          writeUnreach(writer, 6, () => {
            at = this.#writePrefixes(prefixes, pathIds, at, room);
          });
          writer.patch16(lengthAt + 2, writer.length - lengthAt - 4);
        }
        endMessage(writer, start);
        if (writer.length >= CHUNK) this.#cut();
      }
    }
  }

  /** Writes prefixes while there is room; returns how far it came. */
  #writePrefixes(prefixes: readonly number[], pathIds: readonly number[], from: number, room: number): number {
    const { addresses, lengths, width } = this.#table.prefixes;
    const writer = this.#writer;
    const { addPath } = this.settings;
    let at = from;
    for (let rest = room; at < prefixes.length; at++) {
      const prefix = prefixes[at] ?? 0;
      const length = lengths[prefix] ?? 0;
      rest -= prefixBytes(length, addPath);
      if (rest < 0) break;
      if (addPath) writer.u32(pathIds[at] ?? 0);
      writePrefix(writer, addresses, prefix * width, length);
    }
    return at;
  }

  #address(audience: Audience): void {
    if (audience.except === this.#audience.except && audience.only === this.#audience.only) return;
    this.#cut();
    this.#audience = audience;
  }

  /** Hands what has been written to those it is for. */
  #cut(): void {
    const writer = this.#writer;
    if (writer.length === 0) return;
    const bytes = writer.copy();
    writer.length = 0;
    const { except, only } = this.#audience;
    for (const [peer, member] of this.members) {
      if (only === NOBODY ? peer !== except : peer === only) member.send(bytes);
    }
  }
}

/** Routes to announce, by source and attributes. */
class Buckets {
  readonly #bySource = new Map<number, Map<PathAttributes, Bucket | string>>();
  readonly #outcomes = new Map<number, Map<string, Bucket>>();
  #number = new WeakMap<PathAttributes, number>();
  #count = 0;
  #source = NOBODY;
  #map = new Map<PathAttributes, Bucket | string>();

  find(source: number, used: PathAttributes): Bucket | string | undefined {
    if (source !== this.#source) {
      this.#source = source;
      this.#map = this.#bySource.get(source) ?? new Map();
      this.#bySource.set(source, this.#map);
    }
    return this.#map.get(used);
  }

  /** Right after a find that found nothing. */
  make(source: number, used: PathAttributes, outcome: PathAttributes | string): Bucket | string {
    const made = typeof outcome === "string" ? outcome : { source, attributes: outcome, prefixes: [], pathIds: [] };
    this.#map.set(used, made);
    return made;
  }

  filtered(source: number, used: PathAttributes, outcome: PathAttributes): Bucket {
    let number = this.#number.get(used);
    if (number === undefined) {
      number = this.#count++;
      this.#number.set(used, number);
    }
    const key = `${number} ${keyOf(outcome)}`;
    let map = this.#outcomes.get(source);
    if (!map) {
      map = new Map();
      this.#outcomes.set(source, map);
    }
    let bucket = map.get(key);
    if (!bucket) {
      bucket = { source, attributes: outcome, prefixes: [], pathIds: [] };
      map.set(key, bucket);
    }
    return bucket;
  }

  *bySource(): Iterable<[number, Bucket[]]> {
    for (const [source, map] of this.#bySource) yield [source, [...map.values()].filter((bucket) => typeof bucket !== "string")];
    for (const [source, map] of this.#outcomes) yield [source, [...map.values()]];
  }
}

/** What a filter can have changed. */
function keyOf({ nextHop, localPref, med, asPath, communities, extendedCommunities, largeCommunities }: PathAttributes): string {
  return `${nextHop} ${localPref} ${med} ${asPath[0]?.ases.join()} ${communities.join()} ${extendedCommunities.join()} ${largeCommunities.join(";")}`;
}

/** Routes to withdraw, by audience. */
class Withdrawals {
  readonly lists = new Map<string, Audience & { readonly prefixes: number[]; readonly pathIds: number[] }>();

  add(except: number, only: number, prefix: number, pathId: number): void {
    const key = `${except} ${only}`;
    let list = this.lists.get(key);
    if (!list) {
      list = { except, only, prefixes: [], pathIds: [] };
      this.lists.set(key, list);
    }
    list.prefixes.push(prefix);
    list.pathIds.push(pathId);
  }
}
