// How a node learns which addresses DNS names have: answers to pods whose policies speak of names are handed to the agent first.
//
//   a DNS answer to such a pod ─▶ logged whole and held back ─▶ agent: what it tells is in the sets ─▶ the agent sends it on
//
// So the pod can't use an address before it is let through to it. Held back only while an agent listens (it keeps an element
// in `dns-watch` from expiring): without one, names are resolved all the same, and new addresses stay denied.
import type { Family } from "../base/index.ts";
import type { NftElement, NftField, NftMatch, NftRule, NftSet, TableContribution } from "../kernel/index.ts";
import type { Policy } from "./rules.ts";

/** The nflog group of DNS answers. */
export const DNS_GROUP = 85;
/** What the log says of an answer that is held back, and of one that is on its way (from the node itself). */
export const DNS_HELD = "dns-held";
const DNS_SEEN = "dns-seen";
/** Holds DNS_PORT as long as an agent listens. */
export const DNS_WATCH = "dns-watch";
export const DNS_PORT = "53";

export interface NameWatch {
  readonly sets: readonly NftSet[];
  readonly hooks: TableContribution["hooks"];
}

/** Name of the set of local pods whose policies speak of names. */
export function namePods(family: Family): string {
  return `name-pods${family}`;
}

const patternsKept = new WeakMap<readonly Policy[], readonly string[]>();

/** The patterns of names that policies let out to, or keep from. */
export function namePatterns(policies: readonly Policy[]): readonly string[] {
  let patterns = patternsKept.get(policies);
  if (!patterns) {
    const found = policies.flatMap(({ staged, egress }) =>
      staged
        ? []
        : egress.flatMap(({ destination }) => destination.within.flat().flatMap((peer) => (peer.kind === "names" ? peer.patterns : []))),
    );
    patterns = [...new Set(found)];
    patternsKept.set(policies, patterns);
  }
  return patterns;
}

/** Nothing at all where no local pod's policies speak of names. `pods`: their addresses, by family. */
export function planNameWatch(pods: Readonly<Record<Family, readonly NftElement[]>>): NameWatch {
  const families = ([4, 6] as const).filter((family) => pods[family].length > 0);
  if (families.length === 0) return { sets: [], hooks: [] };
  const sets: NftSet[] = families.map((family) => ({
    name: namePods(family),
    key: [family === 4 ? "ipv4_addr" : "ipv6_addr"],
    elements: pods[family],
  }));
  sets.push({ name: DNS_WATCH, key: ["inet_service"], flags: ["dynamic", "timeout"], elements: [] });
  return {
    sets,
    hooks: [
      { chain: "filter-forward", order: 40, rules: families.map((family) => answerRule(family, true)) },
      { chain: "filter-output", order: 40, rules: families.map((family) => answerRule(family, false)) },
    ],
  };
}

function answerRule(family: Family, held: boolean): NftRule {
  const field: NftField = family === 4 ? "ip daddr" : "ip6 daddr";
  const matches: NftMatch[] = [
    { left: field, op: "==", right: { set: namePods(family) } },
    { left: "ct direction", op: "==", right: "reply" },
    { left: "udp sport", op: "==", right: DNS_PORT },
    { left: "udp sport", op: "==", right: { set: DNS_WATCH } },
  ];
  const log = { log: { prefix: held ? DNS_HELD : DNS_SEEN, group: DNS_GROUP } };
  const owner = { kind: "Fairlead", name: held ? DNS_HELD : DNS_SEEN };
  return { matches, statements: held ? [log, { verdict: "drop" }] : [log], owner };
}
