// The way to every other node's pods: through the tunnel, or straight over the underlay's link.
//
//   tunnel:  neighbour subnet.0 → peer's MAC · FDB peer's MAC → peer's address · route subnet via subnet.0 onlink
//   direct:  route subnet via the peer's address of the same family, which must be on the underlay's link
import {
  type Family,
  formatAddress,
  formatPrefix,
  type IpPrefix,
  networkOf,
  parseAddress,
  parsePrefix,
  prefixContains,
  tryParsePrefix,
} from "../../base/index.ts";
import type { ClusterSnapshot, Part } from "../../cluster/index.ts";
import type { FdbEntry, Neighbour, Route } from "../../kernel/index.ts";
import type { Node } from "../../resources/index.ts";
import { peerAddress, readVtep } from "./annotations.ts";
import { podNetworks } from "./pod-networks.ts";
import { ourRoute } from "./route.ts";

export interface PeerOptions {
  readonly node: string;
  readonly underlay: { readonly link: string; readonly addresses: readonly string[] };
  readonly backend: "vxlan" | "host-gw";
  readonly directRouting: boolean;
  /** The own pod networks: only their families are routed, and never they themselves. */
  readonly own: readonly string[];
  /** Family of the tunnel's outer packets. */
  readonly outer: Family;
  /** The tunnel's device; undefined where the node has none. */
  readonly device?: string;
}

export interface PeerPlan {
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly remarks: readonly string[];
}

const kept = new WeakMap<Part<Node>, Map<string, PeerPlan>>();

/** Routes, neighbours and FDB entries for all peers; the same object while nodes and options stay the same. */
export function planPeers(nodes: ClusterSnapshot["nodes"], options: PeerOptions): PeerPlan {
  const plans = kept.get(nodes) ?? new Map<string, PeerPlan>();
  kept.set(nodes, plans);
  const key = JSON.stringify(options);
  let plan = plans.get(key);
  if (!plan) {
    plan = calculate(nodes, options);
    plans.set(key, plan);
  }
  return plan;
}

function calculate(nodes: ClusterSnapshot["nodes"], options: PeerOptions): PeerPlan {
  const { byNode } = podNetworks(nodes);
  const planner = new Planner(options);
  const own = options.own.map((cidr) => networkOf(parsePrefix(cidr)));
  const isRouted = (network: IpPrefix) =>
    own.some(({ family }) => family === network.family) && !own.some((each) => formatPrefix(each) === formatPrefix(network));
  for (const peer of nodes.values()) {
    if (peer.metadata.name === options.node) continue;
    const networks = (byNode.get(peer.metadata.name) ?? []).filter(isRouted);
    if (networks.length > 0) planner.add(peer, networks);
  }
  return planner;
}

const keptWays = new WeakMap<Node, Map<string, PeerPlan>>();

/** The network that an address stands in: all that direct routes ask of it. */
function linkOf(address: string): string {
  const prefix = tryParsePrefix(address);
  return prefix ? formatPrefix(networkOf(prefix)) : "";
}

class Planner implements PeerPlan {
  readonly routes: Route[] = [];
  readonly neighbours: Neighbour[] = [];
  readonly fdb: FdbEntry[] = [];
  readonly remarks: string[] = [];
  readonly #options: PeerOptions;
  readonly #subnets: readonly IpPrefix[];
  readonly #key: string;

  constructor(options: PeerOptions) {
    this.#options = options;
    const { node: _node, own: _own, underlay, ...way } = options;
    const straight = options.backend === "host-gw" || options.directRouting;
    this.#key = JSON.stringify([way, underlay.link, straight ? underlay.addresses.map((address) => linkOf(address)) : ""]);
    this.#subnets = options.underlay.addresses.flatMap((address) => tryParsePrefix(address) ?? []);
  }

  /** What leads to a peer is the same on most nodes: it is calculated once for all that are planned in a process. */
  add(peer: Node, networks: readonly IpPrefix[]): void {
    const ways = keptWays.get(peer) ?? new Map<string, PeerPlan>();
    keptWays.set(peer, ways);
    const key = `${this.#key} ${networks.map(formatPrefix).join()}`;
    let way = ways.get(key);
    if (!way) {
      const planner = new Planner(this.#options);
      planner.#calculate(peer, networks);
      way = planner;
      ways.set(key, way);
    }
    this.routes.push(...way.routes);
    this.neighbours.push(...way.neighbours);
    this.fdb.push(...way.fdb);
    this.remarks.push(...way.remarks);
  }

  #calculate(peer: Node, networks: readonly IpPrefix[]): void {
    const tunnelled = networks.filter((network) => !this.#direct(peer, network));
    if (tunnelled.length === 0) return;
    if (this.#options.backend === "vxlan") this.#tunnel(peer, tunnelled);
    else
      for (const network of tunnelled)
        this.remarks.push(
          `node ${peer.metadata.name} has no IPv${network.family} address on the link of ${this.#options.underlay.link}: host-gw can't reach ${ourRoute(network).destination}; use backend vxlan`,
        );
  }

  /** Routes straight to the peer, where that is asked for and it stands on the link with an address of the network's family. */
  #direct(peer: Node, network: IpPrefix): boolean {
    if (this.#options.backend !== "host-gw" && !this.#options.directRouting) return false;
    const via = this.#address(peer, network.family);
    if (via === undefined || !this.#subnets.some((subnet) => prefixContains(subnet, parseAddress(via)))) return false;
    this.routes.push({ ...ourRoute(network), nexthops: [{ via, link: this.#options.underlay.link }] });
    return true;
  }

  #tunnel(peer: Node, networks: readonly IpPrefix[]): void {
    const { device } = this.#options;
    if (device === undefined) return;
    const vtep = readVtep(peer, this.#options.outer);
    const destination = this.#address(peer, this.#options.outer);
    if (!vtep || destination === undefined) {
      this.remarks.push(
        vtep
          ? `node ${peer.metadata.name} has no IPv${this.#options.outer} address: its pods can't be reached through the tunnel`
          : `node ${peer.metadata.name} has not told its tunnel end yet (annotation flannel.alpha.coreos.com/backend-data)`,
      );
      return;
    }
    this.fdb.push({ link: device, mac: vtep.mac, destination, table: "self", permanent: true });
    for (const network of networks) {
      const via = formatAddress(network);
      this.neighbours.push({ link: device, address: via, mac: vtep.mac, state: "permanent" });
      this.routes.push({ ...ourRoute(network), nexthops: [{ via, link: device, onlink: true }] });
    }
  }

  #address(peer: Node, family: Family): string | undefined {
    return peerAddress(peer, family, (says) => {
      if (!this.remarks.includes(says)) this.remarks.push(says);
    });
  }
}
