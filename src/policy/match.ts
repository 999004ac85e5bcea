// Whether a rule matches one packet, by calculation: its two sides, and what the packet carries.
import { familyOf, PORT_PROTOCOLS, parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Pod } from "../resources/index.ts";
import { endPoints } from "./end-points.ts";
import type { ResolvedEnd } from "./ends.ts";
import type { EntityPeer, HostPlace, IcmpMatch, NameBook, Peer, PortMatch, Rule, Side, Traffic } from "./rules.ts";
import { selects, selectsEnd } from "./selection.ts";
import { serviceEnds } from "./service-ends.ts";

/** One packet at one place of enforcement. */
export interface Flow {
  readonly snapshot: ClusterSnapshot;
  readonly names: NameBook;
  /** The node that enforces: what the entity "host" means. */
  readonly node: string | undefined;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** IANA's number. */
  readonly protocol: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Hears each question (decide.ts) that is asked about the packet, in order; for who explains. */
  readonly hear?: (question: object) => void;
}

interface FlowEnd {
  readonly end: ResolvedEnd;
  /** Unknown where a pod has no address yet. */
  readonly address: string | undefined;
  readonly port: number | undefined;
}

/** The protocols that have ports, and those whose ports Kubernetes can name. */
export const WITH_PORTS: readonly number[] = [6, 17, 132, 136];

export type RulePart = "application" | "family" | "traffic" | "source" | "destination";

/** Whether every part of the rule holds. */
export function ruleMatches(rule: Rule, flow: Flow): boolean {
  return missingPart(rule, flow) === undefined;
}

/** The first part of the rule that does not hold. */
export function missingPart(rule: Rule, flow: Flow): RulePart | undefined {
  // What the application says is not seen here: such a rule allows nothing, and denies what it might mean.
  if (rule.application && rule.action !== "deny") return "application";
  if (rule.family !== undefined && familyOfFlow(flow) !== rule.family) return "family";
  if (rule.traffic !== "any" && !rule.traffic.some((each) => trafficMatches(each, flow))) return "traffic";
  if (!sideHolds(rule.source, flow, flow.source)) return "source";
  return sideHolds(rule.destination, flow, flow.destination) ? undefined : "destination";
}

function familyOfFlow({ source, destination }: Flow): 4 | 6 | undefined {
  const address = destination.address ?? source.address;
  return address === undefined ? undefined : familyOf(address);
}

function sideHolds(side: Side, flow: Flow, end: FlowEnd): boolean {
  return (
    side.within.every((any) => any.some((peer) => peerHolds(peer, flow, end))) && !side.except.some((peer) => peerHolds(peer, flow, end))
  );
}

/** Whether the peer is this end. */
export function peerHolds(peer: Peer, flow: Flow, { end, address, port }: FlowEnd): boolean {
  const { snapshot } = flow;
  switch (peer.kind) {
    case "ends":
      if (end.pod && selects(snapshot, peer, end.pod)) return true;
      if (address === undefined || !peer.kinds?.some((kind) => kind !== "pod")) return false;
      return endPoints(snapshot)
        .ofKinds(peer.kinds)
        .some((each) => each.blocks.some((block) => contains(block, address)) && selectsEnd(snapshot, peer, each));
    case "cidr":
      return address !== undefined && contains(peer.cidr, address) && !peer.except.some((hole) => contains(hole, address));
    case "service":
      if (address === undefined) return false;
      return serviceEnds(snapshot, peer).some(
        (each) => each.address === address && (!peer.ports || (each.protocol === flow.protocol && each.port === port)),
      );
    case "names":
      return address !== undefined && peer.patterns.some((pattern) => flow.names.addressesOf(pattern).includes(address));
    case "entity":
      return entityHolds(peer.entity, flow, end, address);
  }
}

function entityHolds(entity: EntityPeer["entity"], flow: Flow, end: ResolvedEnd, address: string | undefined): boolean {
  switch (entity) {
    case "all":
      return true;
    case "cluster":
      return end.pod !== undefined || end.node !== undefined;
    case "world":
      return end.pod === undefined && end.node === undefined;
    case "host":
      return end.node !== undefined && end.node === flow.node;
    case "remote-node":
      return end.node !== undefined && end.node !== flow.node;
    case "kube-apiserver":
      return (
        address !== undefined &&
        serviceEnds(flow.snapshot, { namespace: "default", name: "kubernetes" }).some((each) => each.address === address)
      );
  }
}

function contains(block: string, address: string): boolean {
  return prefixContains(parsePrefix(block), parseAddress(address));
}

function trafficMatches(traffic: Traffic, flow: Flow): boolean {
  const { protocol, icmp } = flow;
  if (traffic.protocol !== undefined && traffic.protocol !== protocol) return false;
  if (traffic.notProtocol === protocol) return false;
  const portIn = (ports: readonly PortMatch[], end: FlowEnd) => ports.some((port) => portHolds(port, flow, end));
  const ported = WITH_PORTS.includes(protocol);
  if (traffic.ports && !portIn(traffic.ports, flow.destination)) return false;
  if (traffic.notPorts && !(ported && !portIn(traffic.notPorts, flow.destination))) return false;
  if (traffic.sourcePorts && !portIn(traffic.sourcePorts, flow.source)) return false;
  if (traffic.notSourcePorts && !(ported && !portIn(traffic.notSourcePorts, flow.source))) return false;
  if (traffic.icmp && !(icmp && icmpHolds(traffic.icmp, icmp))) return false;
  return !traffic.notIcmp || (icmp !== undefined && !icmpHolds(traffic.notIcmp, icmp));
}

function icmpHolds(match: IcmpMatch, icmp: { readonly type: number; readonly code: number }): boolean {
  return match.type === icmp.type && (match.code === undefined || match.code === icmp.code);
}

function portHolds(match: PortMatch, { snapshot, protocol }: Flow, { end, address, port }: FlowEnd): boolean {
  if (!WITH_PORTS.includes(protocol)) return false;
  if ("name" in match) {
    if (port === undefined) return false;
    if (end.pod) return namedPorts(end.pod, protocol, match.name).includes(port);
    return endPoints(snapshot)
      .ofKinds(["host"])
      .some(
        ({ host }) => address !== undefined && host?.addresses.includes(address) && hostPorts(host, protocol, match.name).includes(port),
      );
  }
  if (match.from === 0 && match.to === 65535) return true;
  return port !== undefined && port >= match.from && port <= match.to;
}

/** The numbers that a name has on a host end point for a protocol. */
export function hostPorts({ ports }: HostPlace, protocol: number, name: string): number[] {
  return ports.filter((port) => port.name === name && port.protocol === protocol).map(({ port }) => port);
}

/** The numbers that a name has on a pod for a protocol; sidecars among the init containers count. */
export function namedPorts(pod: Pod, protocol: number, name: string): number[] {
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter((each) => each.restartPolicy === "Always")];
  const ports = containers.flatMap((container) => container.ports ?? []);
  return ports
    .filter((port) => port.name === name && PORT_PROTOCOLS.get(port.protocol ?? "TCP") === protocol)
    .map((port) => port.containerPort);
}
