// A folder of manifests as the cluster that it would become: nodes, pods of workloads, addresses, end points. Pure.
//
//   manifests ─▶ namespaces ─▶ nodes ─▶ workloads to pods ─▶ places and addresses ─▶ Services' addresses ─▶ end points
//
// What the manifests say stands: a pod that has a node or an address keeps it, a workload whose pods are there gets no
// others (a dump of a cluster is taken as it is), and a Service's own slices are not calculated again.
import {
  applyDefaults,
  calculateEndpointSlices,
  type EndpointSlice,
  type KubeObject,
  type Node,
  type Pod,
  type Service,
} from "../resources/index.ts";
import { assumeNodes } from "./assume-nodes.ts";
import { placePods } from "./assume-places.ts";
import { assumePods } from "./assume-pods.ts";
import { assumeServices } from "./assume-services.ts";
import { Names } from "./names.ts";
import { PodObjectPart } from "./parts.ts";

/** Namespaces that every cluster has. */
const FIRST_NAMESPACES = ["default", "kube-system"];

/**
 * The given objects, with their defaults, and all that a cluster would add, so that a network can be calculated from them
 * alone. The same objects always give the same cluster, whatever their order among kinds. What cannot be given (a pod that no
 * node takes, an address where the range is used up) is left out: such a pod stays Pending.
 */
export function assumeCluster(objects: Iterable<KubeObject>): KubeObject[] {
  const given = lastOfEach([...objects].map((object) => applyDefaults(object)));
  const is = (apiVersion: string, kind: string) => (object: KubeObject) => object.apiVersion === apiVersion && object.kind === kind;
  const [isNode, isPod, isService] = [is("v1", "Node"), is("v1", "Pod"), is("v1", "Service")];
  const nodes = assumeNodes(given.filter(isNode) as Node[], given.filter(isPod) as Pod[]);
  const made = assumePods(given, nodes);
  const pods = placePods([...(given.filter(isPod) as Pod[]), ...made.pods], nodes);
  const services = assumeServices(given.filter(isService) as Service[]);
  const slices = assumeSlices(services, pods, nodes, given);
  const rest = given.filter((object) => !isNode(object) && !isPod(object) && !isService(object));
  const all: KubeObject[] = [...rest, ...nodes, ...made.sets, ...pods, ...services, ...slices];
  return [...missingNamespaces(all), ...all];
}

/** Of objects with one name the last counts, as it would be applied last. */
function lastOfEach(objects: readonly KubeObject[]): KubeObject[] {
  const byName = new Map<string, KubeObject>();
  for (const object of objects)
    byName.set(`${object.apiVersion}/${object.kind}/${object.metadata.namespace ?? ""}/${object.metadata.name}`, object);
  return [...byName.values()];
}

function missingNamespaces(objects: readonly KubeObject[]): KubeObject[] {
  const named = new Set(FIRST_NAMESPACES);
  for (const { metadata } of objects) if (metadata.namespace !== undefined) named.add(metadata.namespace);
  for (const { apiVersion, kind, metadata } of objects) if (apiVersion === "v1" && kind === "Namespace") named.delete(metadata.name);
  return [...named].sort().map((name) => applyDefaults({ apiVersion: "v1", kind: "Namespace", metadata: { name } }));
}

function assumeSlices(
  services: readonly Service[],
  pods: readonly Pod[],
  nodes: readonly Node[],
  given: readonly KubeObject[],
): EndpointSlice[] {
  const served = new Set<string>();
  for (const { kind, metadata } of given) {
    const service = metadata.labels?.["kubernetes.io/service-name"];
    if (kind === "EndpointSlice" && service !== undefined) served.add(`${metadata.namespace}/${service}`);
  }
  const namespaces = new Map<string, Map<string, Pod>>();
  for (const pod of pods) {
    const namespace = pod.metadata.namespace ?? "";
    const names = namespaces.get(namespace) ?? new Map<string, Pod>();
    namespaces.set(namespace, names.set(pod.metadata.name, pod));
  }
  const index = new PodObjectPart(new Map([...namespaces].map(([name, names]) => [name, Names.from(names)])));
  const byName = new Map(nodes.map((node) => [node.metadata.name, node]));
  const manual = new Map(
    given.filter(({ kind }) => kind === "Endpoints").map((each) => [`${each.metadata.namespace}/${each.metadata.name}`, each]),
  );
  return services.flatMap((service) => {
    const { namespace = "", name } = service.metadata;
    if (served.has(`${namespace}/${name}`)) return [];
    if (!service.spec?.selector) return mirrorSlices(manual.get(`${namespace}/${name}`));
    const selected = index.select(namespace, { matchLabels: service.spec.selector });
    return calculateEndpointSlices(service, { pods: selected, node: (node) => byName.get(node) });
  });
}

interface Endpoints extends KubeObject {
  readonly subsets?: readonly {
    readonly addresses?: readonly { readonly ip: string; readonly hostname?: string; readonly nodeName?: string }[];
    readonly ports?: NonNullable<EndpointSlice["ports"]>;
  }[];
}

/** The slices of a Service without a selector, from the Endpoints that somebody wrote for it. */
function mirrorSlices(endpoints: Endpoints | undefined): EndpointSlice[] {
  if (!endpoints) return [];
  const { name, namespace } = endpoints.metadata;
  return (endpoints.subsets ?? []).flatMap((subset, index) =>
    (["IPv4", "IPv6"] as const).flatMap((addressType) => {
      const own = (subset.addresses ?? []).filter(({ ip }) => ip.includes(":") === (addressType === "IPv6"));
      if (own.length === 0) return [];
      const slice = {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          name: `${name}-mirror-${addressType.toLowerCase()}-${index}`,
          ...(namespace === undefined ? {} : { namespace }),
          labels: { "kubernetes.io/service-name": name },
        },
        addressType,
        endpoints: own.map(({ ip, ...rest }) => ({ addresses: [ip], conditions: { ready: true }, ...rest })),
        ports: (subset.ports ?? []).map((port) => ({ ...port, name: port.name ?? "" })),
      };
      return [applyDefaults(slice) as EndpointSlice];
    }),
  );
}
