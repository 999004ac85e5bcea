// One direction of a set of policies as nft chains: one chain per tier, allowed packets return, the rest is denied.
import type { Family } from "../base/index.ts";
import { formatOwner, type NftChain, type NftRule, type NftStatement } from "../kernel/index.ts";
import { type Asked, answerAlike, noteLookups, type PeerLookups } from "./peer-lookups.ts";
import { hashOf } from "./peer-sets.ts";
import { writeRule } from "./rule-writer.ts";
import type { Direction, Policy, Tier } from "./rules.ts";
import { selectionKey } from "./selection.ts";
import { DENY } from "./version.ts";

export interface ChainContext {
  readonly direction: Direction;
  readonly sets: PeerLookups;
  /** Of host end points, before or beside the ordinary: its name tells the chains apart. */
  readonly variant?: {
    readonly name: string;
    readonly allow: readonly NftStatement[];
    readonly deny: NftStatement;
    readonly ends: boolean;
  };
  tier(name: string): Tier;
}

interface PolicyChains {
  readonly entry: string;
  readonly chains: readonly NftChain[];
}

interface Made {
  readonly chains: PolicyChains | undefined;
  readonly tiers: ReadonlyMap<string, Tier>;
  readonly families: readonly Family[];
  readonly asked: readonly Asked[];
}

const made = { ingress: new WeakMap<readonly Policy[], Made>(), egress: new WeakMap<readonly Policy[], Made>() };

/**
 * The chains for the policies (in order of evaluation), and the one to enter by; undefined where none has a say in the
 * direction. A later tier is entered by goto, so that "return" leaves them all: the packet is allowed.
 */
export function policyChains(policies: readonly Policy[], context: ChainContext): PolicyChains | undefined {
  const { direction, sets, tier } = context;
  // What was written for this very list stands as long as everything that it asked is answered alike; asking also calls for the sets.
  const before = made[direction].get(policies);
  if (before && holds(before, context)) return before.chains;
  const asked: Asked[] = [];
  const tiers = new Map(policies.map((policy) => [policy.tier, tier(policy.tier)]));
  const chains = writeChains(policies, { ...context, sets: noteLookups(sets, asked) });
  made[direction].set(policies, { chains, tiers, families: sets.families, asked });
  return chains;
}

function holds({ tiers, families, asked }: Made, { sets, tier }: ChainContext): boolean {
  if (families.join() !== sets.families.join()) return false;
  for (const [name, known] of tiers) if (tier(name) !== known) return false;
  return answerAlike(asked, sets);
}

function writeChains(policies: readonly Policy[], context: ChainContext): PolicyChains | undefined {
  const { direction, sets, variant } = context;
  const active = policies.filter((policy) => policy.isolates.includes(direction) || policy[direction].length > 0);
  if (active.length === 0) return undefined;
  // One object may hold several policies, which select different pods.
  const hash = hashOf(
    active.map(({ owner, order, subject }) => `${order} ${formatOwner(owner)} ${selectionKey(subject)}`).join() + (variant?.name ?? ""),
  );
  const tiers = [...Map.groupBy(active, (policy) => policy.tier)];
  const nameOf = (at: number) => (at === 0 ? `${direction}-${hash}` : `${direction}-${hash}-${at}`);
  const chains: NftChain[] = [];
  for (const [at, [name, tier]] of tiers.entries()) {
    const allow: readonly NftStatement[] = variant?.allow ?? [{ verdict: "return" }];
    const deny: NftStatement = variant?.deny ?? DENY;
    const pass: NftStatement = at + 1 < tiers.length ? { verdict: "goto", chain: nameOf(at + 1) } : { verdict: "return" };
    const written = tier.flatMap((policy) =>
      policy.staged
        ? [writeStaged(policy, context)]
        : policy[direction].map((rule) => writeRule(rule, { policy, direction, sets, allow, deny, pass })),
    );
    const denies = variant?.ends !== false && context.tier(name).end === "deny";
    const isolating = denies ? tier.find((policy) => !policy.staged && policy.isolates.includes(direction)) : undefined;
    const end: NftRule = isolating ? { matches: [], statements: [deny], owner: isolating.owner } : { matches: [], statements: [pass] };
    chains.push(
      { name: nameOf(at), rules: [...written.flatMap(({ rules }) => rules), end] },
      ...written.flatMap(({ chain }) => chain ?? []),
    );
  }
  return { entry: nameOf(0), chains };
}

/** A staged policy, in its place: a chain that counts what each of its rules would meet, and what none of them; it decides nothing. */
function writeStaged(policy: Policy, { direction, sets }: ChainContext): { readonly rules: readonly NftRule[]; readonly chain: NftChain } {
  const { owner, subject } = policy;
  const counted: readonly NftStatement[] = [{ counter: true }, { verdict: "return" }];
  const rules = policy[direction]
    .filter(({ action }) => action !== "log")
    .flatMap(
      (rule) => writeRule(rule, { policy, direction, sets, allow: counted, deny: DENY, pass: { verdict: "return" }, counts: true }).rules,
    );
  const name = `staged-${hashOf(`${direction} ${formatOwner(owner)} ${selectionKey(subject)}`)}`;
  return {
    rules: [{ matches: [], statements: [{ verdict: "jump", chain: name }], owner }],
    chain: { name, rules: [...rules, { matches: [], statements: [{ counter: true }], owner }] },
  };
}

/** Which direction of policies a chain of ours holds; undefined for every other chain. */
export function directionOfChain(name: string): Direction | undefined {
  const direction = /^(ingress|egress)-[0-9a-f]+(-\d+)?$/.exec(name)?.[1];
  return direction === "ingress" || direction === "egress" ? direction : undefined;
}
