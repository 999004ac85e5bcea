// Calico's BGPFilter as filters of the speaker.
import { type Family, familyOf, tryParsePrefix } from "../base/index.ts";
import type { Filter, FilterChange, FilterMatch, FilterStatement } from "../bgp/index.ts";
import { asNumberOf, type BgpObject, type Fields, fieldsOf, listOf, numberOf, textOf } from "./objects.ts";

type Direction = "import" | "export";

const OPERATORS = { Equal: "equal", NotEqual: "not-equal", In: "in", NotIn: "not-in" } as const;
const RULE_FIELDS = new Set([
  "action",
  "asPathPrefix",
  "cidr",
  "communities",
  "interface",
  "matchOperator",
  "operations",
  "peerType",
  "prefixLength",
  "source",
]);

/**
 * The filters named by a peer, external or not, one after another; what none decides goes on to `last`, and is accepted in the end. A rule that is not
 * understood takes its whole filter with it: half a filter could let through what it was meant to hold back, so everything that it
 * would have judged is rejected.
 */
export function planFilter(
  names: readonly string[],
  filters: ReadonlyMap<string, BgpObject>,
  direction: Direction,
  options: { readonly external: boolean; readonly last: readonly FilterStatement[] },
): { readonly filter: Filter | undefined; readonly remarks: readonly string[] } {
  const remarks: string[] = [];
  const statements: FilterStatement[] = [];
  for (const name of names) {
    const object = filters.get(name);
    if (!object) {
      remarks.push(`BGPFilter ${name} does not exist: nothing is ${direction === "import" ? "taken in" : "sent out"} until it does`);
      statements.push({ action: "reject" });
      continue;
    }
    for (const family of [4, 6] as const) {
      const read = rulesOf(object, direction, family, options.external);
      remarks.push(...read.remarks);
      statements.push(...(read.statements ?? [{ match: { family }, action: "reject" as const }]));
    }
  }
  statements.push(...options.last);
  const filter = statements.length === 0 ? undefined : { name: names.join(",") || "default", statements, otherwise: "accept" as const };
  return { filter, remarks };
}

function rulesOf({ name, spec }: BgpObject, direction: Direction, family: Family, external: boolean) {
  const field = `${direction}V${family}`;
  const statements: FilterStatement[] = [];
  for (const [index, each] of listOf(spec[field]).entries()) {
    const read = statementOf(fieldsOf(each), family);
    if ("wrong" in read) {
      const remark = `BGPFilter ${name}: ${field}[${index}] ${read.wrong}: all IPv${family} routes are rejected until it is corrected`;
      return { statements: undefined, remarks: [remark] };
    }
    const { peerType } = fieldsOf(each);
    if (peerType === undefined || (peerType === "eBGP") === external) statements.push(read.statement);
  }
  return { statements, remarks: [] };
}

type Read = { readonly statement: FilterStatement } | { readonly wrong: string };

function statementOf(rule: Fields, family: Family): Read {
  const unknown = Object.keys(rule).find((key) => !RULE_FIELDS.has(key));
  if (unknown !== undefined) return { wrong: `has a field ${unknown}, which is not followed` };
  const action = rule.action === "Accept" ? "accept" : rule.action === "Reject" ? "reject" : undefined;
  if (!action) return { wrong: `has action ${JSON.stringify(rule.action)}, not Accept or Reject` };
  const match = matchOf(rule, family);
  if ("wrong" in match) return match;
  const set = changeOf(rule);
  if ("wrong" in set) return set;
  return { statement: { match: match.match, ...(set.set ? { set: set.set } : {}), action } };
}

function matchOf(rule: Fields, family: Family): { readonly match: FilterMatch } | { readonly wrong: string } {
  const match: { -readonly [K in keyof FilterMatch]: FilterMatch[K] } = { family };
  if (rule.cidr !== undefined) {
    const cidr = textOf(rule.cidr);
    if (cidr === undefined || !tryParsePrefix(cidr) || familyOf(cidr) !== family)
      return { wrong: `has cidr ${JSON.stringify(rule.cidr)}, which is no IPv${family} prefix` };
    const operator = OPERATORS[rule.matchOperator as keyof typeof OPERATORS];
    if (!operator) return { wrong: `has matchOperator ${JSON.stringify(rule.matchOperator)}: Equal, NotEqual, In, NotIn` };
    const bits = family === 4 ? 32 : 128;
    const { min, max } = fieldsOf(rule.prefixLength);
    for (const length of [min, max])
      if (length !== undefined && numberOf(length, 0, bits) === undefined) return { wrong: `has prefix length ${JSON.stringify(length)}` };
    if (typeof min === "number" && typeof max === "number" && min > max) return { wrong: `has prefix lengths from ${min} to ${max}` };
    match.prefix = {
      cidr,
      operator,
      ...(typeof min === "number" ? { minLength: min } : {}),
      ...(typeof max === "number" ? { maxLength: max } : {}),
    };
  }
  if (rule.source !== undefined) {
    if (rule.source !== "RemotePeers") return { wrong: `has source ${JSON.stringify(rule.source)}, not RemotePeers` };
    match.source = "neighbours";
  }
  const name = textOf(rule.interface);
  if (name !== undefined) match.interface = name;
  if (rule.peerType !== undefined && rule.peerType !== "eBGP" && rule.peerType !== "iBGP")
    return { wrong: `has peerType ${JSON.stringify(rule.peerType)}, not eBGP or iBGP` };
  const communities = listOf(fieldsOf(rule.communities).values).map(textOf);
  if (communities.length > 0) {
    if (!communities.every(isCommunity)) return { wrong: "has a community that is not like 64512:100 or 64512:1:2" };
    match.communities = communities;
  }
  const path = listOf(rule.asPathPrefix).map(asNumberOf);
  if (path.length > 0) {
    if (!path.every((as) => as !== undefined)) return { wrong: "has an AS path with something that is no AS number" };
    match.asPathPrefix = path;
  }
  return { match };
}

function changeOf(rule: Fields): { readonly set: FilterChange | undefined } | { readonly wrong: string } {
  const added: string[] = [];
  const prependPath: number[] = [];
  for (const each of listOf(rule.operations).map(fieldsOf)) {
    const community = textOf(fieldsOf(each.addCommunity).value);
    const path = listOf(fieldsOf(each.prependASPath).prefix).map(asNumberOf);
    const ases = path.filter((as) => as !== undefined);
    if (Object.keys(each).length === 1 && community !== undefined && isCommunity(community)) added.push(community);
    else if (Object.keys(each).length === 1 && ases.length > 0 && ases.length === path.length) prependPath.unshift(...ases);
    else return { wrong: `has an operation ${JSON.stringify(each)}, which is not followed` };
  }
  if (added.length === 0 && prependPath.length === 0) return { set: undefined };
  return { set: { ...(added.length > 0 ? { addCommunities: added } : {}), ...(prependPath.length > 0 ? { prependPath } : {}) } };
}

/** "64512:100" or "64512:1:2". */
export function isCommunity(text: string | undefined): text is string {
  const parts = /^\d{1,10}(:\d{1,10}){1,2}$/.test(text ?? "") ? (text ?? "").split(":").map(Number) : [];
  return parts.length > 0 && parts.every((part) => part <= (parts.length === 2 ? 0xffff : 0xffffffff));
}
