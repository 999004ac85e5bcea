// A running account of the elements that all entries of a table have in the node's sets, kept from table to table, so that
// a changed Service costs what concerns it.
import type { ElementChanges, NftElement } from "../kernel/index.ts";
import { Blocks } from "./blocks.ts";
import type { ElementGroup } from "./elements.ts";
import { type Pick, pickName } from "./pick.ts";

interface Page {
  elements: Blocks<NftElement>;
  added: Set<NftElement>;
  removed: Set<NftElement>;
}

const ownerOf = ({ owner }: NftElement) => `${owner?.namespace}/${owner?.name}`;

function keyOf({ key }: NftElement): string {
  return key.length === 1 ? (key[0] as string) : key.join(" ");
}

function listOf<T extends object>(found: T | readonly T[] | undefined): readonly T[] {
  return found === undefined ? [] : Array.isArray(found) ? found : [found as T];
}

function setList(
  shared: Map<string, NftElement | readonly [NftElement, ...NftElement[]]>,
  key: string,
  [first, ...others]: readonly NftElement[],
): void {
  if (!first) shared.delete(key);
  else shared.set(key, others.length === 0 ? first : [first, ...others]);
}

/** Elements by set, and the picks that are in use. */
export class Book {
  /** While the book is begun: plain arrays, which nobody has seen. */
  #begun: Map<string, NftElement[]> | undefined = new Map();
  readonly #pages = new Map<string, Page>();
  /** What several entries may name: by set and key, all who do (mostly one, then without a list); the first stands in the set. */
  readonly #shared = new Map<string, Map<string, NftElement | readonly [NftElement, ...NftElement[]]>>();
  /** What has no owner is the same whoever names it: a pod may be in thousands of Services. */
  readonly #counted = new Map<string, { readonly element: NftElement; count: number }>();
  readonly #picks = new Map<string, { readonly pick: Pick; count: number }>();

  add({ at, elements, sets, picks }: ElementGroup): void {
    for (const [number, element] of elements.entries()) {
      const set = sets[number] as string;
      if (at === undefined) this.#share(set, element);
      else this.#put(set, element);
    }
    for (const pick of picks) {
      const name = pickName(pick);
      const known = this.#picks.get(name);
      if (known) known.count++;
      else this.#picks.set(name, { pick, count: 1 });
    }
  }

  remove({ at, elements, sets, picks }: ElementGroup): void {
    for (const [number, element] of elements.entries()) {
      const set = sets[number] as string;
      if (at === undefined) this.#unshare(set, element);
      else this.#take(set, element);
    }
    for (const pick of picks) {
      const name = pickName(pick);
      const known = this.#picks.get(name);
      if (known && --known.count === 0) this.#picks.delete(name);
    }
  }

  /** The elements of a set; undefined if there is none. */
  elements(set: string): Blocks<NftElement> | undefined {
    const elements = this.#pages.get(set)?.elements;
    return elements?.length ? elements : undefined;
  }

  get picks(): readonly Pick[] {
    return [...this.#picks.values()].map(({ pick }) => pick);
  }

  /** What changed since the last time, by set; the first time, nothing. */
  turn(): ReadonlyMap<string, ElementChanges> {
    for (const [set, elements] of this.#begun ?? [])
      this.#pages.set(set, { elements: Blocks.of(elements), added: new Set(), removed: new Set() });
    this.#begun = undefined;
    const changes = new Map<string, ElementChanges>();
    for (const [name, page] of this.#pages) {
      if (page.added.size > 0 || page.removed.size > 0) changes.set(name, { added: [...page.added], removed: [...page.removed] });
      page.added = new Set();
      page.removed = new Set();
    }
    return changes;
  }

  /** Of those who name one element, the first by name is its owner: the same whoever came first. */
  #share(set: string, element: NftElement): void {
    if (element.owner === undefined) this.#count(set, element);
    else {
      const [key, shared] = [keyOf(element), this.#sharedOf(set)];
      const known = listOf(shared.get(key));
      const at = known.findIndex((other) => ownerOf(other) > ownerOf(element));
      if (at === 0 && known[0]) this.#take(set, known[0]);
      setList(shared, key, known.toSpliced(at < 0 ? known.length : at, 0, element));
      if (at === 0 || known.length === 0) this.#put(set, element);
    }
  }

  #unshare(set: string, element: NftElement): void {
    if (element.owner === undefined) {
      this.#uncount(set, element);
      return;
    }
    const [key, shared] = [keyOf(element), this.#sharedOf(set)];
    const known = listOf(shared.get(key));
    const others = known.filter((other) => other !== element);
    if (known[0] === element) {
      this.#take(set, element);
      if (others[0]) this.#put(set, others[0]);
    }
    setList(shared, key, others);
  }

  #count(set: string, element: NftElement): void {
    const key = `${set} ${keyOf(element)}`;
    const counted = this.#counted.get(key);
    if (counted) {
      counted.count++;
      return;
    }
    this.#counted.set(key, { element, count: 1 });
    this.#put(set, element);
  }

  #uncount(set: string, element: NftElement): void {
    const key = `${set} ${keyOf(element)}`;
    const counted = this.#counted.get(key);
    if (!counted || --counted.count > 0) return;
    this.#counted.delete(key);
    this.#take(set, counted.element);
  }

  #sharedOf(set: string) {
    let shared = this.#shared.get(set);
    if (!shared) {
      shared = new Map();
      this.#shared.set(set, shared);
    }
    return shared;
  }

  #page(set: string): Page {
    let page = this.#pages.get(set);
    if (!page) {
      page = { elements: Blocks.of([]), added: new Set(), removed: new Set() };
      this.#pages.set(set, page);
    }
    return page;
  }

  #put(set: string, element: NftElement): void {
    if (this.#begun) {
      const elements = this.#begun.get(set);
      if (elements) elements.push(element);
      else this.#begun.set(set, [element]);
      return;
    }
    const page = this.#page(set);
    page.elements = page.elements.push(element);
    if (!page.removed.delete(element)) page.added.add(element);
  }

  #take(set: string, element: NftElement): void {
    const begun = this.#begun?.get(set);
    if (begun) {
      begun.splice(begun.indexOf(element), 1);
      return;
    }
    const page = this.#page(set);
    const at = page.elements.indexOf(element);
    const last = page.elements.at(page.elements.length - 1);
    if (at < 0 || last === undefined) throw new Error(`set ${set} has no such element: ${element.key.join(" . ")}`);
    page.elements = page.elements.pop();
    if (last !== element) page.elements = page.elements.with(at, last);
    if (!page.added.delete(element)) page.removed.add(element);
  }
}
