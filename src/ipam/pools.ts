// Address pools, as Calico's IPPool objects and Installation say: where addresses come from, and how packets to them travel.
import {
  addressBits,
  type Family,
  formatPrefix,
  type IpPrefix,
  messageOf,
  networkOf,
  parseAddress,
  prefixContains,
  tryParsePrefix,
} from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { compileCalicoSelector, type KubeObject } from "../resources/index.ts";

export type Encapsulation = "None" | "VXLAN" | "VXLANCrossSubnet" | "IPIP" | "IPIPCrossSubnet";

export interface Pool {
  readonly name: string;
  /** "10.244.0.0/16" */
  readonly cidr: string;
  readonly prefix: IpPrefix;
  /** Prefix length of its blocks. */
  readonly blockSize: number;
  readonly encapsulation: Encapsulation;
  /** Pods of the pool reach what is in no pool with their node's address. */
  readonly natOutgoing: boolean;
  /** No new addresses. */
  readonly disabled: boolean;
  readonly exported: boolean;
  /** Pods and tunnels take addresses by themselves; else only those that ask for the pool by name. */
  readonly automatic: boolean;
  readonly uses: ReadonlySet<"Workload" | "Tunnel">;
  readonly fits: {
    readonly node: (labels: Readonly<Record<string, string>>) => boolean;
    readonly namespace: (labels: Readonly<Record<string, string>>) => boolean;
  };
}

export interface Pools {
  /** In order of name; none overlaps another. */
  readonly all: readonly Pool[];
  readonly remarks: readonly string[];
}

/** Prefix length of a block where the pool does not say: 64 addresses. */
const USUAL_BLOCK: Readonly<Record<Family, number>> = { 4: 26, 6: 122 };
/** What Calico allows. */
const BLOCKS: Readonly<Record<Family, readonly [least: number, most: number]>> = { 4: [20, 32], 6: [116, 128] };
const ENCAPSULATIONS: readonly Encapsulation[] = ["None", "VXLAN", "VXLANCrossSubnet", "IPIP", "IPIPCrossSubnet"];
const IPPOOL = ["projectcalico.org/v3/IPPool", "crd.projectcalico.org/v1/IPPool"];
const INSTALLATION = "operator.tigera.io/v1/Installation";

/** The kind's parts that the pools were read from, so that they are read once for each. */
let last: { readonly sources: readonly unknown[]; readonly pools: Pools } | undefined;

/** The pools of a cluster: IPPools, and those that an Installation names and no IPPool stands for yet. What can't be followed is a remark. */
export function readPools(snapshot: ClusterSnapshot): Pools {
  const sources = [...IPPOOL, INSTALLATION].map((kind) => snapshot.others.get(kind));
  if (last && sources.every((source, index) => source === last?.sources[index])) return last.pools;
  const pools = calculate(snapshot);
  last = { sources, pools };
  return pools;
}

/** The pool that an address or block lies in. */
export function poolOf(pools: Pools, address: string): Pool | undefined {
  const parsed = parseAddress(address.replace(/\/.*/, ""));
  return pools.all.find(({ prefix }) => prefixContains(prefix, parsed));
}

/** An IPPool object for each pool that an Installation names and nobody has made: what Calico's operator does. */
export function missingPools(snapshot: ClusterSnapshot): KubeObject[] {
  const there = new Set(
    IPPOOL.flatMap((kind) => [...(snapshot.others.get(kind)?.values() ?? [])].map((each) => networkText(specOf(each).cidr))),
  );
  return installed(snapshot).flatMap(({ name, spec }) =>
    there.has(networkText(spec.cidr))
      ? []
      : [{ apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name }, spec } as KubeObject],
  );
}

function calculate(snapshot: ClusterSnapshot): Pools {
  const remarks: string[] = [];
  const all: Pool[] = [];
  const add = (where: string, name: string, spec: Spec) => {
    const pool = readPool(where, name, spec, remarks);
    if (!pool) return;
    const other = all.find((each) => prefixContains(each.prefix, pool.prefix) || prefixContains(pool.prefix, each.prefix));
    if (!other) all.push(pool);
    // Calico's API server shows its store's objects once more.
    else if (other.cidr !== pool.cidr) remarks.push(`${where}: ${pool.cidr} overlaps ${other.cidr} of ${other.name} and is left out`);
  };
  for (const kind of IPPOOL)
    for (const object of snapshot.others.get(kind)?.values() ?? [])
      add(`IPPool ${object.metadata.name}`, object.metadata.name, specOf(object));
  for (const { name, spec } of installed(snapshot)) add(`Installation, ipPools ${name}`, name, spec);
  return { all: all.sort((a, b) => (a.name < b.name ? -1 : 1)), remarks };
}

type Spec = Readonly<Record<string, unknown>>;

function specOf(object: KubeObject): Spec {
  const { spec } = object as { readonly spec?: unknown };
  return typeof spec === "object" && spec !== null ? (spec as Spec) : {};
}

