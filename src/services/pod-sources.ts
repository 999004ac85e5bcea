// The pods' networks as few prefixes: a rule of iptables names one at a time.
import {
  type Family,
  familyOf,
  formatPrefix,
  type IpPrefix,
  networkOf,
  parsePrefix,
  prefixContains,
  prefixSize,
  tryParsePrefix,
} from "../base/index.ts";
import type { NftElement } from "../kernel/index.ts";

/** Pod networks by family, as the data path's sets hold them. */
export type PodNetworks = Readonly<Record<Family, readonly NftElement[]>>;

const kept = new WeakMap<readonly NftElement[], readonly string[]>();

/** The least list of prefixes that holds exactly the same addresses; the same object for the same elements. */
export function joinNetworks(elements: readonly NftElement[]): readonly string[] {
  let joined = kept.get(elements);
  if (!joined) {
    joined = join(elements.flatMap(({ key }) => tryParsePrefix(key[0] ?? "") ?? [])).map(formatPrefix);
    kept.set(elements, joined);
  }
  return joined;
}

/**
 * The prefixes that rules name for the pods of a family: the cluster's own range, if it is said and holds every node's pod
 * network, for so the rules stay the same when a node comes; else the nodes' networks, joined.
 */
export function podSources(elements: readonly NftElement[], said: readonly string[], family: Family): readonly string[] {
  const joined = joinNetworks(elements);
  const ranges = said.filter((range) => familyOf(range) === family);
  const within = (network: IpPrefix) => ranges.some((range) => holds(parsePrefix(range), network));
  return joined.length > 0 && joined.every((network) => within(parsePrefix(network))) ? ranges : joined;
}

function holds(range: IpPrefix, network: IpPrefix): boolean {
  return range.length <= network.length && prefixContains(range, network);
}

function join(prefixes: readonly IpPrefix[]): IpPrefix[] {
  const sorted = prefixes.map(networkOf).sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : a.length - b.length));
  const joined: IpPrefix[] = [];
  for (const prefix of sorted) {
    const last = joined.at(-1);
    if (last && prefixContains(last, prefix) && last.length <= prefix.length) continue;
    joined.push(prefix);
    for (;;) {
      const [left, right] = joined.slice(-2);
      if (!left || !right || left.length !== right.length || left.length === 0) break;
      const parent = networkOf({ ...left, length: left.length - 1 });
      if (parent.value !== left.value || left.value + prefixSize(left) !== right.value) break;
      joined.splice(-2, 2, parent);
    }
  }
  return joined;
}
