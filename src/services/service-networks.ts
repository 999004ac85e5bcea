// The ranges that Services' addresses are taken from (ServiceCIDR), as elements of the sets service-networks4 and -6.
//
// What is sent to an address there that no Service has is dropped. Let through, it would leave by the default route, and
// conntrack would remember it as not translated: the same connection's next attempts would be lost when the Service comes.
import { type Family, tryParsePrefix } from "../base/index.ts";
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { NftElement } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { widest } from "./settings.ts";

const KIND = "networking.k8s.io/v1/ServiceCIDR";

export type ServiceNetworks = Readonly<Record<Family, readonly NftElement[]>>;

const NONE: ServiceNetworks = { 4: [], 6: [] };
const kept = new WeakMap<Part<KubeObject>, ServiceNetworks>();

/** The elements by family; the same objects while the ServiceCIDRs stay the same. A range that can't be read is left out. */
export function serviceNetworks(snapshot: ClusterSnapshot): ServiceNetworks {
  const part = snapshot.others.get(KIND);
  if (!part) return NONE;
  let networks = kept.get(part);
  if (!networks) {
    networks = readNetworks(part.values());
    kept.set(part, networks);
  }
  return networks;
}

function readNetworks(objects: Iterable<KubeObject>): ServiceNetworks {
  const ranges = [...objects].flatMap((object) => {
    const { cidrs } = (object as { readonly spec?: { readonly cidrs?: unknown } }).spec ?? {};
    return Array.isArray(cidrs) ? cidrs.filter((cidr) => typeof cidr === "string") : [];
  });
  const elements = (family: Family): NftElement[] =>
    widest(ranges)
      .filter((range) => tryParsePrefix(range)?.family === family)
      .map((range) => ({ key: [range] }));
  return { 4: elements(4), 6: elements(6) };
}
