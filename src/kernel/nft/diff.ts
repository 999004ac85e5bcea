// What changes one table into another, as commands of one transaction: elements by key, chains that differ refilled.
import type { ElementChange, NftChain, NftElement, NftSet, NftTable, NftTransaction } from "../netfilter.ts";
import { canonicalTable } from "./canonical.ts";
import { setChanges } from "./derived.ts";
import { printChain, printElement, printRule, printSetHead } from "./print.ts";

const ELEMENTS_PER_COMMAND = 1000;

/** Commands that bring `observed` (undefined: no such table) to `desired`; "" when they are equal. Dynamic sets keep what packets put into them. */
export function diffTable(observed: NftTable | undefined, wanted: NftTable): string {
  const transaction = diffCanonical(observed ? canonicalTable(observed) : undefined, canonicalTable(wanted));
  return typeof transaction === "string" ? transaction : printElementChanges(transaction);
}

/** A new set of more elements than this is filled beforehand, piece by piece. */
const LARGE_SET = 5000;
const ELEMENTS_PER_FILL = 5000;

/**
 * As `diffTable`, in transactions: the last one is all that packets are concerned by, those before it fill large sets that nobody asks yet.
 * An unfinished change leaves such sets behind. None when nothing is to change.
 */
export function changeTable(observed: NftTable | undefined, wanted: NftTable): readonly NftTransaction[] {
  const found = observed && canonicalTable(observed);
  const desired = canonicalTable(wanted);
  const there = new Set(found?.sets.map(({ name }) => name));
  const large = desired.sets.filter((set) => !there.has(set.name) && isFillable(set) && set.elements.length > LARGE_SET);
  if (large.length === 0 || (found && isReplaced(found, desired))) {
    const only = diffCanonical(found, desired);
    return only.length === 0 ? [] : [only];
  }
  const { family, name: table } = desired;
  const at = `${family} ${table}`;
  const heads = [...(found ? [] : [`add table ${at}`]), ...large.map((set) => addSet(at, set))];
  const fills = large.flatMap((set) => {
    const pieces = Array.from({ length: Math.ceil(set.elements.length / ELEMENTS_PER_FILL) }, (_, piece) => piece * ELEMENTS_PER_FILL);
    return pieces.map((from) => [{ family, table, set, removed: [], added: set.elements.slice(from, from + ELEMENTS_PER_FILL) }]);
  });
  const filled = { ...(found ?? { ...desired, chains: [], sets: [] }), sets: [...(found?.sets ?? []), ...large] };
  return [`${heads.join("\n")}\n`, ...fills, diffCanonical(filled, desired)];
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

function diffCanonical(observed: NftTable | undefined, desired: NftTable): NftTransaction {
  const { family, name: table } = desired;
  const at = `${family} ${table}`;
  const lines: string[] = [];
  const before = observed ?? { family: desired.family, name: desired.name, chains: [], sets: [] };
  if (!observed) lines.push(`add table ${at}`);
  const oldChains = new Map(before.chains.map((chain) => [chain.name, chain]));
  const newChains = new Map(desired.chains.map((chain) => [chain.name, chain]));
  const oldSets = new Map(before.sets.map((set) => [set.name, set]));
  const newSets = new Map(desired.sets.map((set) => [set.name, set]));

  if (observed && isReplaced(observed, desired)) return `delete table ${at}\n${diffTable(undefined, desired)}`;

  const refill = desired.chains.filter((chain) => rulesOf(oldChains.get(chain.name)) !== rulesOf(chain));
  const goneChains = before.chains.filter((chain) => !newChains.has(chain.name));
  const goneSets = before.sets.filter((set) => !newSets.has(set.name));

  // Chains first (a map's element may jump there), then what refers to them; what is gone goes last.
  for (const chain of desired.chains) if (!oldChains.has(chain.name)) lines.push(`add chain ${at} ${emptyChain(chain)}`);
  for (const set of desired.sets) if (!oldSets.has(set.name)) lines.push(addSet(at, set));
  for (const chain of [...refill, ...goneChains])
    if (oldChains.get(chain.name)?.rules.length) lines.push(`flush chain ${at} ${chain.name}`);
  const elements = desired.sets.flatMap((set): ElementChange[] => {
    const change = diffElements(oldSets.get(set.name), set);
    return change ? [{ family, table, set, ...change }] : [];
  });
  if (lines.length === 0 && refill.length + goneSets.length + goneChains.length === 0) return elements;
  const structure = lines.map((line) => `${line}\n`).join("");
  const after = [
    ...refill.flatMap((chain) => chain.rules.map((rule) => `add rule ${at} ${chain.name} ${printRule(rule)}\n`)),
    ...goneSets.map((set) => `delete ${kindOf(set)} ${at} ${set.name}\n`),
    ...goneChains.map((chain) => `delete chain ${at} ${chain.name}\n`),
  ];
  return `${structure}${printElementChanges(elements)}${after.join("")}`;
}

function diffElements(before: NftSet | undefined, after: NftSet): Pick<ElementChange, "removed" | "added"> | undefined {
  if (before === after || after.flags?.includes("dynamic")) return undefined;
  const changes = before && setChanges(after, before);
  const old = new Map((changes?.removed ?? before?.elements ?? []).map((element) => [keyOf(element), element]));
  const added: NftElement[] = [];
  const removed: NftElement[] = [];
  for (const element of changes?.added ?? after.elements) {
    const key = keyOf(element);
    const known = old.get(key);
    old.delete(key);
    if (known === element) continue;
    if (known && printElement(known) === printElement(element)) continue;
    if (known) removed.push(known);
    added.push(element);
  }
  for (const element of old.values()) removed.push(element);
  return added.length + removed.length === 0 ? undefined : { added, removed };
}

/** The changes in nft's language. */
export function printElementChanges(changes: readonly ElementChange[]): string {
  const lines: string[] = [];
  for (const { family, table, set, removed, added } of changes) {
    const at = `${family} ${table} ${set.name}`;
    pushElements(lines, "delete", at, removed.map(keyOf));
    pushElements(lines, "add", at, added.map(printElement));
  }
  return lines.map((line) => `${line}\n`).join("");
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
