// What a node announces: its blocks, its odd pods, and the Services' addresses, with the communities that belong to them.
import { addressBits, familyOf, parseAddress, parsePrefix, prefixContains, tryParseAddress, tryParsePrefix } from "../base/index.ts";
import { attributesOf, type LocalRoute, parseCommunity } from "../bgp/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Service } from "../resources/index.ts";
import { isCommunity } from "./filters.ts";
import { type BgpObject, fieldsOf, listOf, objectsOfKind, textOf } from "./objects.ts";

/** A node with this label takes no traffic from outside for Services. */
const EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers";

interface ServiceRanges {
  readonly cluster: readonly string[];
  readonly external: readonly string[];
  readonly loadBalancer: readonly string[];
  /** Load balancers' ranges as a whole, or each address by itself. */
  readonly aggregate: boolean;
}

/** The ranges of Services' addresses that are announced; what is no prefix is told. */
export function serviceRanges(configuration: BgpObject | undefined): {
  readonly ranges: ServiceRanges;
  readonly remarks: readonly string[];
} {
  const remarks: string[] = [];
  const read = (field: string) =>
    listOf(configuration?.spec[field]).flatMap((each) => {
      const cidr = textOf(fieldsOf(each).cidr);
      if (cidr !== undefined && tryParsePrefix(cidr)) return [cidr];
      remarks.push(`BGPConfiguration ${configuration?.name}: ${field} has ${JSON.stringify(each)}, which is no prefix, and ignored`);
      return [];
    });
  const ranges = {
    cluster: read("serviceClusterIPs"),
    external: read("serviceExternalIPs"),
    loadBalancer: read("serviceLoadBalancerIPs"),
    aggregate: configuration?.spec.serviceLoadBalancerAggregation !== "Disabled",
  };
  return { ranges, remarks };
}

/**
 * The prefixes that a node announces for Services. Every node announces the ranges as a whole. A Service whose externalTrafficPolicy is
 * Local is announced address by address, by those nodes that have a ready end point of it: the longer prefix draws its traffic there.
 */
export function servicePrefixes(snapshot: ClusterSnapshot, node: string, ranges: ServiceRanges): string[] {
  const all = [...ranges.cluster, ...ranges.external, ...ranges.loadBalancer];
  if (all.length === 0 || snapshot.nodes.get(node)?.metadata.labels?.[EXCLUDED] !== undefined) return [];
  const single = (cidr: string) => parsePrefix(cidr).length === addressBits(familyOf(cidr));
  const wholes = [...ranges.cluster, ...ranges.external, ...(ranges.aggregate ? ranges.loadBalancer : [])].filter((cidr) => !single(cidr));
  const prefixes = new Set(wholes);
  for (const service of snapshot.services.values()) {
    const { type = "ClusterIP", externalTrafficPolicy } = service.spec;
    if (type === "ExternalName") continue;
    const local = externalTrafficPolicy === "Local" && (type === "NodePort" || type === "LoadBalancer");
    const addresses = local ? announced(service, ranges, all) : announced(service, ranges, oneByOne(ranges, single));
    if (addresses.length > 0 && hasEndPoint(snapshot, service, local ? node : undefined))
      for (const address of addresses) prefixes.add(`${address}/${addressBits(familyOf(address))}`);
  }
  return [...prefixes].sort();
}

/** Ranges whose addresses are announced one by one, whatever a Service's policy. */
function oneByOne({ cluster, external, loadBalancer, aggregate }: ServiceRanges, single: (cidr: string) => boolean): string[] {
  return [...[...cluster, ...external].filter(single), ...(aggregate ? loadBalancer.filter(single) : loadBalancer)];
}

/** A Service's addresses in the ranges of their kind, as far as these are among `of`. */
function announced({ spec, status }: Service, ranges: ServiceRanges, of: readonly string[]): string[] {
  const within = (addresses: readonly (string | undefined)[], cidrs: readonly string[]) =>
    addresses.filter((address) => {
      const parsed = address === undefined ? undefined : tryParseAddress(address);
      return parsed && cidrs.some((cidr) => of.includes(cidr) && prefixContains(parsePrefix(cidr), parsed));
    });
  const own = spec.clusterIPs ?? [spec.clusterIP];
  const balanced = (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip);
  return [
    ...within(own, ranges.cluster),
    ...within(spec.externalIPs ?? [], ranges.external),
    ...within(balanced, ranges.loadBalancer),
  ].filter((address) => address !== undefined);
}

function hasEndPoint(snapshot: ClusterSnapshot, { metadata }: Service, node: string | undefined): boolean {
  for (const slice of snapshot.endpointSlices.ofService(metadata.namespace ?? "", metadata.name)) {
    for (const { conditions, nodeName } of slice.endpoints ?? [])
      if ((node === undefined || nodeName === node) && conditions?.ready !== false) return true;
  }
  return false;
}

/** Blocks of pools that are not to be announced are left out. */
export function exportable(snapshot: ClusterSnapshot, prefixes: readonly string[]): string[] {
  const hidden = objectsOfKind(snapshot, "IPPool").flatMap(({ spec }) => {
    const cidr = spec.disableBGPExport === true ? textOf(spec.cidr) : undefined;
    return cidr === undefined ? [] : (tryParsePrefix(cidr) ?? []);
  });
  return prefixes.filter((prefix) => !hidden.some((pool) => prefixContains(pool, parsePrefix(prefix))));
}

/** The communities that prefixes are announced with. */
export function communitiesByPrefix(configuration: BgpObject | undefined): {
  readonly of: (prefix: string) => LocalRoute["attributes"];
  readonly remarks: readonly string[];
} {
  const remarks: string[] = [];
  const bad = (says: string) => remarks.push(`BGPConfiguration ${configuration?.name}: ${says}, and ignored`);
  const named = new Map<string, string>();
  for (const each of listOf(configuration?.spec.communities).map(fieldsOf)) {
    const [name, value] = [textOf(each.name), textOf(each.value)];
    if (name !== undefined && isCommunity(value)) named.set(name, value);
    else bad(`communities has ${JSON.stringify(each)}, which is no name with a value like 64512:100`);
  }
  const advertisements = listOf(configuration?.spec.prefixAdvertisements).flatMap((each) => {
    const cidr = textOf(fieldsOf(each).cidr);
    const range = cidr === undefined ? undefined : tryParsePrefix(cidr);
    if (!range) bad(`prefixAdvertisements has ${JSON.stringify(each)}, which has no prefix`);
    const communities = listOf(fieldsOf(each).communities).flatMap((text) => {
      const value = typeof text === "string" ? (named.get(text) ?? text) : undefined;
      if (isCommunity(value)) return [parseCommunity(value)];
      bad(`${JSON.stringify(text)} names no community`);
      return [];
    });
    return range ? [{ range, communities }] : [];
  });
  const of = (prefix: string) => {
    const parsed = tryParsePrefix(prefix) ?? parseAddress(prefix);
    const all = advertisements.filter(({ range }) => prefixContains(range, parsed)).flatMap(({ communities }) => communities);
    if (all.length === 0) return undefined;
    return attributesOf({
      communities: all.flatMap((each) => (each.kind === "standard" ? [each.value] : [])),
      largeCommunities: all.flatMap((each) => (each.kind === "large" ? [each.value] : [])),
    });
  };
  return { of, remarks };
}
