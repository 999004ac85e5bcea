// What came and went between two lists that share their objects.

export interface ListChanges<T> {
  readonly gone: readonly T[];
  readonly come: readonly T[];
}

const NONE: ListChanges<never> = { gone: [], come: [] };
const origins = new WeakMap<readonly unknown[], ListChanges<unknown> & { readonly from: WeakRef<readonly unknown[]> }>();

/** Notes that a list was made of another by a few changes: whoever compares the two need not look at all of it. */
export function deriveList<T>(from: readonly T[], made: readonly T[], changes: ListChanges<T>): readonly T[] {
  origins.set(made, { ...changes, from: new WeakRef(from) });
  return made;
}

/** Whether who made the list follows it: an object in it is the same as long as nothing of it changes. */
export function isFollowed(list: readonly unknown[]): boolean {
  return origins.has(list);
}

/** By identity. What both begin and end with is passed over quickly. */
export function listChanges<T>(before: readonly T[], after: readonly T[]): ListChanges<T> {
  if (before === after) return NONE;
  const origin = origins.get(after);
  if (origin?.from.deref() === before) return origin as ListChanges<T> & typeof origin;
  const least = Math.min(before.length, after.length);
  let begin = 0;
  while (begin < least && before[begin] === after[begin]) begin++;
  let end = 0;
  while (end < least - begin && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
  const old = new Set(before.slice(begin, before.length - end));
  const fresh = new Set(after.slice(begin, after.length - end));
  return { gone: [...old.difference(fresh)], come: [...fresh.difference(old)] };
}
