// Keeps entries by name and variant up to a number; when it is full, the one that is kept longest goes.

export class Store<E> {
  readonly #capacity: number;
  readonly #evicted: (count: number) => void;
  /** Variant (type and flags) → name → entry. Few variants, many names: no key has to be put together for a look-up. */
  readonly #variants = new Map<number, Map<string, E>>();
  #size = 0;

  constructor(capacity: number, evicted: (count: number) => void) {
    this.#capacity = capacity;
    this.#evicted = evicted;
  }

  get size(): number {
    return this.#size;
  }

  get(variant: number, name: string): E | undefined {
    return this.#variants.get(variant)?.get(name);
  }

  set(variant: number, name: string, entry: E): void {
    let names = this.#variants.get(variant);
    if (!names) {
      names = new Map();
      this.#variants.set(variant, names);
    }
    if (names.delete(name)) this.#size--;
    else if (this.#size >= this.#capacity) this.#evict(names);
    names.set(name, entry);
    this.#size++;
  }

  delete(variant: number, name: string): void {
    const names = this.#variants.get(variant);
    if (!names?.delete(name)) return;
    this.#size--;
    if (names.size === 0) this.#variants.delete(variant);
  }

  /** Takes out the entry that was put in first, of the variant at hand or, where it has none, of another. */
  #evict(names: Map<string, E>): void {
    const [variant, from] =
      names.size > 0 ? [undefined, names] : (([...this.#variants].find(([, each]) => each.size > 0) ?? []) as [number?, Map<string, E>?]);
    const oldest = from?.keys().next().value;
    if (!from || oldest === undefined) return;
    from.delete(oldest);
    this.#size--;
    if (variant !== undefined && from.size === 0) this.#variants.delete(variant);
    this.#evicted(1);
  }
}
