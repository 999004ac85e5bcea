// The packet's way between two ends of a cluster, hop by hop, through the KernelStates of its nodes: desired ones or observed ones.
import { FairleadError, familyOf } from "../base/index.ts";
import { type ClusterSnapshot, type End, findEnd, nameOfEnd, parseTarget } from "../cluster/index.ts";
import { makePacket, type Packet, type Protocol } from "../kernel/index.ts";
import type { Node, Pod } from "../resources/index.ts";
import type { Hop, TraceResult } from "./hop.ts";
import { createNarrator } from "./narrate.ts";
import { podAddressesOf } from "./objects.ts";
import { type Ending, walkPacket } from "./walk.ts";
import { desiredWorld, OUTSIDE, type Place, type World } from "./world.ts";

export interface TraceOptions {
  readonly from: string;
  /** TO[:PORT] */
  readonly to: string;
  readonly protocol: "tcp" | "udp" | "icmp";
  /** Where the packet walks; what is desired if absent. */
  readonly world?: World;
}

/** Traces one connection's first packet. @throws FairleadError `no-such-end`, `no-port`, `no-address`, `no-such-place` */
export function trace(snapshot: ClusterSnapshot, options: TraceOptions): TraceResult {
  const world = options.world ?? desiredWorld(snapshot);
  const target = parseTarget(options.to);
  const to = findEnd(snapshot, target.end);
  const from = findEnd(snapshot, options.from);
  const family = to.kind === "address" ? familyOf(to.address) : 4;
  const packet = makePacket({
    source: addressOf(snapshot, from, family),
    destination: addressOf(snapshot, to, family),
    protocol: protocolOf(options.protocol, family),
    destinationPort: options.protocol === "icmp" ? 0 : portOf(to, target.port, options),
  });
  const narrator = createNarrator(snapshot, world.names);
  const { hops, ending, doubts } = walkPacket(world, { place: placeOf(snapshot, world, from), packet }, narrator);
  return { ...resultOf(snapshot, hops, ending), ...(doubts.length === 0 ? {} : { doubts }) };
}

function resultOf(snapshot: ClusterSnapshot, hops: readonly Hop[], ending: Ending): TraceResult {
  if (ending.kind !== "delivered") return { verdict: ending.kind, reason: ending.reason, remedy: ending.remedy, hops };
  const { place, packet } = ending;
  if (place.node === "outside")
    return {
      verdict: "delivered",
      reason: "the packet leaves the cluster",
      remedy: "",
      hops: delivered(hops, place, packet, "outside the cluster"),
    };
  const pod = snapshot.pods.byAddress(packet.destination);
  const policy = hops.findLast((hop) => hop.stage === "policy" && hop.decision === "allow");
  const name = pod ? `${pod.metadata.namespace}/${pod.metadata.name}` : place.node;
  const reason = policy?.says ?? `the packet reaches ${name}`;
  if (!pod || packet.protocol === "icmp" || packet.protocol === "ipv6-icmp")
    return { verdict: "delivered", reason, remedy: "", hops: delivered(hops, place, packet, pod ? name : `${place.node} itself`) };
  if (listens(pod, packet)) return { verdict: "delivered", reason, remedy: "", hops: delivered(hops, place, packet, name) };
  const says = `${name} declares no ${packet.protocol.toUpperCase()} port ${packet.destinationPort}: nobody listens`;
  return {
    verdict: "refused",
    reason: says,
    remedy: "compare the Service's targetPort with the container's ports",
    hops: [...hops, { node: place.node, namespace: place.namespace, stage: "deliver", decision: "refused", says }],
  };
}

function delivered(hops: readonly Hop[], { node, namespace }: Place, packet: Packet, whose: string): Hop[] {
  if (hops.at(-1)?.stage === "deliver") return [...hops];
  const port = packet.destinationPort === 0 ? "" : ` port ${packet.destinationPort}`;
  const says = `${whose}${port} gets it, from ${packet.source}`;
  return [...hops, { node, namespace, stage: "deliver", decision: "delivered", says }];
}

