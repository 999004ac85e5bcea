// What changes one table of iptables into another, as input of iptables-restore --noflush: only changed chains are written.
//
// iptables-restore commits what stands between *TABLE and COMMIT as one transaction. The kernel's cost is quadratic in the
// chains of one (10,000 Services: 23 s in one, 4 s in pieces), so a large change comes in several: what is jumped to first.
import type { IptablesChain, IptablesTable } from "../state.ts";
import { type ChainChanges, chainChanges, lazyTable } from "./derived.ts";
import { canonicalRule, targetOf } from "./rule.ts";
import { isBuiltin } from "./save.ts";

/** Which of the chains found in a table are ours, if `mark` stands in it. */
export interface IptablesOwnership {
  readonly chains: (name: string) => boolean;
  /** A rule of a chain of ours by which a restarted agent knows its own table: others have chains of these names as well. */
  readonly mark: { readonly chain: string; readonly rule: string };
}

/** Chains of one transaction. */
const CHAINS_AT_ONCE = 300;
/** A chain of more rules than this is changed rule by rule, if few of them differ. */
const LONG = 32;

export interface IptablesChange {
  /** Input that makes what is wanted; "" for nothing. */
  readonly write: string;
  /** Input that takes out what is ours and not wanted any more. */
  readonly clean: string;
  /** The table after `write`, and after both. */
  readonly written: IptablesTable;
  readonly cleaned: IptablesTable;
}

/** The change from `observed` to `desired`, either of which may be absent. What is not ours stays. */
export function diffIptables(
  observed: IptablesTable | undefined,
  desired: IptablesTable | undefined,
  owns: Pick<IptablesOwnership, "chains"> & Partial<IptablesOwnership>,
): IptablesChange {
  return (observed && desired && followed(observed, desired)) ?? compared(observed, desired, owns);
}

/** What is known of a table that we have written: whose desired state it holds, and what else stands in it. */
interface Held {
  readonly desired: IptablesTable;
  /** Others' chains, and the kernel's own with all their rules. */
  readonly others: readonly IptablesChain[];
}

const held = new WeakMap<IptablesTable, Held>();

/** The table that holds what is desired, beside these others. */
function holding(desired: IptablesTable, others: readonly IptablesChain[]): IptablesTable {
  const table = lazyTable(desired, () => [...others, ...desired.chains.filter((chain) => !isBuiltin(chain))]);
  held.set(table, { desired, others });
  return table;
}

/** The change where it is known what became of the desired table that is there; undefined where it is not. */
function followed(observed: IptablesTable, desired: IptablesTable): IptablesChange | undefined {
  const was = held.get(observed);
  if (was?.desired === desired) return { write: "", clean: "", written: observed, cleaned: observed };
  const changes = was && chainChanges(desired, was.desired);
  if (!was || !changes || changes.chains.length + changes.gone.length + changes.edits.length > CHAINS_AT_ONCE) return undefined;
  const table = holding(desired, was.others);
  return { write: printBlocks(desired.name, blocksOf(changes)), clean: "", written: table, cleaned: table };
}

function blocksOf({ chains, edits, gone }: ChainChanges): Block[] {
  return [
    ...chains.map(refilled),
    ...edits.map(({ chain, added, removed }) => ({
      head: [],
      rules: [...removed.map((rule) => `-D ${chain} ${rule}`), ...added.map((rule) => `-I ${chain} 1 ${rule}`)],
    })),
    ...gone.map(deleted),
  ];
}

function refilled({ name, rules }: IptablesChain): Block {
  return { head: [`:${name} - [0:0]`], rules: rules.map((rule) => `-A ${name} ${rule}`) };
}

function deleted(name: string): Block {
  return { head: [`:${name} - [0:0]`], rules: [`-X ${name}`] };
}

