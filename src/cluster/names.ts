// Objects by name, in order of name, that never change: a next version copies the one block of some hundred names that it touches.
//
// A map of fifty thousand objects takes milliseconds to copy, and leaves as much for the garbage collector.

/** Names of a block, and their values beside. */
interface Block<T> {
  readonly names: readonly string[];
  readonly values: readonly T[];
}

const BLOCK = 512;
/** Up to so many changes are put in one by one. */
const FEW = 16;

/** Values by name, in order of name. */
export class Names<T> {
  readonly size: number;
  /** None of them is empty. */
  readonly #blocks: readonly Block<T>[];

  private constructor(blocks: readonly Block<T>[], size: number) {
    this.#blocks = blocks;
    this.size = size;
  }

  static readonly EMPTY: Names<never> = new Names<never>([], 0);

  static from<T>(entries: Iterable<readonly [string, T]>): Names<T> {
    return (Names.EMPTY as Names<T>).with(new Map(entries));
  }

  get(name: string): T | undefined {
    const block = this.#blocks[this.#blockOf(name)];
    if (!block) return undefined;
    const at = indexIn(block.names, name);
    return block.names[at] === name ? block.values[at] : undefined;
  }

  *values(): Iterable<T> {
    for (const { values } of this.#blocks) yield* values;
  }

  /** The values as one list, the very same whenever it is asked for. */
  list(): readonly T[] {
    this.#list ??= this.#blocks.flatMap(({ values }) => values);
    return this.#list;
  }
  #list: readonly T[] | undefined;

  /** The values whose names begin so. */
  under(prefix: string): readonly T[] {
    const found: T[] = [];
    for (let number = this.#blockOf(prefix); number < this.#blocks.length; number++) {
      const { names, values } = this.#blocks[number] as Block<T>;
      for (let at = indexIn(names, prefix); at < names.length; at++) {
        if (!names[at]?.startsWith(prefix)) return found;
        found.push(values[at] as T);
      }
    }
    return found;
  }

  /** The next version: undefined takes a name out. */
  with(changes: ReadonlyMap<string, T | undefined>): Names<T> {
    return changes.size > FEW ? this.#merged(changes) : [...changes].reduce((next: Names<T>, change) => next.#withOne(...change), this);
  }

  /** The block that holds a name, or would. */
  #blockOf(name: string): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (((this.#blocks[middle] as Block<T>).names[0] as string) <= name) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #withOne(name: string, value: T | undefined): Names<T> {
    const number = this.#blockOf(name);
    const { names, values } = this.#blocks[number] ?? { names: [], values: [] };
    const at = indexIn(names, name);
    const known = names[at] === name;
    if (!known && value === undefined) return this;
    const block =
      value === undefined
        ? { names: names.toSpliced(at, 1), values: values.toSpliced(at, 1) }
        : known
          ? { names, values: values.with(at, value) }
          : { names: names.toSpliced(at, 0, name), values: values.toSpliced(at, 0, value) };
    const size = this.size + (value === undefined ? -1 : known ? 0 : 1);
    return new Names(this.#blocks.toSpliced(number, 1, ...cut(block)), size);
  }

  #merged(changes: ReadonlyMap<string, T | undefined>): Names<T> {
    const all = new Map<string, T | undefined>();
    for (const { names, values } of this.#blocks) for (const [at, name] of names.entries()) all.set(name, values[at] as T);
    for (const [name, value] of changes) all.set(name, value);
    const sorted = [...all].filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
    const blocks: Block<T>[] = [];
    for (let at = 0; at < sorted.length; at += BLOCK) {
      const part = sorted.slice(at, at + BLOCK);
      blocks.push({ names: part.map(([name]) => name), values: part.map(([, value]) => value as T) });
    }
    return new Names(blocks, sorted.length);
  }
}

/** A block as one, two, or none. */
function cut<T>(block: Block<T>): Block<T>[] {
  const { names, values } = block;
  if (names.length === 0) return [];
  if (names.length <= 2 * BLOCK) return [block];
  return [
    { names: names.slice(0, BLOCK), values: values.slice(0, BLOCK) },
    { names: names.slice(BLOCK), values: values.slice(BLOCK) },
  ];
}

/** Where a name is, or would be. */
function indexIn(names: readonly string[], name: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((names[middle] as string) < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
