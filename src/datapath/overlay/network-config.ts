// Flannel's own configuration (the ConfigMap kube-flannel/kube-flannel-cfg), as far as the overlay follows it.
import { messageOf, tryParsePrefix } from "../../base/index.ts";
import type { ClusterSnapshot } from "../../cluster/index.ts";

export interface NetworkConfig {
  readonly backend: "vxlan" | "host-gw";
  readonly vni: number;
  /** UDP port of the VXLAN. */
  readonly port: number;
  /** Peers in the same underlay subnet are reached without encapsulation. */
  readonly directRouting: boolean;
  readonly remarks: readonly string[];
}

const DEFAULT_CONFIG: NetworkConfig = { backend: "vxlan", vni: 1, port: 8472, directRouting: false, remarks: [] };

/** A VNI may have 24 bits, but the device's name, flannel.<VNI>, has 15 characters at most. */
const MOST_VNI = 9_999_999;

const KNOWN = new Set(["Network", "IPv6Network", "EnableIPv4", "EnableIPv6", "SubnetLen", "Backend", "EnableNFTables"]);

/** The configuration of a snapshot; what is not there is Flannel's default, what can't be followed is a remark. */
export function networkConfig(snapshot: ClusterSnapshot): NetworkConfig {
  const text = snapshot.configMaps.get("kube-flannel/kube-flannel-cfg")?.data?.["net-conf.json"];
  if (text === undefined) return DEFAULT_CONFIG;
  const where = "ConfigMap kube-flannel/kube-flannel-cfg, net-conf.json";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ...DEFAULT_CONFIG, remarks: [`${where}: not JSON (${messageOf(error)}); Flannel's defaults are used`] };
  }
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? readConfig(value as Record<string, unknown>, where)
    : { ...DEFAULT_CONFIG, remarks: [`${where}: not an object`] };
}

function readConfig(value: Record<string, unknown>, where: string): NetworkConfig {
  const remarks: string[] = [];
  for (const key of Object.keys(value)) if (!KNOWN.has(key)) remarks.push(`${where}: "${key}" is not known and not followed`);
  for (const key of ["Network", "IPv6Network"]) {
    const network = value[key];
    if (network !== undefined && (typeof network !== "string" || !tryParsePrefix(network)))
      remarks.push(`${where}: ${key} "${String(network)}" is no prefix`);
  }
  if (value.EnableNFTables === false) remarks.push(`${where}: EnableNFTables false is not followed: masquerade is written by nftables`);
  const backend = (typeof value.Backend === "object" && value.Backend !== null ? value.Backend : {}) as Record<string, unknown>;
  const number = (key: string, fallback: number, most: number) => {
    const given = backend[key];
    if (given === undefined) return fallback;
    if (typeof given === "number" && Number.isInteger(given) && given > 0 && given <= most) return given;
    remarks.push(`${where}: Backend.${key} "${String(given)}" is no number from 1 to ${most}; ${fallback} is used`);
    return fallback;
  };
  const type = backend.Type ?? "vxlan";
  if (type !== "vxlan" && type !== "host-gw") remarks.push(`${where}: backend "${String(type)}" is not served; vxlan is used`);
  return {
    backend: type === "host-gw" ? "host-gw" : "vxlan",
    vni: number("VNI", DEFAULT_CONFIG.vni, MOST_VNI),
    port: number("Port", DEFAULT_CONFIG.port, 65_535),
    directRouting: backend.DirectRouting === true,
    remarks,
  };
}
