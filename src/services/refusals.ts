// Who does not reach a Service, in every mode: nobody serves, no such port, no such Service, or not from there.
import type { Family } from "../base/index.ts";
import type { BaseChainName, NftChain, NftField, NftMatch, NftRule, Owner, TableContribution } from "../kernel/index.ts";
import { sourcesOf } from "./elements.ts";
import { addressKey, FAMILIES, jump, NODE_KEY, sourceAddress, TRANSPORT_NAMES, targetAddress, toNode } from "./matches.ts";

const FILTERS: readonly BaseChainName[] = ["filter-forward", "filter-input", "filter-output"];
const REFUSALS = "service-refusals";
const guardChain = (family: Family) => `source-ranges${family}`;

/**
 * One step for packets of what is open already, and that is left alone: IPVS lets connections of a Service that has gone come to their end.
 * What is not tracked is meant for somebody at the Service's own address on this node, such as a node-local DNS cache.
 */
const TO_REFUSALS = jump([{ left: "ct state", op: "==", right: "new" }], REFUSALS);

export const REFUSALS_CHAIN: NftChain = { name: REFUSALS, rules: refusals() };
export const GUARD_CHAINS: readonly NftChain[] = FAMILIES.map(sourceRanges);

/** Before and after translation. */
export const REFUSAL_HOOKS: TableContribution["hooks"] = [
  ...(["prerouting-nat", "output-nat"] as const).map((chain) => ({ chain, order: 5, rules: FAMILIES.map(guard) })),
  ...FILTERS.map((chain) => ({ chain, order: 10, rules: [TO_REFUSALS] })),
];

const SETS_OF_REFUSALS =
  /^(no-endpoints|no-local-endpoints|nodeports-rejected|nodeports-dropped|nodeport-ips|cluster-ips|service-networks|hairpin)[46]$/;
const refusalsOf = new WeakMap<TableContribution, TableContribution>();

/** What holds in every mode: who is refused, and the masquerade of what is marked. Nothing that sends a packet to an end point. */
export function keepRefusals(table: TableContribution): TableContribution {
  let kept = refusalsOf.get(table);
  if (!kept) {
    kept = {
      chains: [REFUSALS_CHAIN],
      sets: table.sets.filter(({ name }) => SETS_OF_REFUSALS.test(name)),
      hooks: table.hooks.filter(({ chain }) => chain === "postrouting-nat" || FILTERS.includes(chain)),
    };
    refusalsOf.set(table, kept);
  }
  return kept;
}

/** loadBalancerSourceRanges: before the address is translated. */
function guard(family: Family): NftRule {
  return jump([{ left: addressKey(family), op: "==", right: { set: `guarded${family}` } }], guardChain(family));
}

/** Who may reach a guarded address goes on. */
function sourceRanges(family: Family): NftChain {
  const letIn = TRANSPORT_NAMES.map(
    (transport): NftRule => ({
      matches: [
        {
          left: [targetAddress(family), `${transport} dport`, sourceAddress(family)],
          op: "==",
          right: { set: sourcesOf(family, transport) },
        },
      ],
      statements: [{ verdict: "return" }],
    }),
  );
  const others: NftRule = { matches: [], statements: [{ verdict: "drop" }], owner: { kind: "Fairlead", name: "source-ranges" } };
  return { name: guardChain(family), rules: [...letIn, others] };
}

function refusals(): NftRule[] {
  const reject = { reject: "icmpx port-unreachable" } as const;
  const drop = { verdict: "drop" } as const;
  const says = (name: string): { readonly owner: Owner } => ({ owner: { kind: "Fairlead", name } });
  return FAMILIES.flatMap((family): NftRule[] => {
    const inSet = (left: NftField | NftField[], name: string): NftMatch => ({ left, op: "==", right: { set: `${name}${family}` } });
    const local = toNode(family);
    return [
      { matches: [inSet(addressKey(family), "no-local-endpoints")], statements: [drop], ...says("no-local-endpoints") },
      { matches: [inSet(addressKey(family), "no-endpoints")], statements: [reject], ...says("no-endpoints") },
      // An address of a Service, but not one of its ports.
      { matches: [inSet(targetAddress(family), "cluster-ips")], statements: [reject], ...says("no-such-port") },
      // An address of no Service: see service-networks.ts.
      {
        matches: [inSet(targetAddress(family), "service-networks")],
        statements: [drop],
        ...says("no-such-service"),
      },
      { matches: [...local, inSet([...NODE_KEY], "nodeports-dropped")], statements: [drop], ...says("no-local-endpoints") },
      { matches: [...local, inSet([...NODE_KEY], "nodeports-rejected")], statements: [reject], ...says("no-endpoints") },
    ];
  });
}
