// Chance that is the same in every run: a small generator of numbers from a seed, and what is made of it.

export interface Chance {
  /** A whole number from 0 up to the limit. */
  below(limit: number): number;
  pick<T>(list: readonly T[]): T;
  /** True that often: from 0 to 1. */
  often(probability: number): boolean;
  /** From one to `most` of what `make` makes. */
  some<T>(most: number, make: () => T): T[];
}

/** mulberry32. */
export function chanceOf(seed: number): Chance {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    pick: (list) => list[below(list.length)] as never,
    often: (probability) => next() < probability,
    some: (most, make) => Array.from({ length: 1 + below(most) }, make),
  };
}
