// The table of what Services must do: rows of {Service, end points, policies, source, destination, protocol} and who may
// answer, or how it is refused, and which address the pod sees.
//
// What is expected is written down here from Kubernetes' own words (Service, EndpointSlice, KEP-1669, KEP-2086), and knows
// nothing of how Fairlead calculates it.
import type { EndpointSlice, Service } from "../src/resources/index.ts";
import { type Place, type PodName, podAddress } from "./service-network.ts";
import { type EndpointSpec, service, slice } from "./service-objects.ts";

type NodeName = "node-1" | "node-2";
type Policy = "Cluster" | "Local";
type Target = "cluster" | "external" | "balancer" | "port at node-1" | "port at node-2";

/** What comes of a connection: pods that may answer, and whose address each sees; or a refusal. */
export type Outcome = { readonly pods: Readonly<Partial<Record<PodName, Place>>> } | "refused" | "dropped";

export interface Row {
  readonly says: string;
  readonly from: Place;
  readonly family: 4 | 6;
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly expect: Outcome;
}

const NODE_OF: Readonly<Record<PodName, NodeName>> = { a: "node-1", b: "node-1", d: "node-1", c: "node-2" };
const READY = {};
const UNREADY = { ready: false, serving: false };
/** Deleted, and its readiness probe still succeeds. */
const ENDING = { ready: false, serving: true, terminating: true };
const DEAF = { ready: false, serving: false, terminating: true };

type Condition = Omit<EndpointSpec, "address" | "node">;

/** End points, by name of what is special about them. */
const POINTS: Readonly<Record<string, { readonly points: Readonly<Partial<Record<PodName, Condition>>>; readonly publish?: boolean }>> = {
  "on both nodes": { points: { a: READY, c: READY } },
  "two on node-1": { points: { a: READY, b: READY } },
  "on node-2": { points: { c: READY } },
  nobody: { points: {} },
  "one is not ready": { points: { a: UNREADY, c: READY } },
  "one ends": { points: { a: ENDING, c: READY } },
  "all end": { points: { a: ENDING, b: DEAF, c: ENDING } },
  "all are deaf": { points: { a: DEAF, c: UNREADY } },
  "published though not ready": { points: { a: UNREADY, c: UNREADY }, publish: true },
  "three, one ends": { points: { a: READY, b: ENDING, c: READY } },
};

const POLICIES: readonly { readonly internal: Policy; readonly external: Policy }[] = [
  { internal: "Cluster", external: "Cluster" },
  { internal: "Cluster", external: "Local" },
  { internal: "Local", external: "Cluster" },
  { internal: "Local", external: "Local" },
];

const TARGETS: readonly Target[] = ["cluster", "external", "balancer", "port at node-1", "port at node-2"];
const SOURCES: readonly Place[] = ["a", "d", "c", "node-1", "node-2", "client"];

interface Case {
  readonly number: number;
  readonly what: string;
  readonly points: Readonly<Partial<Record<PodName, Condition>>>;
  readonly publish: boolean;
  readonly internal: Policy;
  readonly external: Policy;
}

const CASES: readonly Case[] = Object.entries(POINTS).flatMap(([what, { points, publish = false }], index) =>
  POLICIES.map((policy, at): Case => ({ number: index * POLICIES.length + at + 1, what, points, publish, ...policy })),
);

/** Addresses and ports of a case. */
function reach({ number }: Case, family: 4 | 6, target: Target): { readonly address: string; readonly port: number } {
  const four = family === 4;
  switch (target) {
    case "cluster":
      return { address: four ? `10.96.1.${number}` : `fd00:10:96::1:${number}`, port: 80 };
    case "external":
      return { address: four ? `203.0.113.${number}` : `2001:db8:1::${number}`, port: 80 };
    case "balancer":
      return { address: four ? `192.0.2.${number}` : `2001:db8:2::${number}`, port: 80 };
    case "port at node-1":
      return { address: four ? "10.112.0.51" : "fd00:112::51", port: 31_000 + number };
    case "port at node-2":
      return { address: four ? "10.112.0.52" : "fd00:112::52", port: 31_000 + number };
  }
}

/** Services and EndpointSlices of all rows; they stand side by side. */
export function rowObjects(): (Service | EndpointSlice)[] {
  return [...CASES.flatMap(caseObjects), ...SPECIAL.flatMap(({ objects }) => objects)];
}

