// The packet's way between two ends of a cluster, hop by hop, calculated from a snapshot: what is desired, not what a kernel holds.
import { FairleadError, familyOf, networkOf, parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import { type ClusterSnapshot, type End, findEnd, nameOfEnd, parseTarget } from "../cluster/index.ts";
import { podCidrs } from "../datapath/overlay/index.ts";
import type { Owner } from "../kernel/index.ts";
import { evaluatePolicies, type End as PolicyEnd } from "../policy/index.ts";
import type { Node, Pod } from "../resources/index.ts";
import { chooseEndpoints, type ServiceEntry, serviceTable } from "../services/index.ts";

/** One step of the way. */
export interface Hop {
  readonly node: string;
  /** "pod production/api-1", "node". */
  readonly namespace: string;
  readonly stage: "route" | "neighbour" | "fdb" | "hook" | "service" | "policy" | "encapsulate" | "deliver";
  readonly decision: string;
  readonly owner?: Owner;
  readonly says: string;
}

export interface TraceResult {
  readonly verdict: "delivered" | "dropped" | "rejected" | "refused" | "unroutable";
  readonly reason: string;
  readonly remedy: string;
  readonly hops: readonly Hop[];
}

export interface TraceOptions {
  readonly from: string;
  /** TO[:PORT] */
  readonly to: string;
  readonly protocol: "tcp" | "udp";
}

interface Place {
  readonly end: End;
  readonly address: string;
  readonly node: string;
  readonly namespace: string;
}

/** Traces one connection's first packet. @throws FairleadError `no-such-end`, `no-port`, `no-address` */
export function trace(snapshot: ClusterSnapshot, options: TraceOptions): TraceResult {
  const hops: Hop[] = [];
  const end = (verdict: TraceResult["verdict"], reason: string, remedy = ""): TraceResult => ({ verdict, reason, remedy, hops });
  const target = parseTarget(options.to);
  const to = findEnd(snapshot, target.end);
  const family = to.kind === "address" ? familyOf(to.address) : 4;
  const source = placeOf(snapshot, findEnd(snapshot, options.from), family);
  const port = portOf(to, target.port, options);
  const step = (place: { node: string; namespace: string }, stage: Hop["stage"], decision: string, says: string, owner?: Owner) =>
    hops.push({ node: place.node, namespace: place.namespace, stage, decision, says, ...(owner ? { owner } : {}) });

  let address = addressOf(snapshot, to, family);
  let destinationPort = port;
  if (source.end.kind === "pod")
    step(source, "route", "via cni0", `default route: the packet leaves the pod through its veth to the bridge cni0 of ${source.node}`);
  const entry = balanced(snapshot, address, port, options.protocol);
  const first = { node: source.node === "outside" ? nodeOfAddress(snapshot, address) : source.node, namespace: "node" };
  let masqueraded = false;
  if (entry) {
    const internal = entry.clusterIP === address;
    const choice = chooseEndpoints(entry, first.node, internal);
    const owner: Owner = { kind: "Service", namespace: entry.namespace, name: entry.name, rule: entry.portName };
    if ("refuse" in choice) {
      const why =
        choice.refuse === "reject" ? "has no ready end points" : `has no ready end point on ${first.node}, and its traffic policy is Local`;
      step(first, "service", choice.refuse, `Service ${entry.namespace}/${entry.name} port ${entry.portName} ${why}`, owner);
      return end(
        choice.refuse === "reject" ? "rejected" : "dropped",
        `Service ${entry.namespace}/${entry.name} ${why}`,
        "see its pods: does its selector match their labels, and are they ready?",
      );
    }
    const chosen = choice.use.find((point) => point.node === first.node) ?? choice.use[0];
    if (!chosen) return end("rejected", "the Service has no end point");
    const among = choice.use.length === 1 ? "its one end point" : `one of ${choice.use.length} end points`;
    step(
      first,
      "service",
      `to ${chosen.address}:${chosen.port}`,
      `${address}:${port} is Service ${entry.namespace}/${entry.name} port ${entry.portName}; the packet goes to ${among}, here ${chosen.pod ?? chosen.address}`,
      owner,
    );
    masqueraded = !internal && !entry.externalLocal;
    address = chosen.address;
    destinationPort = chosen.port;
  } else if (to.kind === "service" && to.service.spec.clusterIP !== "None") {
    step(
      first,
      "service",
      "reject",
      `${address} is the address of Service ${nameOfEnd(to)}, which has no ${options.protocol.toUpperCase()} port ${port}`,
    );
    return end(
      "rejected",
      `Service ${nameOfEnd(to)} has no port ${port}`,
      `its ports: ${(to.service.spec.ports ?? []).map((each) => each.port).join(", ")}`,
    );
  }

  const destination = placeOf(snapshot, endOfAddress(snapshot, address), familyOf(address));
  // Masquerade comes after the forward hook: only the next node sees the first one's address instead of the client's.
  const policyFrom: PolicyEnd = masqueraded && destination.node !== first.node ? { node: first.node } : policyEnd(source);
  const policy = evaluatePolicies(snapshot, {
    from: policyFrom,
    to: policyEnd(destination),
    protocol: options.protocol.toUpperCase() as "TCP" | "UDP",
    port: destinationPort,
  });
  const policyHops = (direction: "egress" | "ingress", place: { node: string; namespace: string }) => {
    for (const each of policy.steps.filter((candidate) => candidate.direction === direction)) {
      step(place, "policy", each.decision, each.says, { ...each.policy, ...(each.rule === undefined ? {} : { rule: each.rule }) });
    }
  };
  if (source.end.kind === "pod") policyHops("egress", first);
  if (policy.verdict === "deny" && policy.direction === "egress") return end("dropped", policy.says, remedyOf(policy.decidedBy, "egress"));

  if (destination.node === "outside") {
    if (source.end.kind === "pod") step(first, "hook", "masquerade", `the packet leaves the cluster with the address of ${first.node}`);
    step({ node: "outside", namespace: "outside" }, "deliver", "delivered", `${address}:${destinationPort} is outside the cluster`);
    return end("delivered", "the packet leaves the cluster");
  }
  const target2 = { node: destination.node, namespace: "node" };
  if (source.node === "outside" && !entry && destination.end.kind === "pod") {
    step({ node: "outside", namespace: "outside" }, "route", "no route", `the underlay knows no route to the pod address ${address}`);
    return end(
      "unroutable",
      `${address} is a pod's address, which the network outside the cluster does not know`,
      "reach the pod through a NodePort or LoadBalancer Service",
    );
  }
  if (destination.node !== first.node && destination.end.kind === "pod") {
    const cidr = podCidrs(snapshot.nodes.get(destination.node)).find((each) =>
      prefixContains(networkOf(parsePrefix(each)), parseAddress(address)),
    );
    step(
      first,
      "route",
      `${cidr ?? address} via flannel.1`,
      `${address} belongs to ${destination.node}: route ${cidr ?? "?"} leads into the tunnel device flannel.1`,
    );
    step(first, "encapsulate", "VXLAN", `wrapped into VXLAN (VNI 1, UDP 8472) to ${internalAddress(snapshot.nodes.get(destination.node))}`);
  } else if (destination.end.kind === "pod") step(first, "route", "cni0", `${address} is a pod of this node: over the bridge cni0`);
  policyHops("ingress", target2);
  if (policy.verdict === "deny") return end("dropped", policy.says, remedyOf(policy.decidedBy, "ingress"));
  if (destination.end.kind === "pod") {
    const listens = destination.end.pod.spec.containers.some((container) =>
      (container.ports ?? []).some((each) => each.containerPort === destinationPort),
    );
    step(
      destination,
      "deliver",
      listens ? "delivered" : "refused",
      listens
        ? `${nameOfEnd(destination.end)} serves port ${destinationPort}`
        : `${nameOfEnd(destination.end)} declares no port ${destinationPort}: nobody listens`,
    );
    if (!listens)
      return end(
        "refused",
        `nobody listens on port ${destinationPort} of ${nameOfEnd(destination.end)}`,
        "compare the Service's targetPort with the container's ports",
      );
  } else step(target2, "deliver", "delivered", `${address} is ${destination.node} itself`);
  return end("delivered", policy.says || `the packet reaches ${nameOfEnd(destination.end)}`);
}

function remedyOf(owner: Owner | undefined, direction: "ingress" | "egress"): string {
  if (!owner) return "";
  return `add a rule that lets this through: to ${owner.kind} ${owner.namespace === undefined ? "" : `${owner.namespace}/`}${owner.name}, or in another policy that selects the same pod (spec.${direction})`;
}

function policyEnd(place: Place): PolicyEnd {
  if (place.end.kind === "pod") return { pod: nameOfEnd(place.end) };
  if (place.end.kind === "node") return { node: place.end.node.metadata.name };
  return { address: place.address };
}

function balanced(snapshot: ClusterSnapshot, address: string, port: number, protocol: "tcp" | "udp"): ServiceEntry | undefined {
  const table = serviceTable(snapshot);
  const entry = table.lookup(address, protocol, port);
  if (entry) return entry;
  const isNode = [...snapshot.nodes.values()].some((node) => addressesOf(node).includes(address));
  return isNode ? table.nodePort(familyOf(address), protocol, port) : undefined;
}

const OUTSIDE = { 4: "198.51.100.10", 6: "2001:db8:64::10" } as const;

function placeOf(snapshot: ClusterSnapshot, end: End, family: 4 | 6): Place {
  const address = addressOf(snapshot, end, family);
  if (end.kind === "pod") return { end, address, node: end.pod.spec.nodeName ?? "", namespace: `pod ${nameOfEnd(end)}` };
  if (end.kind === "node") return { end, address, node: end.node.metadata.name, namespace: "node" };
  return { end, address, node: "outside", namespace: "outside" };
}

function endOfAddress(snapshot: ClusterSnapshot, address: string): End {
  const pod = snapshot.pods.byAddress(address);
  if (pod) return { kind: "pod", pod };
  for (const node of snapshot.nodes.values()) if (addressesOf(node).includes(address)) return { kind: "node", node };
  return { kind: "address", address };
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
  return pod.status?.podIPs?.map(({ ip }) => ip).find((ip) => familyOf(ip) === family);
}

function addressesOf(node: Node): string[] {
  return (node.status?.addresses ?? []).filter((each) => each.type !== "Hostname").map((each) => each.address);
}

function internalAddress(node: Node | undefined): string {
  return node ? (addressesOf(node)[0] ?? "?") : "?";
}

function nodeOfAddress(snapshot: ClusterSnapshot, address: string): string {
  for (const node of snapshot.nodes.values()) if (addressesOf(node).includes(address)) return node.metadata.name;
  return "outside";
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
