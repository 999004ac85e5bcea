// What Calico's Installation and FelixConfiguration say about the routed data path; what is not followed is a remark that says why.
import type { ClusterSnapshot } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";

export interface RoutedConfig {
  /** Whether BGP carries the routes; else they follow the blocks' affinities. */
  readonly bgp: boolean;
  /** MTU of the pods' interfaces, in bytes; undefined: what the underlay and the encapsulation leave. */
  readonly podMtu: number | undefined;
  readonly vxlan: { readonly vni: number; readonly port: number; readonly mtu: Readonly<Record<4 | 6, number | undefined>> };
  readonly ipipMtu: number | undefined;
  /** Ports that masquerade uses: "32768-65535". */
  readonly natPorts: string | undefined;
  /** What is followed, in words. */
  readonly follows: readonly string[];
  readonly remarks: readonly string[];
}

type Spec = Readonly<Record<string, unknown>>;

/** VNI and UDP port of Calico's tunnel. */
const VXLAN = { vni: 4096, port: 4789 } as const;

/** Settings of an Installation that mean something here; why the others do not, by the name's beginning. */
const INSTALLATION_KNOWN = new Set(["ipPools", "bgp", "mtu", "linuxDataplane"]);
const INSTALLATION_REASONS: readonly (readonly [RegExp, string])[] = [
  [/^nodeAddressAutodetection/, "the underlay's device is the one with the Node's InternalIP"],
  [/^hostPorts$/, "host ports are not served"],
  [/^containerIPForwarding$/, "pods' sysctls are left as they are"],
  [/^multiInterfaceMode$/, "a pod has the interfaces that its runtime asks for"],
  [/^windows/, "Windows nodes are not served"],
  [/^linuxPolicySetupTimeoutSeconds$/, "a pod's policy is always in force before its first packet"],
];

const FELIX_KNOWN = new Set(["vxlanVNI", "vxlanPort", "vxlanMTU", "vxlanMTUV6", "ipipMTU", "natPortRange"]);
const FELIX_REASONS: readonly (readonly [RegExp, string])[] = [
  [/^(iptables|chainInsertMode|nftables|ipsets|genericXDP|xdp)/, "rules stand in a table of Fairlead's own"],
  [/^bpf/, "the eBPF data path has settings of its own"],
  [/^wireguard/, "encryption is not served"],
  [/^(log|debug|prometheus|health|usageReporting|flowLogs|dataplane)/, "logs, metrics and health checks are Fairlead's own"],
  [
    /^(routeTable|deviceRouteProtocol|removeExternalRoutes|routeSource|routeRefresh)/,
    "routes are marked with protocol 84 and kept at once",
  ],
  [
    /^(defaultEndpointToHostAction|failsafe|policySync|endpoint|service|workload|allow)/,
    "it concerns policy, which is read elsewhere or not followed",
  ],
  [/^(vxlanEnabled|ipipEnabled)$/, "the pools say whether packets are wrapped"],
];

/** The configuration of a node. Pure. */
export function routedConfig(snapshot: ClusterSnapshot, node: string): RoutedConfig {
  const remarks: string[] = [];
  const network = readInstallation(snapshot, remarks);
  const felix = readFelix(snapshot, node, remarks);
  const number = (where: string, spec: Spec, key: string, range: readonly [number, number]): number | undefined => {
    const value = spec[key];
    // 0 is Calico's word for "find out".
    if (value === undefined || value === 0) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= range[0] && value <= range[1]) return value;
    remarks.push(`${where}: ${key} "${String(value)}" is no number from ${range[0]} to ${range[1]} and is not followed`);
    return undefined;
  };
  const where = "FelixConfiguration";
  return {
    bgp: network.bgp !== "Disabled",
    podMtu: number("Installation", network, "mtu", [576, 65_535]),
    vxlan: {
      vni: number(where, felix, "vxlanVNI", [1, 16_777_215]) ?? VXLAN.vni,
      port: number(where, felix, "vxlanPort", [1, 65_535]) ?? VXLAN.port,
      mtu: { 4: number(where, felix, "vxlanMTU", [576, 65_535]), 6: number(where, felix, "vxlanMTUV6", [1280, 65_535]) },
    },
    ipipMtu: number(where, felix, "ipipMTU", [576, 65_535]),
    natPorts: readPorts(felix.natPortRange, remarks),
    follows: [
      ...followed("Installation, calicoNetwork", network, ["bgp", "mtu"]),
      ...followed("FelixConfiguration", felix, [...FELIX_KNOWN]),
    ],
    remarks,
  };
}

