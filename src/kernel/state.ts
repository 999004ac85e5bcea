// KernelState: what one network namespace's kernel holds, or must hold, as plain, serialisable data.
//
// Addresses are canonical text ("10.244.1.7"), prefixes are "address/length", MAC addresses lower case with colons.
// Names follow iproute2 and nft. Every list is a set: its order means nothing, its key stands beside the type.
import type { Family } from "../base/index.ts";
import type { NftTable } from "./netfilter.ts";

/** What one network namespace's kernel holds. */
export interface KernelState {
  readonly links: readonly Link[];
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly Route[];
  readonly rules: readonly RoutingRule[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  /** Dotted name → value, for example "net.ipv4.ip_forward" → "1". */
  readonly sysctls: Readonly<Record<string, string>>;
  readonly tables: readonly NftTable[];
}

/** A network device. Key: name. */
export interface Link {
  readonly name: string;
  /** Observed only; never compared. */
  readonly index?: number;
  /** What it is. "physical" stands for every device that is neither made nor deleted by Fairlead (also the far end of a pod's veth). */
  readonly kind: LinkKind;
  readonly mtu?: number;
  readonly mac?: string;
  readonly up?: boolean;
  /** Name of the bridge it is a port of. */
  readonly master?: string;
  /** Port of a bridge only: frames may leave by the port they came in. */
  readonly hairpin?: boolean;
  /** Observed only: interface index of the veth peer, and the namespace id it lives in. */
  readonly peerIndex?: number;
  readonly ifalias?: string;
}

export type LinkKind =
  | { readonly type: "physical" | "loopback" | "bridge" }
  | { readonly type: "veth" }
  /** IPv4 in IPv4 (RFC 2003), to any peer that a route names. `tunl0` comes with the kernel's module and is never deleted. */
  | { readonly type: "ipip" }
  | {
      readonly type: "vxlan";
      readonly vni: number;
      /** UDP destination port. */
      readonly port: number;
      /** Source address of the outer packets. */
      readonly local: string;
      /** Name of the outer device. */
      readonly device: string;
      readonly learning: boolean;
    }
  | { readonly type: "other"; readonly name: string };

/** An address of a link. Key: link, address. */
export interface LinkAddress {
  readonly link: string;
  /** "10.244.1.1/24" */
  readonly address: string;
  readonly scope?: "global" | "link" | "host";
  /** IPv6: skip duplicate address detection. Written, never compared. */
  readonly nodad?: boolean;
}

/** A unicast or special route. Key: table, destination, metric. */
export interface Route {
  readonly family: Family;
  /** "10.244.2.0/24"; the default route is "0.0.0.0/0" or "::/0". */
  readonly destination: string;
  readonly type: "unicast" | "blackhole" | "unreachable" | "prohibit" | "local" | "broadcast" | "multicast" | "anycast" | "throw";
  readonly nexthops: readonly Nexthop[];
  /** Routing table number; 254 is main. */
  readonly table: number;
  /** rtm_protocol; see ROUTE_PROTOCOL. */
  readonly protocol: number;
  readonly metric?: number;
  readonly scope?: "global" | "link" | "host";
  /** Preferred source address. */
  readonly source?: string;
  readonly mtu?: number;
}

export interface Nexthop {
  readonly via?: string;
  readonly link?: string;
  /** Take the gateway as reachable on the link, whatever the addresses say. */
  readonly onlink?: boolean;
  readonly weight?: number;
}

/** A policy routing rule (`ip rule`). Key: family, priority, and the match. */
export interface RoutingRule {
  readonly family: Family;
  readonly priority: number;
  readonly table: number;
  readonly from?: string;
  readonly to?: string;
  readonly mark?: number;
  readonly markMask?: number;
  readonly iif?: string;
  readonly protocol: number;
}

/** A neighbour (ARP or NDP) entry. Key: link, address. */
export interface Neighbour {
  readonly link: string;
  readonly address: string;
  readonly mac?: string;
  readonly state: "permanent" | "reachable" | "stale" | "delay" | "probe" | "failed" | "incomplete" | "noarp" | "none";
}

/** A forwarding entry of a VXLAN device or bridge. Key: link, mac, destination, vlan. */
export interface FdbEntry {
  readonly link: string;
  readonly mac: string;
  /** VXLAN: address of the peer's outer device. */
  readonly destination?: string;
  /** "self": in the device's own table (VXLAN); "master": in the bridge's. */
  readonly table: "self" | "master";
  readonly permanent: boolean;
}

/** rtm_protocol numbers (linux/rtnetlink.h). `fairlead` marks what is ours: a restarted agent sweeps only these. */
export const ROUTE_PROTOCOL = { kernel: 2, boot: 3, static: 4, ra: 9, bird: 12, fairlead: 84 } as const;

/** Number of the main routing table. */
export const MAIN_TABLE = 254;

/** A state that holds nothing. */
export const EMPTY_STATE: KernelState = {
  links: [],
  addresses: [],
  routes: [],
  rules: [],
  neighbours: [],
  fdb: [],
  sysctls: {},
  tables: [],
};

/** The union of parts that rooms calculated; where two name the same sysctl, the later wins. */
export function mergeStates(...parts: readonly Partial<KernelState>[]): KernelState {
  return {
    links: parts.flatMap((part) => part.links ?? []),
    addresses: parts.flatMap((part) => part.addresses ?? []),
    routes: parts.flatMap((part) => part.routes ?? []),
    rules: parts.flatMap((part) => part.rules ?? []),
    neighbours: parts.flatMap((part) => part.neighbours ?? []),
    fdb: parts.flatMap((part) => part.fdb ?? []),
    sysctls: Object.assign({}, ...parts.map((part) => part.sysctls ?? {})),
    tables: parts.flatMap((part) => part.tables ?? []),
  };
}
