// The nft table's part of the IPVS mode: who is masqueraded, who is refused, and what IPVS itself can't tell apart.
//
//   prerouting-nat, output-nat ─▶ services ─┬▶ services-inside: what insiders have of a Local Service, translated as in the nftables mode
//                                           └▶ sets at-ipvs-pick4, at-ipvs-masq-pick4, … ─▶ ipvs-pick4, ipvs-masq-pick4: the mark; IPVS comes after
//   filter-input ─▶ (an address and port that IPVS serves) ipvs-input: it passes, and is looked at on its way out
//
// IPVS takes a packet at the input hook (priority 98) and sends it out by the output hook, so what policies say of forwarded
// packets is asked there.
import type { Family } from "../base/index.ts";
import type { NftElement, NftRule, NftSet, NftStatement, TableContribution } from "../kernel/index.ts";
import type { ElementGroup } from "./elements.ts";
import { addressKey, FAMILIES, NODE_KEY, targetAddress, toNode } from "./matches.ts";
import { INSIDE_OFFSET, type Pick, pickName, pickSet } from "./pick.ts";

/** The chain that a packet for IPVS passes in the filter's input. */
export const IPVS_INPUT = "ipvs-input";

/** Set of the external addresses that are the node's own by IPVS alone. */
export const IPVS_ADDRESSES = "ipvs-ips";

/** What is otherwise than in the nftables mode. */
export interface Balancing {
  readonly name: string;
  through(group: ElementGroup): ElementGroup;
  readonly sets: readonly NftSet[];
  readonly hooks: TableContribution["hooks"];
}

const throughs = new WeakMap<ElementGroup, ElementGroup>();

/** The same entrances, leading to a mark instead of an end point. */
function through(group: ElementGroup): ElementGroup {
  let made = throughs.get(group);
  if (!made) {
    made = translate(group);
    throughs.set(group, made);
  }
  return made;
}

function translate(group: ElementGroup): ElementGroup {
  const leads = new Map(group.picks.map((pick) => [pickSet(pick), pick]));
  const picks = new Map(group.picks.flatMap((pick) => (pick.way === "inside" ? [[pickName(pick), pick]] : [])));
  const sticky = [...picks.values()].some((pick) => pick.sticky !== undefined);
  const elements: NftElement[] = [];
  const sets: string[] = [];
  const put = (set: string, element: NftElement) => {
    elements.push(element);
    sets.push(set);
  };
  for (const [number, element] of group.elements.entries()) {
    const set = group.sets[number] ?? "";
    const pick = leads.get(set);
    if (pick && pick.way !== "inside") {
      const { by, way, family } = pick;
      const marked: Pick = { by, way, family, protocol: "tcp", count: 0, ipvs: true };
      picks.set(pickName(marked), marked);
      put(pickSet(marked), element);
      put(`ipvs-${by === "node" ? "nodeports" : "services"}${family}`, element);
    } else if (/^(node-)?(endpoints|ids)[46]-/.test(set)) {
      if (Number(element.key.at(-1)) >= INSIDE_OFFSET) put(set, element);
    } else if (!/^(node-)?endpoints-by-id/.test(set) || sticky) put(set, element);
  }
  return { at: group.at, elements, sets, picks: [...picks.values()] };
}

const SETS: readonly NftSet[] = FAMILIES.flatMap((family): NftSet[] => {
  const address = family === 4 ? "ipv4_addr" : "ipv6_addr";
  return [
    { name: `ipvs-services${family}`, key: [address, "inet_proto", "inet_service"], elements: [] },
    { name: `ipvs-nodeports${family}`, key: ["inet_proto", "inet_service"], elements: [] },
    { name: `${IPVS_ADDRESSES}${family}`, key: [address], elements: [] },
  ];
});

function served(family: Family): NftRule[] {
  const statements: NftStatement[] = [{ verdict: "goto", chain: IPVS_INPUT }];
  return [
    { matches: [{ left: addressKey(family), op: "==", right: { set: `ipvs-services${family}` } }], statements },
    {
      matches: [...toNode(family), { left: NODE_KEY, op: "==", right: { set: `ipvs-nodeports${family}` } }],
      statements,
    },
  ];
}

/** An external address stands on the node as well: its other ports are not the node's own. */
function otherPorts(family: Family): NftRule {
  return {
    matches: [
      { left: "ct state", op: "==", right: "new" },
      { left: targetAddress(family), op: "==", right: { set: `${IPVS_ADDRESSES}${family}` } },
    ],
    statements: [{ reject: "icmpx port-unreachable" }],
    owner: { kind: "Fairlead", name: "no-such-port" },
  };
}

export const IPVS_BALANCING: Balancing = {
  name: "ipvs",
  through,
  sets: SETS,
  hooks: [
    { chain: "filter-input", order: 9, rules: FAMILIES.flatMap(served) },
    ...(["filter-input", "filter-output"] as const).map((chain) => ({ chain, order: 11, rules: FAMILIES.map(otherPorts) })),
  ],
};
