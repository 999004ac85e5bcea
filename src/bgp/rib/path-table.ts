// All routes of one family: for each prefix its paths and the best of them. Flat arrays by number; no object per route.
import type { Family } from "../../base/index.ts";
import type { PathAttributes } from "../wire/attributes.ts";
import { ChangeQueue } from "./change-queue.ts";
import { type Candidate, compareRoutes, type RouteSource } from "./decision.ts";
import { grown, PrefixTable } from "./prefix-table.ts";

const START = 1024;
export const STALE = 1;
export const LONG_LIVED = 2;

/** Reads what changed; `everyPath` also when a path changed that is not the best. */
export interface ChangeReader {
  readonly queue: ChangeQueue;
  readonly everyPath: boolean;
}

export interface PathTableOptions {
  readonly sourceOf: (peer: number) => RouteSource;
  /** Cost of the way to a next hop; undefined: none. Absent: all can be reached and cost the same. */
  readonly metricOf?: ((nextHop: string) => number | undefined) | undefined;
}

export class PathTable {
  readonly prefixes: PrefixTable;
  /** By path: the neighbour it came from, its path identifier, its marks, its number of change (unique, never 0). */
  peers: Int32Array = new Int32Array(START);
  pathIds: Uint32Array = new Uint32Array(START);
  marks: Uint8Array = new Uint8Array(START);
  stamps: Uint32Array = new Uint32Array(START);
  /** By path: the prefix, -1 where the path is free. */
  prefixOf: Int32Array = new Int32Array(START).fill(-1);
  /** By path: the next of the same prefix; -1 ends. */
  next: Int32Array = new Int32Array(START);
  /** By prefix: the first path, and the best; -1: none. */
  heads: Int32Array;
  bests: Int32Array;
  /** By path: as received. */
  readonly received: (PathAttributes | undefined)[] = [];
  /** By path: as it is after import; text: why it was rejected. */
  readonly used: (PathAttributes | string)[] = [];
  /** One over the highest path in use. */
  end = 0;
  /** Paths held. */
  size = 0;

  readonly #options: PathTableOptions;
  readonly #free: number[] = [];
  #stamp = 0;
  readonly #readers = new Set<ChangeReader>();
  /** By prefix: how many readers it waits for. */
  #waiting: Uint16Array;
  readonly #a: Mutable<Candidate>;
  readonly #b: Mutable<Candidate>;

  constructor(family: Family, options: PathTableOptions) {
    this.#options = options;
    this.prefixes = new PrefixTable(family);
    const { capacity } = this.prefixes;
    this.heads = new Int32Array(capacity).fill(-1);
    this.bests = new Int32Array(capacity).fill(-1);
    this.#waiting = new Uint16Array(capacity);
    const source = { local: false, external: true, routerId: 0, addressOrder: 0n };
    const blank = { attributes: undefined as unknown as PathAttributes, source, pathId: 0, longLivedStale: false, metric: 0 };
    this.#a = { ...blank };
    this.#b = { ...blank };
    this.prefixes.onGrow = (to) => {
      this.heads = filled(this.heads, to);
      this.bests = filled(this.bests, to);
      this.#waiting = grown(this.#waiting, new Uint16Array(to));
      for (const { queue } of this.#readers) queue.grow(to);
    };
  }

  addReader(reader: ChangeReader): void {
    this.#readers.add(reader);
    // A copied queue comes with what waits in it.
    if (reader.queue.length > 0) {
      const waiting = reader.queue.take().slice();
      for (const index of waiting) this.#enqueue(reader, index);
    }
  }

  removeReader(reader: ChangeReader): void {
    for (const index of this.takeChanges(reader).slice()) this.release(index);
    this.#readers.delete(reader);
  }

  /** A queue of the right size for a new reader. */
  makeQueue(): ChangeQueue {
    return new ChangeQueue(this.prefixes.capacity);
  }

  /** What changed for the reader. Each index is to be given to `release` after use. */
  takeChanges(reader: ChangeReader, limit?: number): Int32Array {
    const taken = reader.queue.take(limit);
    for (const index of taken) this.#waiting[index] = (this.#waiting[index] ?? 1) - 1;
    return taken;
  }

  /** Forgets a prefix that has no path any more and that no reader has yet to see. */
  release(index: number): void {
    if (this.heads[index] === -1 && this.#waiting[index] === 0 && this.#held(index)) {
      this.prefixes.remove(index);
      // Marks the index as given back, so that a second release does nothing.
      this.heads[index] = -2;
    }
  }

  /** A reader has put the prefix in its queue itself. */
  countWaiting(index: number): void {
    this.#waiting[index] = (this.#waiting[index] ?? 0) + 1;
  }

  #held(index: number): boolean {
    return index < this.prefixes.end;
  }

