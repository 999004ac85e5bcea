// What a new plan has in common with the one before becomes the same objects, so that whoever follows plans sees by identity what changed.
import { chainChanges, type IptablesTable, isFollowed, type KernelState, type NftSet, setChanges } from "../kernel/index.ts";
import type { NodePlan } from "./plan.ts";

/** The new plan, built of the old one's parts as far as they are equal by value. */
export function keepSame(before: NodePlan | undefined, after: NodePlan): NodePlan {
  if (!before) return after;
  const pods = new Map<string, KernelState>();
  for (const [id, state] of after.pods) pods.set(id, share(before.pods.get(id), state));
  return { ...after, kernel: share(before.kernel, after.kernel), pods };
}

/** `after`, or `before` where they are equal; else a copy of `after` that holds what is equal of `before`. Plain data only. */
function share<T>(before: unknown, after: T): T {
  if (before === after || typeof before !== "object" || typeof after !== "object" || before === null || after === null) return after;
  if (Array.isArray(before) !== Array.isArray(after)) return after;
  // A set or a table of iptables that says what it changed of the one before is compared by that.
  if (setChanges(after as unknown as NftSet, before as NftSet)) return after;
  if (chainChanges(after as unknown as IptablesTable, before as IptablesTable)) return after;
  return (Array.isArray(after) ? shareArray(before as unknown[], after) : shareObject(before, after)) as T;
}

function shareArray(before: readonly unknown[], after: readonly unknown[]): readonly unknown[] {
  // Who follows a list knows its objects again: copies would be strangers.
  if (isFollowed(after)) return before.length === after.length && after.every((item, index) => item === before[index]) ? before : after;
  // Of long lists, nearly all is the same at the same place from the beginning or from the end.
  const least = Math.min(before.length, after.length);
  let exact = true;
  const equal = (a: unknown, b: unknown): boolean => {
    const same = share(a, b) === a;
    if (same && a !== b) exact = false;
    return same;
  };
  let begin = 0;
  for (; begin < least; begin++) {
    const [old, fresh] = [before[begin], after[begin]];
    if (old !== fresh && !equal(old, fresh)) break;
  }
  let end = 0;
  for (; end < least - begin; end++) {
    const [old, fresh] = [before[before.length - 1 - end], after[after.length - 1 - end]];
    if (old !== fresh && !equal(old, fresh)) break;
  }
  if (begin + end === before.length && begin + end === after.length) return before;
  const fresh = after.slice(begin, after.length - end);
  const middle = shareMiddle(before.slice(begin, before.length - end), fresh);
  return exact && middle === fresh ? after : before.slice(0, begin).concat(middle, before.slice(before.length - end));
}

function shareMiddle(before: readonly unknown[], after: readonly unknown[]): readonly unknown[] {
  let changed = false;
  // Where one was put in between, those behind it are found by their names.
  let named: Map<string, unknown> | undefined;
  const partner = (item: unknown, index: number): unknown => {
    const name = identityOf(item);
    if (before[index] === item || name === undefined || identityOf(before[index]) === name) return before[index];
    named ??= new Map(before.flatMap((each) => [[identityOf(each) ?? "", each]]));
    return named.get(name);
  };
  const shared = after.map((item, index) => {
    const kept = share(partner(item, index), item);
    if (kept !== item) changed = true;
    return kept;
  });
  return changed ? shared : after;
}

/** Links, chains and sets have a name, elements of sets a key. */
function identityOf(item: unknown): string | undefined {
  if (typeof item !== "object" || item === null) return undefined;
  if ("name" in item && typeof item.name === "string") return item.name;
  return "key" in item && Array.isArray(item.key) ? item.key.join(" ") : undefined;
}

function shareObject(before: object, after: object): object {
  const old = before as Readonly<Record<string, unknown>>;
  let same = Object.keys(before).length === Object.keys(after).length;
  let changed = false;
  const shared: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(after)) {
    const kept = share(old[key], value);
    if (kept !== old[key] || !(key in old)) same = false;
    if (kept !== value) changed = true;
    shared[key] = kept;
  }
  // Sets and chains are remembered by the objects that made them: what is new stays the very object that it is.
  return same ? before : changed ? shared : after;
}
