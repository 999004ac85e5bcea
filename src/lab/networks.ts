// The address ranges of a lab: those asked for, checked against each other and the fabric. Pure.
import { checkNetworks } from "../api/index.ts";
import {
  addressAt,
  addressBits,
  FairleadError,
  type Family,
  formatAddress,
  formatPrefix,
  type IpPrefix,
  networkOf,
  parseAddress,
  parsePrefix,
  prefixContains,
} from "../base/index.ts";

/** The guide's own ranges. */
export const DEFAULT_NETWORKS = {
  podCidrs: ["10.244.0.0/16", "fd00:10:244::/48"],
  serviceCidrs: ["10.96.0.0/12", "fd00:10:96::/112"],
} as const;

export interface ClusterNetworks {
  readonly podCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  /** Prefix length of a node's share of the pod range. */
  readonly nodeMask: Readonly<Record<Family, number>>;
  /** Cluster address of the DNS Service: number 10 of the first Service range. */
  readonly dnsAddress: string;
  /** Cluster address of the API: number 1. */
  readonly apiAddress: string;
}

export interface NetworkOptions {
  readonly podCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  readonly nodes: number;
}

const USUAL_SHARE: Readonly<Record<Family, number>> = { 4: 24, 6: 64 };
/** A node's share holds network, gateway, two pods and (IPv4) the broadcast address at least. */
const SMALLEST_SHARE: Readonly<Record<Family, number>> = { 4: 29, 6: 125 };
/** DNS is number 10, so that 16 addresses are the least; as kube-apiserver has it, 20 bits are the most. */
const SERVICE_BITS = { least: 4, most: 20 } as const;
const DNS_NUMBER = 10n;

/** What the fabric occupies. */
const FABRIC_NETWORKS = [
  { name: "lab's underlay", cidr: "10.112.0.0/16" },
  { name: "lab's underlay", cidr: "fd00:112::/48" },
  { name: "lab's outside", cidr: "198.51.100.0/24" },
  { name: "lab's outside", cidr: "2001:db8:64::/64" },
];

/** Whether an address lies in what the fabric occupies. */
export function isFabricAddress(address: string): boolean {
  return FABRIC_NETWORKS.some(({ cidr }) => prefixContains(parsePrefix(cidr), parseAddress(address)));
}

/**
 * The ranges of a cluster that has its own: the addresses of its Services, and what its nodes were given. Where that lies within the
 * pod ranges that were planned, these stand. @throws FairleadError `overlapping-networks`
 */
export function takenNetworks(
  planned: ClusterNetworks,
  taken: { readonly apiAddress?: string | undefined; readonly dnsAddress?: string | undefined; readonly podCidrs: readonly string[] },
): ClusterNetworks {
  const given = taken.podCidrs.map(parsePrefix);
  const inside = given.every((cidr) => planned.podCidrs.map(parsePrefix).some((range) => prefixContains(range, cidr)));
  const podCidrs = inside ? planned.podCidrs : given.map(formatPrefix);
  checkNetworks([...podCidrs.map((cidr) => ({ name: "pod network that the cluster has given", cidr })), ...FABRIC_NETWORKS]);
  const apiAddress = taken.apiAddress ?? planned.apiAddress;
  return { ...planned, podCidrs, apiAddress, dnsAddress: taken.dnsAddress ?? besides(apiAddress) };
}

/** The DNS server's usual address, where the API's is number 1. */
function besides(apiAddress: string): string {
  const { family, value } = parseAddress(apiAddress);
  return formatAddress({ family, value: value + DNS_NUMBER - 1n });
}

/** @throws FairleadError `bad-network`, `overlapping-networks` naming the option, the range and the way out */
export function planNetworks({ podCidrs, serviceCidrs, nodes }: NetworkOptions): ClusterNetworks {
  const pods = parseRanges("--pod-cidr", podCidrs);
  const services = parseRanges("--service-cidr", serviceCidrs);
  checkNetworks([
    ...pods.map((range) => ({ name: "pod range (--pod-cidr)", cidr: formatPrefix(range) })),
    ...services.map((range) => ({ name: "Service range (--service-cidr)", cidr: formatPrefix(range) })),
    ...FABRIC_NETWORKS,
  ]);
  for (const range of services) {
    const bits = addressBits(range.family) - range.length;
    if (bits < SERVICE_BITS.least || bits > SERVICE_BITS.most) {
      const [widest, narrowest] = [SERVICE_BITS.most, SERVICE_BITS.least].map((each) => `/${addressBits(range.family) - each}`);
      throw bad(
        "--service-cidr",
        range,
        `it has ${2n ** BigInt(bits)} addresses`,
        `a Service range of this family is from ${widest} to ${narrowest}`,
      );
    }
  }
  const first = services[0] as IpPrefix;
  const numbered = (n: bigint) => formatAddress(addressAt(first, n));
  const share = (family: Family) => {
    const range = pods.find((each) => each.family === family);
    return range ? shareOf(range, nodes) : USUAL_SHARE[family];
  };
  return {
    podCidrs: pods.map(formatPrefix),
    serviceCidrs: services.map(formatPrefix),
    nodeMask: { 4: share(4), 6: share(6) },
    dnsAddress: numbered(DNS_NUMBER),
    apiAddress: numbered(1n),
  };
}

function parseRanges(option: string, texts: readonly string[]): IpPrefix[] {
  const ranges = texts.map((text) => {
    const range = parsePrefixOf(option, text);
    if (networkOf(range).value !== range.value)
      throw bad(option, range, "it has bits set below its length", `write ${formatPrefix(networkOf(range))}`);
    return range;
  });
  for (const family of [4, 6] as const) {
    const same = ranges.filter((range) => range.family === family);
    if (same[1])
      throw bad(
        option,
        same[1],
        `there is one of IPv${family} already, ${formatPrefix(same[0] as IpPrefix)}`,
        "give one range of each family",
      );
  }
  if (ranges.length === 0)
    throw new FairleadError("bad-network", `${option} names no range`, { remedy: "write it like 10.244.0.0/16,fd00:10:244::/48" });
  return ranges;
}

function parsePrefixOf(option: string, text: string): IpPrefix {
  try {
    return parsePrefix(text);
  } catch (cause) {
    throw new FairleadError("bad-network", `${option}: "${text}" is no address range`, {
      remedy: "write it like 10.244.0.0/16 or fd00:10:244::/48",
      cause,
    });
  }
}

/** A node's share: the usual size, or what is left where the range is too small for that. */
function shareOf(range: IpPrefix, nodes: number): number {
  const fitting = range.length + Math.ceil(Math.log2(nodes));
  const length = Math.max(USUAL_SHARE[range.family], fitting);
  if (length > SMALLEST_SHARE[range.family])
    throw bad(
      "--pod-cidr",
      range,
      `it is too small for ${nodes} node${nodes === 1 ? "" : "s"}`,
      `a node needs a /${SMALLEST_SHARE[range.family]} at least: widen it, or take fewer nodes`,
    );
  return length;
}

function bad(option: string, range: IpPrefix, why: string, remedy: string): FairleadError {
  return new FairleadError("bad-network", `${option} ${formatPrefix(range)}: ${why}`, { remedy });
}