  /** Sets the path of a neighbour to a prefix; whether it is a new one. */
  set(peer: number, words: Uint32Array, at: number, given: PathGiven): boolean {
    const prefix = this.prefixes.add(words, at, given.length);
    if (this.heads[prefix] === -2) {
      this.heads[prefix] = -1;
      this.bests[prefix] = -1;
    }
    let path = this.findPath(prefix, peer, given.pathId);
    const isNew = path < 0;
    if (isNew) {
      path = this.#free.pop() ?? this.end++;
      if (path >= this.peers.length) this.#growPaths();
      this.next[path] = this.heads[prefix] ?? -1;
      this.heads[prefix] = path;
      this.prefixOf[path] = prefix;
      this.peers[path] = peer;
      this.pathIds[path] = given.pathId;
      this.size++;
    }
    this.marks[path] = 0;
    this.received[path] = given.received;
    this.used[path] = given.used;
    this.#changed(prefix, path);
    return isNew;
  }

  /** Takes a path away; whether there was one. */
  unset(peer: number, words: Uint32Array, at: number, given: { readonly length: number; readonly pathId: number }): boolean {
    const prefix = this.prefixes.find(words, at, given.length);
    if (prefix < 0) return false;
    const path = this.findPath(prefix, peer, given.pathId);
    if (path < 0) return false;
    this.remove(path);
    return true;
  }

  remove(path: number): void {
    const prefix = this.prefixOf[path] ?? -1;
    let at = this.heads[prefix] ?? -1;
    if (at === path) this.heads[prefix] = this.next[path] ?? -1;
    else {
      while (this.next[at] !== path) at = this.next[at] ?? -1;
      this.next[at] = this.next[path] ?? -1;
    }
    this.prefixOf[path] = -1;
    this.received[path] = undefined;
    this.used[path] = "";
    this.#free.push(path);
    this.size--;
    this.#changed(prefix, path);
    this.release(prefix);
  }

  /** Replaces what a path is after import (another filter, another mark). */
  setUsed(path: number, used: PathAttributes | string): void {
    this.used[path] = used;
    this.#changed(this.prefixOf[path] ?? -1, path);
  }

  findPath(prefix: number, peer: number, pathId: number): number {
    let path = this.heads[prefix] ?? -1;
    while (path >= 0 && (this.peers[path] !== peer || this.pathIds[path] !== pathId)) path = this.next[path] ?? -1;
    return path;
  }

  /** Decides anew for all prefixes: the ways to next hops changed. */
  decideAll(): void {
    for (let prefix = 0; prefix < this.prefixes.end; prefix++) {
      const head = this.heads[prefix] ?? -1;
      if (head >= 0) this.#changed(prefix, -1);
    }
  }

  /** Whether a path may be used at all. */
  isUsable(path: number): boolean {
    const used = this.used[path];
    if (used === undefined || typeof used === "string") return false;
    const { metricOf } = this.#options;
    return metricOf === undefined || this.#isLocal(path) || metricOf(used.nextHop) !== undefined;
  }

  candidate(path: number): Candidate {
    return this.#fill({ ...this.#a }, path);
  }

