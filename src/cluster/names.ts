// Objects by name, in order of name, that never change: a new version with some changes shares nothing but costs only a copy of two arrays.
//
// A map of fifty thousand objects takes milliseconds to copy; arrays of them take some ten microseconds.

/** Up to so many changes are put in one by one. */
const FEW = 4;

/** Values by name, in order of name. */
export class Names<T> {
  readonly #names: readonly string[];
  readonly #values: readonly T[];

  private constructor(names: readonly string[], values: readonly T[]) {
    this.#names = names;
    this.#values = values;
  }

  static readonly EMPTY: Names<never> = new Names<never>([], []);

  static from<T>(entries: Iterable<readonly [string, T]>): Names<T> {
    return (Names.EMPTY as Names<T>).with(new Map(entries));
  }

  get size(): number {
    return this.#names.length;
  }

  get(name: string): T | undefined {
    const at = indexIn(this.#names, name);
    return this.#names[at] === name ? this.#values[at] : undefined;
  }

  values(): readonly T[] {
    return this.#values;
  }

  /** The values whose names begin so. */
  under(prefix: string): readonly T[] {
    const from = indexIn(this.#names, prefix);
    let to = from;
    while (this.#names[to]?.startsWith(prefix)) to++;
    return this.#values.slice(from, to);
  }

  /** The next version: undefined takes a name out. */
  with(changes: ReadonlyMap<string, T | undefined>): Names<T> {
    return changes.size > FEW ? this.#merged(changes) : [...changes].reduce((next: Names<T>, change) => next.#withOne(...change), this);
  }

  #withOne(name: string, value: T | undefined): Names<T> {
    const at = indexIn(this.#names, name);
    const known = this.#names[at] === name;
    if (value === undefined) return known ? new Names(this.#names.toSpliced(at, 1), this.#values.toSpliced(at, 1)) : this;
    if (known) return new Names(this.#names, this.#values.with(at, value));
    return new Names(this.#names.toSpliced(at, 0, name), this.#values.toSpliced(at, 0, value));
  }

  #merged(changes: ReadonlyMap<string, T | undefined>): Names<T> {
    const sorted = [...changes].sort(([a], [b]) => (a < b ? -1 : 1));
    const names: string[] = [];
    const values: T[] = [];
    let at = 0;
    for (const [name, value] of sorted) {
      const place = indexIn(this.#names, name, at);
      append(names, this.#names, at, place);
      append(values, this.#values, at, place);
      at = this.#names[place] === name ? place + 1 : place;
      if (value === undefined) continue;
      names.push(name);
      values.push(value);
    }
    append(names, this.#names, at, this.#names.length);
    append(values, this.#values, at, this.#values.length);
    return new Names(names, values);
  }
}

/** Where a name is, or would be. */
function indexIn(names: readonly string[], name: string, from = 0): number {
  let low = from;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((names[middle] as string) < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

function append<T>(to: T[], from: readonly T[], start: number, end: number): void {
  for (let at = start; at < end; at++) to.push(from[at] as T);
}
