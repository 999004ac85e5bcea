// EndpointSlices of a Service, calculated from its selector and the pods. Pure.
import { isReady } from "./conditions.ts";
import type { Endpoint, EndpointSlice, Node, Pod, Service, ServicePort } from "./types.ts";

const MAX_ENDPOINTS = 100;
const MANAGER = "endpointslice-controller.k8s.io";

/** What is needed of the cluster beside the Service: pods that its selector selects, and nodes by name (for zones). */
export interface EndpointContext {
  readonly pods: Iterable<Pod>;
  readonly node: (name: string) => Node | undefined;
}

interface Group {
  readonly addressType: "IPv4" | "IPv6";
  readonly ports: NonNullable<EndpointSlice["ports"]>;
  readonly endpoints: Endpoint[];
}

/** The slices of a Service with a selector: one per address family and set of target ports, 100 end points at most each. */
export function calculateEndpointSlices(service: Service, context: EndpointContext): EndpointSlice[] {
  if (!service.spec.selector || service.spec.type === "ExternalName") return [];
  const families = service.spec.ipFamilies ?? ["IPv4"];
  const groups = new Map<string, Group>();
  for (const pod of context.pods) {
    if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") continue;
    const ports = portsOf(service, pod);
    if (!ports) continue;
    for (const addressType of families) {
      const address = pod.status?.podIPs?.map(({ ip }) => ip).find((ip) => ip.includes(":") === (addressType === "IPv6"));
      if (address === undefined) continue;
      const key = `${addressType} ${JSON.stringify(ports)}`;
      const group = groups.get(key) ?? { addressType, ports, endpoints: [] };
      groups.set(key, group);
      group.endpoints.push(endpointOf(service, pod, address, context));
    }
  }
  const slices: EndpointSlice[] = [];
  for (const addressType of families) {
    const own = [...groups.entries()].filter(([, group]) => group.addressType === addressType).sort(([a], [b]) => (a < b ? -1 : 1));
    // A Service without end points still has a slice, so that its being empty can be seen.
    const chunks =
      own.length > 0 ? own.flatMap(([, group]) => chunksOf(group)) : [{ addressType, ports: declaredPorts(service), endpoints: [] }];
    for (const [index, chunk] of chunks.entries()) slices.push(sliceOf(service, chunk, index));
  }
  return slices;
}

function chunksOf(group: Group): Group[] {
  const endpoints = [...group.endpoints].sort((a, b) => ((a.targetRef?.name ?? "") < (b.targetRef?.name ?? "") ? -1 : 1));
  return Array.from({ length: Math.ceil(endpoints.length / MAX_ENDPOINTS) }, (_, i) => ({
    ...group,
    endpoints: endpoints.slice(i * MAX_ENDPOINTS, (i + 1) * MAX_ENDPOINTS),
  }));
}

function sliceOf(service: Service, group: Group, index: number): EndpointSlice {
  const { name, namespace, uid, labels } = service.metadata;
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-${group.addressType.toLowerCase()}${index === 0 ? "" : `-${index}`}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: {
        ...labels,
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": MANAGER,
        ...(service.spec.clusterIP === "None" ? { "service.kubernetes.io/headless": "" } : {}),
      },
      ...(uid === undefined
        ? {}
        : { ownerReferences: [{ apiVersion: "v1", kind: "Service", name, uid, controller: true, blockOwnerDeletion: true }] }),
    },
    addressType: group.addressType,
    endpoints: group.endpoints,
    ports: group.ports,
  };
}

function declaredPorts(service: Service): Group["ports"] {
  return (service.spec.ports ?? []).map((port) => ({
    name: port.name ?? "",
    port: typeof port.targetPort === "number" ? port.targetPort : port.port,
    protocol: port.protocol ?? "TCP",
  }));
}

/** The Service's ports as this pod serves them; a port whose name the pod does not have is left out; undefined if none is left. */
function portsOf(service: Service, pod: Pod): Group["ports"] | undefined {
  const declared = service.spec.ports ?? [];
  if (declared.length === 0) return service.spec.clusterIP === "None" ? [] : undefined;
  const ports = declared.flatMap((port) => {
    const target = targetOf(port, pod);
    const appProtocol = port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol };
    return target === undefined ? [] : [{ name: port.name ?? "", port: target, protocol: port.protocol ?? "TCP", ...appProtocol }];
  });
  return ports.length > 0 ? ports : undefined;
}

function targetOf(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target === 0 ? port.port : target;
  // A sidecar's ports count too: an init container that goes on (KEP-753).
  const sidecars = (pod.spec.initContainers ?? []).filter((container) => container.restartPolicy === "Always");
  for (const container of [...pod.spec.containers, ...sidecars]) {
    const found = container.ports?.find(
      (candidate) => candidate.name === target && (candidate.protocol ?? "TCP") === (port.protocol ?? "TCP"),
    );
    if (found) return found.containerPort;
  }
  return /^\d+$/.test(target) ? Number(target) : undefined;
}

function endpointOf(service: Service, pod: Pod, address: string, context: EndpointContext): Endpoint {
  const ready = isReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const published = service.spec.publishNotReadyAddresses === true;
  const { nodeName, hostname, subdomain } = pod.spec;
  const zone = nodeName === undefined ? undefined : context.node(nodeName)?.metadata.labels?.["topology.kubernetes.io/zone"];
  return {
    addresses: [address],
    conditions: { ready: published || (ready && !terminating), serving: ready, terminating },
    ...(hostname && subdomain === service.metadata.name ? { hostname } : {}),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...hintsOf(service, nodeName, zone),
    targetRef: {
      kind: "Pod",
      name: pod.metadata.name,
      ...(pod.metadata.namespace === undefined ? {} : { namespace: pod.metadata.namespace }),
      ...(pod.metadata.uid === undefined ? {} : { uid: pod.metadata.uid }),
    },
  };
}

/** Whom an end point is meant for, as trafficDistribution asks: those of its zone, or first of all those of its node (KEP-3015). */
function hintsOf(service: Service, node: string | undefined, zone: string | undefined): Pick<Endpoint, "hints"> {
  const { trafficDistribution } = service.spec;
  const forZones = zone === undefined ? {} : { forZones: [{ name: zone }] };
  if (trafficDistribution === "PreferSameNode" && node !== undefined) return { hints: { ...forZones, forNodes: [{ name: node }] } };
  const same = trafficDistribution === "PreferSameZone" || trafficDistribution === "PreferClose";
  return same && zone !== undefined ? { hints: forZones } : {};
}
