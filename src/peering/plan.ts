// planBgp: one node's part in BGP, calculated from a snapshot: who it speaks to, what it announces, what it takes.
//
//   BGPConfiguration ─┬─ mesh ─────────────┐
//   BGPPeer, BGPFilter ┴─ neighbours.ts ───┼──▶ BgpPlan ──▶ the agent's speaker and BFD
//   blocks, Services, communities ─ advertise.ts
import { type Family, familyOf, parsePrefix, prefixContains, tryParsePrefix } from "../base/index.ts";
import type { BfdPeer, LocalRoute, PeerConfig } from "../bgp/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { communitiesByPrefix, exportable, servicePrefixes, serviceRanges } from "./advertise.ts";
import { meshNeighbours, type Neighbour, type NeighbourContext, peerNeighbours, reachingRoute, type SecretKey } from "./neighbours.ts";
import { type BgpNode, bgpNodes } from "./nodes.ts";
import { asNumberOf, type BgpObject, fieldsOf, listOf, numberOf, objectsOfKind, unknownFields } from "./objects.ts";

/** What a node knows beside the snapshot. */
export interface BgpFacts {
  readonly node: string;
  /** The node's own blocks and odd addresses: what it answers for. */
  readonly prefixes: readonly string[];
  /** A password by its Secret, from the namespace of the cluster's network; undefined: it is not there (yet). */
  readonly secret: (key: SecretKey) => string | undefined;
}

export interface BgpPlan {
  readonly localAs: number;
  /** Dotted quad. */
  readonly routerId: string;
  readonly clusterId: string | undefined;
  readonly listenPort: number;
  readonly families: readonly Family[];
  readonly addresses: { readonly v4?: string; readonly v6?: string };
  /** All neighbours, those that are withheld too. */
  readonly neighbours: readonly Neighbour[];
  readonly peers: readonly PeerConfig[];
  readonly bfd: readonly BfdPeer[];
  readonly routes: readonly LocalRoute[];
  /** Names of the Secrets that are needed. */
  readonly secrets: readonly string[];
  /** Ways to neighbours that are reached by a router. */
  readonly reaching: readonly { readonly prefix: string; readonly nextHops: readonly string[]; readonly peer: string }[];
  /** What is learned of these is passed on, but is none of the kernel's business: Services are served on this node itself. */
  readonly notForKernel: readonly string[];
  /** What of the configuration is followed, in sentences. */
  readonly follows: readonly string[];
  /** What is not, and why. */
  readonly remarks: readonly string[];
}

const DEFAULT_AS = 64512;
const DEFAULT_PORT = 179;

/** BGPConfiguration's fields: followed, or why not. */
const CONFIGURATION_FIELDS = {
  asNumber: true,
  nodeToNodeMeshEnabled: true,
  listenPort: true,
  serviceClusterIPs: true,
  serviceExternalIPs: true,
  serviceLoadBalancerIPs: true,
  serviceLoadBalancerAggregation: true,
  communities: true,
  prefixAdvertisements: true,
  nodeMeshPassword: true,
  nodeMeshMaxRestartTime: true,
  logSeverityScreen: "is for BIRD's log",
  bindMode: "is for BIRD's socket: the speaker listens on all addresses",
  ignoredInterfaces: "is for BIRD, which reads routes from interfaces",
  ipv4NormalRoutePriority: "is for BIRD's kernel routes",
  ipv6NormalRoutePriority: "is for BIRD's kernel routes",
  localWorkloadPeeringIPV4: "asks for peering with pods, which is not supported",
  localWorkloadPeeringIPV6: "asks for peering with pods, which is not supported",
} as const;

/** The parts of a snapshot that plans are calculated from: while these are the same objects, so is the plan. */
export function bgpParts(snapshot: ClusterSnapshot): readonly unknown[] {
  const kinds = ["BGPConfiguration", "BGPPeer", "BGPFilter", "IPPool"].flatMap((kind) => [
    `projectcalico.org/v3/${kind}`,
    `crd.projectcalico.org/v1/${kind}`,
  ]);
  const others = [...kinds, "operator.tigera.io/v1/Installation"].map((kind) => snapshot.others.get(kind));
  return [snapshot.nodes, snapshot.services, snapshot.endpointSlices, ...others];
}

