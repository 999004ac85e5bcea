// Prefixes that changed since a reader last looked: each once, in order of their first change.

export class ChangeQueue {
  #waiting: Uint8Array;
  #list: Int32Array = new Int32Array(1024);
  #length = 0;

  constructor(capacity: number) {
    this.#waiting = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  grow(capacity: number): void {
    const waiting = new Uint8Array(capacity);
    waiting.set(this.#waiting);
    this.#waiting = waiting;
  }

  /** Whether the prefix was not waiting yet. */
  add(index: number): boolean {
    if (this.#waiting[index] === 1) return false;
    this.#waiting[index] = 1;
    if (this.#length === this.#list.length) {
      const list = new Int32Array(this.#length * 2);
      list.set(this.#list);
      this.#list = list;
    }
    this.#list[this.#length++] = index;
    return true;
  }

  /** Takes those that wait longest, at most `limit`. The array is valid until the next add. */
  take(limit = this.#length): Int32Array {
    const all = limit >= this.#length;
    const taken = all ? this.#list.subarray(0, this.#length) : this.#list.slice(0, limit);
    for (const index of taken) this.#waiting[index] = 0;
    if (!all) this.#list.copyWithin(0, limit, this.#length);
    this.#length -= taken.length;
    return taken;
  }

  copy(): ChangeQueue {
    const copy = new ChangeQueue(this.#waiting.length);
    for (const index of this.#list.subarray(0, this.#length)) copy.add(index);
    return copy;
  }
}
