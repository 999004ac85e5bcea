// The end of a wait, fair to the other side: a process that stood still does not take its own silence for the other's.
//
// Node runs timers that are due before it reads its sockets. After a second of standstill (a busy machine, a long collection of
// garbage), a plain `setTimeout` would say "no answer" though one has long been there.

/** A standstill uses up one of so many parts of the time. */
const PARTS = 4;

/**
 * Calls `then` once, after `milliseconds` (0 and more; 2³¹ − 1 at most), or later where this process stood still meanwhile, and not
 * before what had arrived by then was heard. What it returns ends the wait, and may be called at any time, as often as one likes.
 */
export function deadline(milliseconds: number, then: () => void): () => void {
  let left = PARTS;
  let last: NodeJS.Immediate | undefined;
  const part = () => {
    left--;
    if (left > 0) timer = setTimeout(part, milliseconds / PARTS);
    else last = setImmediate(then);
  };
  let timer = setTimeout(part, milliseconds / PARTS);
  return () => {
    clearTimeout(timer);
    clearImmediate(last);
  };
}
