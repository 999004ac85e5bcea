// What the plugin needs of a cluster: the kinds it watches, and the fields of each that it keeps.
import type { WatchedResource } from "../../../cluster/index.ts";
import type { Endpoint, EndpointSlice, KubeObject, Pod, Service } from "../../../resources/index.ts";

export const DNS_RESOURCES: readonly WatchedResource[] = [
  { group: "", version: "v1", plural: "namespaces" },
  { group: "", version: "v1", plural: "services" },
  { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
  { group: "", version: "v1", plural: "pods" },
];

const SERVICE_NAME = "kubernetes.io/service-name";

/**
 * An object with nothing but what names are answered from: a large cluster's are held whole otherwise. Each kind has one shape,
 * and what is the same in most objects is one object, so that 50,000 Services and their end points take some 100 MB.
 */
export function slimObject(object: KubeObject): KubeObject {
  switch (object.kind) {
    case "Service":
      return slimService(object as Service);
    case "EndpointSlice":
      return slimSlice(object as EndpointSlice);
    case "Pod": {
      const { phase, podIPs } = (object as Pod).status ?? {};
      return { ...head(object), spec: NO_SPEC, status: { phase, podIPs } } as KubeObject;
    }
    case "Namespace":
      return head(object, object.metadata.labels);
    default:
      return object;
  }
}

const NO_SPEC = { containers: [] };

function head({ apiVersion, kind, metadata }: KubeObject, labels?: Readonly<Record<string, string>>): KubeObject {
  const { name, namespace, resourceVersion, deletionTimestamp } = metadata;
  // The version alone tells one state of an object from another.
  const kept = labels === undefined ? { name, namespace, resourceVersion } : { name, namespace, resourceVersion, labels };
  return { apiVersion, kind, metadata: deletionTimestamp === undefined ? kept : { ...kept, deletionTimestamp } } as KubeObject;
}

function slimService(service: Service): KubeObject {
  const { type, clusterIP, clusterIPs, externalName, ports, publishNotReadyAddresses } = service.spec;
  const kept = {
    type,
    clusterIP,
    clusterIPs: clusterIPs && clusterIPs.length > 1 ? clusterIPs : undefined,
    ports: onePortList(ports ?? []),
  };
  const odd = externalName === undefined && !publishNotReadyAddresses ? {} : { externalName, publishNotReadyAddresses };
  const spec = externalName === undefined && !publishNotReadyAddresses ? kept : { ...kept, ...odd };
  return { ...head(service, service.metadata.labels), spec } as unknown as KubeObject;
}

function slimSlice({ addressType, endpoints, ports, ...slice }: EndpointSlice): KubeObject {
  const owner = slice.metadata.labels?.[SERVICE_NAME];
  const labels = owner === undefined ? undefined : { [SERVICE_NAME]: owner };
  return {
    ...head(slice, labels),
    addressType,
    endpoints: (endpoints ?? []).map(slimEndpoint),
    ports: onePortList(ports ?? []),
  } as unknown as KubeObject;
}

function slimEndpoint({ addresses, conditions, hostname, targetRef }: Endpoint): Endpoint {
  const pod = targetRef?.kind === "Pod" ? { kind: "Pod", name: targetRef.name } : undefined;
  const ready = conditions?.ready !== false;
  return {
    addresses,
    ...(pod ? { targetRef: pod } : {}),
    ...(hostname ? { hostname } : {}),
    ...(ready ? {} : { conditions: NOT_READY }),
  } as Endpoint;
}

const NOT_READY = { ready: false };

type Port = { readonly name?: string; readonly port?: number; readonly protocol?: string };

/** Lists of ports by their text: most Services of a cluster have one of a few. */
const portLists = new Map<string, readonly Port[]>();
const MOST_LISTS = 1000;

function onePortList(ports: readonly Port[]): readonly Port[] {
  const key = ports.map(({ name, port, protocol }) => `${name} ${port} ${protocol}`).join(" ");
  const known = portLists.get(key);
  if (known) return known;
  const list = ports.map(({ name, port, protocol }) => ({ ...(name ? { name } : {}), port, ...(protocol ? { protocol } : {}) }) as Port);
  if (portLists.size < MOST_LISTS) portLists.set(key, list);
  return list;
}
