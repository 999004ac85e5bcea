// The addresses that DNS names had in answers to a node's pods, and until when: kept over restarts, bounded, plain data outside.
import type { DnsAnswers } from "../policy/index.ts";
import type { DnsAnswer } from "./dns-answer.ts";

/** A program may begin to use an address when it is already old: it counts for so long at least, in milliseconds. */
const LEAST_MS = 60_000;
/** What has expired is still no reason to cut a flow, for so long. */
const GRACE_MS = 3_600_000;
const MOST_ADDRESSES = 20_000;

interface Entry {
  readonly name: string;
  readonly address: string;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

export class DnsBook {
  /** By name and address, the longest known first. */
  readonly #entries = new Map<string, Entry>();
  #answers: DnsAnswers = {};
  #ever: DnsAnswers = {};

  /** What counts now; the same object as long as nothing changes. */
  get answers(): DnsAnswers {
    return this.#answers;
  }

  /** What counts, and what did not long ago. */
  get ever(): DnsAnswers {
    return this.#ever;
  }

  /** Whether something counts now that did not before. */
  learn({ name, addresses, ttl }: DnsAnswer, now: number): boolean {
    let fresh = false;
    const until = now + Math.max(LEAST_MS, ttl * 1000);
    for (const address of addresses) {
      const key = `${name} ${address}`;
      const before = this.#entries.get(key);
      if (!before || before.until <= now) fresh = true;
      this.#entries.delete(key);
      this.#entries.set(key, { name, address, until: Math.max(until, before?.until ?? 0) });
    }
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= MOST_ADDRESSES) break;
      this.#entries.delete(key);
    }
    if (fresh) this.#gather(now);
    return fresh;
  }

  /** Takes out what is too old; whether something does not count any more. */
  expire(now: number): boolean {
    for (const [key, { until }] of this.#entries) if (until + GRACE_MS <= now) this.#entries.delete(key);
    const before = sizeOf(this.#answers);
    const count = [...this.#entries.values()].filter(({ until }) => until > now).length;
    if (count === before) return false;
    this.#gather(now);
    return true;
  }

  #gather(now: number): void {
    const entries = [...this.#entries.values()];
    this.#answers = gather(entries.filter(({ until }) => until > now));
    this.#ever = gather(entries);
  }

  toJSON(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  /** What was written once; what is not of that shape is passed over. */
  restore(value: unknown, now: number): void {
    if (!Array.isArray(value)) return;
    for (const entry of value as readonly (Partial<Entry> | null)[]) {
      const { name, address, until } = entry ?? {};
      if (typeof name !== "string" || typeof address !== "string" || typeof until !== "number") continue;
      if (until + GRACE_MS > now) this.#entries.set(`${name} ${address}`, { name, address, until });
    }
    this.#gather(now);
  }
}

function gather(entries: readonly Entry[]): DnsAnswers {
  const found: Record<string, string[]> = Object.create(null);
  for (const { name, address } of entries) {
    const list = found[name];
    if (list) list.push(address);
    else found[name] = [address];
  }
  return found;
}

function sizeOf(answers: DnsAnswers): number {
  return Object.values(answers).reduce((sum, addresses) => sum + addresses.length, 0);
}
