// The overlay: bridge cni0 for the node's own pods, flannel.1 (VXLAN) to every other node, masquerade to the outside.
//
//   pod eth0 ── veth ── cni0 (.1/24) ── routing ── flannel.1 (.0/32) ══ VXLAN, UDP 8472 ══ peer's flannel.1
//
// For each peer: neighbour subnet.0 → its MAC, FDB its MAC → its address, route subnet via subnet.0 onlink.
import {
  addressAt,
  type Family,
  familyOf,
  formatAddress,
  formatPrefix,
  networkOf,
  parseAddress,
  parsePrefix,
  prefixContains,
} from "../../base/index.ts";
import type { ClusterSnapshot } from "../../cluster/index.ts";
import type { KernelState, Link, LinkAddress, NftElement, NftRule, Route, TableContribution } from "../../kernel/index.ts";
import { MAIN_TABLE, ROUTE_PROTOCOL } from "../../kernel/index.ts";
import type { Node } from "../../resources/index.ts";
import { macOf, peerAddress, readVtep, writeAnnotations } from "./annotations.ts";
import { type NetworkConfig, networkConfig } from "./network-config.ts";

export const BRIDGE = "cni0";

export interface OverlayFacts {
  readonly node: string;
  readonly underlay: { readonly link: string; readonly mtu: number; readonly addresses: readonly string[] };
  readonly hostLinks: readonly string[];
  readonly vtepMac?: string;
}

export interface OverlayPlan {
  readonly state: Partial<KernelState>;
  readonly table: TableContribution;
  readonly annotations: Readonly<Record<string, string>>;
  /** MTU of the pods' interfaces, in bytes. */
  readonly podMtu: number;
  readonly remarks: readonly string[];
}

/** Bytes that VXLAN adds: outer IP, UDP and VXLAN headers and the inner Ethernet header (RFC 7348 §5). */
const VXLAN_OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

/** The overlay's part of a node's plan. */
export function planOverlay(snapshot: ClusterSnapshot, facts: OverlayFacts): OverlayPlan {
  const config = networkConfig(snapshot);
  const node = snapshot.nodes.get(facts.node);
  const cidrs = podCidrs(node);
  const device = `flannel.${config.vni}`;
  const own = ownAddresses(facts.underlay.addresses);
  const outer: Family = own[4] === undefined ? 6 : 4;
  const podMtu = facts.underlay.mtu - (config.backend === "vxlan" ? VXLAN_OVERHEAD[outer] : 0);
  const mac = facts.vtepMac ?? macOf(`flannel/${facts.node}`);
  const remarks = [...config.remarks];
  if (cidrs.length === 0) remarks.push(`node ${facts.node} has no podCIDR yet: no pod can be wired`);
  const local = own[outer];
  const tunnel = config.backend === "vxlan" && local !== undefined && cidrs.length > 0;
  const peers = planPeers(snapshot, facts, { config, cidrs, own, outer, device }, remarks);
  return {
    state: {
      links: [
        ...(cidrs.length > 0
          ? [{ name: BRIDGE, kind: { type: "bridge" }, mtu: podMtu, mac: macOf(`cni0/${facts.node}`), up: true } satisfies Link]
          : []),
        ...(tunnel
          ? [
              {
                name: device,
                kind: { type: "vxlan", vni: config.vni, port: config.port, local, device: facts.underlay.link, learning: false },
                mtu: podMtu,
                mac,
                up: true,
              } satisfies Link,
            ]
          : []),
        ...facts.hostLinks.map((name): Link => ({ name, kind: { type: "veth" }, master: BRIDGE, hairpin: true, up: true, mtu: podMtu })),
      ],
      addresses: cidrs.flatMap((cidr) => ownAddressesOf(cidr, tunnel ? device : undefined)),
      routes: [...cidrs.map(bridgeRoute), ...peers.routes],
      neighbours: peers.neighbours,
      fdb: peers.fdb,
      sysctls: sysctls(cidrs, facts.underlay.link),
    },
    table: masquerade(snapshot, cidrs),
    annotations: cidrs.length > 0 ? writeAnnotations(config.backend, own[4], own[6], { mac, vni: config.vni }) : {},
    podMtu,
    remarks,
  };
}

/** A node's pod networks, as the API says; one per family at most. */
export function podCidrs(node: Node | undefined): readonly string[] {
  return node?.spec?.podCIDRs ?? (node?.spec?.podCIDR ? [node.spec.podCIDR] : []);
}

/** The address of cni0 in a pod network: its first. */
export function gatewayOf(cidr: string): string {
  return formatAddress(addressAt(parsePrefix(cidr), 1n));
}

function ownAddresses(addresses: readonly string[]): Partial<Record<Family, string>> {
  const own: Partial<Record<Family, string>> = {};
  for (const address of addresses) own[familyOf(address)] ??= address.replace(/\/.*/, "");
  return own;
}

function ownAddressesOf(cidr: string, device: string | undefined): LinkAddress[] {
  const network = parsePrefix(cidr);
  const bits = network.family === 4 ? 32 : 128;
  return [
    { link: BRIDGE, address: `${gatewayOf(cidr)}/${network.length}`, nodad: true },
    ...(device === undefined ? [] : [{ link: device, address: `${formatAddress(networkOf(network))}/${bits}`, nodad: true }]),
  ];
}

/** The route that the kernel makes with cni0's address; stated, so that it comes back when somebody flushes routes. */
function bridgeRoute(cidr: string): Route {
  const network = networkOf(parsePrefix(cidr));
  return {
    ...ours(network.family, formatPrefix(network)),
    nexthops: [{ link: BRIDGE }],
    ...(network.family === 4 ? { scope: "link" as const, source: gatewayOf(cidr) } : {}),
  };
}

