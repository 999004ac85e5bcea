// The directive cache: cache [TTL] [ZONES…] { options }
import {
  argument,
  CorefileError,
  choice,
  type Directive,
  duration,
  expectArgs,
  integer,
  onlyOnce,
  tryDuration,
  unknownOption,
  zonesOrBlock,
} from "../../corefile/index.ts";
import type { Plugin, Site } from "../../plugin.ts";
import { type CacheEvents, type CacheHandler, type CacheOptions, createCache, type StaleOptions } from "./cache.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Settings = Mutable<CacheOptions>;

const CAPACITY = 9984;
/** Seconds. */
const MOST = { success: 3600, denial: 1800 };
const LEAST = 5;
const MAX_FAILURE_MS = 300_000;

type Change = (settings: Settings, option: Directive) => void;

const OPTIONS: Readonly<Record<string, Change>> = {
  success: (settings, option) => readPart(settings, option, "success"),
  denial: (settings, option) => readPart(settings, option, "denial"),
  prefetch: (settings, option) => {
    const [amount, gap, percent] = expectArgs(option, 1, 3);
    const value = percent === undefined ? 10 : integer({ ...percent, text: percent.text.replace(/%$/, "") }, 10, 90);
    if (percent && !percent.text.endsWith("%"))
      throw new CorefileError(percent.place, `"${percent.text}" is no percentage`, "write it like 20%");
    const milliseconds = gap === undefined ? 60_000 : duration(gap);
    settings.prefetch = amount && integer(amount) > 0 ? { amount: integer(amount), gap: milliseconds, percent: value } : undefined;
  },
  serve_stale: (settings, option) => {
    settings.stale = readStale(option);
  },
  servfail: (settings, option) => {
    expectArgs(option, 1);
    const milliseconds = duration(argument(option, 0));
    if (milliseconds > MAX_FAILURE_MS) throw new CorefileError(argument(option, 0).place, "failures may be kept for five minutes at most");
    settings.times = { ...settings.times, failure: milliseconds / 1000 };
  },
  disable: (settings, option) => {
    const part = choice(argument(option, 0), ["success", "denial"]);
    const zones = zonesOrBlock(option.args.slice(1), ["."]);
    settings.disabled = { ...settings.disabled, [part]: [...settings.disabled[part], ...zones] };
  },
  keepttl: (settings, option) => {
    expectArgs(option, 0);
    settings.keepTtl = true;
  },
};

export const cache: Plugin = {
  name: "cache",
  setup(directives, site) {
    const settings = readSettings(onlyOnce(directives), site);
    const { metrics, now } = site.host;
    const labels = [site.server, settings.zones.join(","), ""] as const;
    let handler: CacheHandler | undefined;
    const events = countEvents(site, labels);
    return {
      handler: (next) => {
        handler = createCache(settings, events, now, next);
        return handler;
      },
      start: () => {
        const entries = metrics.gauge("coredns_cache_entries", "The number of elements in the cache.", ["server", "type", "zones", "view"]);
        const [server, zones, view] = labels;
        for (const part of ["success", "denial"] as const) entries.measure([server, part, zones, view], () => handler?.size[part] ?? 0);
      },
    };
  },
};

function readSettings(directive: Directive, site: Site): Settings {
  const [first, ...rest] = directive.args;
  const timed = first !== undefined && /^\d+$/.test(first.text);
  const most = timed ? integer(first, 1) : undefined;
  const settings: Settings = {
    zones: zonesOrBlock(timed ? rest : directive.args, site.zones),
    times: {
      success: { most: most ?? MOST.success, least: Math.min(LEAST, most ?? LEAST) },
      denial: { most: most ?? MOST.denial, least: Math.min(LEAST, most ?? LEAST) },
      failure: 5,
    },
    capacity: { success: CAPACITY, denial: CAPACITY },
    prefetch: undefined,
    stale: undefined,
    disabled: { success: [], denial: [] },
    keepTtl: false,
  };
  for (const option of directive.body ?? []) {
    const change = Object.hasOwn(OPTIONS, option.name) ? OPTIONS[option.name] : undefined;
    if (!change) throw unknownOption("cache", option, Object.keys(OPTIONS));
    change(settings, option);
  }
  return settings;
}

/** CAPACITY [TTL [MINTTL]] */
function readPart(settings: Settings, option: Directive, part: "success" | "denial"): void {
  const [capacity, most, least] = expectArgs(option, 1, 3);
  if (capacity) settings.capacity = { ...settings.capacity, [part]: Math.max(1024, integer(capacity, 1)) };
  if (!most) return;
  const seconds = integer(most, 1);
  settings.times = { ...settings.times, [part]: { most: seconds, least: least ? integer(least, 0, seconds) : Math.min(LEAST, seconds) } };
}

/** [DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]] */
function readStale(option: Directive): StaleOptions {
  const words = [...expectArgs(option, 0, 5)];
  const first = words[0] && tryDuration(words[0].text) !== undefined ? words.shift() : undefined;
  const mode = words[0] ? choice(words[0], ["immediate", "verify"]) : "immediate";
  words.shift();
  const timeout = mode === "verify" && words[0] ? duration(words.shift() as Directive["args"][number]) : 0;
  const [ttl, recheck, extra] = words;
  if (extra) throw new CorefileError(extra.place, `"${extra.text}" is too much for serve_stale`);
  return {
    duration: first ? duration(first) : 3_600_000,
    verify: mode === "verify" ? timeout : undefined,
    ttl: ttl ? Math.floor(duration(ttl) / 1000) : 0,
    recheck: recheck ? duration(recheck) : 0,
  };
}

function countEvents({ host: { metrics } }: Site, [server, zones, view]: readonly [string, string, string]): CacheEvents {
  const plain = (name: string, help: string) =>
    metrics.counter(`coredns_cache_${name}`, help, ["server", "zones", "view"]).with(server, zones, view);
  const byType = (name: string, help: string) => {
    const family = metrics.counter(`coredns_cache_${name}`, help, ["server", "type", "zones", "view"]);
    return { success: family.with(server, "success", zones, view), denial: family.with(server, "denial", zones, view) };
  };
  const requests = plain("requests_total", "The count of cache requests.");
  const misses = plain("misses_total", "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.");
  const prefetches = plain("prefetch_total", "The number of times the cache has prefetched a cached item.");
  const stale = plain("served_stale_total", "The number of requests served from stale cache entries.");
  const hits = byType("hits_total", "The count of cache hits.");
  const evictions = byType("evictions_total", "The count of cache evictions.");
  return {
    request: () => requests.inc(),
    hit: (kind) => hits[kind].inc(),
    miss: () => misses.inc(),
    prefetched: () => prefetches.inc(),
    stale: () => stale.inc(),
    evicted: (kind) => evictions[kind].inc(),
  };
}
