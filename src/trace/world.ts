// The cluster as a trace walks it: the KernelStates of its nodes and pods, and which device is wired to which.
import { addressBits, familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { hostLinkName, macOf, podCidrs } from "../datapath/overlay/index.ts";
import { caliName, readNode } from "../datapath/routed/index.ts";
import {
  EMPTY_STATE,
  type KernelState,
  type Link,
  MAIN_TABLE,
  mergeStates,
  type NftTable,
  ROUTE_PROTOCOL,
  type Route,
} from "../kernel/index.ts";
import { type NodeFacts, type NodePlan, nodeSettings, type PodAttachment, planNode } from "../plan/index.ts";
import { type DnsAnswers, joinBooks, type NameBook, NO_NAMES, nameBook } from "../policy/index.ts";
import { assumedTunnels, withBlocks } from "./blocks.ts";
import { type Node, podAddressesOf } from "./objects.ts";

/** One network namespace on the way. */
export interface Place {
  /** The node's name, or "outside". */
  readonly node: string;
  /** "node", "pod production/api-1" or "outside". */
  readonly namespace: string;
  readonly state: KernelState;
}

/** One end of a wire. */
export interface Port {
  readonly place: Place;
  readonly link: Link;
}

export interface World {
  readonly outside: Place;
  node(name: string): Place | undefined;
  /** By "namespace/name"; a host-network pod is its node's place. */
  pod(key: string): Place | undefined;
  /** What a device is plugged into: the other end of a veth. */
  peer(place: Place, link: string): Port | undefined;
  /** The node that holds an address on its underlay device. */
  onUnderlay(address: string): Port | undefined;
  /** What the nodes' pods were answered about DNS names. */
  readonly names: NameBook;
}

/** What was read from one node's kernel: its own namespace, and its pods' by "namespace/name". */
interface NodeObservation {
  readonly kernel: KernelState;
  readonly pods: Readonly<Record<string, KernelState | { readonly error: string }>>;
  readonly dnsAnswers?: DnsAnswers;
}

/** What was read from nodes' kernels, by node name. */
export type Observation = Readonly<Record<string, NodeObservation>>;

/** Addresses of the client that stands outside the cluster (TEST-NET-2, RFC 5737; documentation prefix, RFC 3849). */
export const OUTSIDE = { 4: "198.51.100.10", 6: "2001:db8:64::10" } as const;

const UNDERLAY = { link: "ens160", mtu: 1500, length: { 4: 24, 6: 64 } } as const;

/** The world as it should be: every node's plan. */
export function desiredWorld(snapshot: ClusterSnapshot): World {
  return bothWorlds(snapshot).desired;
}

/** The world as it should be if there were no policies: the chains that the policy room writes let everything through. */
export function openWorld(snapshot: ClusterSnapshot): World {
  return bothWorlds(snapshot).open();
}

interface Worlds {
  readonly desired: World;
  readonly open: () => World;
}

const worlds = new WeakMap<ClusterSnapshot, Worlds>();

function bothWorlds(snapshot: ClusterSnapshot): Worlds {
  const known = worlds.get(snapshot);
  if (known) return known;
  const planned = withTunnelEnds(snapshot);
  const plans = [...snapshot.nodes.values()].map((node): Planned => {
    const facts = factsOf(planned, node);
    return { facts, plan: planNode(planned, facts) };
  });
  const build = (change: (table: NftTable) => NftTable): World => {
    const builder = new WorldBuilder();
    for (const { facts, plan } of plans) {
      const kernel = { ...plan.kernel, tables: plan.kernel.tables.map(change) };
      addDesired(builder, planned, { facts, plan: { ...plan, kernel } });
    }
    return builder.build();
  };
  const made: Worlds = { desired: build((table) => table), open: () => build(withoutPolicies) };
  worlds.set(snapshot, made);
  return made;
}

function withoutPolicies(table: NftTable): NftTable {
  return { ...table, chains: table.chains.map((chain) => (chain.name.startsWith("policy-") ? { ...chain, rules: [] } : chain)) };
}

interface Planned {
  readonly facts: NodeFacts;
  readonly plan: NodePlan;
}

/** The world as kernels hold it. Nodes that were not read are taken as they should be. */
export function observedWorld(snapshot: ClusterSnapshot, observation: Observation): World {
  const builder = new WorldBuilder();
  const planned = withTunnelEnds(snapshot);
  for (const node of snapshot.nodes.values()) {
    const observed = observation[node.metadata.name];
    if (observed) addObserved(builder, snapshot, node.metadata.name, observed);
    else {
      const facts = factsOf(planned, node);
      addDesired(builder, planned, { facts, plan: planNode(planned, facts) });
    }
  }
  return builder.build(joinBooks(Object.values(observation).flatMap(({ dnsAnswers }) => (dnsAnswers ? [nameBook(dnsAnswers)] : []))));
}

function addDesired(builder: WorldBuilder, snapshot: ClusterSnapshot, { facts, plan }: Planned): void {
  const name = facts.node;
  const place = builder.addNode(name, mergeStates(hostState(facts), plan.kernel));
  for (const attachment of facts.attachments) {
    const key = `${attachment.podNamespace}/${attachment.podName}`;
    const pod = builder.addPod(name, key, plan.pods.get(attachment.containerId) ?? EMPTY_STATE);
    builder.wire(place, attachment.hostLink, pod, attachment.interface);
  }
  addHostPods(builder, snapshot, name);
}

function addObserved(builder: WorldBuilder, snapshot: ClusterSnapshot, name: string, { kernel, pods }: NodeObservation): void {
  const place = builder.addNode(name, kernel);
  for (const [key, state] of Object.entries(pods)) {
    if ("error" in state) continue;
    const pod = builder.addPod(name, key, state);
    for (const link of state.links) {
      // Many pods have their eth0 at the same index: the pod tells which of the node's devices is its other end.
      const host =
        link.peerIndex === undefined ? undefined : kernel.links.find((each) => each.index === link.peerIndex && each.kind.type === "veth");
      if (host) builder.wire(place, host.name, pod, link.name);
    }
  }
  addHostPods(builder, snapshot, name);
}

function addHostPods(builder: WorldBuilder, snapshot: ClusterSnapshot, node: string): void {
  for (const pod of snapshot.pods.onNode(node))
    if (pod.spec.hostNetwork) builder.addHostPod(node, `${pod.metadata.namespace}/${pod.metadata.name}`);
}

class WorldBuilder {
  readonly #nodes = new Map<string, Place>();
  readonly #pods = new Map<string, Place>();
  readonly #wires = new Map<Place, Map<string, { readonly place: Place; readonly link: string }>>();

  addNode(name: string, state: KernelState): Place {
    const place = { node: name, namespace: "node", state };
    this.#nodes.set(name, place);
    return place;
  }

  addPod(node: string, key: string, state: KernelState): Place {
    const place = { node, namespace: `pod ${key}`, state };
    this.#pods.set(key, place);
    return place;
  }

  addHostPod(node: string, key: string): void {
    const place = this.#nodes.get(node);
    if (place) this.#pods.set(key, place);
  }

  wire(a: Place, aLink: string, b: Place, bLink: string): void {
    this.#end(a).set(aLink, { place: b, link: bLink });
    this.#end(b).set(bLink, { place: a, link: aLink });
  }

  #end(place: Place): Map<string, { readonly place: Place; readonly link: string }> {
    const ends = this.#wires.get(place) ?? new Map();
    this.#wires.set(place, ends);
    return ends;
  }

  build(names: NameBook = NO_NAMES): World {
    const outside = outsidePlace();
    const underlay = new Map<string, Port>();
    for (const place of [...this.#nodes.values(), outside])
      for (const { link: name, address } of place.state.addresses) {
        const link = place.state.links.find((each) => each.name === name);
        if (link?.kind.type === "physical" || (link?.kind.type === "veth" && !link.master))
          underlay.set(address.replace(/\/.*/, ""), { place, link });
      }
    return {
      outside,
      node: (name) => this.#nodes.get(name),
      pod: (key) => this.#pods.get(key),
      peer: (place, name) => {
        const other = this.#wires.get(place)?.get(name);
        const link = other?.place.state.links.find((each) => each.name === other.link);
        return other && link ? { place: other.place, link } : undefined;
      },
      onUnderlay: (address) => underlay.get(address),
      names,
    };
  }
}

function outsidePlace(): Place {
  const link = "eth0";
  return {
    node: "outside",
    namespace: "outside",
    state: {
      ...EMPTY_STATE,
      links: [{ name: link, kind: { type: "physical" }, mtu: 1500, up: true }],
      addresses: [
        { link, address: `${OUTSIDE[4]}/24` },
        { link, address: `${OUTSIDE[6]}/64` },
      ],
      routes: defaultRoutes(link),
    },
  };
}

/** What a host has before Fairlead comes: its device, its addresses, and a way out. */
function hostState({ underlay }: NodeFacts): KernelState {
  return {
    ...EMPTY_STATE,
    links: [{ name: underlay.link, kind: { type: "physical" }, mtu: underlay.mtu, up: true }],
    addresses: underlay.addresses.map((address) => ({ link: underlay.link, address })),
    routes: defaultRoutes(underlay.link),
  };
}

function defaultRoutes(link: string): Route[] {
  return [4, 6].map((family) => ({
    family: family === 4 ? 4 : 6,
    destination: family === 4 ? "0.0.0.0/0" : "::/0",
    type: "unicast",
    nexthops: [{ link }],
    table: MAIN_TABLE,
    protocol: ROUTE_PROTOCOL.static,
  }));
}

function factsOf(snapshot: ClusterSnapshot, node: Node): NodeFacts {
  const { name } = node.metadata;
  const addresses = (node.status?.addresses ?? [])
    .filter(({ type }) => type === "InternalIP")
    .map(({ address }) => `${address}/${UNDERLAY.length[familyOf(address)]}`);
  const { network } = nodeSettings(snapshot, name);
  const routed = network === "routed";
  const lengths = new Map(podCidrs(node).map((cidr) => [familyOf(cidr), cidr.replace(/.*\//, "")]));
  const attachments = [...snapshot.pods.onNode(name)].flatMap((pod): PodAttachment[] => {
    const { namespace: podNamespace = "default", name: podName } = pod.metadata;
    const own = podAddressesOf(pod);
    if (pod.spec.hostNetwork || own.length === 0) return [];
    const containerId = pod.metadata.uid ?? `${podNamespace}/${podName}`;
    return [
      {
        containerId,
        interface: "eth0",
        podNamespace,
        podName,
        netns: "",
        hostLink: routed ? caliName(containerId, "eth0") : hostLinkName(containerId, "eth0"),
        mac: macOf(`${containerId}/eth0`),
        addresses: own.map((address) => {
          const family = familyOf(address);
          return `${address}/${routed ? addressBits(family) : (lengths.get(family) ?? (family === 4 ? "24" : "64"))}`;
        }),
      },
    ];
  });
  return { node: name, underlay: { link: UNDERLAY.link, mtu: UNDERLAY.mtu, addresses }, attachments, ...vtepOf(node) };
}

function vtepOf(node: Node): { readonly vtepMac?: string } {
  const mac = /"VtepMAC":"([^"]+)"/.exec(node.metadata.annotations?.["flannel.alpha.coreos.com/backend-data"] ?? "")?.[1];
  return mac === undefined ? {} : { vtepMac: mac.toLowerCase() };
}

/** Nodes of manifests have not told each other their tunnel ends: they get those that they would tell. */
function withTunnelEnds(given: ClusterSnapshot): ClusterSnapshot {
  const snapshot = withBlocks(given);
  const nodes = [...snapshot.nodes.values()];
  const told = nodes.map((node): Node => {
    const facts = factsOf(snapshot, node);
    const routed = nodeSettings(snapshot, node.metadata.name).network === "routed";
    const plan = planNode(snapshot, {
      ...facts,
      // What an overlay's node tells does not depend on its pods.
      attachments: routed ? facts.attachments : [],
      tunnels: { ...assumedTunnels(snapshot, node.metadata.name), ...readNode(node).tunnels },
    });
    const annotations = Object.fromEntries(
      Object.entries(plan.annotations).flatMap(([key, value]) => (value === null ? [] : [[key, value]])),
    );
    return { ...node, metadata: { ...node.metadata, annotations: { ...annotations, ...node.metadata.annotations } } };
  });
  if (
    nodes.every(
      (node, index) => Object.keys(told[index]?.metadata.annotations ?? {}).length === Object.keys(node.metadata.annotations ?? {}).length,
    )
  )
    return snapshot;
  const byName = new Map(told.map((node) => [node.metadata.name, node]));
  const list = [...byName.values()];
  const inNamespace = (namespace: string) => (namespace === "" ? list : []);
  const nodesPart = { size: byName.size, get: (key: string) => byName.get(key), values: () => list, namespaceNames: () => [""] };
  return { ...snapshot, nodes: { ...nodesPart, inNamespace, list: inNamespace, changedSince: () => undefined } };
}