function caseObjects(each: Case): (Service | EndpointSlice)[] {
  const name = `case-${each.number}`;
  const at = (target: Target) => ([4, 6] as const).map((family) => reach(each, family, target).address);
  const ports = (["TCP", "UDP"] as const).map((protocol) => ({
    name: protocol.toLowerCase(),
    protocol,
    port: 80,
    nodePort: 31_000 + each.number,
  }));
  const made = service(
    name,
    {
      type: "LoadBalancer",
      clusterIP: at("cluster")[0] ?? "",
      clusterIPs: at("cluster"),
      externalIPs: at("external"),
      ports,
      internalTrafficPolicy: each.internal,
      externalTrafficPolicy: each.external,
      publishNotReadyAddresses: each.publish,
    },
    at("balancer"),
  );
  const slices = ([4, 6] as const).map((family): EndpointSlice => {
    const endpoints = (Object.entries(each.points) as [PodName, Condition][]).map(([pod, condition]) => ({
      address: podAddress(pod, family),
      node: NODE_OF[pod],
      ...condition,
    }));
    return {
      ...slice(name, { endpoints, port: 8080, family }),
      ports: [
        { name: "tcp", port: 8080, protocol: "TCP" },
        { name: "udp", port: 5353, protocol: "UDP" },
      ],
    };
  });
  return [made, ...slices];
}

/** The generated rows: every combination for TCP over IPv4, a spread of them for the others; then those written by hand. */
export function rows(): Row[] {
  const generated = CASES.flatMap((each) =>
    TARGETS.flatMap((target, t) =>
      SOURCES.flatMap((from, s) =>
        (["tcp", "udp"] as const).flatMap((protocol) =>
          ([4, 6] as const).flatMap((family): Row[] => {
            const turn = each.number * 7 + t * 5 + s * 3;
            const taken = protocol === "tcp" && family === 4 ? turn % 2 === 0 : turn % 9 === (protocol === "tcp" ? 1 : family);
            if (!taken) return [];
            const policy = target === "cluster" ? `internal ${each.internal}` : `external ${each.external}`;
            const says = `${from} → ${target}, ${protocol}${family}, end points: ${each.what}, ${policy}`;
            return [{ says, from, family, protocol, ...reach(each, family, target), expect: expected(each, from, target) }];
          }),
        ),
      ),
    ),
  );
  return [...generated, ...SPECIAL.flatMap(({ rows: written }) => written)];
}

const isPod = (place: Place): place is PodName => place in NODE_OF;
const homeOf = (place: Place): NodeName | undefined => (place === "client" ? undefined : isPod(place) ? NODE_OF[place] : place);

/** Ready ones; if there are none, those that end and still serve. */
function usable(points: readonly [PodName, Condition][], publish: boolean): PodName[] {
  const names = (which: (condition: Condition) => boolean) => points.filter(([, condition]) => which(condition)).map(([pod]) => pod);
  if (publish) return names(() => true);
  const ready = names((condition) => condition.ready !== false);
  return ready.length > 0 ? ready : names((condition) => condition.serving === true && condition.terminating === true);
}

function expected({ points, publish, internal, external }: Case, from: Place, target: Target): Outcome {
  const all = Object.entries(points) as [PodName, Condition][];
  const home = homeOf(from);
  const entry: NodeName = target === "port at node-1" ? "node-1" : target === "port at node-2" ? "node-2" : (home ?? "node-1");
  // Who comes from the entry's own pods or programs is no outsider to it.
  const insider = home === entry;
  const anywhere = usable(all, publish);
  if (anywhere.length === 0) return "refused";
  const keepsLocal = target === "cluster" ? internal === "Local" : external === "Local" && !insider;
  const local = usable(
    all.filter(([pod]) => NODE_OF[pod] === entry),
    publish,
  );
  const chosen = keepsLocal ? local : anywhere;
  if (chosen.length === 0) return "dropped";
  return { pods: Object.fromEntries(chosen.map((pod) => [pod, seenBy(pod)])) };

  function seenBy(pod: PodName): Place {
    if (pod === from) return entry;
    if (target === "cluster") return isPod(from) ? from : entry;
    if (external === "Cluster") return entry;
    if (insider) return isPod(from) ? from : entry;
    // A pod that leaves for another node's address is masqueraded by its own node, whatever Services say.
    return home ?? from;
  }
}

interface Special {
  readonly objects: readonly (Service | EndpointSlice)[];
  readonly rows: readonly Row[];
}

const four = (says: string, from: Place, address: string, port: number, expect: Outcome, protocol: "tcp" | "udp" = "tcp"): Row => ({
  says,
  from,
  family: 4,
  protocol,
  address,
  port,
  expect,
});
const A = { address: podAddress("a"), node: "node-1" };
const B = { address: podAddress("b"), node: "node-1" };
const C = { address: podAddress("c"), node: "node-2" };
const hint = (...nodes: string[]) => ({ hints: { forNodes: nodes.map((name) => ({ name })), forZones: [{ name: "z" }] } });
const zone = (...zones: string[]) => ({ hints: { forZones: zones.map((name) => ({ name })) } });
/** A load balancer's address of which its own ingress says how it is reached. */
const proxied = (name: string, spec: Parameters<typeof service>[1], ip: string): Service => ({
  ...service(name, spec),
  status: { loadBalancer: { ingress: [{ ip, ipMode: "Proxy" }] } },
});

