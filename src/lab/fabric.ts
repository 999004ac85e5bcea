// The lab's underlay: an island of namespaces that stands for the network between the machines of a cluster.
//
//   outside (198.51.100.10) ── router ──┬── underlay-0 (bridge) ── node-1, node-2, …   10.112.0.0/24
//                              (.1 each │
//                       and upstream DNS)└── underlay-1 (bridge) ── node-3, …           10.112.1.0/24
//
// Every piece is a network namespace that the daemon holds by a descriptor: when the daemon ends, however it ends,
// the kernel takes the fabric down.
import { FairleadError, formatAddress, formatPrefix, parseAddress, parsePrefix } from "../base/index.ts";
import type { Kernel, NetworkNamespace } from "../kernel/index.ts";

export interface FabricOptions {
  readonly subnets: number;
  /** MTU of the underlay's devices, in bytes. */
  readonly mtu: number;
}

/** Where one node stands in the underlay. */
export interface NodePlace {
  readonly name: string;
  readonly subnet: number;
  /** "10.112.0.51/24" and "fd00:112::51/64" */
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
}

/** Names and addresses of the lab's fixed points; those of the guide where it has them. */
export const FABRIC = {
  nodeLink: "ens160",
  firstNode: 51,
  maxNodesPerSubnet: 200,
  upstreamDns: "10.112.0.1",
  outside: { link: "eth0", addresses: ["198.51.100.10/24", "2001:db8:64::10/64"], gateways: ["198.51.100.1", "2001:db8:64::1"] },
  apiServer: "10.112.0.2",
  /** Addresses of load balancers: in the first underlay subnet, below the nodes'. */
  balancers: ["10.112.0.10-10.112.0.49", "fd00:112::ff00-fd00:112::ffff"],
} as const;

/** node-1, node-2, … */
export function nodeNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `node-${index + 1}`);
}

/** Spreads nodes over subnets, round robin. @throws FairleadError `too-many-nodes` */
export function placeNodes(names: readonly string[], subnets: number): NodePlace[] {
  if (names.length > subnets * FABRIC.maxNodesPerSubnet) {
    throw new FairleadError(
      "too-many-nodes",
      `${names.length} nodes do not fit into ${subnets} underlay subnet${subnets === 1 ? "" : "s"} of ${FABRIC.maxNodesPerSubnet}`,
      {
        remedy: `raise --subnets to ${Math.ceil(names.length / FABRIC.maxNodesPerSubnet)}`,
      },
    );
  }
  return names.map((name, index) => {
    const subnet = index % subnets;
    const host = FABRIC.firstNode + Math.floor(index / subnets);
    return {
      name,
      subnet,
      addresses: [`10.112.${subnet}.${host}/24`, formatPrefix(parsePrefix(`fd00:112:0:${subnet.toString(16)}::${host}/64`))],
      gateways: [`10.112.${subnet}.1`, formatAddress(parseAddress(`fd00:112:0:${subnet.toString(16)}::1`))],
    };
  });
}

export interface Fabric {
  readonly router: NetworkNamespace;
  readonly outside: NetworkNamespace;
  /** Makes a node's namespace and plugs it into its subnet. */
  addNode(place: NodePlace): NetworkNamespace;
  close(): void;
}

/** Raises router, bridges and outside client. */
export function createFabric(kernel: Kernel, options: FabricOptions): Fabric {
  const held: NetworkNamespace[] = [];
  const make = () => {
    const namespace = kernel.createNamespace();
    held.push(namespace);
    // A device's link-local address counts at once: until it does, the kernel solicits no neighbour for forwarded packets.
    namespace.writeSysctl("net.ipv6.conf.default.accept_dad", "0");
    return namespace;
  };
  const router = make();
  forward(router);
  const underlays = Array.from({ length: options.subnets }, (_, subnet) => {
    const underlay = make();
    underlay.apply({ op: "add", link: { name: "br0", kind: { type: "bridge" }, mtu: options.mtu, up: true } });
    const link = `subnet${subnet}`;
    router.addVethPair(
      { name: link, mtu: options.mtu, up: true },
      { name: "router", namespace: underlay, mtu: options.mtu, master: "br0", up: true },
    );
    for (const address of [`10.112.${subnet}.1/24`, `fd00:112:0:${subnet.toString(16)}::1/64`]) addAddress(router, link, address);
    return underlay;
  });
  addAddress(router, "subnet0", `${FABRIC.apiServer}/32`);

  const outside = make();
  router.addVethPair({ name: "outside", up: true }, { name: FABRIC.outside.link, namespace: outside, up: true });
  for (const address of ["198.51.100.1/24", "2001:db8:64::1/64"]) addAddress(router, "outside", address);
  for (const address of FABRIC.outside.addresses) addAddress(outside, FABRIC.outside.link, address);
  for (const gateway of FABRIC.outside.gateways) addDefaultRoute(outside, gateway, FABRIC.outside.link);

  return {
    router,
    outside,
    addNode(place) {
      const underlay = underlays[place.subnet];
      if (!underlay) throw new FairleadError("no-such-subnet", `the fabric has no subnet ${place.subnet}`);
      const node = make();
      underlay.addVethPair(
        { name: place.name.slice(0, 15), mtu: options.mtu, master: "br0", up: true },
        { name: FABRIC.nodeLink, namespace: node, mtu: options.mtu, up: true },
      );
      for (const address of place.addresses) addAddress(node, FABRIC.nodeLink, address);
      for (const gateway of place.gateways) addDefaultRoute(node, gateway, FABRIC.nodeLink);
      return node;
    },
    close() {
      for (const namespace of held.reverse()) namespace.close();
    },
  };
}

function forward(namespace: NetworkNamespace): void {
  namespace.writeSysctl("net.ipv4.ip_forward", "1");
  namespace.writeSysctl("net.ipv6.conf.all.forwarding", "1");
}

function addAddress(namespace: NetworkNamespace, link: string, address: string): void {
  namespace.apply({ op: "add", address: { link, address, nodad: true } });
}

function addDefaultRoute(namespace: NetworkNamespace, via: string, link: string): void {
  const family = via.includes(":") ? 6 : 4;
  namespace.apply({
    op: "add",
    route: {
      family,
      destination: family === 4 ? "0.0.0.0/0" : "::/0",
      type: "unicast",
      nexthops: [{ via, link }],
      table: 254,
      protocol: 4,
    },
  });
}