/** What a node has to do with BGP; undefined where the node is not known or has no address. Pure. */
export function planBgp(snapshot: ClusterSnapshot, facts: BgpFacts): BgpPlan | undefined {
  const remarks = new Set<string>();
  const remark = (text: string) => void remarks.add(text);
  const configuration = configurationOf(snapshot, facts.node, remark);
  const { spec = {} } = configuration ?? {};
  const localAs = asNumberOf(spec.asNumber);
  if (spec.asNumber !== undefined && localAs === undefined)
    remark(`BGPConfiguration ${configuration?.name}: asNumber ${JSON.stringify(spec.asNumber)} is no AS number; ${DEFAULT_AS} is taken`);
  const nodes = bgpNodes(snapshot, localAs ?? DEFAULT_AS);
  const self = nodes.get(facts.node);
  if (!self) return undefined;
  for (const each of self.remarks) remark(each);
  const families = familiesOf(snapshot, facts.prefixes);
  const listenPort = numberOf(spec.listenPort, 1, 65535) ?? DEFAULT_PORT;
  const secrets = new Set<string>();
  const context: NeighbourContext = {
    self,
    nodes,
    families,
    port: listenPort,
    filters: new Map(objectsOfKind(snapshot, "BGPFilter").map((filter) => [filter.name, filter])),
    secret(key) {
      if (key.name !== "") secrets.add(key.name);
      return facts.secret(key);
    },
    remark,
  };
  const neighbours = oneByAddress(
    [...objectsOfKind(snapshot, "BGPPeer").flatMap((peer) => peerNeighbours(peer, context)), ...meshNeighbours(configuration, context)],
    remark,
  );
  const { ranges, remarks: rangeRemarks } = serviceRanges(configuration);
  const communities = communitiesByPrefix(configuration);
  for (const each of [...rangeRemarks, ...communities.remarks]) remark(each);
  const services = servicePrefixes(snapshot, facts.node, ranges);
  const prefixes = [...new Set([...exportable(snapshot, facts.prefixes), ...services])].sort();
  for (const { peer, withheld } of neighbours) if (withheld !== undefined) remark(`neighbour ${peer.name}: ${withheld}`);
  const { 4: v4, 6: v6 } = self.addresses;
  return {
    localAs: self.as,
    routerId: v4 ?? routerIdOf(facts.node),
    clusterId: self.clusterId,
    listenPort,
    families,
    addresses: { ...(v4 === undefined ? {} : { v4 }), ...(v6 === undefined ? {} : { v6 }) },
    neighbours,
    peers: neighbours.filter(({ withheld }) => withheld === undefined).map(({ peer }) => peer),
    bfd: neighbours.flatMap(({ peer, bfd }) => (bfd ? [{ address: peer.address, ...bfd }] : [])),
    routes: prefixes.map((prefix) => {
      const attributes = communities.of(prefix);
      return attributes ? { prefix, attributes } : { prefix };
    }),
    secrets: [...secrets].sort(),
    reaching: neighbours.flatMap(reachingRoute),
    notForKernel: [...ranges.cluster, ...ranges.external, ...ranges.loadBalancer],
    follows: sayFollowed({ self, port: listenPort, neighbours, services, configuration }),
    remarks: [...remarks],
  };
}

interface Followed {
  readonly self: BgpNode;
  readonly port: number;
  readonly neighbours: readonly Neighbour[];
  readonly services: readonly string[];
  readonly configuration: BgpObject | undefined;
}

