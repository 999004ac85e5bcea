// A ClusterSnapshot over a list of objects, without any index: slow and plain, for tests.
import type { ClusterSnapshot, Part } from "../src/cluster/index.ts";
import type { KubeObject, LabelSelector, Namespace, NetworkPolicy, Node, Pod } from "../src/resources/index.ts";

/** Builds the snapshot; every object keeps its place under "namespace/name". */
export function plainSnapshot(objects: readonly KubeObject[]): ClusterSnapshot {
  const pods = partOf<Pod>(objects, "Pod");
  return {
    revision: 1,
    namespaces: partOf<Namespace>(objects, "Namespace"),
    nodes: partOf<Node>(objects, "Node"),
    pods: {
      ...pods,
      byAddress: (address) => [...pods.values()].find((pod) => !pod.spec.hostNetwork && addressesOf(pod).includes(address)),
      onNode: (node) => [...pods.values()].filter((pod) => pod.spec.nodeName === node),
      select: (namespace, selector) =>
        [...pods.inNamespace(namespace)].filter((pod) => matchesSelector(selector, pod.metadata.labels ?? {})),
    },
    services: partOf(objects, "Service"),
    endpointSlices: { ...partOf(objects, "EndpointSlice"), ofService: () => [] },
    networkPolicies: partOf<NetworkPolicy>(objects, "NetworkPolicy"),
    configMaps: partOf(objects, "ConfigMap"),
    others: new Map(),
  };
}

/** What a Kubernetes selector means, said once more for comparison. */
export function matchesSelector(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) if (labels[key] !== value) return false;
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const value = labels[key];
    const listed = value !== undefined && values.includes(value);
    if (operator === "In" ? !listed : operator === "NotIn" ? listed : operator === "Exists" ? value === undefined : value !== undefined)
      return false;
  }
  return true;
}

function addressesOf(pod: Pod): string[] {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed" ? [] : (pod.status?.podIPs ?? []).map(({ ip }) => ip);
}

function partOf<T extends KubeObject>(objects: readonly KubeObject[], kind: string): Part<T> {
  const entries = objects
    .filter((object) => object.kind === kind)
    .map((object): [string, T] => [
      object.metadata.namespace === undefined ? object.metadata.name : `${object.metadata.namespace}/${object.metadata.name}`,
      object as T,
    ]);
  const map = new Map(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  const list = (namespace: string) => [...map.values()].filter((object) => (object.metadata.namespace ?? "") === namespace);
  return {
    size: map.size,
    get: (key) => map.get(key),
    values: () => map.values(),
    changedSince: () => undefined,
    inNamespace: list,
    list,
    namespaceNames: () => [...new Set([...map.values()].map((object) => object.metadata.namespace ?? ""))].sort(),
  };
}
