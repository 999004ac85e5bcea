// Gives replies again until their time is over; asks ahead for what is popular, and gives what is stale while it asks.
//
//   query ─▶ kept? ── fresh ─────────────▶ reply with the TTL that is left (near its end and popular: asked for again meanwhile)
//              │ └── stale, serve_stale ─▶ reply with TTL 0, and one refresh in flight
//              └ no ─▶ is the same asked already? ─▶ its answer, else next ─▶ kept
import { deadline } from "../../../base/index.ts";
import type { Name } from "../../message.ts";
import { RCODE } from "../../message.ts";
import { alter, DROPPED, type Handler, mapReply, type Outcome, type Query, type Reply } from "../../query.ts";
import { keep } from "../../serve/reply-writer.ts";
import { inZone } from "../../wire/names.ts";
import { type CacheTimes, cappedTtl, type Kind, kindOf, lifetime, variantOf, withTtl } from "./entry.ts";
import { Store } from "./store.ts";

export interface CacheOptions {
  readonly zones: readonly Name[];
  readonly times: CacheTimes;
  readonly capacity: { readonly success: number; readonly denial: number };
  readonly prefetch: { readonly amount: number; readonly gap: number; readonly percent: number } | undefined;
  readonly stale: StaleOptions | undefined;
  /** Zones whose answers of the kind are not kept. */
  readonly disabled: { readonly success: readonly Name[]; readonly denial: readonly Name[] };
  readonly keepTtl: boolean;
}

export interface StaleOptions {
  /** Milliseconds after the end during which an entry may still be given. */
  readonly duration: number;
  /** Milliseconds to wait for a fresh answer first; undefined: not at all. */
  readonly verify: number | undefined;
  /** Seconds of TTL of a stale answer. */
  readonly ttl: number;
  /** Milliseconds after a failed refresh before the next. */
  readonly recheck: number;
}

export interface CacheEvents {
  request(): void;
  hit(kind: "success" | "denial"): void;
  miss(): void;
  prefetched(): void;
  stale(): void;
  evicted(kind: "success" | "denial"): void;
}

interface Entry {
  readonly reply: Reply;
  readonly kind: Kind;
  /** Milliseconds. */
  readonly stored: number;
  /** Seconds. */
  readonly ttl: number;
  /** The reply as it is given now, and its TTL. */
  given: Reply | undefined;
  givenTtl: number;
  hits: number;
  lastHit: number;
  refreshing: boolean;
  retryAfter: number;
}

export interface CacheHandler extends Handler {
  readonly size: { readonly success: number; readonly denial: number };
}

export function createCache(options: CacheOptions, events: CacheEvents, now: () => number, next: Handler): CacheHandler {
  return new Cache(options, events, now, next);
}

class Cache implements CacheHandler {
  readonly name = "cache";
  readonly #options: CacheOptions;
  readonly #events: CacheEvents;
  readonly #now: () => number;
  readonly #next: Handler;
  readonly #success: Store<Entry>;
  readonly #denial: Store<Entry>;
  /** Questions that are being asked, so that the same is asked once. */
  readonly #asking = new Map<string, Promise<Reply>>();
  /** Replies whose TTLs were cut, for those that come again and again. */
  readonly #capped = new WeakMap<Reply, Reply>();

  constructor(options: CacheOptions, events: CacheEvents, now: () => number, next: Handler) {
    this.#options = options;
    this.#events = events;
    this.#now = now;
    this.#next = next;
    this.#success = new Store(options.capacity.success, () => events.evicted("success"));
    this.#denial = new Store(options.capacity.denial, () => events.evicted("denial"));
  }

  get size(): { readonly success: number; readonly denial: number } {
    return { success: this.#success.size, denial: this.#denial.size };
  }

  serve(query: Query): Outcome {
    if (!this.#options.zones.some((zone) => inZone(query.name, zone))) return this.#next.serve(query);
    this.#events.request();
    const variant = variantOf(query);
    const entry = this.#denial.get(variant, query.name) ?? this.#success.get(variant, query.name);
    if (entry) {
      const now = this.#now();
      const left = entry.ttl - Math.floor((now - entry.stored) / 1000);
      if (left > 0) return this.#fresh(query, entry, left, now);
      const { stale } = this.#options;
      if (stale && now - entry.stored - entry.ttl * 1000 < stale.duration && entry.kind !== "failure")
        return this.#stale(query, entry, stale, now);
    }
    this.#events.miss();
    return this.#ask(query, variant);
  }

  #fresh(query: Query, entry: Entry, left: number, now: number): Reply {
    this.#events.hit(entry.kind === "success" ? "success" : "denial");
    const { prefetch } = this.#options;
    if (prefetch) {
      entry.hits = now - entry.lastHit > prefetch.gap ? 1 : entry.hits + 1;
      entry.lastHit = now;
      if (entry.hits >= prefetch.amount && left <= Math.ceil((prefetch.percent / 100) * entry.ttl)) this.#refresh(query, entry, now);
    }
    return this.#give(entry, this.#options.keepTtl ? entry.ttl : left);
  }

  /** The same object while the TTL is the same, so its bytes are written once a second at most. */
  #give(entry: Entry, ttl: number): Reply {
    if (!entry.given || entry.givenTtl !== ttl) {
      entry.given = keep(withTtl(entry.reply, ttl));
      entry.givenTtl = ttl;
    }
    return entry.given;
  }

