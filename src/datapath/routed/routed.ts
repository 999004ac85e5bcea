// The routed data path: pods' addresses are routes, on their own node to their interface, elsewhere to their node or through a tunnel.
//
//   pod eth0 (/32) ── caliX (ee:ee:ee:ee:ee:ee) ── routing ─┬─ underlay ── peer, which routes to its caliY
//                                                           └─ vxlan.calico ══ VXLAN 4096, UDP 4789 ══ peer's vxlan.calico
//
//   own block      blackhole 10.244.0.0/26          what no pod of it has, goes nowhere
//   own pod        10.244.0.7 dev caliX scope link
//   peer's block   10.244.1.0/26 via PEER …         by BGP, or straight from the blocks' affinities
import {
  addressBits,
  type Family,
  familyOf,
  formatPrefix,
  type IpPrefix,
  networkOf,
  parseAddress,
  parsePrefix,
  prefixContains,
  tryParsePrefix,
} from "../../base/index.ts";
import type { ClusterSnapshot } from "../../cluster/index.ts";
import { AFFINITY_KIND, type BlockAffinity, type Pool, type Pools, poolOf, readPools } from "../../ipam/index.ts";
import {
  type KernelState,
  type Link,
  type LinkAddress,
  MAIN_TABLE,
  type Nexthop,
  ROUTE_PROTOCOL,
  type Route,
  type TableContribution,
} from "../../kernel/index.ts";
import { type RoutedNode, readNode, type TunnelKind, tunnelMac, writeAnnotations } from "./annotations.ts";
import { type RoutedConfig, routedConfig } from "./config.ts";
import type { LearnedRoute, RoutedExports } from "./exports.ts";
import { planFilter } from "./filter.ts";
import { hostLink, hostSysctls, POD_GATEWAYS, podRoute } from "./pod.ts";
import { TUNNEL_LINKS, type Way, Ways } from "./ways.ts";

export interface RoutedFacts {
  readonly node: string;
  readonly underlay: { readonly link: string; readonly mtu: number; readonly addresses: readonly string[] };
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
}