/** The change between two tables of which nothing else is known. */
function compared(
  observed: IptablesTable | undefined,
  desired: IptablesTable | undefined,
  owns: Pick<IptablesOwnership, "chains"> & Partial<IptablesOwnership>,
): IptablesChange {
  const { family, name } = desired ?? observed ?? { family: 4, name: "filter" };
  const before = new Map((observed?.chains ?? []).map((chain) => [chain.name, chain]));
  const wanted = new Map((desired?.chains ?? []).map((chain) => [chain.name, chain]));
  const ours = desired !== undefined || owns.mark === undefined || isMarked(observed, { mark: owns.mark });
  const blocks: Block[] = [];
  const after = new Map(before);
  const tidied: Block[] = [];
  for (const chain of wanted.values()) {
    const old = before.get(chain.name);
    after.set(chain.name, isBuiltin(chain) ? withRules(old, chain) : chain);
    const lines = isBuiltin(chain) ? missingRules(old, chain) : changedRules(old, chain);
    if (lines) blocks.push(lines);
  }
  const written = { family, name, chains: [...after.values()] };
  if (ours) {
    for (const chain of before.values()) {
      if (isBuiltin(chain)) {
        const stale = staleRules(chain, wanted.get(chain.name), owns);
        if (stale.length === 0) continue;
        tidied.push({ head: [], rules: stale.map((rule) => `-D ${chain.name} ${rule}`) });
        const rest = new Set(stale);
        after.set(chain.name, {
          ...(after.get(chain.name) ?? chain),
          rules: (after.get(chain.name) ?? chain).rules.filter((r) => !rest.has(r)),
        });
      } else if (owns.chains(chain.name) && !wanted.has(chain.name)) {
        tidied.push(deleted(chain.name));
        after.delete(chain.name);
      }
    }
  }
  // Who jumps goes before what is jumped to.
  const [builtin, made] = [tidied.filter(({ head }) => head.length === 0), tidied.filter(({ head }) => head.length > 0)];
  const last = [...builtin, ...byCaller(made, before)];
  const cleaned = desired
    ? holding(
        desired,
        [...after.values()].filter((chain) => isBuiltin(chain) || !wanted.has(chain.name)),
      )
    : { family, name, chains: [...after.values()] };
  // A transaction with a jump has the kernel look at every chain (10,000 Services: 80 ms), so a small change is one.
  if (last.length === 0 || (blocks.length > 0 && blocks.length + last.length <= CHAINS_AT_ONCE))
    return { write: printBlocks(name, [...blocks, ...last]), clean: "", written: cleaned, cleaned };
  return { write: printBlocks(name, blocks), clean: printBlocks(name, last), written, cleaned };
}

/** Input that takes out the chains of a table that bear names of ours, whoever made them. */
export function sweepIptables(table: IptablesTable, { chains }: Pick<IptablesOwnership, "chains">): string {
  return diffIptables(table, undefined, { chains }).clean;
}

/** Whether a table has been written by us. */
export function isMarked(table: IptablesTable | undefined, { mark }: Pick<IptablesOwnership, "mark">): boolean {
  const wanted = canonicalRule(mark.rule);
  return table?.chains.some((chain) => chain.name === mark.chain && chain.rules.some((rule) => canonicalRule(rule) === wanted)) === true;
}

interface Block {
  /** Lines that come before every other block's rules: chains that are made or emptied. */
  readonly head: readonly string[];
  readonly rules: readonly string[];
}

function printBlocks(table: string, blocks: readonly Block[]): string {
  const parts: string[] = [];
  for (let at = 0; at < blocks.length; at += CHAINS_AT_ONCE) {
    const taken = blocks.slice(at, at + CHAINS_AT_ONCE);
    parts.push(`*${table}`, ...taken.flatMap(({ head }) => head), ...taken.flatMap(({ rules }) => rules), "COMMIT");
  }
  return parts.length === 0 ? "" : `${parts.join("\n")}\n`;
}

