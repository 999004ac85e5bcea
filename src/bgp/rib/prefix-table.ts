// Prefixes of one family by number: a hash table over typed arrays, so that a million prefixes are a few flat arrays.
import type { Family } from "../../base/index.ts";
import { prefixText } from "../wire/nlri.ts";

const START = 1024;

export class PrefixTable {
  readonly family: Family;
  /** Words of 32 bits in an address. */
  readonly width: 1 | 4;
  /** Addresses by index, `width` words each. */
  addresses: Uint32Array;
  lengths: Uint8Array;
  /** One over the highest index in use. */
  end = 0;
  /** Prefixes held. */
  size = 0;
  /** Called when indexes up to `capacity` come into being. */
  onGrow: ((capacity: number) => void) | undefined;

  #buckets: Int32Array;
  #next: Int32Array;
  #free: number[] = [];

  constructor(family: Family) {
    this.family = family;
    this.width = family === 4 ? 1 : 4;
    this.addresses = new Uint32Array(START * this.width);
    this.lengths = new Uint8Array(START);
    this.#next = new Int32Array(START);
    this.#buckets = new Int32Array(START * 2).fill(-1);
  }

  get capacity(): number {
    return this.lengths.length;
  }

  /** Index of the prefix whose address stands at `at` in `words`; -1 if it is not held. */
  find(words: Uint32Array, at: number, length: number): number {
    let index = this.#buckets[this.#bucketOf(words, at, length)] ?? -1;
    if (this.width === 1) {
      const address = words[at];
      while (index >= 0 && (this.addresses[index] !== address || this.lengths[index] !== length)) index = this.#next[index] ?? -1;
      return index;
    }
    while (index >= 0 && !this.#equals(index, words, at, length)) index = this.#next[index] ?? -1;
    return index;
  }

  /** As find; adds it where it is not held. */
  add(words: Uint32Array, at: number, length: number): number {
    const found = this.find(words, at, length);
    if (found >= 0) return found;
    const index = this.#free.pop() ?? this.end++;
    if (index >= this.capacity) this.#grow();
    for (let i = 0; i < this.width; i++) this.addresses[index * this.width + i] = words[at + i] ?? 0;
    this.lengths[index] = length;
    const bucket = this.#bucketOf(words, at, length);
    this.#next[index] = this.#buckets[bucket] ?? -1;
    this.#buckets[bucket] = index;
    this.size++;
    return index;
  }

  /** Forgets a prefix; its index may be given to another. */
  remove(index: number): void {
    const bucket = this.#bucketOf(this.addresses, index * this.width, this.lengths[index] ?? 0);
    let at = this.#buckets[bucket] ?? -1;
    if (at === index) this.#buckets[bucket] = this.#next[index] ?? -1;
    else {
      while (at >= 0 && this.#next[at] !== index) at = this.#next[at] ?? -1;
      if (at < 0) return;
      this.#next[at] = this.#next[index] ?? -1;
    }
    this.#free.push(index);
    this.size--;
  }

  text(index: number): string {
    return prefixText(this.family, this.addresses, index * this.width, this.lengths[index] ?? 0);
  }

  #equals(index: number, words: Uint32Array, at: number, length: number): boolean {
    if (this.lengths[index] !== length) return false;
    const from = index * 4;
    for (let i = 0; i < 4; i++) if (this.addresses[from + i] !== words[at + i]) return false;
    return true;
  }

  #bucketOf(words: Uint32Array, at: number, length: number): number {
    let hash = Math.imul(length + 1, 0x85ebca6b);
    for (let i = 0; i < this.width; i++) {
      hash = Math.imul(hash ^ (words[at + i] ?? 0), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash & (this.#buckets.length - 1);
  }

  #grow(): void {
    const capacity = this.capacity * 2;
    this.addresses = grown(this.addresses, new Uint32Array(capacity * this.width));
    this.lengths = grown(this.lengths, new Uint8Array(capacity));
    const next = this.#next;
    const held = this.#buckets;
    this.#next = new Int32Array(capacity);
    this.#buckets = new Int32Array(capacity * 2).fill(-1);
    for (const head of held) {
      for (let index = head; index >= 0; index = next[index] ?? -1) {
        const bucket = this.#bucketOf(this.addresses, index * this.width, this.lengths[index] ?? 0);
        this.#next[index] = this.#buckets[bucket] ?? -1;
        this.#buckets[bucket] = index;
      }
    }
    this.onGrow?.(capacity);
  }
}

/** Copies a typed array into a longer one. */
export function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
