// Pods reach the outside with the node's address; what comes in from outside and is routed on to another node's pod comes back through here.
import { type Family, familyOf, formatPrefix, networkOf, parsePrefix } from "../../base/index.ts";
import type { NftRule, NftSet, TableContribution } from "../../kernel/index.ts";
import type { PodNetworks } from "./pod-networks.ts";

const FAMILIES = [4, 6] as const;
const kept = new WeakMap<PodNetworks, Map<string, TableContribution>>();
const keptRules = new Map<string, readonly NftRule[]>();

/** The set of all pod networks and the rules of masquerade; `own`: the node's pod networks. */
export function planMasquerade(networks: PodNetworks, own: readonly string[]): TableContribution {
  const byOwn = kept.get(networks) ?? new Map<string, TableContribution>();
  kept.set(networks, byOwn);
  const key = own.join();
  let table = byOwn.get(key);
  if (!table) {
    table = {
      chains: [],
      sets: FAMILIES.map(
        (family): NftSet => ({
          name: `pod-networks${family}`,
          key: [family === 4 ? "ipv4_addr" : "ipv6_addr"],
          flags: ["interval"],
          elements: networks.elements[family],
        }),
      ),
      hooks: [{ chain: "postrouting-nat", order: 20, rules: rulesOf(own) }],
    };
    byOwn.set(key, table);
  }
  return table;
}

function rulesOf(own: readonly string[]): readonly NftRule[] {
  const key = own.join();
  let rules = keptRules.get(key);
  if (!rules) {
    rules = FAMILIES.flatMap((family) =>
      familyRules(
        family,
        own.find((cidr) => familyOf(cidr) === family),
      ),
    );
    keptRules.set(key, rules);
  }
  return rules;
}

function familyRules(family: Family, own: string | undefined): NftRule[] {
  const set = { set: `pod-networks${family}` };
  const [saddr, daddr] = family === 4 ? (["ip saddr", "ip daddr"] as const) : (["ip6 saddr", "ip6 daddr"] as const);
  const statements = [{ masquerade: { fullyRandom: true } }];
  const outward: NftRule = {
    matches: [
      { left: saddr, op: "==", right: set },
      { left: daddr, op: "!=", right: set },
      { left: daddr, op: "!=", right: family === 4 ? "224.0.0.0/4" : "ff00::/8" },
    ],
    statements,
  };
  const inward: NftRule = {
    matches: [
      { left: saddr, op: "!=", right: set },
      { left: daddr, op: "==", right: set },
      ...(own === undefined ? [] : [{ left: daddr, op: "!=" as const, right: formatPrefix(networkOf(parsePrefix(own))) }]),
    ],
    statements,
  };
  return [outward, inward];
}
