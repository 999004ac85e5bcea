// Cluster addresses and node ports for the Services of a cluster that is assumed.
import { addressAt, type Family, familyOf, formatAddress, parsePrefix, prefixSize, tryParseAddress } from "../base/index.ts";
import type { Service, ServicePort } from "../resources/index.ts";

const NETWORKS = { 4: parsePrefix("10.96.0.0/12"), 6: parsePrefix("fd00:10:96::/112") } as const;
const NODE_PORTS = { first: 30_000, last: 32_767 };
/** Addresses at the start of the network are left to Services that ask for one (KEP-3070). */
const FIRST_ADDRESS = 256n;

interface Pool {
  readonly taken: Set<string>;
  readonly next: Map<Family, bigint>;
  port: number;
}

/** The Services as the API server would store them: families, cluster addresses, node ports; what they say stands. */
export function assumeServices(given: readonly Service[]): Service[] {
  const pool: Pool = { taken: new Set(), next: new Map(), port: NODE_PORTS.first };
  for (const { spec } of given) {
    for (const address of addressesOf(spec)) pool.taken.add(address);
    for (const port of spec?.ports ?? []) if (port.nodePort) pool.taken.add(portKey(port, port.nodePort));
  }
  return given.map((service) => (service.spec === undefined || service.spec.type === "ExternalName" ? service : completed(service, pool)));
}

function completed(service: Service, pool: Pool): Service {
  const { spec } = service;
  const given = addressesOf(spec);
  const first = given[0] !== undefined && tryParseAddress(given[0]) ? familyOf(given[0]) : spec.ipFamilies?.[0] === "IPv6" ? 6 : 4;
  const asked = spec.ipFamilyPolicy === "PreferDualStack" || spec.ipFamilyPolicy === "RequireDualStack";
  const both = asked || given.length > 1 || (spec.ipFamilies?.length ?? 0) > 1;
  const families: Family[] = both ? [first, first === 4 ? 6 : 4] : [first];
  const isHeadless = spec.clusterIP === "None" || given[0] === "None";
  const clusterIPs = isHeadless ? ["None"] : families.flatMap((family, index) => given[index] ?? take(family, pool));
  const wantsPorts = spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
  return {
    ...service,
    spec: {
      ...spec,
      ipFamilyPolicy: spec.ipFamilyPolicy ?? (both ? "PreferDualStack" : "SingleStack"),
      ipFamilies: families.map((family) => `IPv${family}` as const),
      clusterIP: clusterIPs[0] ?? "",
      clusterIPs,
      ...(wantsPorts && spec.ports ? { ports: withNodePorts(spec.ports, pool) } : {}),
    },
  };
}

function addressesOf(spec: Service["spec"] | undefined): readonly string[] {
  if (spec?.clusterIPs && spec.clusterIPs.length > 0) return spec.clusterIPs;
  return spec?.clusterIP ? [spec.clusterIP] : [];
}

function take(family: Family, pool: Pool): string[] {
  const network = NETWORKS[family];
  for (let offset = pool.next.get(family) ?? FIRST_ADDRESS; offset < prefixSize(network) - 1n; offset++) {
    const address = formatAddress(addressAt(network, offset));
    pool.next.set(family, offset + 1n);
    if (pool.taken.has(address)) continue;
    pool.taken.add(address);
    return [address];
  }
  return [];
}

function withNodePorts(ports: readonly ServicePort[], pool: Pool): ServicePort[] {
  return ports.map((port) => {
    if (port.nodePort) return port;
    while (pool.port <= NODE_PORTS.last && pool.taken.has(portKey(port, pool.port))) pool.port += 1;
    if (pool.port > NODE_PORTS.last) return port;
    const nodePort = pool.port++;
    return { ...port, nodePort };
  });
}

function portKey({ protocol }: ServicePort, number: number): string {
  return `${protocol ?? "TCP"}/${number}`;
}
