// The overlay: bridge cni0 for the node's own pods, flannel.1 (VXLAN) to every other node, masquerade to the outside.
//
//   pod eth0 ── veth ── cni0 (.1/24) ── routing ── flannel.1 (.0/32) ══ VXLAN, UDP 8472 ══ peer's flannel.1
//
// For each peer: neighbour subnet.0 → its MAC, FDB its MAC → its address, route subnet via subnet.0 onlink.
import { addressAt, type Family, familyOf, formatAddress, networkOf, parsePrefix } from "../../base/index.ts";
import type { ClusterSnapshot } from "../../cluster/index.ts";
import {
  type KernelState,
  type Link,
  type LinkAddress,
  type Route,
  type TableContribution,
  USUAL_GSO_MAX_SIZE,
} from "../../kernel/index.ts";
import { macOf, writeAnnotations } from "./annotations.ts";
import { planMasquerade } from "./masquerade.ts";
import { networkConfig } from "./network-config.ts";
import { planPeers } from "./peers.ts";
import { podCidrs, podNetworks } from "./pod-networks.ts";
import { ourRoute } from "./route.ts";

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
  const networks = podNetworks(snapshot.nodes);
  const cidrs = podCidrs(snapshot.nodes.get(facts.node));
  const device = `flannel.${config.vni}`;
  const own = ownAddresses(facts.underlay.addresses);
  const outer: Family = own[4] === undefined ? 6 : 4;
  const podMtu = facts.underlay.mtu - (config.backend === "vxlan" ? VXLAN_OVERHEAD[outer] : 0);
  const mac = facts.vtepMac ?? macOf(`flannel/${facts.node}`);
  const remarks = [...config.remarks, ...networks.remarks];
  if (cidrs.length === 0) remarks.push(`node ${facts.node} has no podCIDR yet: no pod can be wired`);
  const local = own[outer];
  const tunnel = config.backend === "vxlan" && local !== undefined && cidrs.length > 0;
  const peers = planPeers(snapshot.nodes, {
    node: facts.node,
    underlay: facts.underlay,
    backend: config.backend,
    directRouting: config.directRouting,
    own: cidrs,
    outer,
    ...(tunnel ? { device } : {}),
  });
  remarks.push(...peers.remarks);
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
        ...facts.hostLinks.map((name) => hostLink(name, podMtu)),
      ],
      addresses: cidrs.flatMap((cidr) => ownAddressesOf(cidr, tunnel ? device : undefined)),
      routes: [...cidrs.map(bridgeRoute), ...peers.routes],
      neighbours: peers.neighbours,
      fdb: peers.fdb,
      sysctls: sysctls(cidrs, facts.underlay.link),
    },
    table: planMasquerade(networks, cidrs),
    annotations: cidrs.length > 0 ? writeAnnotations(config.backend, own[4], own[6], { mac, vni: config.vni }) : {},
    podMtu,
    remarks,
  };
}

/** The host's end of a pod, a port of the bridge. Packets for other nodes go into the tunnel, which takes the usual size in one piece. */
function hostLink(name: string, mtu: number): Link {
  return { name, kind: { type: "veth" }, master: BRIDGE, hairpin: true, up: true, mtu, gsoIpv4MaxSize: USUAL_GSO_MAX_SIZE };
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
    ...ourRoute(network),
    nexthops: [{ link: BRIDGE }],
    ...(network.family === 4 ? { scope: "link" as const, source: gatewayOf(cidr) } : {}),
  };
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
