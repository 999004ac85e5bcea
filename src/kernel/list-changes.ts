// What came and went between two lists that share their objects.

export interface ListChanges<T> {
  readonly gone: readonly T[];
  readonly come: readonly T[];
}

/** By identity. What both begin and end with costs next to nothing, so that one more among fifty thousand is found at once. */
export function listChanges<T>(before: readonly T[], after: readonly T[]): ListChanges<T> {
  if (before === after) return { gone: [], come: [] };
  const least = Math.min(before.length, after.length);
  let begin = 0;
  while (begin < least && before[begin] === after[begin]) begin++;
  let end = 0;
  while (end < least - begin && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
  const old = new Set(before.slice(begin, before.length - end));
  const fresh = new Set(after.slice(begin, after.length - end));
  return { gone: [...old.difference(fresh)], come: [...fresh.difference(old)] };
}