  /** Paths as good as the best, the best first. */
  multipath(prefix: number, limit: number, tieBreak: number): number[] {
    const best = this.bests[prefix] ?? -1;
    if (best < 0) return [];
    const paths = [best];
    this.#fill(this.#a, best);
    for (let path = this.heads[prefix] ?? -1; path >= 0 && paths.length < limit; path = this.next[path] ?? -1) {
      if (path === best || !this.isUsable(path)) continue;
      const step = Math.abs(compareRoutes(this.#a, this.#fill(this.#b, path)));
      if (step === 0 || step >= tieBreak) paths.push(path);
    }
    return paths;
  }

  #isLocal(path: number): boolean {
    return this.#options.sourceOf(this.peers[path] ?? 0).local;
  }

  #fill(candidate: Mutable<Candidate>, path: number): Candidate {
    const used = this.used[path] as PathAttributes;
    const { metricOf, sourceOf } = this.#options;
    candidate.attributes = used;
    candidate.source = sourceOf(this.peers[path] ?? 0);
    candidate.pathId = this.pathIds[path] ?? 0;
    candidate.longLivedStale = ((this.marks[path] ?? 0) & LONG_LIVED) !== 0;
    candidate.metric = metricOf === undefined || candidate.source.local ? 0 : metricOf(used.nextHop);
    return candidate;
  }

  /** `path` changed (or went); finds the best anew and tells the readers. */
  #changed(prefix: number, path: number): void {
    if (path >= 0) this.stamps[path] = this.#nextStamp();
    const before = this.bests[prefix] ?? -1;
    const best = this.#bestOf(prefix);
    this.bests[prefix] = best;
    const bestChanged = best !== before || best === path || before === path;
    for (const reader of this.#readers) if (bestChanged || reader.everyPath) this.#enqueue(reader, prefix);
  }

  #nextStamp(): number {
    this.#stamp = (this.#stamp + 1) >>> 0 || 1;
    return this.#stamp;
  }

  #enqueue({ queue }: ChangeReader, prefix: number): void {
    if (queue.add(prefix)) this.#waiting[prefix] = (this.#waiting[prefix] ?? 0) + 1;
  }

  #bestOf(prefix: number): number {
    const head = this.heads[prefix] ?? -1;
    if (head < 0) return -1;
    if (this.next[head] === -1) return this.isUsable(head) ? head : -1;
    let best = -1;
    let meds = false;
    let count = 0;
    for (let path = head; path >= 0; path = this.next[path] ?? -1) {
      if (!this.isUsable(path)) continue;
      count++;
      if ((this.used[path] as PathAttributes).med !== undefined) meds = true;
      if (best < 0) {
        best = path;
        continue;
      }
      if (compareRoutes(this.#fill(this.#a, path), this.#fill(this.#b, best)) < 0) best = path;
    }
    return meds && count > 2 ? this.#bestWithMed(prefix) : best;
  }

  /** MED does not order routes of several ASes: the best of each AS meet. */
  #bestWithMed(prefix: number): number {
    const winners = new Map<number, number>();
    for (let path = this.heads[prefix] ?? -1; path >= 0; path = this.next[path] ?? -1) {
      if (!this.isUsable(path)) continue;
      const { neighbourAs } = this.used[path] as PathAttributes;
      const held = winners.get(neighbourAs);
      if (held === undefined || compareRoutes(this.#fill(this.#a, path), this.#fill(this.#b, held)) < 0) winners.set(neighbourAs, path);
    }
    let best = -1;
    for (const path of winners.values()) {
      if (best < 0 || compareRoutes(this.#fill(this.#a, path), this.#fill(this.#b, best)) < 0) best = path;
    }
    return best;
  }

  #growPaths(): void {
    const capacity = this.peers.length * 2;
    this.peers = grown(this.peers, new Int32Array(capacity));
    this.pathIds = grown(this.pathIds, new Uint32Array(capacity));
    this.marks = grown(this.marks, new Uint8Array(capacity));
    this.stamps = grown(this.stamps, new Uint32Array(capacity));
    this.prefixOf = filled(this.prefixOf, capacity);
    this.next = grown(this.next, new Int32Array(capacity));
  }
}

export interface PathGiven {
  readonly length: number;
  readonly pathId: number;
  readonly received: PathAttributes;
  /** Text: why it was rejected. */
  readonly used: PathAttributes | string;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function filled(from: Int32Array, capacity: number): Int32Array {
  const to = new Int32Array(capacity).fill(-1);
  to.set(from);
  return to;
}