/** Chains to delete, callers first: in the reverse of the order in which they were made, as far as the listing tells it. */
function byCaller(blocks: readonly Block[], chains: ReadonlyMap<string, IptablesChain>): readonly Block[] {
  if (blocks.length <= CHAINS_AT_ONCE) return blocks;
  const byName = new Map(blocks.map((block) => [block.rules[0]?.slice(3) ?? "", block]));
  const ordered: Block[] = [];
  const seen = new Set<string>();
  const visit = (name: string) => {
    const block = byName.get(name);
    if (!block || seen.has(name)) return;
    seen.add(name);
    for (const rule of chains.get(name)?.rules ?? []) {
      const target = targetOf(rule);
      if (target !== undefined) visit(target);
    }
    ordered.push(block);
  };
  for (const name of byName.keys()) visit(name);
  return ordered.reverse();
}

/** Rules of a kernel's chain that are wanted and not there; they go to its head, in order. */
function missingRules(before: IptablesChain | undefined, wanted: IptablesChain): Block | undefined {
  const there = new Set((before?.rules ?? []).map(canonicalRule));
  const missing = wanted.rules.filter((rule) => !there.has(canonicalRule(rule)));
  if (missing.length === 0) return undefined;
  return { head: [], rules: missing.map((rule, index) => `-I ${wanted.name} ${index + 1} ${rule}`) };
}

function withRules(before: IptablesChain | undefined, wanted: IptablesChain): IptablesChain {
  const there = new Set((before?.rules ?? []).map(canonicalRule));
  const missing = wanted.rules.filter((rule) => !there.has(canonicalRule(rule)));
  return { ...(before ?? { name: wanted.name }), rules: [...missing, ...(before?.rules ?? [])] };
}

/** Rules of a kernel's chain that lead to chains of ours and are not wanted. */
function staleRules(chain: IptablesChain, wanted: IptablesChain | undefined, owns: Pick<IptablesOwnership, "chains">): string[] {
  const keep = new Set((wanted?.rules ?? []).map(canonicalRule));
  return chain.rules.filter((rule) => owns.chains(targetOf(rule) ?? "") && !keep.has(canonicalRule(rule)));
}

function changedRules(before: IptablesChain | undefined, wanted: IptablesChain): Block | undefined {
  if (
    before &&
    (before.rules === wanted.rules || sameRules(before.rules, wanted.rules) || (wanted.loose && sameSet(before.rules, wanted.rules)))
  )
    return undefined;
  const edits = before && wanted.rules.length > LONG ? editRules(before, wanted) : undefined;
  return edits ? { head: [], rules: edits } : refilled(wanted);
}

function sameRules(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((rule, at) => rule === b[at] || canonicalRule(rule) === canonicalRule(b[at] ?? ""));
}

/** The same rules in any order, the last one last. */
function sameSet(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length || canonicalRule(a.at(-1) ?? "") !== canonicalRule(b.at(-1) ?? "")) return false;
  const exact = new Set(a);
  if (b.every((rule) => exact.has(rule))) return true;
  const said = new Set(a.map(canonicalRule));
  return b.every((rule) => said.has(canonicalRule(rule)));
}

/** Deletions by rule, then insertions by place; undefined where the order of what stays is another, or too much differs. */
function editRules(before: IptablesChain, wanted: IptablesChain): string[] | undefined {
  const old = new Set(before.rules);
  const next = new Set(wanted.rules);
  if (old.size < before.rules.length || next.size < wanted.rules.length) return undefined;
  if (wanted.loose && before.rules.at(-1) !== wanted.rules.at(-1)) return undefined;
  const gone = before.rules.filter((rule) => !next.has(rule));
  const edits = gone.map((rule) => `-D ${before.name} ${rule}`);
  const stays = before.rules.filter((rule) => next.has(rule));
  let kept = 0;
  for (const [at, rule] of wanted.rules.entries()) {
    if (!old.has(rule)) edits.push(`-I ${wanted.name} ${wanted.loose ? 1 : at + 1} ${rule}`);
    else if (!wanted.loose && stays[kept++] !== rule) return undefined;
    if (edits.length > wanted.rules.length / 4) return undefined;
  }
  return edits;
}
