// Whether a rule's match holds for a packet.
import type { NftField, NftMatch, NftTable } from "../netfilter.ts";
import { type HookContext, readField } from "./field.ts";
import type { Packet } from "./packet.ts";
import { findElement, setOf } from "./sets.ts";
import { kindOfField, orderOf, type ValueKind, valueMatches } from "./value.ts";

/** "unknown": the match is one that is not understood. */
export function matchHolds(match: NftMatch, packet: Packet, context: HookContext, table: NftTable): boolean | "unknown" {
  if ("opaque" in match) return "unknown";
  const fields = (Array.isArray(match.left) ? match.left : [match.left]) as readonly NftField[];
  const values: string[] = [];
  for (const field of fields) {
    const value = readField(field, packet, context);
    // As in the kernel: what the packet does not have ends the rule, whatever the operator.
    if (value === undefined) return typeof field === "object" && "jhash" in field ? "unknown" : false;
    values.push(value);
  }
  const { right, op } = match;
  if (typeof right === "object" && "set" in right) {
    const set = setOf(table, right.set);
    if (!set) return "unknown";
    return (findElement(set, values) !== undefined) === (op === "==");
  }
  const said = typeof right === "string" ? [right] : right;
  if (op === "==" || op === "!=") return said.some((each) => equals(fields, each, values)) === (op === "==");
  return compares(kindOfField(fields[0] ?? "meta mark"), values[0] ?? "", said[0] ?? "", op);
}

function equals(fields: readonly NftField[], said: string, values: readonly string[]): boolean {
  const parts = fields.length === 1 ? [said] : said.split(" . ");
  return values.every((value, at) => {
    const kind: ValueKind = kindOfField(fields[at] ?? "meta mark");
    // A connection's states and statuses are sets of flags.
    const own = fields[at] === "ct status" ? value.split(",") : [value];
    return own.some((each) => valueMatches(kind, (parts[at] ?? "").trim(), each));
  });
}

function compares(kind: ValueKind, value: string, said: string, op: "<" | ">" | "<=" | ">="): boolean {
  const [a, b] = [orderOf(kind, value), orderOf(kind, said)];
  if (a === undefined || b === undefined) return false;
  if (op === "<") return a < b;
  if (op === ">") return a > b;
  return op === "<=" ? a <= b : a >= b;
}
