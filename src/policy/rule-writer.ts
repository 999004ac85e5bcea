// One rule of the model as nft rules: one for each way in which it can match.
import type { Family } from "../base/index.ts";
import { formatOwner, type NftChain, type NftField, type NftMatch, type NftRule, type NftStatement } from "../kernel/index.ts";
import type { PeerLookup, PeerLookups } from "./peer-lookups.ts";
import { hashOf } from "./peer-sets.ts";
import type { Direction, Peer, Policy, Rule, Selection, Side } from "./rules.ts";
import { type Alternatives, addressField, needsFamily, trafficMatches, type Which } from "./traffic-matches.ts";

/** The nflog group that Log rules send to. */
export const LOG_GROUP = 84;

export interface RuleContext {
  readonly policy: Policy;
  readonly direction: Direction;
  readonly sets: PeerLookups;
  /** Whatever a rule says, what it meets is only counted: "allow" is said of all. */
  readonly counts?: true;
  /** What "allow", "deny" and "pass" are in the chain. */
  readonly allow: readonly NftStatement[];
  readonly deny: NftStatement;
  readonly pass: NftStatement;
}

/** The rules, and a chain of their own where a packet must not be noted twice. */
export function writeRule(rule: Rule, context: RuleContext): { readonly rules: readonly NftRule[]; readonly chain?: NftChain } {
  // What the application says is not seen here: such a rule allows nothing.
  if (rule.application && rule.action !== "deny") return { rules: [] };
  const { owner } = rule;
  const matches = ruleAlternatives(rule, context);
  if (rule.action !== "log") return { rules: matches.map((each) => ({ matches: each, statements: verdictOf(rule, context), owner })) };
  const log: NftStatement = { log: { prefix: logPrefix(rule, context.direction), group: LOG_GROUP } };
  if (matches.length <= 1) return { rules: matches.map((each) => ({ matches: each, statements: [log], owner })) };
  const rules = matches.map((each): NftRule => ({ matches: each, statements: [log, { verdict: "return" }], owner }));
  const chain: NftChain = { name: `log-${hashOf(`${context.direction} ${formatOwner(owner)}`)}`, rules };
  return { rules: [{ matches: [], statements: [{ verdict: "jump", chain: chain.name }], owner }], chain };
}

/** As long as the kernel lets a prefix be. */
const MAX_PREFIX = 127;

/** "ingress NetworkPolicy.projectcalico.org/production/db#0": what a logged packet carries; a long name is cut, its rule stays. */
function logPrefix({ owner }: Rule, direction: Direction): string {
  return `${direction} ${formatOwner(owner, MAX_PREFIX - direction.length - 1)}`;
}

function verdictOf({ action }: Rule, { allow, deny, pass, counts }: RuleContext): readonly NftStatement[] {
  return action === "allow" || counts ? allow : [action === "pass" ? pass : deny];
}

function ruleAlternatives(rule: Rule, context: RuleContext): NftMatch[][] {
  const { source, destination, traffic, family } = rule;
  const byFamily = family !== undefined || needsFamily(traffic) || [source, destination].some(namesAddresses);
  const families: readonly (Family | undefined)[] = byFamily
    ? context.sets.families.filter((each) => family === undefined || each === family)
    : [undefined];
  return families.flatMap((each) => {
    const from = sideAlternatives(source, "source", each, context.sets);
    const to = sideAlternatives(destination, "destination", each, context.sets);
    const what = trafficMatches(traffic, each, (which, names, of) => context.sets.ports(portOwners(rule, which, context), names, of));
    const only: NftMatch[] = each === undefined ? [] : [{ left: "meta nfproto", op: "==", right: each === 4 ? "ipv4" : "ipv6" }];
    return from.flatMap((a) => to.flatMap((b) => what.map((c) => ordered([...only, ...a, ...b, ...c]))));
  });
}

/** The family's match goes where an address says the same. */
function ordered(matches: readonly NftMatch[]): NftMatch[] {
  const addressed = matches.some((match) => !("opaque" in match) && /\b(ip6?|icmp|icmpv6) /.test(JSON.stringify(match.left)));
  return matches.filter((match) => !addressed || "opaque" in match || match.left !== "meta nfproto");
}

function namesAddresses({ within, except }: Side): boolean {
  return within.length > 0 || except.length > 0;
}

function sideAlternatives(side: Side, which: Which, family: Family | undefined, sets: PeerLookups): Alternatives {
  if (family === undefined) return [[]];
  let found: NftMatch[][] = [[]];
  for (const any of side.within) {
    const lookups = sets.lookups(any, family);
    if (lookups.includes("always")) continue;
    found = found.flatMap((before) => lookups.map((lookup) => [...before, lookupMatch(lookup, which, family)]));
  }
  const except = sets.lookups(side.except, family);
  if (except.includes("always")) return [];
  return found.map((before) => [...before, ...except.map((lookup) => negated(lookupMatch(lookup, which, family)))]);
}

type SetMatch = Exclude<NftMatch, { opaque: string }>;

function lookupMatch(lookup: PeerLookup, which: Which, family: Family): SetMatch {
  if (lookup === "always") throw new TypeError("what always holds needs no match");
  const address = addressField(which, family);
  const left: NftField | readonly NftField[] =
    lookup.by === "address" ? address : [address, "meta l4proto", which === "source" ? "th sport" : "th dport"];
  return { left, op: lookup.not ? "!=" : "==", right: { set: lookup.set } };
}

function negated(match: SetMatch): SetMatch {
  return { ...match, op: match.op === "==" ? "!=" : "==" };
}

/** Whose named ports count at one end: the policy's own pods, or those that the side names; every pod where it does not name pods alone. */
function portOwners(rule: Rule, which: Which, { policy, direction }: RuleContext): readonly Selection[] | "any" {
  if ((which === "destination") === (direction === "ingress")) return [policy.subject];
  const [first] = rule[which].within;
  const ends = first?.filter((peer: Peer) => peer.kind === "ends") ?? [];
  return first && ends.length === first.length ? ends : "any";
}