  #stale(query: Query, entry: Entry, stale: StaleOptions, now: number): Outcome {
    this.#events.hit(entry.kind === "success" ? "success" : "denial");
    const old = () => {
      this.#events.stale();
      return this.#give(entry, stale.ttl);
    };
    const refreshed = this.#refresh(query, entry, now);
    const { verify } = stale;
    if (verify === undefined || !refreshed) return old();
    const sound = refreshed.then((reply) => (kindOf(query, reply) === "failure" || reply.rcode === RCODE.REFUSED ? old() : reply));
    if (verify === 0) return sound;
    let endWait = () => {};
    const late = new Promise<Reply>((resolve) => {
      endWait = deadline(verify, () => resolve(old()));
    });
    return Promise.race([sound, late]).finally(() => endWait());
  }

  /** Asks for it anew, one at a time; undefined where that is under way, or failed lately. */
  #refresh(query: Query, entry: Entry, now: number): Promise<Reply> | undefined {
    if (entry.refreshing || now < entry.retryAfter) return undefined;
    entry.refreshing = true;
    this.#events.prefetched();
    const own = alter(query, {});
    return Promise.resolve(mapReply(this.#next.serve(own), (reply) => this.#take(own, reply, entry)))
      .catch((): Reply => ({ ...entry.reply, rcode: RCODE.SERVFAIL }))
      .then((reply) => {
        entry.refreshing = false;
        if (reply.rcode === RCODE.SERVFAIL) entry.retryAfter = this.#now() + (this.#options.stale?.recheck ?? 0);
        return reply;
      });
  }

  #ask(query: Query, variant: number): Outcome {
    const key = `${variant} ${query.origin.transport} ${query.name}`;
    const asking = this.#asking.size > 0 ? this.#asking.get(key) : undefined;
    if (asking) return asking;
    const outcome = this.#next.serve(query);
    if (!(outcome instanceof Promise)) return this.#take(query, outcome);
    const asked = outcome.then((reply) => this.#take(query, reply)).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asked);
    return asked;
  }

  /** Keeps the reply where it may be kept; gives it as it goes to the asker. */
  #take(query: Query, reply: Reply, instead?: Entry): Reply {
    if (reply === DROPPED) return reply;
    const { times, keepTtl } = this.#options;
    const kind = kindOf(query, reply);
    // What the cluster's directory answers is at hand anyway, and is never out of date.
    if (reply.by === "kubernetes") return kind === undefined || kind === "failure" ? reply : this.#cap(reply, times[kind].most);
    if (kind === undefined || (kind === "failure" && (times.failure === 0 || instead))) return reply;
    const part = kind === "success" ? "success" : "denial";
    if (this.#options.disabled[part].some((zone) => inZone(query.name, zone))) return reply;
    const ttl = lifetime(reply, kind, times);
    const now = this.#now();
    const entry: Entry = {
      reply,
      kind,
      stored: now,
      ttl,
      given: undefined,
      givenTtl: -1,
      hits: instead?.hits ?? 0,
      lastHit: instead?.lastHit ?? 0,
      refreshing: false,
      retryAfter: 0,
    };
    const variant = variantOf(query);
    const [into, outOf] = kind === "success" ? [this.#success, this.#denial] : [this.#denial, this.#success];
    if (ttl > 0) {
      outOf.delete(variant, query.name);
      into.set(variant, query.name, entry);
    }
    if (kind === "failure") return reply;
    // The first asker sees the TTL that the next ones will.
    return keepTtl ? reply : { ...withTtl(reply, ttl), by: reply.by };
  }

  #cap(reply: Reply, most: number): Reply {
    const over = (records: Reply["answers"]) => records.some(({ ttl }) => ttl > most);
    if (!over(reply.answers) && !over(reply.authorities) && !over(reply.additionals)) return reply;
    let capped = this.#capped.get(reply);
    if (!capped) {
      capped = keep(cappedTtl(reply, most));
      this.#capped.set(reply, capped);
    }
    return capped;
  }
}
