// The routed data path: pods' addresses are routes, on their own node to their interface, elsewhere to their node or through a tunnel.
//
//   pod eth0 (/32) ── caliX (ee:ee:ee:ee:ee:ee) ── routing ─┬─ underlay ── peer, which routes to its caliY
//                                                           └─ vxlan.calico ══ VXLAN 4096, UDP 4789 ══ peer's vxlan.calico
//
//   own block      blackhole 10.244.0.0/26          what no pod of it has, goes nowhere
//   own pod        10.244.0.7 dev caliX scope link
//   peer's block   10.244.1.0/26 via PEER …         by BGP, or straight from the blocks' affinities
import { addressBits, type Family, familyOf, type IpPrefix, parseAddress, parsePrefix, prefixContains } from "../../base/index.ts";
import type { ClusterSnapshot } from "../../cluster/index.ts";
import { type Pool, type Pools, poolOf, readPools } from "../../ipam/index.ts";
import {
  type KernelState,
  type Link,
  type LinkAddress,
  type Route,
  type TableContribution,
  USUAL_GSO_MAX_SIZE,
} from "../../kernel/index.ts";
import { readNode, type TunnelKind, tunnelMac, writeAnnotations } from "./annotations.ts";
import { type RoutedConfig, routedConfig } from "./config.ts";
import type { LearnedRoute, RoutedExports } from "./exports.ts";
import { planFilter } from "./filter.ts";
import { hostLink, hostSysctls, POD_GATEWAYS, podRoute } from "./pod.ts";
import { confirmedBlocks, planRemote, routeTo } from "./remote.ts";
import { TUNNEL_LINKS } from "./ways.ts";

export interface RoutedFacts {
  readonly node: string;
  readonly underlay: {
    readonly link: string;
    readonly mtu: number;
    /** Absent: the usual size. */
    readonly gsoIpv4MaxSize?: number;
    readonly addresses: readonly string[];
  };
  readonly attachments: readonly {
    readonly podNamespace: string;
    readonly podName: string;
    readonly hostLink: string;
    /** "10.244.0.7/32" */
    readonly addresses: readonly string[];
  }[];
  /** Undefined where no BGP speaker runs. */
  readonly learnedRoutes?: readonly LearnedRoute[];
  /** Addresses of the own tunnels' ends, where they are known before the Node object tells them. */
  readonly tunnels?: Readonly<Partial<Record<TunnelKind, string>>>;
  /** Networks of pods that are in no pool: those of nodes that are still the overlay's. */
  readonly otherNetworks?: readonly IpPrefix[];
  /** Whether established TCP connections go past routing and netfilter. */
  readonly fastPath: boolean;
}

export interface RoutedPlan {
  readonly state: Partial<KernelState>;
  readonly table: TableContribution;
  /** What the Node object must say; null takes an annotation away. */
  readonly annotations: Readonly<Record<string, string | null>>;
  /** MTU of the pods' interfaces, in bytes. */
  readonly podMtu: number;
  /** The largest TCP packet over IPv4 that pods send in one piece, in bytes. */
  readonly podGsoIpv4MaxSize: number;
  readonly exports: RoutedExports;
  /** Tunnels that need an address of this node. */
  readonly tunnels: readonly TunnelKind[];
  /** What of the configuration is followed, in words. */
  readonly follows: readonly string[];
  readonly remarks: readonly string[];
}

/** Bytes that wrapping adds: outer IP, UDP, VXLAN and inner Ethernet headers (RFC 7348 §5); an outer IPv4 header (RFC 2003). */
const OVERHEAD: Readonly<Record<TunnelKind, number>> = { vxlan4: 50, vxlan6: 70, ipip: 20 };

