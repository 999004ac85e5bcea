// Rules of the routed data path: pods send from their own addresses only, and reach the outside with the node's where their pool says so.
import { type Family, familyOf, formatPrefix, type IpPrefix, prefixContains } from "../../base/index.ts";
import type { Pool } from "../../ipam/index.ts";
import type { NftElement, NftField, NftMatch, NftRule, NftSet, NftStatement, TableContribution } from "../../kernel/index.ts";

const FAMILIES = [4, 6] as const;

export interface FilterOptions {
  readonly pools: readonly Pool[];
  /** Networks of pods beside the pools: those of the overlay's nodes. */
  readonly others: readonly IpPrefix[];
  /** Host ends and the addresses behind them: "10.244.0.7", … */
  readonly pods: readonly {
    readonly link: string;
    readonly addresses: readonly string[];
    readonly name: string;
    readonly namespace: string;
  }[];
  /** "32768-65535" */
  readonly natPorts: string | undefined;
}

export function planFilter(options: FilterOptions): TableContribution {
  const names = new Set(options.pods.map(({ link }) => link));
  const links: NftSet = { name: "routed-links", key: ["ifname"], elements: [...names].map((name) => ({ key: [name] })) };
  const guards = names.size === 0 ? [] : FAMILIES.map(forgedRule);
  return {
    chains: [],
    sets: [links, ...FAMILIES.flatMap((family) => [networks(family, options), natNetworks(family, options), sources(family, options)])],
    hooks: [
      { chain: "postrouting-nat", order: 20, rules: FAMILIES.flatMap((family) => outward(family, options.natPorts)) },
      // Before the policies: whose packet it is, they tell by its source.
      { chain: "filter-forward", order: 40, rules: guards },
      { chain: "filter-input", order: 40, rules: names.size === 0 ? [] : [LOCALHOST, ...guards] },
    ],
  };
}

const type = (family: Family) => (family === 4 ? "ipv4_addr" : "ipv6_addr");

/** All addresses of pods: what Services and masquerade take for the cluster's own. */
function networks(family: Family, { pools, others }: FilterOptions): NftSet {
  const prefixes = [...pools.map((pool) => pool.prefix), ...others].filter((prefix) => prefix.family === family);
  return { name: `pod-networks${family}`, key: [type(family)], flags: ["interval"], elements: outermost(prefixes) };
}

function natNetworks(family: Family, { pools }: FilterOptions): NftSet {
  const prefixes = pools.filter((pool) => pool.natOutgoing && pool.prefix.family === family).map((pool) => pool.prefix);
  return { name: `nat-networks${family}`, key: [type(family)], flags: ["interval"], elements: outermost(prefixes) };
}

function sources(family: Family, { pods }: FilterOptions): NftSet {
  const elements = pods.flatMap(({ link, addresses, name, namespace }): NftElement[] =>
    addresses
      .filter((address) => familyOf(address) === family)
      .map((address) => ({ key: [link, address], ...(name === "" ? {} : { owner: { kind: "Pod", namespace, name } }) })),
  );
  return { name: `routed-sources${family}`, key: ["ifname", type(family)], elements };
}

/** In order, none within another: intervals of a set must not overlap. */
function outermost(prefixes: readonly IpPrefix[]): NftElement[] {
  const sorted = [...prefixes].sort((a, b) => (a.value === b.value ? a.length - b.length : a.value < b.value ? -1 : 1));
  const kept: IpPrefix[] = [];
  for (const prefix of sorted) {
    const last = kept.at(-1);
    if (!last || !prefixContains(last, prefix)) kept.push(prefix);
  }
  return kept.map((prefix) => ({ key: [formatPrefix(prefix)] }));
}

/** From a pool with natOutgoing to what is in no pool. */
function outward(family: Family, ports: string | undefined): NftRule[] {
  const [saddr, daddr] = family === 4 ? (["ip saddr", "ip daddr"] as const) : (["ip6 saddr", "ip6 daddr"] as const);
  const matches: NftMatch[] = [
    { left: saddr, op: "==", right: { set: `nat-networks${family}` } },
    { left: daddr, op: "!=", right: { set: `pod-networks${family}` } },
    { left: daddr, op: "!=", right: family === 4 ? "224.0.0.0/4" : "ff00::/8" },
  ];
  const masquerade = (range?: string): NftStatement => ({
    masquerade: { fullyRandom: true, ...(range === undefined ? {} : { ports: range }) },
  });
  if (ports === undefined) return [{ matches, statements: [masquerade()] }];
  const withPorts: NftMatch = { left: "meta l4proto", op: "==", right: ["tcp", "udp"] };
  return [
    { matches: [...matches, withPorts], statements: [masquerade(ports)] },
    { matches, statements: [masquerade()] },
  ];
}

/**
 * The strict reverse path: what comes from a pod's interface has one of the pod's addresses. Link-local IPv6 is between the two ends.
 * Of IPv4, rp_filter (pod.ts) asks every packet; here the first of a connection is enough. Of IPv6 there is no such thing.
 */
function forgedRule(family: Family): NftRule {
  const [source, first]: [NftField, NftMatch] =
    family === 4
      ? ["ip saddr", { left: "ct state", op: "==", right: "new" }]
      : ["ip6 saddr", { left: "ip6 saddr", op: "!=", right: "fe80::/10" }];
  return {
    matches: [
      first,
      { left: "meta iifname", op: "==", right: { set: "routed-links" } },
      { left: ["meta iifname", source], op: "!=", right: { set: `routed-sources${family}` } },
    ],
    statements: [{ verdict: "drop" }],
    owner: { kind: "Fairlead", name: "forged-source" },
  };
}

/** route_localnet lets packets to 127.0.0.0/8 in; what the node serves to itself alone is not for pods. */
const LOCALHOST: NftRule = {
  matches: [
    { left: "ip daddr", op: "==", right: "127.0.0.0/8" },
    { left: "meta iifname", op: "==", right: { set: "routed-links" } },
  ],
  statements: [{ verdict: "drop" }],
  owner: { kind: "Fairlead", name: "localhost" },
};