function followed(where: string, spec: Spec, keys: readonly string[]): string[] {
  return keys.flatMap((key) => (spec[key] === undefined ? [] : [`${where}: ${key} ${String(spec[key])}`]));
}

function specOf(object: KubeObject | undefined): Spec {
  const spec = (object as { readonly spec?: unknown } | undefined)?.spec;
  return typeof spec === "object" && spec !== null ? (spec as Spec) : {};
}

function readInstallation(snapshot: ClusterSnapshot, remarks: string[]): Spec {
  const [first, ...others] = snapshot.others.get("operator.tigera.io/v1/Installation")?.values() ?? [];
  for (const { metadata } of others) remarks.push(`Installation ${metadata.name} is not followed: ${first?.metadata.name} is the one`);
  const spec = specOf(first);
  const network = typeof spec.calicoNetwork === "object" && spec.calicoNetwork !== null ? (spec.calicoNetwork as Spec) : {};
  sayUnfollowed("Installation, calicoNetwork", network, INSTALLATION_KNOWN, INSTALLATION_REASONS, remarks);
  const { bgp, linuxDataplane } = network;
  if (bgp !== undefined && bgp !== "Enabled" && bgp !== "Disabled")
    remarks.push(`Installation, calicoNetwork: bgp "${String(bgp)}" is neither Enabled nor Disabled; Enabled is used`);
  if (linuxDataplane !== undefined && linuxDataplane !== "Iptables" && linuxDataplane !== "Nftables")
    remarks.push(
      `Installation, calicoNetwork: linuxDataplane "${String(linuxDataplane)}" is not followed: packets are routed and filtered by the kernel's own stack`,
    );
  const ipam = (spec.cni as { readonly ipam?: { readonly type?: unknown } } | undefined)?.ipam?.type;
  if (ipam !== undefined && ipam !== "Calico")
    remarks.push(`Installation, cni: ipam "${String(ipam)}" is not followed: addresses come from blocks`);
  return network;
}

/** The node's own settings before the cluster's. */
function readFelix(snapshot: ClusterSnapshot, node: string, remarks: string[]): Spec {
  let merged: Spec = {};
  for (const name of ["default", `node.${node}`])
    for (const kind of ["crd.projectcalico.org/v1/FelixConfiguration", "projectcalico.org/v3/FelixConfiguration"]) {
      const spec = specOf(snapshot.others.get(kind)?.get(name));
      merged = { ...merged, ...spec };
    }
  sayUnfollowed("FelixConfiguration", merged, FELIX_KNOWN, FELIX_REASONS, remarks);
  return merged;
}

function sayUnfollowed(
  where: string,
  spec: Spec,
  known: ReadonlySet<string>,
  reasons: readonly (readonly [RegExp, string])[],
  remarks: string[],
): void {
  for (const [key, value] of Object.entries(spec)) {
    if (known.has(key) || value === undefined || value === null) continue;
    const reason = reasons.find(([name]) => name.test(key))?.[1] ?? "it is not known";
    remarks.push(`${where}: ${key} is not followed: ${reason}`);
  }
}

function readPorts(value: unknown, remarks: string[]): string | undefined {
  if (value === undefined) return undefined;
  const [, low, high] = /^(\d{1,5}):(\d{1,5})$/.exec(String(value)) ?? [];
  if (low !== undefined && high !== undefined && Number(low) > 0 && Number(low) <= Number(high) && Number(high) <= 65_535)
    return `${Number(low)}-${Number(high)}`;
  remarks.push(`FelixConfiguration: natPortRange "${String(value)}" is no range like 32768:65535 and is not followed`);
  return undefined;
}