/** The routed part of a node's plan. Pure. */
export function planRouted(snapshot: ClusterSnapshot, facts: RoutedFacts): RoutedPlan {
  const config = routedConfig(snapshot, facts.node);
  const pools = readPools(snapshot);
  const remarks = [...config.remarks, ...pools.remarks];
  if (pools.all.length === 0) remarks.push("there is no IPPool: no pod can be wired");
  const node = snapshot.nodes.get(facts.node);
  const own = node ? readNode(node) : undefined;
  const tunnels = tunnelsOf(pools);
  const ends = Object.fromEntries(
    tunnels.flatMap((kind) => ((facts.tunnels?.[kind] ?? own?.tunnels[kind]) ? [[kind, facts.tunnels?.[kind] ?? own?.tunnels[kind]]] : [])),
  ) as Partial<Record<TunnelKind, string>>;
  const blocks = ownBlocks(snapshot, facts.node);
  const local = localPrefixes(facts, blocks);
  const devices = new Set(tunnels.map((kind): string => TUNNEL_LINKS[kind]));
  const { node: name, underlay, learnedRoutes } = facts;
  const learned = config.bgp ? learnedRoutes : undefined;
  const remote = planRemote(snapshot, { node: name, underlay, pools, devices, ...(learned ? { learned } : {}) });
  remarks.push(...remote.remarks);
  const podMtu = config.podMtu ?? facts.underlay.mtu - Math.max(0, ...tunnels.map((kind) => OVERHEAD[kind]));
  const podGsoIpv4MaxSize = gsoIpv4MaxSizeOf(facts, tunnels);
  const families = new Set([...pools.all.map((pool) => pool.prefix.family), ...facts.attachments.flatMap(familiesOf)]);
  return {
    state: {
      links: [
        ...(facts.fastPath ? [{ name: underlay.link, kind: { type: "physical" } as const, fastPath: true }] : []),
        ...tunnels.flatMap((kind) => tunnelLink(kind, config, facts) ?? []),
        ...facts.attachments.map((each) =>
          hostLink(each.hostLink, { mtu: podMtu, gsoIpv4MaxSize: podGsoIpv4MaxSize, fastPath: facts.fastPath }),
        ),
      ],
      addresses: [...tunnels.flatMap((kind) => tunnelAddress(kind, ends[kind])), ...facts.attachments.flatMap(routerAddress)],
      routes: [
        ...blocks.flatMap(blackhole),
        ...without(remote.routes, new Set([...blocks, ...podPrefixes(facts)])),
        // Last, so that a pod more leaves all others in their places.
        ...facts.attachments.flatMap((each) => each.addresses.map((address) => podRoute(address, each.hostLink))),
      ],
      neighbours: remote.neighbours,
      fdb: remote.fdb,
      sysctls: sysctls(facts, families, devices),
    },
    table: planFilter({
      pools: pools.all,
      others: facts.otherNetworks ?? [],
      natPorts: config.natPorts,
      pods: facts.attachments.map((each) => ({
        link: each.hostLink,
        addresses: each.addresses.map(plain),
        name: each.podName,
        namespace: each.podNamespace,
      })),
    }),
    annotations: writeAnnotations({ addresses: facts.underlay.addresses, tunnels: ends, localPrefixes: local }),
    podMtu,
    podGsoIpv4MaxSize,
    exports: {
      bgp: config.bgp,
      blocks: blocks.filter((block) => poolOf(pools, block)?.exported !== false),
      localPrefixes: local.filter((prefix) => poolOf(pools, prefix)?.exported !== false),
    },
    tunnels,
    follows: [...pools.all.map(sayPool), ...config.follows],
    remarks,
  };
}

function sayPool({ name, cidr, blockSize, encapsulation, natOutgoing, disabled }: Pool): string {
  const more = [...(natOutgoing ? ["natOutgoing"] : []), ...(disabled ? ["no new addresses"] : [])];
  return `IPPool ${name}: ${[cidr, `blocks of /${blockSize}`, encapsulation, ...more].join(", ")}`;
}

/**
 * Pods send as large a packet as the outer interface takes: where somebody told it a larger size (BIG TCP), every hop of the packet costs
 * once for three times as much. A tunnel's device takes the usual size; what is larger, it would cut into pieces of one MTU, slowly.
 */
function gsoIpv4MaxSizeOf({ underlay }: RoutedFacts, tunnels: readonly TunnelKind[]): number {
  return tunnels.length > 0 ? USUAL_GSO_MAX_SIZE : Math.max(USUAL_GSO_MAX_SIZE, underlay.gsoIpv4MaxSize ?? 0);
}

const plain = (address: string): string => address.replace(/\/.*/, "");

function familiesOf({ addresses }: { readonly addresses: readonly string[] }): Family[] {
  return addresses.map(familyOf);
}

