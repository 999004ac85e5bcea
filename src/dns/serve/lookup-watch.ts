// Which look-ups go wrong, take long, or are made in vain by the search path: a bounded list of the worst, and counters.
import { RCODE, rcodeName, typeName } from "../message.ts";
import type { Counter, MetricRegistry } from "../metrics.ts";
import type { Answered } from "../plugin.ts";

export interface WatchedLookup {
  /** "example.com. A" for failures and slow ones; the name without the search element for those made in vain. */
  readonly name: string;
  /** The asker that was seen last. */
  readonly from: string;
  readonly count: number;
  /** "SERVFAIL", or milliseconds of the slowest. */
  readonly detail: string;
}

export interface LookupReport {
  readonly queries: number;
  readonly failing: readonly WatchedLookup[];
  readonly slow: readonly WatchedLookup[];
  /** Names that askers find only after the search path said no: each took questions that were for nothing. */
  readonly amplified: readonly WatchedLookup[];
  readonly searchMisses: number;
}

export interface LookupWatch {
  observe(answered: Answered): void;
  report(): LookupReport;
}

/** From here on an answer is slow, in milliseconds: a person notices a page that needs a few of them. */
const SLOW_MS = 100;
const KEPT = 200;
const SHOWN = 10;

/** `domain`: the cluster's, in lower case without a final dot. Metrics are Fairlead's own, beside CoreDNS's. */
export function watchLookups(domain: string, metrics: MetricRegistry): LookupWatch {
  const misses = metrics
    .counter("fairlead_dns_search_path_misses_total", "Names with an element of a pod's search path that do not exist.", [])
    .with();
  const slowCount = metrics.counter("fairlead_dns_slow_total", `Answers that took more than ${SLOW_MS} ms.`, []).with();
  const failures = metrics.counter("fairlead_dns_failures_total", "Answers SERVFAIL and REFUSED.", ["rcode"]);
  const failing = new Worst();
  const slow = new Worst();
  const amplified = new Worst();
  let queries = 0;
  let missed = 0;
  const count = (counter: Counter, worst: Worst, name: string, answered: Answered, detail: string) => {
    counter.inc();
    worst.add(name, answered.query.origin.address, detail);
  };
  return {
    observe(answered) {
      queries++;
      const { query, reply, milliseconds } = answered;
      const { rcode } = reply;
      if (milliseconds > SLOW_MS)
        count(slowCount, slow, `${query.name} ${typeName(query.type)}`, answered, `${Math.round(milliseconds)} ms`);
      if (rcode === RCODE.NOERROR) return;
      if (rcode === RCODE.NXDOMAIN) {
        const base = withoutSearch(query.name, domain);
        if (base === undefined) return;
        missed++;
        count(misses, amplified, base, answered, "NXDOMAIN");
      } else count(failures.with(rcodeName(rcode)), failing, `${query.name} ${typeName(query.type)}`, answered, rcodeName(rcode));
    },
    report: () => ({ queries, failing: failing.list(), slow: slow.list(), amplified: amplified.list(), searchMisses: missed }),
  };
}

/**
 * The name that was meant, where one of a pod's three search elements stands behind it: a name of at least two labels, as the
 * world's are. NAME.NAMESPACE.svc may as well be a Service that is missing, and counts as that.
 */
function withoutSearch(name: string, domain: string): string | undefined {
  const zone = `.${domain}.`;
  if (!name.endsWith(zone)) return undefined;
  const rest = name.slice(0, -zone.length);
  const inService = /^(.+)\.[^.]+\.svc$/.exec(rest)?.[1];
  const base = inService ?? /^(.+)\.svc$/.exec(rest)?.[1] ?? rest;
  return base.includes(".") ? `${base}.` : undefined;
}

/** Counts the commonest of any number of keys in bounded memory: the least common makes room (Space-Saving). */
class Worst {
  readonly #entries = new Map<string, { count: number; from: string; detail: string }>();

  add(name: string, from: string, detail: string): void {
    const known = this.#entries.get(name);
    if (known) {
      known.count++;
      known.from = from;
      known.detail = detail;
      return;
    }
    let least = 0;
    if (this.#entries.size >= KEPT) {
      let key = "";
      least = Number.POSITIVE_INFINITY;
      for (const [each, { count }] of this.#entries) if (count < least) [key, least] = [each, count];
      this.#entries.delete(key);
    }
    this.#entries.set(name, { count: least + 1, from, detail });
  }

  list(): WatchedLookup[] {
    return [...this.#entries]
      .sort(([, a], [, b]) => b.count - a.count)
      .slice(0, SHOWN)
      .map(([name, { count, from, detail }]) => ({ name, from, count, detail }));
  }
}
