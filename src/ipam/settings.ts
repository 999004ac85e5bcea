// What the cluster's objects say about giving out addresses: IPAMConfig (or IPAMConfiguration), IPReservations, and a pod's own wishes.
import {
  formatAddress,
  formatPrefix,
  type IpPrefix,
  networkOf,
  parseAddress,
  prefixContains,
  tryParseAddress,
  tryParsePrefix,
} from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { type Pool, readPools } from "./pools.ts";

export interface IpamSettings {
  /** A node takes addresses of its own blocks only. */
  readonly strictAffinity: boolean;
  /** A node takes new blocks by itself. */
  readonly autoAllocateBlocks: boolean;
  readonly maxBlocksPerHost: number;
  /** Whether an address must not be given out. */
  readonly reserved: (address: string) => boolean;
}

const CONFIGS = ["projectcalico.org/v3/IPAMConfiguration", "crd.projectcalico.org/v1/IPAMConfig"];
const RESERVATIONS = ["projectcalico.org/v3/IPReservation", "crd.projectcalico.org/v1/IPReservation"];
const MOST_BLOCKS = 20;

export function ipamSettings(snapshot: ClusterSnapshot): IpamSettings {
  const objects = CONFIGS.flatMap((kind) => [...(snapshot.others.get(kind)?.values() ?? [])]);
  const { spec = {} } = (objects.find(({ metadata }) => metadata.name === "default") ?? {}) as {
    readonly spec?: Readonly<Record<string, unknown>>;
  };
  const reserved = RESERVATIONS.flatMap((kind) => [...(snapshot.others.get(kind)?.values() ?? [])]).flatMap(reservedBy);
  return {
    strictAffinity: spec.strictAffinity === true,
    autoAllocateBlocks: spec.autoAllocateBlocks !== false,
    maxBlocksPerHost: typeof spec.maxBlocksPerHost === "number" && spec.maxBlocksPerHost > 0 ? spec.maxBlocksPerHost : MOST_BLOCKS,
    reserved: (address) => {
      const parsed = parseAddress(address);
      return reserved.some((prefix) => prefixContains(prefix, parsed));
    },
  };
}

function reservedBy(object: KubeObject): IpPrefix[] {
  const { reservedCIDRs } = ((object as { readonly spec?: unknown }).spec ?? {}) as { readonly reservedCIDRs?: unknown };
  return (Array.isArray(reservedCIDRs) ? reservedCIDRs : []).flatMap((each) => (typeof each === "string" ? (asPrefix(each) ?? []) : []));
}

/** A prefix, or an address as the prefix of itself. */
function asPrefix(text: string): IpPrefix | undefined {
  const address = tryParseAddress(text);
  const prefix = address ? { ...address, length: address.family === 4 ? 32 : 128 } : tryParsePrefix(text);
  return prefix && networkOf(prefix);
}

/** Where a pod's addresses come from. */
export interface PodWishes {
  /** Pools by family, those to be tried first at first. */
  readonly pools: Readonly<Record<4 | 6, readonly Pool[]>>;
  /** Certain addresses, one per family: "10.244.9.9". */
  readonly addresses: readonly string[];
  /** The addresses are taken as they are, out of no pool. */
  readonly withoutIpam: boolean;
}

const ANNOTATION = "cni.projectcalico.org";

/**
 * The pools and addresses for a pod on a node: its own annotations, else its namespace's, else every pool that fits both.
 * @throws Error with what is wrong in an annotation
 */
export function podWishes(snapshot: ClusterSnapshot, node: string, pod: { readonly namespace: string; readonly name: string }): PodWishes {
  const object = snapshot.pods.get(`${pod.namespace}/${pod.name}`);
  const namespace = snapshot.namespaces.get(pod.namespace);
  const labels = snapshot.nodes.get(node)?.metadata.labels ?? {};
  const own = object?.metadata.annotations ?? {};
  const shared = namespace?.metadata.annotations ?? {};
  const { all } = readPools(snapshot);
  const usable = all.filter((pool) => !pool.disabled && pool.uses.has("Workload"));
  const poolsOf = (family: 4 | 6): Pool[] => {
    const key = `${ANNOTATION}/ipv${family}pools`;
    const named = listOf(key, own[key] ?? shared[key]);
    if (!named)
      return usable.filter(
        (pool) =>
          pool.prefix.family === family &&
          pool.automatic &&
          pool.fits.node(labels) &&
          pool.fits.namespace(namespace?.metadata.labels ?? {}),
      );
    return named.map((name) => {
      const cidr = asPrefix(name);
      const found = all.find((pool) => pool.name === name || (cidr && pool.cidr === formatPrefix(cidr)));
      if (!found || found.prefix.family !== family) throw new Error(`annotation ${key}: there is no IPv${family} pool ${name}`);
      if (found.disabled) throw new Error(`annotation ${key}: pool ${name} is disabled`);
      return found;
    });
  };
  const [fixed, loose] = ["ipAddrs", "ipAddrsNoIpam"].map((key) => listOf(`${ANNOTATION}/${key}`, own[`${ANNOTATION}/${key}`]));
  if (fixed && loose) throw new Error(`annotations ${ANNOTATION}/ipAddrs and ipAddrsNoIpam exclude each other`);
  const key = `${ANNOTATION}/${fixed ? "ipAddrs" : "ipAddrsNoIpam"}`;
  const addresses = (fixed ?? loose ?? []).map((text) => {
    const address = tryParseAddress(text);
    if (!address) throw new Error(`annotation ${key}: "${text}" is no address`);
    return formatAddress(address);
  });
  for (const family of [4, 6] as const)
    if (addresses.filter((each) => each.includes(":") === (family === 6)).length > 1)
      throw new Error(`annotation ${key}: a pod has one IPv${family} address`);
  return { pools: { 4: poolsOf(4), 6: poolsOf(6) }, addresses, withoutIpam: loose !== undefined };
}

/** A JSON list of text, as annotations have it; undefined where there is none. */
function listOf(key: string, text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (!Array.isArray(value) || !value.every((each) => typeof each === "string"))
    throw new Error(`annotation ${key}: "${text.slice(0, 100)}" is no JSON list of text, like ["10.244.9.9"]`);
  return value.length === 0 ? undefined : value;
}
