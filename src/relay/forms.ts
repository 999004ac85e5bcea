// Objects as they are passed on: without what no agent reads, and pods of other nodes cut to what policies ask of them.
import type { KubeObject, Pod } from "../resources/index.ts";

/** ConfigMaps beyond these namespaces are nobody's business here. */
const CONFIG_NAMESPACES = new Set(["kube-system", "kube-flannel", "calico-system"]);

/** Whether any agent needs such an object. */
export function isRelayed({ kind, apiVersion, metadata }: KubeObject): boolean {
  return !(kind === "ConfigMap" && apiVersion === "v1") || CONFIG_NAMESPACES.has(metadata.namespace ?? "");
}

/** The object without its history of managers, which is often the larger part of it. */
export function wholeForm(object: KubeObject): KubeObject {
  if (!("managedFields" in object.metadata)) return object;
  const { managedFields: _, ...metadata } = object.metadata as typeof object.metadata & { readonly managedFields?: unknown };
  return { ...object, metadata };
}

/** A pod of another node: labels, addresses and ports. Without a version, so that what else changes of it goes nowhere. */
export function peerForm(pod: Pod): Pod {
  const { name, namespace, uid, labels, deletionTimestamp } = pod.metadata;
  const { nodeName, hostNetwork, serviceAccountName } = pod.spec;
  const ports = (containers: Pod["spec"]["containers"] | undefined) =>
    (containers ?? []).map((container) => ({ name: container.name, ...(container.ports ? { ports: container.ports } : {}) }));
  const { phase, podIP, podIPs } = pod.status ?? {};
  const given = <T extends object>(fields: T) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: given({ name, namespace, uid, labels, deletionTimestamp }),
    spec: { ...given({ nodeName, hostNetwork, serviceAccountName }), containers: ports(pod.spec.containers) },
    status: given({ phase, podIP, podIPs }),
  } as unknown as Pod;
}
