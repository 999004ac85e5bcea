// The entries of a table that a few readers ask for, such as those without connections: followed from table to table by what changed.
import type { ServiceEntry } from "./entry.ts";
import type { ServiceTable } from "./table.ts";

/** Which entries; one object for each question, by which what was found is kept. */
export interface Subset {
  readonly takes: (entry: ServiceEntry) => boolean;
}

const kept = new WeakMap<Subset, WeakMap<ServiceTable, readonly ServiceEntry[]>>();
/** A longer list is cheaper found anew. */
const LONG = 5000;

/** Those entries of a table, in its order; the same list while none of them changed. */
export function entriesIn(table: ServiceTable, subset: Subset): readonly ServiceEntry[] {
  let lists = kept.get(subset);
  if (!lists) {
    lists = new WeakMap();
    kept.set(subset, lists);
  }
  let list = lists.get(table);
  if (!list) {
    list = followed(table, subset, lists) ?? table.entries.filter(subset.takes);
    lists.set(table, list);
  }
  return list;
}

function followed(
  table: ServiceTable,
  { takes }: Subset,
  lists: WeakMap<ServiceTable, readonly ServiceEntry[]>,
): readonly ServiceEntry[] | undefined {
  const { origin } = table;
  const before = origin && lists.get(origin.table);
  if (!origin || !before || before.length > LONG) return undefined;
  // What only got or lost an address is in both lists, and stays where it is.
  const removed = new Set(origin.changes.removed).difference(new Set(origin.changes.added));
  const added = origin.changes.added.filter((entry) => takes(entry) && !before.includes(entry));
  if (added.length === 0 && !before.some((entry) => removed.has(entry))) return before;
  return [...before.filter((entry) => !removed.has(entry)), ...added].sort(byService);
}

function byService(a: ServiceEntry, b: ServiceEntry): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