/** The Installation's pools in the words of an IPPool. */
function installed(snapshot: ClusterSnapshot): { readonly name: string; readonly spec: Spec }[] {
  const [installation] = snapshot.others.get(INSTALLATION)?.values() ?? [];
  const network = installation ? (specOf(installation).calicoNetwork as Spec | undefined) : undefined;
  const named = Array.isArray(network?.ipPools) ? (network.ipPools as unknown[]) : [];
  return named.flatMap((each) => {
    if (typeof each !== "object" || each === null) return [];
    const { name, encapsulation, natOutgoing, disableNewAllocations, cidr, ...rest } = each as Spec;
    const family = typeof cidr === "string" && cidr.includes(":") ? 6 : 4;
    // What the operator takes where nothing is said.
    const way = encapsulation ?? (family === 4 ? "IPIP" : "None");
    const given = String(way);
    return {
      name: typeof name === "string" && name !== "" ? name : `default-ipv${family}-ippool`,
      spec: {
        cidr,
        ...rest,
        ipipMode: given === "IPIP" ? "Always" : given === "IPIPCrossSubnet" ? "CrossSubnet" : "Never",
        vxlanMode: given === "VXLAN" ? "Always" : given === "VXLANCrossSubnet" ? "CrossSubnet" : "Never",
        ...(ENCAPSULATIONS.includes(given as Encapsulation) ? {} : { vxlanMode: given }),
        natOutgoing: natOutgoing !== "Disabled" && natOutgoing !== false,
        ...(disableNewAllocations === true ? { disabled: true } : {}),
      },
    };
  });
}

function networkText(cidr: unknown): string {
  const prefix = typeof cidr === "string" ? tryParsePrefix(cidr) : undefined;
  return prefix ? formatPrefix(networkOf(prefix)) : String(cidr);
}

function readPool(where: string, name: string, spec: Spec, remarks: string[]): Pool | undefined {
  const given = typeof spec.cidr === "string" ? tryParsePrefix(spec.cidr) : undefined;
  if (!given) {
    remarks.push(`${where}: cidr "${String(spec.cidr)}" is no prefix, and the pool is left out; write it like 10.244.0.0/16`);
    return undefined;
  }
  const prefix = networkOf(given);
  const { family } = prefix;
  return {
    name,
    cidr: formatPrefix(prefix),
    prefix,
    blockSize: readBlockSize(where, spec.blockSize, prefix, remarks),
    encapsulation: readEncapsulation(where, spec, family, remarks),
    natOutgoing: spec.natOutgoing === true,
    disabled: spec.disabled === true,
    exported: spec.disableBGPExport !== true,
    automatic: spec.assignmentMode !== "Manual",
    uses: readUses(where, spec.allowedUses, remarks),
    fits: {
      node: readSelector(where, "nodeSelector", spec.nodeSelector, remarks),
      namespace: readSelector(where, "namespaceSelector", spec.namespaceSelector, remarks),
    },
  };
}

function readBlockSize(where: string, value: unknown, { family, length }: IpPrefix, remarks: string[]): number {
  const usual = Math.max(USUAL_BLOCK[family], length);
  if (value === undefined || value === 0) return usual;
  const [least, most] = BLOCKS[family];
  if (
    typeof value === "number" &&
    Number.isInteger(value) &&
    value >= Math.max(least, length) &&
    value <= Math.min(most, addressBits(family))
  )
    return value;
  remarks.push(`${where}: blockSize "${String(value)}" is no prefix length from ${Math.max(least, length)} to ${most}; ${usual} is used`);
  return usual;
}

function readEncapsulation(where: string, { ipipMode, vxlanMode }: Spec, family: Family, remarks: string[]): Encapsulation {
  const read = (key: string, value: unknown, kind: "VXLAN" | "IPIP"): Encapsulation => {
    if (value === undefined || value === "" || value === "Never") return "None";
    if (value === "Always") return kind;
    if (value === "CrossSubnet") return `${kind}CrossSubnet`;
    remarks.push(`${where}: ${key} "${String(value)}" is not known; Never is used`);
    return "None";
  };
  const [vxlan, ipip] = [read("vxlanMode", vxlanMode, "VXLAN"), read("ipipMode", ipipMode, "IPIP")];
  if (vxlan !== "None" && ipip !== "None") remarks.push(`${where}: both vxlanMode and ipipMode are asked for; VXLAN is used`);
  if (vxlan !== "None" || ipip === "None") return vxlan;
  if (family === 4) return ipip;
  remarks.push(`${where}: IPIP carries IPv4 only; packets of this pool are not wrapped`);
  return "None";
}

function readUses(where: string, value: unknown, remarks: string[]): Pool["uses"] {
  if (!Array.isArray(value) || value.length === 0) return new Set(["Workload", "Tunnel"]);
  const uses = new Set<"Workload" | "Tunnel">();
  for (const each of value) {
    if (each === "Workload" || each === "Tunnel") uses.add(each);
    else if (each !== "LoadBalancer") remarks.push(`${where}: allowedUses "${String(each)}" is not known`);
  }
  return uses;
}

function readSelector(
  where: string,
  key: string,
  value: unknown,
  remarks: string[],
): (labels: Readonly<Record<string, string>>) => boolean {
  try {
    return compileCalicoSelector(typeof value === "string" ? value : "");
  } catch (error) {
    remarks.push(`${where}: ${key}: ${messageOf(error)}; it selects nothing`);
    return () => false;
  }
}
