// How packets reach another node's addresses: straight over the underlay, or wrapped, as their pool says.
//
//   None, or CrossSubnet and the peer on our own link   prefix via PEER dev UNDERLAY
//   VXLAN                                                prefix via PEER'S TUNNEL ADDRESS dev vxlan.calico onlink, with neighbour and FDB entry
//   IPIP                                                 prefix via PEER dev tunl0 onlink
import { addressBits, type Family, familyOf, type IpPrefix, parseAddress, prefixContains, tryParsePrefix } from "../../base/index.ts";
import type { Encapsulation } from "../../ipam/index.ts";
import type { FdbEntry, Neighbour, Nexthop, Route } from "../../kernel/index.ts";
import type { RoutedNode } from "./annotations.ts";
import { podRoute } from "./pod.ts";

export const TUNNEL_LINKS = { vxlan4: "vxlan.calico", vxlan6: "vxlan-v6.calico", ipip: "tunl0" } as const;

export interface WayOptions {
  readonly underlay: { readonly link: string; readonly addresses: readonly string[] };
  /** Tunnel devices that this node has. */
  readonly devices: ReadonlySet<string>;
}

/** Next hops, and the entries that they need; or why there is none. */
export type Way = { readonly hop: Nexthop } | { readonly why: string };

/** Finds ways, and gathers the neighbours and forwarding entries that they need, each once. */
export class Ways {
  readonly neighbours = new Map<string, Neighbour>();
  readonly fdb = new Map<string, FdbEntry>();
  /** Routes to tunnels' ends themselves. */
  readonly routes = new Map<string, Route>();
  readonly #options: WayOptions;
  readonly #subnets: readonly IpPrefix[];

  constructor(options: WayOptions) {
    this.#options = options;
    this.#subnets = options.underlay.addresses.flatMap((address) => tryParsePrefix(address) ?? []);
  }

  /** The way to a node. `family`: that of the packets. */
  toNode(node: RoutedNode, family: Family, encapsulation: Encapsulation): Way {
    const address = node.addresses[family];
    const onLink = address !== undefined && this.isOnLink(address);
    const { link } = this.#options.underlay;
    if (encapsulation === "None" || encapsulation.endsWith("CrossSubnet")) {
      if (address !== undefined && onLink) return { hop: { via: address, link } };
      if (encapsulation === "None")
        return {
          why: `node ${node.name} is not on the link of ${link}: only BGP, or routes of the underlay itself, lead to its unwrapped packets`,
        };
    }
    return encapsulation.startsWith("VXLAN") ? this.#vxlan(node, family) : this.#ipip(node);
  }

  /** Whether an address is reached without a router. */
  isOnLink(address: string): boolean {
    const parsed = parseAddress(address);
    return this.#subnets.some((subnet) => subnet.length < addressBits(subnet.family) && prefixContains(subnet, parsed));
  }

  #vxlan(node: RoutedNode, family: Family): Way {
    const kind = family === 4 ? "vxlan4" : "vxlan6";
    const device = TUNNEL_LINKS[kind];
    const [via, destination, mac] = [node.tunnels[kind], node.addresses[family], node.macs[family]];
    if (!this.#options.devices.has(device)) return { why: `this node has no ${device} yet` };
    if (via === undefined) return { why: `node ${node.name} has not told the address of its ${device} yet` };
    if (destination === undefined) return { why: `node ${node.name} has no IPv${family} address for the outer packets` };
    this.neighbours.set(`${device} ${via}`, { link: device, address: via, mac, state: "permanent" });
    this.fdb.set(`${device} ${mac}`, { link: device, mac, destination, table: "self", permanent: true });
    // IPv6 takes a gateway on a link only if no route of another device leads there (ip6_route_check_nh_onlink), as the overlay's may.
    if (family === 6) this.routes.set(via, podRoute(via, device));
    return { hop: { via, link: device, onlink: true } };
  }

  #ipip(node: RoutedNode): Way {
    const device = TUNNEL_LINKS.ipip;
    const via = node.addresses[4];
    if (!this.#options.devices.has(device)) return { why: `this node has no ${device} yet` };
    if (via === undefined) return { why: `node ${node.name} has no IPv4 address for the outer packets` };
    return { hop: { via, link: device, onlink: true } };
  }

  /** The way to a next hop that is no node of the cluster: a router. */
  toRouter(address: string): Way {
    const { link } = this.#options.underlay;
    return this.isOnLink(address) || (familyOf(address) === 6 && /^fe[89ab]/i.test(address))
      ? { hop: { via: address, link } }
      : { why: `next hop ${address} is no node, and not on the link of ${link}` };
  }
}
