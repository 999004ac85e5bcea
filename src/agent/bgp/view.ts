// What `fairlead bgp` shows: neighbours with the reason why one is not up, routes with the reason of each choice.
import { familyOf, parseAddress, parsePrefix, prefixContains } from "../../base/index.ts";
import {
  formatAsPath,
  formatCommunity,
  formatExtendedCommunity,
  formatLargeCommunity,
  formatRouterId,
  type RouteView,
} from "../../bgp/index.ts";
import { type NetworkNamespace, tcpConnections } from "../../kernel/index.ts";
import { type Diagnosis, diagnose, type Evidence } from "./diagnosis.ts";
import type { NeighbourState, NodeBgp } from "./node-bgp.ts";

export interface BgpView {
  readonly node: string;
  /** False: BGP is off on this node, and nothing else is told. */
  readonly running: boolean;
  readonly as: number | null;
  readonly routerId: string | null;
  readonly clusterId: string | null;
  readonly port: number | null;
  /** The agent has just started and waits for its neighbours' routes before it tells its own. */
  readonly restarting: boolean;
  readonly neighbours: readonly NeighbourView[];
  /** What this node announces of its own. */
  readonly announces: readonly string[];
  readonly remarks: readonly string[];
}

export interface NeighbourView {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly type: string;
  /** The object that asks for it. */
  readonly owner: string;
  /** The node at the other end, where it is one. */
  readonly node: string | null;
  readonly as: number | string;
  readonly role: "external" | "internal" | "client" | null;
  readonly state: string;
  readonly since: string;
  /** "Established", or what hinders it. */
  readonly info: string;
  readonly why: Diagnosis | null;
  readonly received: number;
  readonly sent: number;
  /** Routes are kept though the session is gone (graceful restart). */
  readonly keptRoutes: boolean;
  readonly bfd: string | null;
  readonly holdSeconds: number | null;
  readonly messagesIn: number;
  readonly messagesOut: number;
  /** Attributes that were wrong and did not end the session (RFC 7606). */
  readonly problems: number;
}

/** A node's BGP as it is now. */
export function viewBgp(node: string, bgp: NodeBgp, namespace: NetworkNamespace): BgpView {
  const { plan, restarting, remarks } = bgp;
  const common = { node, restarting, remarks };
  if (!plan) return { ...common, running: false, as: null, routerId: null, clusterId: null, port: null, neighbours: [], announces: [] };
  const kernel = look(namespace);
  return {
    ...common,
    running: bgp.speaker !== undefined,
    as: plan.localAs,
    routerId: plan.routerId,
    clusterId: plan.clusterId ?? null,
    port: plan.listenPort,
    neighbours: bgp.neighbours().map((each) => viewNeighbour(each, plan.localAs, kernel)),
    announces: plan.routes.map(({ prefix }) => prefix),
  };
}

type Look = ReturnType<typeof look>;

function look(namespace: NetworkNamespace) {
  const routes = namespace.listRoutes();
  const neighbours = namespace.listNeighbours();
  const addresses = namespace.listAddresses().map(({ address }) => parsePrefix(address));
  return {
    namespace,
    /** The router on the way, "" where the address is on a link of this node's; undefined: no way. */
    gateway(address: string): string | undefined {
      const wanted = parseAddress(address);
      if (addresses.some((own) => own.length < 127 && prefixContains(own, wanted))) return "";
      const fitting = routes
        .filter(
          ({ destination, type, family }) =>
            family === wanted.family && type === "unicast" && prefixContains(parsePrefix(destination), wanted),
        )
        .sort((a, b) => parsePrefix(b.destination).length - parsePrefix(a.destination).length);
      return fitting[0] && (fitting[0].nexthops[0]?.via ?? "");
    },
    linkLayer(address: string): Evidence["linkLayer"] {
      const entry = neighbours.find((each) => each.address === address);
      return entry && { address, mac: entry.mac, state: entry.state };
    },
  };
}

