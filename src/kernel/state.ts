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
  /** Routes of the table "local": what is sent there is for this namespace. Not those that the kernel makes for each address. */
  readonly localRoutes: readonly Route[];
  readonly rules: readonly RoutingRule[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  /** Dotted name → value, for example "net.ipv4.ip_forward" → "1". */
  readonly sysctls: Readonly<Record<string, string>>;
  readonly tables: readonly NftTable[];
  readonly iptables: readonly IptablesTable[];
  readonly ipsets: readonly IpSet[];
  readonly ipvs: readonly IpvsService[];
}

/** The size of a device that nobody told another one (GSO_LEGACY_MAX_SIZE, GRO_LEGACY_MAX_SIZE in linux/netdevice.h), in bytes. */
export const USUAL_GSO_MAX_SIZE = 65_536;

/** A network device. Key: name. */
export interface Link {
  readonly name: string;
  /** Observed only; never compared. */
  readonly index?: number;
  /** What it is. "physical" stands for every device that is neither made nor deleted by Fairlead (also the far end of a pod's veth). */
  readonly kind: LinkKind;
  readonly mtu?: number;
  /** The largest TCP packet over IPv4 that it takes and joins in one piece (GSO and GRO; above the usual size: BIG TCP, Linux 6.3), in bytes. Observed: absent where it is the usual size. */
  readonly gsoIpv4MaxSize?: number;
  readonly mac?: string;
  readonly up?: boolean;
  /** Name of the bridge it is a port of. */
  readonly master?: string;
  /** Port of a bridge only: frames may leave by the port they came in. */
  readonly hairpin?: boolean;
  /** Observed only: interface index of the veth peer, and the namespace id it lives in. */
  readonly peerIndex?: number;
  readonly ifalias?: string;
  /** Established TCP connections go by here without routing and netfilter, if the link that they leave by has it too. Observed: absent where there is no such thing, false where an earlier process left it. */
  readonly fastPath?: boolean;
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
  /** Never chosen as a source by itself (RFC 4862, 5.5.4): for addresses that wander. Written, never compared. */
  readonly deprecated?: boolean;
  /** Who put it there (IFA_PROTO, Linux 5.18): as a route's protocol. Never compared; what says ours is swept. */
  readonly protocol?: number;
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

/** One table of iptables (family 4) or ip6tables (6). Key: family, name. */
export interface IptablesTable {
  readonly family: Family;
  /** "nat", "filter", "mangle", "raw", "security". */
  readonly name: string;
  /** A chain stands behind those that it jumps to. */
  readonly chains: readonly IptablesChain[];
}

/**
 * A chain of iptables. Key: name. Of one that the kernel brings (PREROUTING, …), a desired state names the rules that are
 * to stand in it, at its head if they have to be made; of any other, all.
 */
export interface IptablesChain {
  readonly name: string;
  /** Each as iptables-save prints it behind "-A CHAIN ". */
  readonly rules: readonly string[];
  /** All rules but the last may stand in any order: the kernel takes long to put one into its place in a long chain. */
  readonly loose?: boolean;
  /** "ACCEPT", "DROP"; observed, and only of a chain that the kernel brings. */
  readonly policy?: string;
}

export type IpSetType = "hash:ip" | "hash:ip,port" | "hash:ip,port,ip" | "hash:ip,port,net" | "bitmap:port";

/** A set of ipset. Key: name. */
export interface IpSet {
  readonly name: string;
  readonly type: IpSetType;
  readonly family: Family;
  /** As ipset prints them: "10.96.0.10,tcp:53". */
  readonly elements: readonly string[];
}

/** What names a virtual service of IPVS. */
export interface IpvsServiceKey {
  readonly family: Family;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly address: string;
  readonly port: number;
}

export interface IpvsService extends IpvsServiceKey {
  readonly scheduler: string;
  /** Seconds that a client keeps its destination; absent: no persistence. */
  readonly persistence?: number;
  readonly destinations: readonly IpvsDestination[];
}

/** A real server of a virtual service, reached by NAT. Key: address, port. */
export interface IpvsDestination {
  readonly address: string;
  readonly port: number;
  /** 0: it keeps its connections and gets no new one. */
  readonly weight: number;
  /** Connections, established and others; observed only. */
  readonly active?: number;
  readonly inactive?: number;
}

/** rtm_protocol numbers (linux/rtnetlink.h). `fairlead` marks what is ours: a restarted agent sweeps only these. */
export const ROUTE_PROTOCOL = { kernel: 2, boot: 3, static: 4, ra: 9, bird: 12, fairlead: 84 } as const;

/** Number of the main routing table. */
export const MAIN_TABLE = 254;

/** Number of the table of what is the namespace's own; its look-up comes first (RT_TABLE_LOCAL, linux/rtnetlink.h). */
export const LOCAL_TABLE = 255;

/** A state that holds nothing. */
export const EMPTY_STATE: KernelState = {
  links: [],
  addresses: [],
  routes: [],
  localRoutes: [],
  rules: [],
  neighbours: [],
  fdb: [],
  sysctls: {},
  tables: [],
  iptables: [],
  ipsets: [],
  ipvs: [],
};

/** The union of parts that rooms calculated; where two name the same sysctl, the later wins. */
export function mergeStates(...parts: readonly Partial<KernelState>[]): KernelState {
  return {
    links: joined(parts.map((part) => part.links)),
    addresses: joined(parts.map((part) => part.addresses)),
    routes: joined(parts.map((part) => part.routes)),
    localRoutes: joined(parts.map((part) => part.localRoutes)),
    rules: joined(parts.map((part) => part.rules)),
    neighbours: joined(parts.map((part) => part.neighbours)),
    fdb: joined(parts.map((part) => part.fdb)),
    sysctls: Object.assign({}, ...parts.map((part) => part.sysctls ?? {})),
    tables: joined(parts.map((part) => part.tables)),
    iptables: joined(parts.map((part) => part.iptables)),
    ipsets: joined(parts.map((part) => part.ipsets)),
    ipvs: joined(parts.map((part) => part.ipvs)),
  };
}

/** The lists in one; the very list, where the others hold nothing. */
function joined<T>(lists: readonly (readonly T[] | undefined)[]): readonly T[] {
  const filled = lists.filter((list) => list !== undefined && list.length > 0) as (readonly T[])[];
  return filled.length === 1 && filled[0] ? filled[0] : ([] as T[]).concat(...filled);
}
