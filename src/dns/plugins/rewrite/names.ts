// Rewriting of names: of the question on its way in, of owner names and targets on the way out.
import type { Name, ResourceRecord } from "../../message.ts";
import { type FieldKind, RECORD_FIELDS } from "../../record-fields.ts";
import type { Rule } from "./rewrite.ts";

export type NameMatch =
  | { readonly kind: "exact" | "prefix" | "suffix" | "substring"; readonly from: string; readonly to: string }
  | { readonly kind: "regex"; readonly from: RegExp; readonly to: string };

/** Changes one record of an answer. */
export type Rewriter = (record: ResourceRecord) => ResourceRecord;

/** What a name becomes; undefined where the match does not take it. */
export function readMatch(match: NameMatch): (name: Name) => Name | undefined {
  switch (match.kind) {
    case "exact":
      return (name) => (name === match.from ? match.to : undefined);
    case "prefix":
      return (name) => (name.startsWith(match.from) ? match.to + name.slice(match.from.length) : undefined);
    case "suffix":
      return (name) => (name.endsWith(match.from) ? name.slice(0, -match.from.length) + match.to : undefined);
    case "substring":
      return (name) => (name.includes(match.from) ? name.replaceAll(match.from, () => match.to) : undefined);
    case "regex":
      return (name) => {
        const groups = match.from.exec(name);
        if (!groups) return undefined;
        const filled = match.to.replace(/\{(\d+)\}/g, (_whole, number: string) => groups[Number(number)] ?? "");
        return filled.endsWith(".") ? filled : `${filled}.`;
      };
  }
}

/**
 * A rule for the asked name. Exact rules always turn their answers back; a suffix is turned back by the suffixes, so that
 * names below are too.
 */
export function nameRule(match: NameMatch, answers: { readonly auto: boolean; readonly rewriters: readonly Rewriter[] }): Rule["apply"] {
  const take = readMatch(match);
  const back = match.kind === "suffix" && answers.auto ? both(readMatch({ kind: "suffix", from: match.to, to: match.from })) : undefined;
  const auto = !back && (answers.auto || match.kind === "exact");
  return (query) => {
    const name = take(query.name);
    if (name === undefined) return undefined;
    const own = back ?? (auto ? remapped(name, query.name) : undefined);
    return { changes: { name }, onRecord: own ? [own, ...answers.rewriters] : answers.rewriters };
  };
}

/** Turns one name, and names below it, into another: in owners and in targets. */
function remapped(from: Name, to: Name): Rewriter {
  return both((name) => (name === from ? to : name.endsWith(`.${from}`) ? name.slice(0, -from.length) + to : undefined));
}

function both(change: (name: Name) => Name | undefined): Rewriter {
  return (record) => changeTargets({ ...record, name: change(record.name.toLowerCase()) ?? record.name }, change);
}

/** answer name or answer value with a pattern. */
export function replaced(which: "name" | "value", match: NameMatch): Rewriter {
  const change = readMatch(match);
  return which === "value"
    ? (record) => changeTargets(record, change)
    : (record) => ({ ...record, name: change(record.name.toLowerCase()) ?? record.name });
}

/** Every name within a record's data: targets, replacements; of an SOA the primary server, not the mailbox. */
function changeTargets(record: ResourceRecord, change: (name: Name) => Name | undefined): ResourceRecord {
  const { data } = record;
  if (data.type === "other") return record;
  let changed: Record<string, unknown> | undefined;
  for (const [field, kind] of Object.entries(RECORD_FIELDS[data.type]) as [string, FieldKind][]) {
    if ((kind !== "name" && kind !== "plain-name") || field === "mailbox") continue;
    const name = change(String((data as unknown as Record<string, unknown>)[field]).toLowerCase());
    if (name !== undefined) changed = { ...(changed ?? data), [field]: name };
  }
  return changed ? { ...record, data: changed as unknown as ResourceRecord["data"] } : record;
}