function sayFollowed({ self, port, neighbours, services, configuration }: Followed): string[] {
  const counts = new Map<string, number>();
  for (const { owner, kind } of neighbours) {
    const who = kind === "node-to-node mesh" ? "the mesh of nodes" : owner;
    counts.set(who, (counts.get(who) ?? 0) + 1);
  }
  const reflector = self.clusterId === undefined ? "" : `, reflector of cluster ${self.clusterId}`;
  const prefixes = listOf(configuration?.spec.prefixAdvertisements).length;
  return [
    `BGP: AS ${self.as}, port ${port}${reflector}`,
    ...[...counts].map(([who, count]) => `BGP: ${count} neighbour${count === 1 ? "" : "s"} by ${who}`),
    ...(services.length > 0 ? [`BGP: announces Services: ${services.join(", ")}`] : []),
    ...(prefixes > 0 ? [`BGP: communities for ${prefixes} prefix${prefixes === 1 ? "" : "es"}`] : []),
  ];
}

/** Whether a learned route belongs into the kernel. */
export function isForKernel(plan: BgpPlan, prefix: string): boolean {
  const parsed = tryParsePrefix(prefix);
  if (!parsed) return false;
  return !plan.notForKernel.some((range) => prefixContains(parsePrefix(range), parsed) && parsed.length >= parsePrefix(range).length);
}

/** "default", with what "node.NAME" says of this node in its place. */
function configurationOf(snapshot: ClusterSnapshot, node: string, remark: (text: string) => void): BgpObject | undefined {
  const all = objectsOfKind(snapshot, "BGPConfiguration");
  const base = all.find(({ name }) => name === "default");
  const own = all.find(({ name }) => name === `node.${node}`);
  for (const object of all) {
    if (object === base || object === own) for (const each of unknownFields(object, CONFIGURATION_FIELDS)) remark(each);
    else if (!object.name.startsWith("node.")) remark(`BGPConfiguration ${object.name}: only "default" and "node.NAME" are followed`);
  }
  if (!own) return base;
  // What both ends must agree on stays the cluster's.
  const { nodeToNodeMeshEnabled: _, nodeMeshPassword: __, nodeMeshMaxRestartTime: ___, ...rest } = own.spec;
  return { ...own, spec: { ...base?.spec, ...rest }, annotations: { ...base?.annotations, ...own.annotations } };
}

/** One session for an address: a node's own peer goes before one for all, and both before the mesh. */
function oneByAddress(neighbours: readonly Neighbour[], remark: (text: string) => void): Neighbour[] {
  const ranks = { "node specific": 0, global: 1, "node-to-node mesh": 2 } as const;
  const kept = new Map<string, Neighbour>();
  for (const each of [...neighbours].sort((a, b) => ranks[a.kind] - ranks[b.kind])) {
    const first = kept.get(each.peer.address);
    if (!first) kept.set(each.peer.address, each);
    else if (each.kind !== "node-to-node mesh" && each.owner !== first.owner)
      remark(`${each.owner}: ${first.owner} has a session with ${each.peer.address} already; this one is left out`);
  }
  return [...kept.values()].sort((a, b) => (a.peer.name < b.peer.name ? -1 : 1));
}

/** A router id for a node without an IPv4 address, from its name (FNV-1a); never zero. */
function routerIdOf(name: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  const id = hash || 1;
  return [id >>> 24, (id >>> 16) & 255, (id >>> 8) & 255, id & 255].join(".");
}

/** The families that pods may have addresses of: those of the pools and of what is announced. */
function familiesOf(snapshot: ClusterSnapshot, prefixes: readonly string[]): Family[] {
  const pools = objectsOfKind(snapshot, "IPPool").map(({ spec }) => spec.cidr);
  const installed = [...(snapshot.others.get("operator.tigera.io/v1/Installation")?.values() ?? [])].flatMap((installation) => {
    const { calicoNetwork } = fieldsOf((installation as { readonly spec?: unknown }).spec);
    return listOf(fieldsOf(calicoNetwork).ipPools).map((pool) => fieldsOf(pool).cidr);
  });
  const all = [...pools, ...installed, ...prefixes].filter((cidr) => typeof cidr === "string");
  const found = ([4, 6] as const).filter((family) => all.some((cidr) => familyOf(cidr) === family));
  return found.length > 0 ? found : [4];
}
