// One direction of a set of policies as nft chains: one chain per tier, allowed packets return, the rest is dropped.
import type { Family } from "../base/index.ts";
import type { NftChain, NftMatch, NftRule, NftStatement } from "../kernel/index.ts";
import { portElements } from "./intervals.ts";
import { hashOf, type PeerSets } from "./peer-sets.ts";
import type { CidrPeer, Direction, Peer, PodSelection, Policy, PortMatch, Rule } from "./rules.ts";

/**
 * The chains for the policies (in order of evaluation), and the one to enter by; undefined where none has a say in the
 * direction. A later tier is entered by goto, so that "return" leaves them all: the packet is allowed.
 */
export function policyChains(
  policies: readonly Policy[],
  direction: Direction,
  sets: PeerSets,
): { readonly entry: string; readonly chains: readonly NftChain[] } | undefined {
  const active = policies.filter((policy) => policy.isolates.includes(direction) || policy[direction].length > 0);
  if (active.length === 0) return undefined;
  const hash = hashOf(active.map(({ owner }) => `${owner.kind} ${owner.namespace ?? ""}/${owner.name}`).join());
  const tiers = [...Map.groupBy(active, (policy) => `${policy.tier.order} ${policy.tier.name}`).values()];
  const nameOf = (tier: number) => (tier === 0 ? `${direction}-${hash}` : `${direction}-${hash}-${tier}`);
  const chains = tiers.map((tier, index): NftChain => {
    const onward: NftStatement = index + 1 < tiers.length ? { verdict: "goto", chain: nameOf(index + 1) } : { verdict: "return" };
    const rules = tier.flatMap((policy) => policy[direction].flatMap((rule) => writeRule(rule, { policy, direction, sets, onward })));
    const isolating = tier.find((policy) => policy.isolates.includes(direction));
    const end: NftRule = isolating
      ? { matches: [], statements: [{ verdict: "drop" }], owner: isolating.owner }
      : { matches: [], statements: [onward] };
    return { name: nameOf(index), rules: [...rules, end] };
  });
  return { entry: nameOf(0), chains };
}

interface RuleContext {
  readonly policy: Policy;
  readonly direction: Direction;
  readonly sets: PeerSets;
  readonly onward: NftStatement;
}

function writeRule(rule: Rule, context: RuleContext): NftRule[] {
  const statement: NftStatement =
    rule.action === "allow"
      ? { verdict: "return" }
      : rule.action === "deny"
        ? { verdict: "drop" }
        : rule.action === "log"
          ? { log: { prefix: `${rule.owner.name} ` } }
          : context.onward;
  const rules: NftRule[] = [];
  for (const peer of peerMatches(rule, context)) {
    for (const port of portMatches(rule, peer.family, context)) {
      rules.push({ matches: [...peer.matches, ...port], statements: [statement], owner: rule.owner });
    }
  }
  return rules;
}

/** `family` is absent where the rule takes both. */
interface PeerMatch {
  readonly family?: Family;
  readonly matches: readonly NftMatch[];
}

function peerMatches(rule: Rule, { direction, sets }: RuleContext): PeerMatch[] {
  const named = rule.ports !== "any" && rule.ports.some((port) => "name" in port);
  if (rule.peers === "any") return named ? sets.families.map((family) => ({ family, matches: [] })) : [{ matches: [] }];
  const pods = rule.peers.filter((peer) => peer.kind === "pods");
  const blocks = rule.peers.filter((peer): peer is CidrPeer => peer.kind === "cidr");
  const which = direction === "ingress" ? "saddr" : "daddr";
  return sets.families.flatMap((family): PeerMatch[] => {
    const blockSet = sets.blocks(blocks, family);
    const names = [...new Set(pods.map((peer) => sets.pods(peer, family))), ...(blockSet === undefined ? [] : [blockSet])];
    return names.map((set) => ({ family, matches: [{ left: family === 4 ? `ip ${which}` : `ip6 ${which}`, op: "==", right: { set } }] }));
  });
}

function portMatches(rule: Rule, family: Family | undefined, context: RuleContext): NftMatch[][] {
  if (rule.ports === "any") return [[]];
  const matches: NftMatch[][] = [];
  for (const protocol of ["TCP", "UDP", "SCTP"] as const) {
    const ranges = rule.ports.flatMap((port) => ("name" in port || port.protocol !== protocol ? [] : [port]));
    if (ranges.length === 0) continue;
    const l4: NftMatch = { left: "meta l4proto", op: "==", right: protocol.toLowerCase() };
    const elements = portElements(ranges);
    const [only] = elements;
    if (only === "0-65535") matches.push([l4]);
    else matches.push([l4, { left: "th dport", op: "==", right: only !== undefined && elements.length === 1 ? only : elements }]);
  }
  const names = rule.ports.filter((port): port is PortMatch & { readonly name: string } => "name" in port);
  if (names.length > 0 && family !== undefined) {
    const set = context.sets.ports(portOwners(rule, context), names, family);
    matches.push([{ left: [family === 4 ? "ip daddr" : "ip6 daddr", "meta l4proto", "th dport"], op: "==", right: { set } }]);
  }
  return matches;
}

/** Whose named ports count: the policy's own pods for ingress; for egress the peers, and every pod if a block or anything is a peer. */
function portOwners(rule: Rule, { policy, direction }: RuleContext): readonly PodSelection[] | "any" {
  if (direction === "ingress") return [policy.subject];
  if (rule.peers === "any") return "any";
  const pods = rule.peers.filter((peer: Peer) => peer.kind === "pods");
  return pods.length === rule.peers.length ? pods : "any";
}

/** Which direction of policies a chain of ours holds; undefined for every other chain. */
export function directionOfChain(name: string): Direction | undefined {
  const direction = /^(ingress|egress)-[0-9a-f]+(-\d+)?$/.exec(name)?.[1];
  return direction === "ingress" || direction === "egress" ? direction : undefined;
}
