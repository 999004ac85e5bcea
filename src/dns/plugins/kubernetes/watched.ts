// What the plugin needs of a cluster: the kinds it watches, and the fields of each that it keeps.
import type { WatchedResource } from "../../../cluster/index.ts";
import type { EndpointSlice, KubeObject, ObjectMeta, Pod, Service } from "../../../resources/index.ts";

export const DNS_RESOURCES: readonly WatchedResource[] = [
  { group: "", version: "v1", plural: "namespaces" },
  { group: "", version: "v1", plural: "services" },
  { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
  { group: "", version: "v1", plural: "pods" },
];

/** An object with nothing but what names are answered from: a large cluster's are held whole otherwise. */
export function slimObject(object: KubeObject): KubeObject {
  const { apiVersion, kind } = object;
  const metadata = slimMeta(object.metadata);
  switch (kind) {
    case "Service": {
      const { type, clusterIP, clusterIPs, externalName, ports, publishNotReadyAddresses } = (object as Service).spec;
      const kept = { type, clusterIP, clusterIPs, externalName, publishNotReadyAddresses };
      const spec = { ...defined(kept), ports: (ports ?? []).map(({ name, port, protocol }) => defined({ name, port, protocol })) };
      return { apiVersion, kind, metadata, spec } as KubeObject;
    }
    case "EndpointSlice": {
      const { addressType, endpoints, ports } = object as EndpointSlice;
      const slim = (endpoints ?? []).map(({ addresses, conditions, hostname, targetRef }) =>
        defined({
          addresses,
          hostname,
          conditions: conditions?.ready === false ? { ready: false } : undefined,
          targetRef: targetRef?.kind === "Pod" ? { kind: "Pod", name: targetRef.name } : undefined,
        }),
      );
      return { apiVersion, kind, metadata, addressType, endpoints: slim, ports: ports ?? [] } as KubeObject;
    }
    case "Pod": {
      const { phase, podIPs } = (object as Pod).status ?? {};
      return { apiVersion, kind, metadata, spec: { containers: [] }, status: defined({ phase, podIPs }) } as KubeObject;
    }
    default:
      return { apiVersion, kind, metadata } as KubeObject;
  }
}

function slimMeta({ name, namespace, uid, resourceVersion, labels, deletionTimestamp }: ObjectMeta): ObjectMeta {
  return defined({ name, namespace, uid, resourceVersion, labels, deletionTimestamp }) as unknown as ObjectMeta;
}

function defined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
