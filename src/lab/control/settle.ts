// What a lab needs in a cluster before its first pod: Services with addresses, and a pod network for each of its nodes. What the
// cluster has of it is taken; the rest is made, with the lab's mark.
import { FairleadError } from "../../base/index.ts";
import { ApiConflict, KubernetesApiError, type KubernetesObjects, type WatchedResource } from "../../cluster/index.ts";
import type { KubeObject, Node, Service } from "../../resources/index.ts";
import { type ClusterNetworks, takenNetworks } from "../networks.ts";
import { REFS } from "../refs.ts";
import { apiEndpoints, apiService, dnsService } from "../system.ts";
import { marked } from "./mark.ts";
import { missingShares } from "./pod-shares.ts";

/** How long a cluster may take to give its nodes their pod networks, in milliseconds. */
const SHARE_WAIT_MS = 3000;
const LOOK_MS = 20;

/** The Services of the API, with end points, and of DNS; gives the networks with their addresses. @throws KubernetesApiError */
export async function settleServices(objects: KubernetesObjects, planned: ClusterNetworks, owner: string): Promise<ClusterNetworks> {
  const { clusterIP: apiAddress } = (await ensureService(objects, apiService(planned), owner)).spec;
  const hasEndpoints = objects
    .list(REFS.endpointSlices, { namespace: "default" })
    .items.some(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === "kubernetes");
  if (!hasEndpoints) await ensure(objects, REFS.endpointSlices, marked(apiEndpoints(), owner));
  const usual = takenNetworks(planned, { apiAddress, podCidrs: [] });
  const { clusterIP: dnsAddress } = (await ensureService(objects, dnsService(usual), owner)).spec;
  return takenNetworks(planned, { apiAddress, dnsAddress, podCidrs: [] });
}

/** Waits for the nodes' pod networks, and gives them where the cluster does not; gives the networks with theirs. @throws FairleadError `no-pod-cidr` */
export async function settlePodCidrs(
  objects: KubernetesObjects,
  nodes: readonly string[],
  networks: ClusterNetworks,
  log: (message: string) => void,
): Promise<ClusterNetworks> {
  const podCidrsOf = (name: string) => objects.get<Node>(REFS.nodes, undefined, name)?.spec?.podCIDRs ?? [];
  const all = () => nodes.every((name) => podCidrsOf(name).length > 0);
  if (!(await until(all, SHARE_WAIT_MS))) {
    log("the cluster gives nodes no podCIDR: the lab does");
    shareOut(objects, missingShares(nodes, objects.list<Node>(REFS.nodes).items, networks));
    if (!(await until(all, SHARE_WAIT_MS))) throw noPodCidr(nodes.filter((name) => podCidrsOf(name).length === 0));
  }
  return takenNetworks(networks, { ...networks, podCidrs: nodes.flatMap(podCidrsOf) });
}

function shareOut(objects: KubernetesObjects, shares: ReadonlyMap<string, readonly string[]>): void {
  for (const [name, podCIDRs] of shares) {
    if (podCIDRs.length === 0) continue;
    objects.change<Node>({ resource: REFS.nodes, name }, "podCIDR", (node) =>
      // Whoever was quicker has said it for good.
      node.spec?.podCIDRs ? undefined : { ...node, spec: { ...node.spec, podCIDR: podCIDRs[0] ?? "", podCIDRs: [...podCIDRs] } },
    );
  }
}

function noPodCidr(nodes: readonly string[]): FairleadError {
  return new FairleadError("no-pod-cidr", `${nodes.join(", ")} got no podCIDR, neither from the cluster nor from the lab`, {
    remedy: "is a range left? give a wider or another --pod-cidr",
  });
}

/** The Service as it is there; with an address of the server's choice where it refuses ours. */
async function ensureService(objects: KubernetesObjects, wanted: KubeObject, owner: string): Promise<Service> {
  const { name, namespace } = wanted.metadata;
  const there = await objects.api.get<Service>(REFS.services, name, namespace);
  if (there) return there;
  const service = marked(wanted, owner) as Service;
  try {
    return await objects.api.create<Service>(REFS.services, service);
  } catch (error) {
    if (!(error instanceof KubernetesApiError) || error.status !== 422) throw error;
    const { clusterIP, ...spec } = service.spec;
    return objects.api.create<Service>(REFS.services, { ...service, spec });
  }
}

async function ensure(objects: KubernetesObjects, resource: WatchedResource, object: KubeObject): Promise<void> {
  try {
    await objects.api.create(resource, object);
  } catch (error) {
    if (!(error instanceof ApiConflict)) throw error;
  }
}

async function until(holds: () => boolean, milliseconds: number): Promise<boolean> {
  const end = performance.now() + milliseconds;
  while (!holds() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  return holds();
}
