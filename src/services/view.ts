// Services as a person looks at them from one node: where each port is held in the kernel, its end points, and why one is not used.
import { transportName } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { ConntrackFlow, IpvsService } from "../kernel/index.ts";
import type { Service } from "../resources/index.ts";
import { planBalancers } from "./balancer.ts";
import { type ServiceEndpoint, type ServiceEntry, selectsNobody } from "./entry.ts";
import { type Hold, holdsOf, type Serving, virtualOf } from "./holds.ts";
import type { ModeOptions } from "./mode.ts";
import { chooseAnywhere, chooseEndpoints, type Standpoint, serviceTable, standpointOf } from "./table.ts";

export interface ServiceView {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  readonly ports: readonly PortView[];
  /** What in the Service is not followed, and why. */
  readonly remarks: readonly string[];
}

/** One port in one address family. */
export interface PortView {
  readonly name: string;
  readonly family: 4 | 6;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly port: number;
  readonly nodePort: number | null;
  readonly addresses: readonly string[];
  /** Seconds that a client keeps its end point; null without session affinity. */
  readonly affinity: number | null;
  readonly internalTrafficPolicy: "Cluster" | "Local";
  readonly externalTrafficPolicy: "Cluster" | "Local";
  /** What holds it in this node's kernel. */
  readonly holds: readonly Hold[];
  readonly endpoints: readonly EndpointView[];
}

export interface EndpointView {
  readonly address: string;
  readonly port: number;
  readonly pod: string | null;
  readonly node: string | null;
  readonly zone: string | null;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Whether new connections from this node's pods to the ClusterIP may go there. */
  readonly used: boolean;
  /** Why not; null where it is used. */
  readonly why: string | null;
  /** Connections that conntrack knows on the node; null where it was not asked. */
  readonly connections: number | null;
}

export interface ViewOptions {
  readonly node: string;
  /** Only this Service: "namespace/name", or all of "namespace". */
  readonly only?: string;
  /** How the node balances Services; by nftables if not given. */
  readonly mode?: ModeOptions["mode"];
  /** What stands in its IPVS; connections are counted there in that mode. */
  readonly virtual?: readonly IpvsService[];
  /** The node's tracked connections, if they are to be counted. */
  readonly flows?: readonly ConntrackFlow[];
}

/** The Services of a snapshot as one node serves them, in order of namespace and name. */
export function viewServices(snapshot: ClusterSnapshot, options: ViewOptions): ServiceView[] {
  const standpoint = standpointOf(snapshot, options.node);
  const serving: Serving = { standpoint, mode: options.mode ?? "nftables", virtual: options.virtual ?? [] };
  const table = serviceTable(snapshot);
  const counts = options.flows && countFlows(options.flows);
  const faults = Map.groupBy([...table.faults, ...planBalancers(snapshot).faults], (fault) => `${fault.namespace}/${fault.name}`);
  return [...snapshot.services.values()]
    .filter((service) => isMeant(service, options.only))
    .map((service): ServiceView => {
      const { namespace = "", name } = service.metadata;
      const entries = table.entriesOf(namespace, name);
      return {
        namespace,
        name,
        type: typeOf(service),
        ports: entries.map((entry) => viewPort(entry, serving, counts)),
        remarks: [
          ...(faults.get(`${namespace}/${name}`) ?? []),
          selectsNobody(service, snapshot.endpointSlices.ofService(namespace, name)),
        ].flatMap((fault) => fault?.says ?? []),
      };
    });
}

function isMeant({ metadata: { namespace, name } }: Service, only: string | undefined): boolean {
  return only === undefined || only === namespace || only === `${namespace}/${name}`;
}

function typeOf({ spec }: Service): string {
  if (spec.type === "ExternalName") return `ExternalName ${spec.externalName ?? ""}`.trim();
  return spec.clusterIP === "None" ? "headless" : (spec.type ?? "ClusterIP");
}