export interface RoutedPlan {
  readonly state: Partial<KernelState>;
  readonly table: TableContribution;
  /** What the Node object must say; null takes an annotation away. */
  readonly annotations: Readonly<Record<string, string | null>>;
  /** MTU of the pods' interfaces, in bytes. */
  readonly podMtu: number;
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
  const ways = new Ways({ underlay: facts.underlay, devices });
  const remote = remoteRoutes({ snapshot, facts, config, pools, ways, taken: new Set([...blocks, ...podPrefixes(facts)]), remarks });
  const podMtu = config.podMtu ?? facts.underlay.mtu - Math.max(0, ...tunnels.map((kind) => OVERHEAD[kind]));
  const families = new Set([...pools.all.map((pool) => pool.prefix.family), ...facts.attachments.flatMap(familiesOf)]);
  return {
    state: {
      links: [
        ...tunnels.flatMap((kind) => tunnelLink(kind, config, facts) ?? []),
        ...facts.attachments.map((each) => hostLink(each.hostLink, podMtu)),
      ],
      addresses: [...tunnels.flatMap((kind) => tunnelAddress(kind, ends[kind])), ...facts.attachments.flatMap(routerAddress)],
      routes: [
        ...blocks.flatMap(blackhole),
        ...facts.attachments.flatMap((each) => each.addresses.map((address) => podRoute(address, each.hostLink))),
        ...ways.routes.values(),
        ...remote,
      ],
      neighbours: [...ways.neighbours.values()],
      fdb: [...ways.fdb.values()],
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
  return confirmed(snapshot)
    .filter((affinity) => affinity.node === node)
    .map(({ cidr }) => cidr);
}

function confirmed(snapshot: ClusterSnapshot): { readonly node: string; readonly cidr: string }[] {
  return [...(snapshot.others.get(AFFINITY_KIND)?.values() ?? [])].flatMap((object) => {
    const { cidr, node, state, deleted } = (object as BlockAffinity).spec ?? {};
    const prefix = typeof cidr === "string" ? tryParsePrefix(cidr) : undefined;
    if (!prefix || typeof node !== "string" || state !== "confirmed" || deleted === "true") return [];
    return [{ node, cidr: formatPrefix(networkOf(prefix)) }];
  });
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

const route = (destination: string): Omit<Route, "nexthops" | "type"> => ({
  family: familyOf(destination),
  destination,
  table: MAIN_TABLE,
  protocol: ROUTE_PROTOCOL.fairlead,
});

/** What no pod of a block has, goes nowhere. A block of one address is the pod's own route. */
function blackhole(block: string): Route[] {
  if (parsePrefix(block).length === addressBits(familyOf(block))) return [];
  return [{ ...route(block), type: "blackhole", nexthops: [] }];
}

interface RemoteOptions {
  readonly snapshot: ClusterSnapshot;
  readonly facts: RoutedFacts;
  readonly config: RoutedConfig;
  readonly pools: Pools;
  readonly ways: Ways;
  /** Prefixes that are this node's own. */
  readonly taken: ReadonlySet<string>;
  readonly remarks: string[];
}

function remoteRoutes(options: RemoteOptions): Route[] {
  const { facts, config } = options;
  return config.bgp && facts.learnedRoutes ? learned(options, facts.learnedRoutes) : fromAffinities(options);
}

/** Without BGP: every confirmed block of another node, and what nodes say that they have beside. */
function fromAffinities({ snapshot, facts, pools, ways, taken, remarks }: RemoteOptions): Route[] {
  const routes = new Map<string, Route>();
  const said = new Set<string>();
  const add = (prefix: string, node: RoutedNode) => {
    if (taken.has(prefix) || routes.has(prefix)) return;
    const way = ways.toNode(node, familyOf(prefix), poolOf(pools, prefix)?.encapsulation ?? "None");
    if ("hop" in way) routes.set(prefix, { ...route(prefix), type: "unicast", nexthops: [way.hop] });
    else said.add(way.why);
  };
  for (const { cidr, node } of confirmed(snapshot)) {
    const peer = node === facts.node ? undefined : snapshot.nodes.get(node);
    if (peer) add(cidr, readNode(peer));
  }
  for (const peer of snapshot.nodes.values())
    if (peer.metadata.name !== facts.node) for (const prefix of readNode(peer).localPrefixes) add(prefix, readNode(peer));
  remarks.push(...said);
  return [...routes.values()];
}

/** By BGP: each next hop is a node, reached as the prefix's pool says, or a router on the link. */
function learned({ snapshot, facts, pools, ways, taken, remarks }: RemoteOptions, routes: readonly LearnedRoute[]): Route[] {
  const byAddress = new Map<string, RoutedNode>();
  for (const node of snapshot.nodes.values())
    for (const address of Object.values(readNode(node).addresses)) byAddress.set(address, readNode(node));
  const said = new Set<string>();
  const found = routes.flatMap(({ prefix, nextHops }): Route[] => {
    if (taken.has(prefix)) return [];
    const hops = new Map<string, Nexthop>();
    for (const nextHop of nextHops) {
      const node = byAddress.get(nextHop);
      if (node?.name === facts.node) continue;
      const way = wayTo(ways, nextHop, node, { prefix, pools });
      if ("hop" in way) hops.set(JSON.stringify(way.hop), way.hop);
      else said.add(way.why);
    }
    return hops.size === 0 ? [] : [{ ...route(prefix), type: "unicast", nexthops: [...hops.values()] }];
  });
  remarks.push(...said);
  return found;
}

function wayTo(
  ways: Ways,
  nextHop: string,
  node: RoutedNode | undefined,
  { prefix, pools }: { readonly prefix: string; readonly pools: Pools },
): Way {
  const encapsulation = poolOf(pools, prefix)?.encapsulation ?? "None";
  const family = familyOf(prefix);
  if (!node) return ways.toRouter(nextHop);
  // IPv4 by way of IPv6 (RFC 8950): the next hop that was announced is the one.
  if (familyOf(nextHop) !== family && ways.isOnLink(nextHop) && (encapsulation === "None" || encapsulation.endsWith("CrossSubnet")))
    return ways.toRouter(nextHop);
  return ways.toNode(node, family, encapsulation);
}

function tunnelLink(kind: TunnelKind, config: RoutedConfig, { node, underlay }: RoutedFacts): Link | undefined {
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
  { underlay, attachments }: RoutedFacts,
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
    ...attachments.map((each) => hostSysctls(each.hostLink, new Set(familiesOf(each)))),
  );
}
