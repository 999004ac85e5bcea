// Look-ups in named sets and maps, by an index that is made once for each set.
import type { NftElement, NftSet, NftTable } from "../netfilter.ts";
import { boundsOf, canonicalValue, kindOfType, orderOf, type ValueKind, valueMatches } from "./value.ts";

const named = new WeakMap<readonly NftSet[], ReadonlyMap<string, NftSet>>();

/** A table's set or map of that name. */
export function setOf(table: NftTable, name: string): NftSet | undefined {
  let byName = named.get(table.sets);
  if (!byName) {
    byName = new Map(table.sets.map((set) => [set.name, set]));
    named.set(table.sets, byName);
  }
  return byName.get(name);
}

/** What finds an element for canonical key parts. */
interface Index {
  find(parts: readonly string[]): NftElement | undefined;
}

const indexes = new WeakMap<readonly NftElement[], Index>();

/** The element that holds the key (canonical parts); undefined if there is none. */
export function findElement(set: NftSet, parts: readonly string[]): NftElement | undefined {
  if (set.elements.length === 0) return undefined;
  let index = indexes.get(set.elements);
  if (!index) {
    const kinds = set.key.map(kindOfType);
    index = set.flags?.includes("interval") ? intervalIndex(set.elements, kinds) : exactIndex(set.elements, kinds);
    indexes.set(set.elements, index);
  }
  return index.find(parts);
}

function exactIndex(elements: readonly NftElement[], kinds: readonly ValueKind[]): Index {
  const byKey = new Map<string, NftElement>();
  for (const element of elements) byKey.set(element.key.map((part, at) => canonicalValue(kinds[at] ?? "text", part)).join(" "), element);
  return { find: (parts) => byKey.get(parts.join(" ")) };
}

/** Intervals of one part that do not overlap are found by halving; concatenated ones are tried one after the other. */
function intervalIndex(elements: readonly NftElement[], kinds: readonly ValueKind[]): Index {
  const [kind] = kinds;
  const ranges = elements.flatMap((element) => {
    const bounds = kinds.length === 1 && kind ? boundsOf(kind, element.key[0] ?? "") : undefined;
    return bounds ? [{ ...bounds, element }] : [];
  });
  if (!kind || ranges.length < elements.length)
    return {
      find: (parts) => elements.find(({ key }) => key.every((said, at) => valueMatches(kinds[at] ?? "text", said, parts[at] ?? ""))),
    };
  ranges.sort((a, b) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0));
  return {
    find([part = ""]) {
      const order = orderOf(kind, part);
      if (order === undefined) return undefined;
      let low = 0;
      let high = ranges.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((ranges[middle]?.low ?? 0n) <= order) low = middle + 1;
        else high = middle;
      }
      const found = ranges[low - 1];
      return found && order <= found.high ? found.element : undefined;
    },
  };
}