/** The tunnels that the pools ask for. */
function tunnelsOf({ all }: Pools): TunnelKind[] {
  const kinds = new Set<TunnelKind>();
  for (const { encapsulation, prefix } of all) {
    if (encapsulation.startsWith("VXLAN")) kinds.add(prefix.family === 4 ? "vxlan4" : "vxlan6");
    else if (encapsulation.startsWith("IPIP")) kinds.add("ipip");
  }
  return [...kinds].sort();
}

/** The node's confirmed blocks, host bits cleared, in order. A claim that is not confirmed counts as absent. */
function ownBlocks(snapshot: ClusterSnapshot, node: string): string[] {
  return confirmedBlocks(snapshot)
    .filter((affinity) => affinity.node === node)
    .map(({ cidr }) => cidr);
}

function podPrefixes({ attachments }: RoutedFacts): string[] {
  return attachments.flatMap(({ addresses }) => addresses.map((address) => `${plain(address)}/${addressBits(familyOf(address))}`));
}

/** Pods' addresses beside the own blocks: borrowed, asked for by name, or taken over from the overlay before their block was. */
function localPrefixes(facts: RoutedFacts, blocks: readonly string[]): string[] {
  const networks = blocks.map(parsePrefix);
  return podPrefixes(facts)
    .filter((prefix) => !networks.some((network) => prefixContains(network, parseAddress(plain(prefix)))))
    .sort();
}

/** What is this node's own, nobody else is asked for. */
function without(routes: readonly Route[], taken: ReadonlySet<string>): readonly Route[] {
  return routes.some(({ destination }) => taken.has(destination)) ? routes.filter(({ destination }) => !taken.has(destination)) : routes;
}

/** What no pod of a block has, goes nowhere. A block of one address is the pod's own route. */
function blackhole(block: string): Route[] {
  if (parsePrefix(block).length === addressBits(familyOf(block))) return [];
  return [{ ...routeTo(block), type: "blackhole", nexthops: [] }];
}

function tunnelLink(kind: TunnelKind, config: RoutedConfig, { node, underlay, fastPath }: RoutedFacts): Link | undefined {
  if (kind === "ipip")
    return { name: TUNNEL_LINKS.ipip, kind: { type: "ipip" }, mtu: config.ipipMtu ?? underlay.mtu - OVERHEAD.ipip, up: true };
  const family = kind === "vxlan4" ? 4 : 6;
  const local = underlay.addresses.map(plain).find((address) => familyOf(address) === family);
  if (local === undefined) return undefined;
  return {
    name: TUNNEL_LINKS[kind],
    kind: { type: "vxlan", vni: config.vxlan.vni, port: config.vxlan.port, local, device: underlay.link, learning: false },
    mtu: config.vxlan.mtu[family] ?? underlay.mtu - OVERHEAD[kind],
    mac: tunnelMac(node, family),
    up: true,
    ...(fastPath ? { fastPath } : {}),
  };
}

/** What a pod has for its IPv6 router. The kernel makes it of the MAC, but not where that is changed later. */
function routerAddress(attachment: RoutedFacts["attachments"][number]): LinkAddress[] {
  if (!familiesOf(attachment).includes(6)) return [];
  return [{ link: attachment.hostLink, address: `${POD_GATEWAYS[6]}/64`, nodad: true }];
}

function tunnelAddress(kind: TunnelKind, address: string | undefined): LinkAddress[] {
  return address === undefined ? [] : [{ link: TUNNEL_LINKS[kind], address: `${address}/${addressBits(familyOf(address))}`, nodad: true }];
}

function sysctls(
  { underlay, attachments, fastPath }: RoutedFacts,
  families: ReadonlySet<Family>,
  devices: ReadonlySet<string>,
): Record<string, string> {
  const key = (link: string) => link.replaceAll(".", "/");
  return Object.assign(
    {},
    families.has(4)
      ? {
          "net.ipv4.ip_forward": "1",
          "net.ipv4.conf.all.rp_filter": "0",
          ...Object.fromEntries([underlay.link, ...devices].map((link) => [`net.ipv4.conf.${key(link)}.rp_filter`, "0"])),
        }
      : {},
    families.has(6) ? { "net.ipv6.conf.all.forwarding": "1" } : {},
    // Connection tracking sees a few of a connection's packets: what seems to be out of its window belongs to it all the same.
    fastPath ? { "net.netfilter.nf_conntrack_tcp_be_liberal": "1", "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": "1" } : {},
    ...attachments.map((each) => hostSysctls(each.hostLink, new Set(familiesOf(each)))),
  );
}
