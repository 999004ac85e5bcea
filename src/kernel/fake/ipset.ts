// ipset in memory.
import type { Ipsets } from "../kernel.ts";
import type { IpSet } from "../state.ts";
import { refuse } from "./refuse.ts";

export class FakeIpsets implements Ipsets {
  readonly #sets = new Map<string, { readonly set: Omit<IpSet, "elements">; readonly elements: Set<string> }>();

  list(wanted: (name: string) => boolean): IpSet[] {
    return [...this.#sets.values()].filter(({ set }) => wanted(set.name)).map(({ set, elements }) => ({ ...set, elements: [...elements] }));
  }

  create({ name, type, family }: Pick<IpSet, "name" | "type" | "family">): void {
    if (name.length > 31) refuse("ERANGE", "the name is too long", name);
    if (this.#sets.has(name)) refuse("EEXIST", "the set exists", name);
    // Ports alone are of no family.
    this.#sets.set(name, { set: { name, type, family: type === "bitmap:port" ? 4 : family }, elements: new Set() });
  }

  destroy(name: string): void {
    if (!this.#sets.delete(name)) refuse("ENOENT", "no such set", name);
  }

  change(name: string, elements: { readonly add?: readonly string[]; readonly delete?: readonly string[] }): void {
    const found = this.#sets.get(name) ?? refuse("ENOENT", "no such set", name);
    for (const element of elements.delete ?? []) found.elements.delete(element);
    for (const element of elements.add ?? []) found.elements.add(element);
  }
}