/** Whether a container of the pod declares the packet's port. */
export function listens(pod: Pod, packet: Pick<Packet, "protocol" | "destinationPort">): boolean {
  return [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].some((container) =>
    (container.ports ?? []).some(
      (port) => port.containerPort === packet.destinationPort && (port.protocol ?? "TCP").toLowerCase() === packet.protocol,
    ),
  );
}

function protocolOf(protocol: TraceOptions["protocol"], family: 4 | 6): Protocol {
  return protocol === "icmp" && family === 6 ? "ipv6-icmp" : protocol;
}

function placeOf(snapshot: ClusterSnapshot, world: World, end: End): Place {
  const found =
    end.kind === "pod"
      ? world.pod(nameOfEnd(end))
      : end.kind === "node"
        ? world.node(end.node.metadata.name)
        : end.kind === "address"
          ? (nodeAt(snapshot, world, end.address) ?? world.outside)
          : world.outside;
  if (!found)
    throw new FairleadError("no-such-place", `${nameOfEnd(end)} has no network yet`, { remedy: "is the pod running, and its node known?" });
  return found;
}

function nodeAt(snapshot: ClusterSnapshot, world: World, address: string): Place | undefined {
  for (const node of snapshot.nodes.values()) if (addressesOf(node).includes(address)) return world.node(node.metadata.name);
  return undefined;
}

function addressOf(snapshot: ClusterSnapshot, end: End, family: 4 | 6): string {
  const none = (): never => {
    throw new FairleadError("no-address", `${nameOfEnd(end)} has no IPv${family} address`);
  };
  switch (end.kind) {
    case "pod":
      return podAddress(end.pod, family) ?? none();
    case "service":
      return (
        (end.service.spec.clusterIPs ?? []).find((each) => each !== "None" && familyOf(each) === family) ??
        headless(snapshot, end, family) ??
        none()
      );
    case "node":
      return addressesOf(end.node).find((each) => familyOf(each) === family) ?? none();
    case "outside":
      return OUTSIDE[family];
    case "address":
      return end.address;
    case "name":
      return clusterName(snapshot, end.name, family) ?? none();
  }
}

/** The address behind a cluster name: NAME.NS.svc.… or NAME.NS. */
function clusterName(snapshot: ClusterSnapshot, name: string, family: 4 | 6): string | undefined {
  const [service, namespace] = name.split(".");
  const found = snapshot.services.get(`${namespace}/${service}`);
  return found ? addressOf(snapshot, { kind: "service", service: found }, family) : undefined;
}

function headless(snapshot: ClusterSnapshot, end: Extract<End, { kind: "service" }>, family: 4 | 6): string | undefined {
  for (const slice of snapshot.endpointSlices.ofService(end.service.metadata.namespace ?? "", end.service.metadata.name)) {
    for (const endpoint of slice.endpoints ?? []) {
      const found = endpoint.addresses.find((address) => familyOf(address) === family);
      if (found !== undefined && endpoint.conditions?.ready !== false) return found;
    }
  }
  return undefined;
}

function podAddress(pod: Pod, family: 4 | 6): string | undefined {
  return podAddressesOf(pod).find((ip) => familyOf(ip) === family);
}

function addressesOf(node: Node): string[] {
  return (node.status?.addresses ?? []).filter((each) => each.type !== "Hostname").map((each) => each.address);
}

function portOf(to: End, given: number | string | undefined, options: TraceOptions): number {
  if (typeof given === "number") return given;
  const protocol = options.protocol.toUpperCase();
  const declared =
    to.kind === "pod"
      ? to.pod.spec.containers
          .flatMap((container) => container.ports ?? [])
          .map((port) => ({ name: port.name, port: port.containerPort, protocol: port.protocol ?? "TCP" }))
      : to.kind === "service"
        ? (to.service.spec.ports ?? []).map((port) => ({ name: port.name, port: port.port, protocol: port.protocol ?? "TCP" }))
        : [];
  const found = declared.find((port) => port.protocol === protocol && (given === undefined || port.name === given));
  if (found) return found.port;
  if (to.kind === "outside") return 80;
  throw new FairleadError("no-port", `${nameOfEnd(to)} has no ${protocol} port${given === undefined ? "" : ` named "${given}"`}`, {
    remedy: `name one: ${options.to}:PORT`,
  });
}