function ours(family: Family, destination: string): Omit<Route, "nexthops"> {
  return { family, destination, type: "unicast", table: MAIN_TABLE, protocol: ROUTE_PROTOCOL.fairlead };
}

interface PeerContext {
  readonly config: NetworkConfig;
  readonly cidrs: readonly string[];
  readonly own: Partial<Record<Family, string>>;
  readonly outer: Family;
  readonly device: string;
}

function planPeers(
  snapshot: ClusterSnapshot,
  facts: OverlayFacts,
  context: PeerContext,
  remarks: string[],
): { routes: Route[]; neighbours: KernelState["neighbours"][number][]; fdb: KernelState["fdb"][number][] } {
  const routes: Route[] = [];
  const neighbours: KernelState["neighbours"][number][] = [];
  const fdb: KernelState["fdb"][number][] = [];
  const subnets = facts.underlay.addresses.map(parsePrefix);
  const families = new Set(context.cidrs.map(familyOf));
  for (const peer of snapshot.nodes.values()) {
    if (peer.metadata.name === facts.node) continue;
    const cidrs = podCidrs(peer).filter((cidr) => families.has(familyOf(cidr)));
    if (cidrs.length === 0) continue;
    const endpoint = peerAddress(peer, context.outer);
    const onLink = (address: string | undefined) =>
      address !== undefined && subnets.some((subnet) => prefixContains(subnet, parseAddress(address)));
    if (context.config.backend === "host-gw" || (context.config.directRouting && onLink(endpoint))) {
      for (const cidr of cidrs) {
        const via = peerAddress(peer, familyOf(cidr)) ?? endpoint;
        if (via === undefined || !onLink(via)) {
          remarks.push(
            `node ${peer.metadata.name} is not on the link of ${facts.underlay.link}: host-gw can't reach ${cidr}; use backend vxlan`,
          );
          continue;
        }
        routes.push({
          ...ours(familyOf(cidr), formatPrefix(networkOf(parsePrefix(cidr)))),
          nexthops: [{ via, link: facts.underlay.link }],
        });
      }
      continue;
    }
    const vtep = readVtep(peer);
    if (!vtep || endpoint === undefined) {
      remarks.push(`node ${peer.metadata.name} has not told its tunnel end yet (annotation flannel.alpha.coreos.com/backend-data)`);
      continue;
    }
    fdb.push({ link: context.device, mac: vtep.mac, destination: endpoint, table: "self", permanent: true });
    for (const cidr of cidrs) {
      const network = networkOf(parsePrefix(cidr));
      const via = formatAddress(network);
      neighbours.push({ link: context.device, address: via, mac: vtep.mac, state: "permanent" });
      routes.push({ ...ours(network.family, formatPrefix(network)), nexthops: [{ via, link: context.device, onlink: true }] });
    }
  }
  return { routes, neighbours, fdb };
}

function sysctls(cidrs: readonly string[], underlay: string): Record<string, string> {
  const families = new Set(cidrs.map(familyOf));
  return {
    ...(families.has(4)
      ? {
          "net.ipv4.ip_forward": "1",
          "net.bridge.bridge-nf-call-iptables": "1",
          [`net.ipv4.conf.${underlay.replaceAll(".", "/")}.rp_filter`]: "0",
          "net.ipv4.conf.all.rp_filter": "0",
        }
      : {}),
    ...(families.has(6) ? { "net.ipv6.conf.all.forwarding": "1", "net.bridge.bridge-nf-call-ip6tables": "1" } : {}),
  };
}

/** Pods reach the outside with the node's address; what comes in from outside and is routed on to another node's pod comes back through here. */
function masquerade(snapshot: ClusterSnapshot, cidrs: readonly string[]): TableContribution {
  const networks: Record<Family, NftElement[]> = { 4: [], 6: [] };
  for (const node of snapshot.nodes.values()) {
    for (const cidr of podCidrs(node)) {
      const network = networkOf(parsePrefix(cidr));
      networks[network.family].push({ key: [formatPrefix(network)], owner: { kind: "Node", name: node.metadata.name } });
    }
  }
  const rules = ([4, 6] as const).flatMap((family): NftRule[] => {
    const own = cidrs.find((cidr) => familyOf(cidr) === family);
    const set = { set: `pod-networks${family}` };
    const [saddr, daddr] = family === 4 ? (["ip saddr", "ip daddr"] as const) : (["ip6 saddr", "ip6 daddr"] as const);
    const random = { masquerade: { fullyRandom: true } };
    const outward: NftRule = {
      matches: [
        { left: saddr, op: "==", right: set },
        { left: daddr, op: "!=", right: set },
        { left: daddr, op: "!=", right: family === 4 ? "224.0.0.0/4" : "ff00::/8" },
      ],
      statements: [random],
    };
    const inward: NftRule = {
      matches: [
        { left: saddr, op: "!=", right: set },
        { left: daddr, op: "==", right: set },
        ...(own === undefined ? [] : [{ left: daddr, op: "!=" as const, right: formatPrefix(networkOf(parsePrefix(own))) }]),
      ],
      statements: [random],
    };
    return [outward, inward];
  });
  return {
    chains: [],
    sets: ([4, 6] as const).map((family) => ({
      name: `pod-networks${family}`,
      key: [family === 4 ? "ipv4_addr" : "ipv6_addr"],
      flags: ["interval"],
      elements: networks[family],
    })),
    hooks: [{ chain: "postrouting-nat", order: 20, rules }],
  };
}
