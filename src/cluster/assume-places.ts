// A node and addresses for each pod of a cluster that is assumed.
import { addressAt, type Family, familyOf, formatAddress, type IpPrefix, prefixSize, tryParsePrefix } from "../base/index.ts";
import { hostPorts, type Node, type Pod, whyNotOn } from "../resources/index.ts";

/** The node itself has the first address of its share. */
const FIRST_POD = 2n;

interface Place {
  readonly node: Node;
  readonly shares: readonly IpPrefix[];
  readonly next: Map<Family, bigint>;
  readonly ports: Set<string>;
  readonly byOwner: Map<string, number>;
  pods: number;
}

/** The pods with a node (the one with the fewest siblings, then the fewest pods), addresses, and the state of a pod that runs. */
export function placePods(pods: readonly Pod[], nodes: readonly Node[]): Pod[] {
  const places = nodes.map(placeOn);
  const byName = new Map(places.map((place) => [place.node.metadata.name, place]));
  const taken = new Set(pods.flatMap((pod) => addressesOf(pod)));
  // Those that have their node already count before any other is placed.
  for (const pod of pods) {
    const place = pod.spec.nodeName === undefined || isFinished(pod) ? undefined : byName.get(pod.spec.nodeName);
    if (place) settle(place, pod);
  }
  return pods.map((pod) => {
    if (isFinished(pod) || addressesOf(pod).length > 0) return pod;
    let place = pod.spec.nodeName === undefined ? undefined : byName.get(pod.spec.nodeName);
    if (pod.spec.nodeName === undefined) {
      place = choose(pod, places);
      if (place) settle(place, pod);
    }
    if (!place) return pending(pod, undefined);
    const ips = pod.spec.hostNetwork ? nodeAddresses(place.node) : take(place, taken);
    return ips.length === 0 ? pending(pod, place.node) : running(pod, place.node, ips);
  });
}

function placeOn(node: Node): Place {
  const shares = (node.spec?.podCIDRs ?? []).flatMap((cidr) => tryParsePrefix(cidr) ?? []);
  return { node, shares, next: new Map(), ports: new Set(), byOwner: new Map(), pods: 0 };
}

function settle(place: Place, pod: Pod): void {
  place.pods += 1;
  const owner = ownerOf(pod);
  place.byOwner.set(owner, (place.byOwner.get(owner) ?? 0) + 1);
  for (const port of hostPorts(pod.spec)) place.ports.add(port);
}

function choose(pod: Pod, places: readonly Place[]): Place | undefined {
  const owner = ownerOf(pod);
  const ports = hostPorts(pod.spec);
  let best: Place | undefined;
  for (const place of places) {
    const order = best === undefined ? -1 : (place.byOwner.get(owner) ?? 0) - (best.byOwner.get(owner) ?? 0) || place.pods - best.pods;
    if (order >= 0) continue;
    if (whyNotOn(place.node, pod.spec) === undefined && !ports.some((port) => place.ports.has(port))) best = place;
  }
  return best;
}

function ownerOf(pod: Pod): string {
  const owner = pod.metadata.ownerReferences?.find((reference) => reference.controller);
  return owner === undefined ? "" : `${pod.metadata.namespace}/${owner.kind}/${owner.name}`;
}

/** The next free address of each of the node's shares; those of a range that is used up are missing. */
function take(place: Place, taken: Set<string>): string[] {
  return place.shares.flatMap((share) => {
    // The last address of an IPv4 network is its broadcast address.
    const end = prefixSize(share) - (share.family === 4 ? 1n : 0n);
    for (let offset = place.next.get(share.family) ?? FIRST_POD; offset < end; offset++) {
      const address = formatAddress(addressAt(share, offset));
      place.next.set(share.family, offset + 1n);
      if (taken.has(address)) continue;
      taken.add(address);
      return [address];
    }
    return [];
  });
}

function nodeAddresses(node: Node): string[] {
  const own = (node.status?.addresses ?? []).flatMap(({ type, address }) => (type === "InternalIP" ? [address] : []));
  return own.filter((address, index) => own.findIndex((other) => familyOf(other) === familyOf(address)) === index);
}

function addressesOf(pod: Pod): string[] {
  const many = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  return many.length > 0 ? many : pod.status?.podIP ? [pod.status.podIP] : [];
}

function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** A pod that no node takes, or whose node has no address left. */
function pending(pod: Pod, node: Node | undefined): Pod {
  if (node) return { ...pod, spec: { ...pod.spec, nodeName: node.metadata.name }, status: { ...pod.status, phase: "Pending" } };
  const conditions = [{ type: "PodScheduled", status: "False", reason: "Unschedulable" } as const];
  return { ...pod, status: { ...pod.status, phase: "Pending", ...(pod.spec.nodeName === undefined ? { conditions } : {}) } };
}

function running(pod: Pod, node: Node, ips: readonly string[]): Pod {
  const hosts = nodeAddresses(node);
  const on = (type: string) => ({ type, status: "True" }) as const;
  return {
    ...pod,
    spec: { ...pod.spec, nodeName: node.metadata.name },
    status: {
      phase: "Running",
      conditions: [on("PodScheduled"), on("Initialized"), on("ContainersReady"), on("Ready")],
      podIP: ips[0] ?? "",
      podIPs: ips.map((ip) => ({ ip })),
      hostIP: hosts[0] ?? "",
      hostIPs: hosts.map((ip) => ({ ip })),
      containerStatuses: pod.spec.containers.map(({ name, image = "" }) => ({
        name,
        image,
        imageID: "",
        ready: true,
        started: true,
        restartCount: 0,
      })),
    },
  };
}