function viewNeighbour({ neighbour, status, bfd, signatures }: NeighbourState, localAs: number, kernel: Look): NeighbourView {
  const { peer, kind, owner, node, withheld } = neighbour;
  const port = peer.port ?? 179;
  const phase = status?.phase ?? "Idle";
  const gateway = kernel.gateway(peer.address);
  const why =
    phase === "Established"
      ? undefined
      : diagnose({
          status: status ?? { name: peer.name, address: peer.address, phase: "Idle", lastError: undefined, lastFault: undefined },
          port,
          localAs: peer.localAs ?? localAs,
          expectedAs: peer.as,
          hasPassword: peer.password !== undefined,
          withheld,
          connections: tcpConnections(kernel.namespace, port).filter(({ remote }) => remote.address === peer.address),
          linkLayer: kernel.linkLayer(gateway || peer.address),
          signatures,
          routed: gateway !== undefined,
        });
  return {
    name: peer.name,
    address: peer.address,
    port,
    type: kind,
    owner,
    node: node ?? null,
    as: status?.as ?? peer.as,
    role: status?.type ?? null,
    state: phase,
    since: new Date(Date.now() - (status?.forSeconds ?? 0) * 1000).toISOString(),
    info: why ? why.says : "Established",
    why: why ?? null,
    received: sum(status?.families.map((each) => each.received)),
    sent: sum(status?.families.map((each) => each.sent)),
    keptRoutes: status?.families.some(({ kept }) => kept) ?? false,
    bfd: bfd ?? null,
    holdSeconds: status?.holdSeconds ?? null,
    messagesIn: status?.messagesIn ?? 0,
    messagesOut: status?.messagesOut ?? 0,
    problems: status?.problems ?? 0,
  };
}

const sum = (numbers: readonly number[] = []) => numbers.reduce((total, each) => total + each, 0);

/** A route as people read it. */
export interface BgpRoute {
  readonly prefix: string;
  readonly peer: string;
  readonly pathId: number;
  readonly nextHop: string;
  readonly asPath: string;
  readonly origin: "igp" | "egp" | "incomplete";
  readonly localPref: number | null;
  readonly med: number | null;
  readonly communities: readonly string[];
  readonly originator: string | null;
  readonly clusterList: readonly string[];
  readonly stale: boolean;
  /** "best", "multipath", the step of the decision at which it lost, or why it was rejected. */
  readonly reason: string;
}

export interface BgpRoutesView {
  readonly node: string;
  /** All paths that came in, this node's own among them ("local"). */
  readonly in: readonly BgpRoute[];
  /** What the kernel is to have. */
  readonly best: readonly { readonly prefix: string; readonly nextHops: readonly { readonly address: string; readonly peer: string }[] }[];
  /** What goes out to each neighbour, and why not. */
  readonly out: readonly { readonly peer: string; readonly prefix: string; readonly sent: boolean; readonly reason: string }[];
}

export interface RoutesFilter {
  readonly peer?: string;
  readonly prefix?: string;
}

/** A node's routes. @throws BgpError `unknown-peer` */
export function viewBgpRoutes(node: string, bgp: NodeBgp, { peer, prefix }: RoutesFilter): BgpRoutesView {
  const { speaker } = bgp;
  if (!speaker) return { node, in: [], best: [], out: [] };
  const wanted = (each: { readonly prefix: string }) => prefix === undefined || each.prefix === prefix;
  const peers = speaker
    .status()
    .flatMap(({ name, phase }) => (phase === "Established" && (peer === undefined || name === peer) ? [name] : []));
  return {
    node,
    in: speaker.routes({ ...(peer === undefined ? {} : { peer }), ...(prefix === undefined ? {} : { prefix }) }).map(viewRoute),
    best: speaker
      .bestRoutes()
      .filter((route) => wanted(route) && (peer === undefined || route.nextHops?.some((hop) => hop.peer === peer)))
      .map((route) => ({ prefix: route.prefix, nextHops: route.nextHops ?? [] })),
    out: peers.flatMap((name) =>
      speaker
        .sentTo(name)
        .filter(wanted)
        .map((route) => ({ peer: name, ...route })),
    ),
  };
}

const ORIGINS = ["igp", "egp", "incomplete"] as const;

/** A route with its attributes in text. */
export function viewRoute({ prefix, peer, pathId, attributes, stale, reason }: RouteView): BgpRoute {
  return {
    prefix,
    peer,
    pathId,
    nextHop: attributes.nextHop,
    asPath: formatAsPath(attributes.asPath),
    origin: ORIGINS[attributes.origin],
    localPref: attributes.localPref ?? null,
    med: attributes.med ?? null,
    communities: [
      ...attributes.communities.map(formatCommunity),
      ...attributes.extendedCommunities.map(formatExtendedCommunity),
      ...attributes.largeCommunities.map(formatLargeCommunity),
    ],
    originator: attributes.originatorId === undefined ? null : formatRouterId(attributes.originatorId),
    clusterList: attributes.clusterList.map(formatRouterId),
    stale,
    reason,
  };
}

/** Families with numbers, for metrics. */
export function countByFamily(prefixes: readonly string[]): Readonly<Record<4 | 6, number>> {
  const six = prefixes.filter((prefix) => familyOf(prefix) === 6).length;
  return { 4: prefixes.length - six, 6: six };
}
