// Lists in order of keys that change by few: the next version is the one before with what moved put in its place.
import { deriveList } from "../kernel/index.ts";

/** Texts that several name, and how often. */
export class Tally {
  readonly #counts = new Map<string, number>();
  #moved = new Set<string>();

  /** One more that names the text, or one less. */
  count(text: string, by: 1 | -1): void {
    const before = this.#counts.get(text) ?? 0;
    if (before + by > 0) this.#counts.set(text, before + by);
    else this.#counts.delete(text);
    if (before === 0 || before + by === 0) this.#moved.add(text);
  }

  has(text: string): boolean {
    return this.#counts.has(text);
  }

  /** What may have come or gone since the last time. */
  turn(): ReadonlySet<string> {
    const moved = this.#moved;
    this.#moved = new Set();
    return moved;
  }
}

/** The list, in order of keys and each of them once, after what stands at some keys may have changed; the same list if it has not. */
export function patched<T>(
  list: readonly T[],
  keyOf: (item: T) => string,
  moved: ReadonlySet<string>,
  find: (key: string) => T | undefined,
): readonly T[] {
  if (list.length === 0) {
    const all = [...moved].sort().flatMap((key) => find(key) ?? []);
    return all.length > 0 ? deriveList(list, all, { gone: [], come: all }) : list;
  }
  let next: T[] | undefined;
  const [gone, come]: [T[], T[]] = [[], []];
  for (const key of moved) {
    const at = placeOf(next ?? list, keyOf, key);
    const [here] = (next ?? list).slice(at, at + 1);
    const old = here !== undefined && keyOf(here) === key ? [here] : [];
    const item = find(key);
    if (item === old[0]) continue;
    const fresh = item === undefined ? [] : [item];
    next ??= list.slice();
    next.splice(at, old.length, ...fresh);
    gone.push(...old);
    come.push(...fresh);
  }
  return next ? deriveList(list, next, { gone, come }) : list;
}

/** The number of the first item that is not before the key. */
function placeOf<T>(list: readonly T[], keyOf: (item: T) => string, key: string): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keyOf(list[middle] as T) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
