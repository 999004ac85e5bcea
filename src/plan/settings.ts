// A node's settings: how Services are balanced on it, and how its pods are connected. Said for a node, else for the cluster, else to its agent.
//
//   Node annotation fairlead.dev/services  ▶  ConfigMap kube-system/fairlead, key services  ▶  fairlead agent --services
//   Node annotation fairlead.dev/network   ▶  the same, key network  ▶  an Installation with a calicoNetwork: routed  ▶  fairlead agent --network
//   Node annotation fairlead.dev/fast-path ▶  the same, key fast-path
import type { ClusterSnapshot } from "../cluster/index.ts";

/** Ways to balance Services; the first is what is done where nothing is said. */
export const SERVICE_MODES = ["nftables", "iptables", "ipvs"] as const;
export type ServiceMode = (typeof SERVICE_MODES)[number];

/** Ways to connect pods; the first is what is done where nothing is said. */
export const NETWORKS = ["overlay", "routed"] as const;
export type Network = (typeof NETWORKS)[number];

/** Whether established TCP connections of routed pods go past routing and netfilter; the first is what is done where nothing is said. */
const FAST_PATH = ["on", "off"] as const;

export interface NodeSettings {
  readonly services: ServiceMode;
  readonly network: Network;
  readonly fastPath: (typeof FAST_PATH)[number];
  /** What is said and not followed, and why. */
  readonly remarks: readonly string[];
}

/** What the agent was started with, and what its kernel can't do, with the reason. */
export interface NodeAbilities {
  readonly options?: { readonly services?: ServiceMode; readonly network?: Network };
  readonly lacks?: { readonly services?: Readonly<Partial<Record<ServiceMode, string>>>; readonly fastPath?: string };
}

const CONFIG = "kube-system/fairlead";

/** The settings of a node. Pure; what is not known, or not possible here, is a remark, and the next place that says something is asked. */
export function nodeSettings(snapshot: ClusterSnapshot, node: string, { options, lacks }: NodeAbilities = {}): NodeSettings {
  const remarks: string[] = [];
  const services = readSetting(snapshot, node, {
    key: "services",
    values: SERVICE_MODES,
    option: options?.services,
    lacks: lacks?.services ?? {},
    remarks,
  });
  const network = readSetting(snapshot, node, {
    key: "network",
    values: NETWORKS,
    option: options?.network,
    also: isInstalled(snapshot) ? [["an Installation with a calicoNetwork", "routed"]] : [],
    lacks: {},
    remarks,
  });
  const fastPath = readSetting(snapshot, node, { key: "fast-path", values: FAST_PATH, option: undefined, lacks: {}, remarks });
  return { services, network, fastPath, remarks };
}

/** Whether somebody asks for Calico's network, as its operator is asked. */
function isInstalled(snapshot: ClusterSnapshot): boolean {
  for (const installation of snapshot.others.get("operator.tigera.io/v1/Installation")?.values() ?? [])
    if ((installation as { readonly spec?: { readonly calicoNetwork?: unknown } }).spec?.calicoNetwork) return true;
  return false;
}

interface Setting<T extends string> {
  readonly key: string;
  /** The first is the default, and always possible. */
  readonly values: readonly [T, ...T[]];
  readonly option: T | undefined;
  /** Other objects of the cluster that say it, asked before the option. */
  readonly also?: readonly (readonly [where: string, value: string])[];
  readonly lacks: Readonly<Partial<Record<T, string>>>;
  readonly remarks: string[];
}

function readSetting<T extends string>(snapshot: ClusterSnapshot, node: string, setting: Setting<T>): T {
  const { key, values, option, also = [], lacks, remarks } = setting;
  const said: readonly (readonly [where: string, value: string | undefined])[] = [
    [`Node ${node}, annotation fairlead.dev/${key}`, snapshot.nodes.get(node)?.metadata.annotations?.[`fairlead.dev/${key}`]],
    [`ConfigMap ${CONFIG}, key ${key}`, snapshot.configMaps.get(CONFIG)?.data?.[key]],
    ...also,
    [`the agent's option --${key}`, option],
  ];
  for (const [where, text] of said) {
    const value = text?.trim();
    if (value === undefined || value === "") continue;
    const known = values.find((each) => each === value);
    const reason = known === undefined ? undefined : lacks[known];
    if (known !== undefined && reason === undefined) return known;
    remarks.push(
      known === undefined
        ? `${where}: "${value}" is not known and not followed; it may be ${values.join(", ")}`
        : `${where}: ${known} is not possible on this node and not followed: ${reason}`,
    );
  }
  return values[0];
}