/** What no combination brings. node-1 is in zone-1, node-2 in zone-2. */
const SPECIAL: readonly Special[] = [
  {
    objects: [
      service(
        "guarded",
        {
          type: "LoadBalancer",
          clusterIP: "10.96.2.1",
          loadBalancerSourceRanges: ["10.244.0.0/16"],
          ports: [{ port: 80, nodePort: 31_201 }],
        },
        ["192.0.2.201"],
      ),
      slice("guarded", { endpoints: [A], port: 8080 }),
    ],
    rows: [
      four("loadBalancerSourceRanges: a pod is let in", "d", "192.0.2.201", 80, { pods: { a: "node-1" } }),
      four("loadBalancerSourceRanges: the client is not", "client", "192.0.2.201", 80, "dropped"),
      four("loadBalancerSourceRanges: the node itself is not", "node-2", "192.0.2.201", 80, "dropped"),
      four("loadBalancerSourceRanges: at the ClusterIP nobody asks", "client", "10.96.2.1", 80, { pods: { a: "node-1" } }),
      four("loadBalancerSourceRanges: at the node port neither", "client", "10.112.0.51", 31_201, { pods: { a: "node-1" } }),
    ],
  },
  {
    objects: [
      service(
        "ranges",
        {
          type: "LoadBalancer",
          clusterIP: "10.96.2.2",
          loadBalancerSourceRanges: ["10.112.0.1/32", "10.244.2.0/24", "10.0.0.0/99"],
          ports: [{ port: 80, nodePort: 31_202 }],
        },
        ["192.0.2.202"],
      ),
      slice("ranges", { endpoints: [A, C], port: 8080 }),
    ],
    rows: [
      four("several ranges: the client", "client", "192.0.2.202", 80, { pods: { a: "node-1", c: "node-1" } }),
      four("several ranges: node-2's pods", "c", "192.0.2.202", 80, { pods: { a: "node-2", c: "node-2" } }),
      four("several ranges: node-1's pods are not in one", "d", "192.0.2.202", 80, "dropped"),
    ],
  },
  {
    objects: [
      proxied("behind", { type: "LoadBalancer", clusterIP: "10.96.2.3", ports: [{ port: 80, nodePort: 31_203 }] }, "192.0.2.203"),
      slice("behind", { endpoints: [A], port: 8080 }),
    ],
    rows: [
      four("ipMode Proxy: the address is not taken, but its node port is", "d", "10.112.0.51", 31_203, { pods: { a: "node-1" } }),
      four("ipMode Proxy: ClusterIP", "d", "10.96.2.3", 80, { pods: { a: "d" } }),
    ],
  },
  {
    objects: [
      service("near", { clusterIP: "10.96.2.4", externalIPs: ["203.0.113.204"], ports: [{ port: 80 }] }),
      slice("near", {
        endpoints: [
          { ...A, ...hint("node-1") },
          { ...C, ...hint("node-2") },
        ],
        port: 8080,
      }),
    ],
    rows: [
      four("PreferSameNode: node-1", "d", "10.96.2.4", 80, { pods: { a: "d" } }),
      four("PreferSameNode: node-2", "c", "10.96.2.4", 80, { pods: { c: "node-2" } }),
      four("PreferSameNode: the client comes in at node-1", "client", "203.0.113.204", 80, { pods: { a: "node-1" } }),
      four("PreferSameNode: node-2 itself", "node-2", "203.0.113.204", 80, { pods: { c: "node-2" } }),
    ],
  },
  {
    objects: [
      service("zonal", { clusterIP: "10.96.2.5", ports: [{ port: 80 }] }),
      slice("zonal", {
        endpoints: [
          { ...A, ...zone("zone-1") },
          { ...B, ...zone("zone-2") },
          { ...C, ...zone("zone-2") },
        ],
        port: 8080,
      }),
      service("zoneless", { clusterIP: "10.96.2.6", ports: [{ port: 80 }] }),
      slice("zoneless", { endpoints: [{ ...A, ...zone("zone-1") }, C], port: 8080 }),
      service("faraway", { clusterIP: "10.96.2.7", ports: [{ port: 80 }] }),
      slice("faraway", {
        endpoints: [
          { ...A, ...zone("zone-9") },
          { ...C, ...zone("zone-8") },
        ],
        port: 8080,
      }),
      service("zonal-local", { clusterIP: "10.96.2.8", internalTrafficPolicy: "Local", ports: [{ port: 80 }] }),
      slice("zonal-local", {
        endpoints: [
          { ...A, ...zone("zone-2") },
          { ...C, ...zone("zone-1") },
        ],
        port: 8080,
      }),
    ],
    rows: [
      four("PreferSameZone: zone-1", "d", "10.96.2.5", 80, { pods: { a: "d" } }),
      four("PreferSameZone: zone-2", "node-2", "10.96.2.5", 80, { pods: { b: "node-2", c: "node-2" } }),
      four("one without a hint: no hint counts", "d", "10.96.2.6", 80, { pods: { a: "d", c: "d" } }),
      four("none for this zone: no hint counts", "d", "10.96.2.7", 80, { pods: { a: "d", c: "d" } }),
      four("Local goes before hints", "d", "10.96.2.8", 80, { pods: { a: "d" } }),
    ],
  },
  {
    objects: [
      service("several", {
        clusterIP: "10.96.2.9",
        ports: [
          { name: "x", port: 80 },
          { name: "y", port: 81 },
          { name: "dns", port: 53, protocol: "UDP" },
        ],
      }),
      {
        ...slice("several", { endpoints: [A], port: 0 }),
        ports: [
          { name: "x", port: 8080, protocol: "TCP" },
          { name: "dns", port: 5353, protocol: "UDP" },
        ],
      },
    ],
    rows: [
      four("one port of several", "d", "10.96.2.9", 80, { pods: { a: "d" } }),
      four("a port that no slice has", "d", "10.96.2.9", 81, "refused"),
      four("a UDP port beside", "d", "10.96.2.9", 53, { pods: { a: "d" } }, "udp"),
      four("the UDP port's number for TCP", "d", "10.96.2.9", 53, "refused"),
      four("a port that the Service does not have", "client", "10.96.2.9", 8080, "refused"),
      four("the pod's own port is none of the Service's", "node-1", "10.96.2.9", 8080, "refused"),
    ],
  },
  {
    // Two slices: end points of both, and one that is in both counts once.
    objects: [
      service("split", { clusterIP: "10.96.2.10", ports: [{ port: 80 }] }),
      slice("split", { endpoints: [A, B], port: 8080 }),
      {
        ...slice("split", { endpoints: [B, C], port: 8080 }),
        metadata: { namespace: "shop", name: "split-more", labels: { "kubernetes.io/service-name": "split" } },
      },
      // Another service proxy's.
      {
        ...service("theirs", { clusterIP: "10.96.2.11", ports: [{ port: 80 }] }),
        metadata: { namespace: "shop", name: "theirs", labels: { "service.kubernetes.io/service-proxy-name": "another" } },
      },
      slice("theirs", { endpoints: [A], port: 8080 }),
    ],
    rows: [
      four("slices are joined", "d", "10.96.2.10", 80, { pods: { a: "d", b: "d", c: "d" } }),
      four("a pod that is an end point, at itself and others", "b", "10.96.2.10", 80, { pods: { a: "b", b: "node-1", c: "b" } }),
    ],
  },
  {
    // The older in order of names has the address; the other's own ClusterIP is served.
    objects: [
      service("first", {
        clusterIP: "10.96.2.12",
        externalIPs: ["203.0.113.212"],
        ports: [{ port: 80, nodePort: 31_212 }],
        type: "NodePort",
      }),
      slice("first", { endpoints: [A], port: 8080 }),
      service("second", {
        clusterIP: "10.96.2.13",
        externalIPs: ["203.0.113.212", "10.96.2.12"],
        ports: [{ port: 80, nodePort: 31_212 }],
        type: "NodePort",
      }),
      slice("second", { endpoints: [C], port: 8080 }),
    ],
    rows: [
      four("an externalIP of two: the first's", "d", "203.0.113.212", 80, { pods: { a: "node-1" } }),
      four("a node port of two: the first's", "client", "10.112.0.51", 31_212, { pods: { a: "node-1" } }),
      four("a ClusterIP that another names: its owner's", "d", "10.96.2.12", 80, { pods: { a: "d" } }),
      four("the second's own", "d", "10.96.2.13", 80, { pods: { c: "d" } }),
    ],
  },
  {
    objects: [
      service("broken", {
        clusterIP: "10.96.2.14",
        externalIPs: ["nowhere", "203.0.113.214"],
        ports: [
          { name: "x", port: 80 },
          { name: "y", port: 70_000 },
          { name: "z", port: 90, protocol: "QUIC" as "TCP" },
        ],
      }),
      {
        ...slice("broken", { endpoints: [A, { address: "fd00::7" }, { address: "pod-7" }], port: 0 }),
        ports: ["x", "y", "z"].map((name) => ({ name, port: name === "x" ? 8080 : 70_000, protocol: "TCP" as const })),
      },
    ],
    rows: [
      four("what is valid of a broken Service is served", "d", "10.96.2.14", 80, { pods: { a: "d" } }),
      four("also outside", "client", "203.0.113.214", 80, { pods: { a: "node-1" } }),
      four("and the rest is refused", "d", "10.96.2.14", 90, "refused"),
    ],
  },
];
