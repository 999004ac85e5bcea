// What the cluster says about its Services as a whole: the ConfigMap kube-system/fairlead.
import {
  addressAt,
  addressBits,
  compareAddresses,
  type Family,
  familyOf,
  formatAddress,
  formatPrefix,
  type IpAddress,
  type IpPrefix,
  networkOf,
  prefixContains,
  prefixSize,
  tryParseAddress,
  tryParsePrefix,
} from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { ConfigMap, Node } from "../resources/index.ts";

/** Addresses from `first` to `last`, both of them in it. */
export interface AddressRange {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

export interface ServiceSettings {
  /** At which of its own addresses a node serves node ports: "primary" (those of its Node object), or within these prefixes. */
  readonly nodePortAddresses: "primary" | readonly string[];
  /** From which addresses load balancers' are given out. */
  readonly pools: readonly AddressRange[];
  /** Ranges that the nodes' pod networks are taken from; empty where nothing is said. */
  readonly podNetworks: readonly string[];
  /** What in the settings is not understood, and why. */
  readonly remarks: readonly string[];
}

const SETTINGS = "kube-system/fairlead";

const NONE: ServiceSettings = { nodePortAddresses: "primary", pools: [], podNetworks: [], remarks: [] };
const kept = new WeakMap<ConfigMap, ServiceSettings>();

/** The settings of a snapshot; the same object while the ConfigMap stays the same. */
export function serviceSettings(snapshot: ClusterSnapshot): ServiceSettings {
  const map = snapshot.configMaps.get(SETTINGS);
  if (!map) return NONE;
  let settings = kept.get(map);
  if (!settings) {
    settings = readSettings(map.data ?? {});
    kept.set(map, settings);
  }
  return settings;
}

function readSettings(data: Readonly<Record<string, string>>): ServiceSettings {
  const remarks: string[] = [];
  const remark = (key: string, text: string, remedy: string) =>
    remarks.push(`ConfigMap ${SETTINGS}: ${key} "${text}" is not understood and left out; ${remedy}`);
  const wanted = wordsOf(data.nodePortAddresses);
  const prefixes = wanted.flatMap((text) => {
    const prefix = tryParsePrefix(text);
    if (!prefix && text !== "primary") remark("nodePortAddresses", text, "write primary, or prefixes like 10.112.0.0/24");
    return prefix ? [formatPrefix(networkOf(prefix))] : [];
  });
  const pools = wordsOf(data.loadBalancerPools).flatMap((text) => {
    const range = parseRange(text);
    if (!range) remark("loadBalancerPools", text, "write a prefix like 192.0.2.0/28, or a range like 192.0.2.10-192.0.2.20");
    return range ? [range] : [];
  });
  const podNetworks = wordsOf(data.podNetworks).flatMap((text) => {
    const prefix = tryParsePrefix(text);
    if (!prefix) remark("podNetworks", text, "write a prefix like 10.244.0.0/16");
    return prefix ? [formatPrefix(networkOf(prefix))] : [];
  });
  return { nodePortAddresses: prefixes.length > 0 ? widest(prefixes) : "primary", pools, podNetworks: widest(podNetworks), remarks };
}

function wordsOf(text: string | undefined): string[] {
  return (text ?? "").split(/[\s,]+/).filter((word) => word !== "");
}

/** "192.0.2.0/28", "192.0.2.10-192.0.2.20" or "192.0.2.10". */
function parseRange(text: string): AddressRange | undefined {
  const prefix = tryParsePrefix(text);
  if (prefix) {
    const network = networkOf(prefix);
    return { family: prefix.family, first: network.value, last: addressAt(network, prefixSize(network) - 1n).value };
  }
  const [first, last, ...more] = text.split("-").map((part) => tryParseAddress(part.trim()));
  if (!first || more.length > 0) return undefined;
  const end = text.includes("-") ? last : first;
  return end?.family === first.family && end.value >= first.value
    ? { family: first.family, first: first.value, last: end.value }
    : undefined;
}

export function inPools(pools: readonly AddressRange[], address: string): boolean {
  const parsed = tryParseAddress(address);
  return parsed !== undefined && pools.some((pool) => isWithin(pool, parsed));
}

export function isWithin(pool: AddressRange, { family, value }: IpAddress): boolean {
  return pool.family === family && pool.first <= value && value <= pool.last;
}

/** Of some prefixes (with no bits below their length) those that are in no other, in order of address. */
export function widest(texts: readonly string[]): string[] {
  const prefixes = [...new Set(texts)].flatMap((text) => tryParsePrefix(text) ?? []);
  const within = (one: IpPrefix, other: IpPrefix) => other.length < one.length && prefixContains(other, one);
  return prefixes
    .filter((one) => !prefixes.some((other) => within(one, other)))
    .map(formatPrefix)
    .sort((a, b) => compareAddresses(addressOf(a), addressOf(b)));
}

const addressOf = (prefix: string) => prefix.replace(/\/.*/, "");

/**
 * The addresses of a node, as elements of an interval set, at which it serves node ports of a family: prefixes, or single
 * addresses. Everywhere, where no Node object says which are its primary ones.
 */
export function nodePortElements(settings: ServiceSettings, node: Node | undefined, family: Family): readonly string[] {
  const { nodePortAddresses } = settings;
  if (nodePortAddresses !== "primary")
    return nodePortAddresses.filter((prefix) => familyOf(addressOf(prefix)) === family).flatMap(elementsOfPrefix);
  const own = (node?.status?.addresses ?? []).flatMap(({ type, address }) =>
    type === "InternalIP" ? (tryParseAddress(address) ?? []) : [],
  );
  if (own.length === 0) return elementsOfPrefix(family === 4 ? "0.0.0.0/0" : "::/0");
  const first = own.find((address) => address.family === family);
  return first ? [formatAddress(first)] : [];
}

/** As nft writes it: one address has no length, and everything is two halves. */
function elementsOfPrefix(text: string): string[] {
  const prefix = tryParsePrefix(text);
  if (prefix?.length === 0) return prefix.family === 4 ? ["0.0.0.0/1", "128.0.0.0/1"] : ["::/1", "8000::/1"];
  return [prefix && prefix.length === addressBits(prefix.family) ? formatAddress(prefix) : text];
}
