// One direction of a set of policies as nft chains: one chain per tier, allowed packets return, the rest is dropped.
import { formatOwner, type NftChain, type NftRule, type NftStatement } from "../kernel/index.ts";
import { hashOf, type PeerSets } from "./peer-sets.ts";
import { writeRule } from "./rule-writer.ts";
import type { Direction, Policy, Tier } from "./rules.ts";

export interface ChainContext {
  readonly direction: Direction;
  readonly sets: PeerSets;
  tier(name: string): Tier;
}

/**
 * The chains for the policies (in order of evaluation), and the one to enter by; undefined where none has a say in the
 * direction. A later tier is entered by goto, so that "return" leaves them all: the packet is allowed.
 */
export function policyChains(
  policies: readonly Policy[],
  context: ChainContext,
): { readonly entry: string; readonly chains: readonly NftChain[] } | undefined {
  const { direction, sets } = context;
  const active = policies.filter((policy) => policy.isolates.includes(direction) || policy[direction].length > 0);
  if (active.length === 0) return undefined;
  const hash = hashOf(active.map(({ owner, order }) => `${order} ${formatOwner(owner)}`).join());
  const tiers = [...Map.groupBy(active, (policy) => policy.tier)];
  const nameOf = (at: number) => (at === 0 ? `${direction}-${hash}` : `${direction}-${hash}-${at}`);
  const chains: NftChain[] = [];
  for (const [at, [name, tier]] of tiers.entries()) {
    const allow: NftStatement = { verdict: "return" };
    const pass: NftStatement = at + 1 < tiers.length ? { verdict: "goto", chain: nameOf(at + 1) } : allow;
    const written = tier.flatMap((policy) => policy[direction].map((rule) => writeRule(rule, { policy, direction, sets, allow, pass })));
    const isolating = context.tier(name).end === "deny" ? tier.find((policy) => policy.isolates.includes(direction)) : undefined;
    const end: NftRule = isolating
      ? { matches: [], statements: [{ verdict: "drop" }], owner: isolating.owner }
      : { matches: [], statements: [pass] };
    chains.push(
      { name: nameOf(at), rules: [...written.flatMap(({ rules }) => rules), end] },
      ...written.flatMap(({ chain }) => chain ?? []),
    );
  }
  return { entry: nameOf(0), chains };
}

/** Which direction of policies a chain of ours holds; undefined for every other chain. */
export function directionOfChain(name: string): Direction | undefined {
  const direction = /^(ingress|egress)-[0-9a-f]+(-\d+)?$/.exec(name)?.[1];
  return direction === "ingress" || direction === "egress" ? direction : undefined;
}