function viewPort(entry: ServiceEntry, serving: Serving, counts: FlowCounts | undefined): PortView {
  const { standpoint } = serving;
  const virtual = virtualOf(entry, serving.virtual);
  const addresses = [...(entry.clusterIP === undefined ? [] : [entry.clusterIP]), ...entry.externalAddresses];
  const choice = chooseEndpoints(entry, standpoint, true);
  const used = new Set("use" in choice ? choice.use : []);
  return {
    name: entry.portName,
    family: entry.family,
    protocol: entry.protocol.toUpperCase() as PortView["protocol"],
    port: entry.port,
    nodePort: entry.nodePort ?? null,
    addresses,
    affinity: entry.affinitySeconds ?? null,
    internalTrafficPolicy: entry.internalLocal ? "Local" : "Cluster",
    externalTrafficPolicy: entry.externalLocal ? "Local" : "Cluster",
    holds: holdsOf(entry, serving),
    endpoints: entry.endpoints.map((endpoint) => ({
      address: endpoint.address,
      port: endpoint.port,
      pod: endpoint.pod ?? null,
      node: endpoint.node ?? null,
      zone: endpoint.zone ?? null,
      ready: endpoint.ready,
      serving: endpoint.serving,
      terminating: endpoint.terminating,
      used: used.has(endpoint),
      why: used.has(endpoint) ? null : whyUnused(entry, endpoint, standpoint),
      connections:
        counts === undefined
          ? null
          : serving.mode === "ipvs"
            ? countVirtual(virtual, endpoint)
            : countOf(entry, endpoint, addresses, counts),
    })),
  };
}

function whyUnused(entry: ServiceEntry, endpoint: ServiceEndpoint, standpoint: Standpoint): string {
  const anywhere = chooseAnywhere(entry, standpoint);
  const usable = "use" in anywhere && anywhere.use.includes(endpoint);
  if (usable && entry.internalLocal) return `on ${endpoint.node ?? "no node"}, and internalTrafficPolicy is Local`;
  if (endpoint.terminating) return endpoint.serving ? "ending, and others are ready" : "ending, and its readiness probe fails";
  if (!endpoint.ready) return "not ready";
  if (endpoint.forNodes && !endpoint.forNodes.includes(standpoint.node))
    return `meant for ${endpoint.forNodes.join(", ")} (trafficDistribution)`;
  return `meant for zone ${(endpoint.forZones ?? []).join(", ")} (trafficDistribution), and this node is in ${standpoint.zone ?? "none"}`;
}

/** Connections by where they were sent to and where they went; those to node ports have any address of the node, and are found by the port. */
interface FlowCounts {
  readonly byAddress: ReadonlyMap<string, number>;
  readonly byPort: ReadonlyMap<string, number>;
}

function countFlows(flows: readonly ConntrackFlow[]): FlowCounts {
  const byAddress = new Map<string, number>();
  const byPort = new Map<string, number>();
  const count = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const { protocol, destination, destinationPort, replySource, replySourcePort } of flows) {
    const tail = `${transportName(protocol)} ${destinationPort} ${replySource} ${replySourcePort}`;
    count(byAddress, `${destination} ${tail}`);
    // Not translated: the pod's own address was asked.
    if (destination !== replySource || destinationPort !== replySourcePort) count(byPort, tail);
  }
  return { byAddress, byPort };
}

function countOf(entry: ServiceEntry, endpoint: ServiceEndpoint, addresses: readonly string[], { byAddress, byPort }: FlowCounts): number {
  const tail = (port: number) => `${entry.protocol} ${port} ${endpoint.address} ${endpoint.port}`;
  const atAddresses = addresses.reduce((sum, address) => sum + (byAddress.get(`${address} ${tail(entry.port)}`) ?? 0), 0);
  return atAddresses + (entry.nodePort === undefined ? 0 : (byPort.get(tail(entry.nodePort)) ?? 0));
}

function countVirtual(virtual: readonly IpvsService[], { address, port }: ServiceEndpoint): number {
  const here = virtual.flatMap(({ destinations }) => destinations.filter((each) => each.address === address && each.port === port));
  return here.reduce((sum, { active = 0, inactive = 0 }) => sum + active + inactive, 0);
}
