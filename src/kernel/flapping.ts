// Notices an opponent: something that keeps changing what the reconciler keeps mending.
import type { ReconcilerClock } from "./reconcile.ts";

/** Mends of one object that are taken in stride. */
const PATIENCE = 4;
const FIRST_HOLD_MS = 100;
const LONGEST_HOLD_MS = 5000;
/** So long without a further change, on top of twice the hold, and the opponent has gone. */
const QUIET_MS = 2000;

export class Flapping {
  readonly #clock: ReconcilerClock;
  readonly #mends = new Map<string, { count: number; last: number }>();
  #worst: { readonly object: string; readonly count: number; readonly at: number } | undefined;

  constructor(clock: ReconcilerClock) {
    this.#clock = clock;
  }

  /** Notes the objects that were just mended after drift. */
  note(objects: Iterable<string>): void {
    const now = this.#clock.now();
    for (const [object, mend] of this.#mends) if (now - mend.last > quietAfter(mend.count)) this.#mends.delete(object);
    let worst: { object: string; count: number; at: number } | undefined;
    for (const object of objects) {
      const count = (this.#mends.get(object)?.count ?? 0) + 1;
      this.#mends.set(object, { count, last: now });
      if (worst === undefined || count > worst.count) worst = { object, count, at: now };
    }
    if (worst && (worst.count >= (this.#worst?.count ?? 0) || this.quietIn === 0)) this.#worst = worst;
  }

  /** Milliseconds from now before the next mend; 0 when nothing flaps. */
  get hold(): number {
    const worst = this.#worst;
    return worst && this.quietIn > 0 ? Math.max(0, worst.at + holdAfter(worst.count) - this.#clock.now()) : 0;
  }

  /** Milliseconds until the opponent counts as gone; 0 when nothing flaps. */
  get quietIn(): number {
    const worst = this.#worst;
    if (!worst || worst.count <= PATIENCE) return 0;
    return Math.max(0, worst.at + quietAfter(worst.count) - this.#clock.now());
  }

  /** What to tell about it; undefined when nothing flaps. */
  get says(): string | undefined {
    const worst = this.#worst;
    if (!worst || this.quietIn === 0) return undefined;
    return `something keeps changing ${worst.object}: mended ${worst.count} times in a row, now every ${holdAfter(worst.count)} ms at most`;
  }
}

function holdAfter(count: number): number {
  return count <= PATIENCE ? 0 : Math.min(FIRST_HOLD_MS * 2 ** (count - PATIENCE - 1), LONGEST_HOLD_MS);
}

function quietAfter(count: number): number {
  return QUIET_MS + 2 * holdAfter(count);
}
