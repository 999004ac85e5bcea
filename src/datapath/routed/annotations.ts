// What routed nodes say of themselves on their Node objects, in Calico's words: underlay addresses, tunnel ends, and addresses beside their blocks.
import { createHash } from "node:crypto";
import { type Family, formatAddress, formatPrefix, type IpPrefix, networkOf, tryParseAddress, tryParsePrefix } from "../../base/index.ts";
import type { Node } from "../../resources/index.ts";

const CALICO = "projectcalico.org";
/** Addresses of pods that lie in no block of their node: "10.244.7.9/32,…". */
const LOCAL_PREFIXES = "fairlead.dev/local-prefixes";

const TUNNEL_KEYS = {
  vxlan4: `${CALICO}/IPv4VXLANTunnelAddr`,
  vxlan6: `${CALICO}/IPv6VXLANTunnelAddr`,
  ipip: `${CALICO}/IPv4IPIPTunnelAddr`,
} as const;
export type TunnelKind = keyof typeof TUNNEL_KEYS;

/** What a node says of itself. */
export interface RoutedNode {
  readonly name: string;
  /** In the underlay, by family. */
  readonly addresses: Readonly<Partial<Record<Family, string>>>;
  /** Addresses of its tunnels' ends. */
  readonly tunnels: Readonly<Partial<Record<TunnelKind, string>>>;
  readonly macs: Readonly<Record<Family, string>>;
  readonly localPrefixes: readonly string[];
}

const read = new WeakMap<Node, RoutedNode>();

export function readNode(node: Node): RoutedNode {
  let known = read.get(node);
  if (!known) {
    const annotations = node.metadata.annotations ?? {};
    const tunnels: Partial<Record<TunnelKind, string>> = {};
    for (const [kind, key] of Object.entries(TUNNEL_KEYS) as [TunnelKind, string][]) {
      const address = tryParseAddress(annotations[key] ?? "");
      if (address && address.family === (kind === "vxlan6" ? 6 : 4)) tunnels[kind] = formatAddress(address);
    }
    known = {
      name: node.metadata.name,
      addresses: addressesOf(node),
      tunnels,
      macs: { 4: macOf(node, 4), 6: macOf(node, 6) },
      localPrefixes: (annotations[LOCAL_PREFIXES] ?? "").split(",").flatMap((text) => canonical(text.trim())),
    };
    read.set(node, known);
  }
  return known;
}

export interface Said {
  /** "10.112.0.51/24", "fd00:112::51/64" */
  readonly addresses: readonly string[];
  readonly tunnels: Readonly<Partial<Record<TunnelKind, string>>>;
  readonly localPrefixes: readonly string[];
}

/** The annotations that a routed node carries; null takes one away. */
export function writeAnnotations({ addresses, tunnels, localPrefixes }: Said): Record<string, string | null> {
  const of = (family: Family) => addresses.find((address) => address.includes(":") === (family === 6)) ?? null;
  return {
    [`${CALICO}/IPv4Address`]: of(4),
    [`${CALICO}/IPv6Address`]: of(6),
    [TUNNEL_KEYS.vxlan4]: tunnels.vxlan4 ?? null,
    [TUNNEL_KEYS.vxlan6]: tunnels.vxlan6 ?? null,
    [TUNNEL_KEYS.ipip]: tunnels.ipip ?? null,
    [LOCAL_PREFIXES]: localPrefixes.length > 0 ? [...localPrefixes].sort().join() : null,
  };
}

/** What takes a node's annotations away again, when it is routed no more. */
export const routedAnnotationsTaken: Readonly<Record<string, null>> = Object.fromEntries(
  Object.keys(writeAnnotations({ addresses: [], tunnels: {}, localPrefixes: [] })).map((key) => [key, null]),
);

function addressesOf(node: Node): Partial<Record<Family, string>> {
  const annotations = node.metadata.annotations ?? {};
  const found: Partial<Record<Family, string>> = {};
  for (const family of [4, 6] as const) {
    const prefix = tryParsePrefix(annotations[`${CALICO}/IPv${family}Address`] ?? "");
    if (prefix?.family === family) found[family] = formatAddress(prefix);
  }
  for (const { type, address: text } of node.status?.addresses ?? []) {
    const address = type === "InternalIP" ? tryParseAddress(text) : undefined;
    if (address) found[address.family] ??= formatAddress(address);
  }
  return found;
}

/** The MAC of a node's tunnel end: as it says, else as Calico makes it of the node's name. */
function macOf(node: Node, family: Family): string {
  const said = node.metadata.annotations?.[`${CALICO}/VXLANTunnelMACAddr${family === 6 ? "V6" : ""}`];
  if (said !== undefined && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(said)) return said.toLowerCase();
  return tunnelMac(node.metadata.name, family);
}

/** Follows from the name alone, so that no node has to tell: "f", then the first bytes of a digest. */
export function tunnelMac(node: string, family: Family): string {
  const digest = createHash("sha1")
    .update(`${node}${family === 6 ? "-v6" : ""}`)
    .digest();
  return [0x66, ...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

function canonical(text: string): string[] {
  const prefix: IpPrefix | undefined = tryParsePrefix(text);
  return prefix ? [formatPrefix(networkOf(prefix))] : [];
}
