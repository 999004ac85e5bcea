// What changes one table into another, as commands of one transaction: elements by key, chains that differ refilled.
import type { NftChain, NftElement, NftSet, NftTable } from "../netfilter.ts";
import { canonicalTable } from "./canonical.ts";
import { setChanges } from "./derived.ts";
import { printChain, printElement, printRule, printSetHead } from "./print.ts";

const ELEMENTS_PER_COMMAND = 1000;

/** Commands that bring `observed` (undefined: no such table) to `desired`; "" when they are equal. Dynamic sets keep what packets put into them. */
export function diffTable(observed: NftTable | undefined, wanted: NftTable): string {
  return diffCanonical(observed ? canonicalTable(observed) : undefined, canonicalTable(wanted));
}

/** Commands in several transactions. */
export interface TableChange {
  /** What nobody asks yet: large new sets, filled piece by piece. */
  readonly fills: readonly string[];
  /** The rest, all of which holds at once. */
  readonly commands: string;
}

/** A new set of more elements than this is filled beforehand: a transaction of 20 million characters takes libnftables 100 MB, and time. */
const LARGE_SET = 5000;
const ELEMENTS_PER_FILL = 5000;

/** As `diffTable`. An unfinished change leaves sets behind that no rule looks into. */
export function changeTable(observed: NftTable | undefined, wanted: NftTable): TableChange {
  const found = observed && canonicalTable(observed);
  const desired = canonicalTable(wanted);
  const there = new Set(found?.sets.map(({ name }) => name));
  const large = desired.sets.filter((set) => !there.has(set.name) && isFillable(set) && set.elements.length > LARGE_SET);
  if (large.length === 0 || (found && isReplaced(found, desired))) return { fills: [], commands: diffCanonical(found, desired) };
  const at = `${desired.family} ${desired.name}`;
  const heads = [...(found ? [] : [`add table ${at}`]), ...large.map((set) => addSet(at, set))];
  const fills = [`${heads.join("\n")}\n`];
  for (const set of large)
    for (let from = 0; from < set.elements.length; from += ELEMENTS_PER_FILL) {
      const lines: string[] = [];
      pushElements(lines, "add", `${at} ${set.name}`, set.elements.slice(from, from + ELEMENTS_PER_FILL).map(printElement));
      fills.push(`${lines.join("\n")}\n`);
    }
  const filled = { ...(found ?? { ...desired, chains: [], sets: [] }), sets: [...(found?.sets ?? []), ...large] };
  return { fills, commands: diffCanonical(filled, desired) };
}

/** What a packet fills stays as it is, and what leads to chains needs those first. */
function isFillable({ flags, value }: NftSet): boolean {
  return !flags?.includes("dynamic") && !value?.includes("verdict");
}

/** A set of another type, or a base chain at another hook, can't be changed: the table is made anew, in the same transaction. */
function isReplaced(observed: NftTable, desired: NftTable): boolean {
  const sets = new Map(observed.sets.map((set) => [set.name, set]));
  const chains = new Map(observed.chains.map((chain) => [chain.name, chain]));
  return (
    desired.sets.some((set) => sets.has(set.name) && headOf(sets.get(set.name)) !== headOf(set)) ||
    desired.chains.some((chain) => chains.has(chain.name) && hookOf(chains.get(chain.name)) !== hookOf(chain))
  );
}

function addSet(at: string, set: NftSet): string {
  return `add ${kindOf(set)} ${at} ${set.name} { ${printSetHead(set)} }`;
}

function diffCanonical(observed: NftTable | undefined, desired: NftTable): string {
  const at = `${desired.family} ${desired.name}`;
  const lines: string[] = [];
  const before = observed ?? { family: desired.family, name: desired.name, chains: [], sets: [] };
  if (!observed) lines.push(`add table ${at}`);
  const oldChains = new Map(before.chains.map((chain) => [chain.name, chain]));
  const newChains = new Map(desired.chains.map((chain) => [chain.name, chain]));
  const oldSets = new Map(before.sets.map((set) => [set.name, set]));
  const newSets = new Map(desired.sets.map((set) => [set.name, set]));

  if (observed && isReplaced(observed, desired)) return `delete table ${at}\n${diffCanonical(undefined, desired)}`;

  const refill = desired.chains.filter((chain) => rulesOf(oldChains.get(chain.name)) !== rulesOf(chain));
  const goneChains = before.chains.filter((chain) => !newChains.has(chain.name));
  const goneSets = before.sets.filter((set) => !newSets.has(set.name));

  // Chains first (a map's element may jump there), then what refers to them; what is gone goes last.
  for (const chain of desired.chains) if (!oldChains.has(chain.name)) lines.push(`add chain ${at} ${emptyChain(chain)}`);
  for (const set of desired.sets) if (!oldSets.has(set.name)) lines.push(addSet(at, set));
  for (const chain of [...refill, ...goneChains])
    if (oldChains.get(chain.name)?.rules.length) lines.push(`flush chain ${at} ${chain.name}`);
  for (const set of desired.sets) diffElements(lines, at, oldSets.get(set.name), set);
  for (const chain of refill) for (const rule of chain.rules) lines.push(`add rule ${at} ${chain.name} ${printRule(rule)}`);
  for (const set of goneSets) lines.push(`delete ${kindOf(set)} ${at} ${set.name}`);
  for (const chain of goneChains) lines.push(`delete chain ${at} ${chain.name}`);
  return lines.length > 0 ? `${lines.join("\n")}\n` : "";
}

function diffElements(lines: string[], at: string, before: NftSet | undefined, after: NftSet): void {
  if (before === after || after.flags?.includes("dynamic")) return;
  const changes = before && setChanges(after, before);
  const old = new Map((changes?.removed ?? before?.elements ?? []).map((element) => [keyOf(element), element]));
  const added: string[] = [];
  const removed: string[] = [];
  for (const element of changes?.added ?? after.elements) {
    const key = keyOf(element);
    const known = old.get(key);
    old.delete(key);
    if (known === element) continue;
    const text = printElement(element);
    if (known && printElement(known) === text) continue;
    if (known) removed.push(key);
    added.push(text);
  }
  removed.push(...old.keys());
  pushElements(lines, "delete", `${at} ${after.name}`, removed);
  pushElements(lines, "add", `${at} ${after.name}`, added);
}

function pushElements(lines: string[], verb: "add" | "delete", set: string, elements: readonly string[]): void {
  for (let i = 0; i < elements.length; i += ELEMENTS_PER_COMMAND) {
    lines.push(`${verb} element ${set} { ${elements.slice(i, i + ELEMENTS_PER_COMMAND).join(", ")} }`);
  }
}

function keyOf(element: NftElement): string {
  return element.key.join(" . ");
}

function kindOf(set: NftSet): "map" | "set" {
  return set.value ? "map" : "set";
}

function headOf(set: NftSet | undefined): string {
  return set ? `${kindOf(set)} ${printSetHead(set)}` : "";
}

function hookOf(chain: NftChain | undefined): string {
  const hook = chain?.hook;
  return hook ? `${hook.type} ${hook.hook} ${hook.priority} ${hook.policy}` : "";
}

const printedRules = new WeakMap<object, string>();

function rulesOf(chain: NftChain | undefined): string {
  if (!chain || chain.rules.length === 0) return "";
  let text = printedRules.get(chain.rules);
  if (text === undefined) {
    text = chain.rules.map(printRule).join("\n");
    printedRules.set(chain.rules, text);
  }
  return text;
}

function emptyChain(chain: NftChain): string {
  return printChain(chain, false)
    .replaceAll("\n", " ")
    .replace(/^chain /, "");
}
