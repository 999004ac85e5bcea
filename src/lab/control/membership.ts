// What of a foreign cluster is a lab's: Nodes and objects that carry its mark. What does not is never touched.
import { LEASE_NAMESPACE } from "../../api/index.ts";
import { FairleadError } from "../../base/index.ts";
import { KubernetesApiError, type ObjectApi, type WatchedResource } from "../../cluster/index.ts";
import type { CustomResourceDefinition, KubeObject, Node, Pod } from "../../resources/index.ts";
import { REFS } from "../refs.ts";
import { OWNER_LABEL } from "./mark.ts";

/** Kinds of which a lab makes objects of its own. */
const MADE: readonly WatchedResource[] = [
  REFS.deployments,
  REFS.daemonSets,
  REFS.services,
  REFS.endpointSlices,
  REFS.configMaps,
  REFS.ipPools,
];
/** What a scheduler or a controller had under way is looked for so often, with this pause in milliseconds. */
const LOOKS = 20;
const LOOK_MS = 100;

/** Where a lab may go, which has the names of its nodes. */
export interface Admission {
  readonly owner: string;
  readonly nodes: readonly string[];
  /** Where the cluster is. */
  readonly server: string;
  /** The person said that it may have nodes of others. */
  readonly join: boolean;
}

/** @throws FairleadError `foreign-nodes`, `node-taken` where the cluster is in use, and what the API says */
export async function admit(api: ObjectApi, { owner, nodes, server, join }: Admission): Promise<void> {
  const others = (await api.list<Node>(REFS.nodes)).filter(({ metadata }) => metadata.labels?.[OWNER_LABEL] !== owner);
  const taken = others.find(({ metadata }) => nodes.includes(metadata.name));
  if (taken) {
    const lab = taken.metadata.labels?.[OWNER_LABEL];
    throw new FairleadError("node-taken", `the cluster has a node ${taken.metadata.name} already${lab ? `, of the lab ${lab}` : ""}`, {
      where: server,
      remedy: lab
        ? "take that lab down first"
        : "is it the right cluster? see: kubectl get nodes; else give another --kubeconfig or --context",
    });
  }
  if (others.length === 0 || join) return;
  const shown = others.slice(0, 3).map(({ metadata }) => metadata.name);
  throw new FairleadError(
    "foreign-nodes",
    `the cluster has ${others.length} node${others.length === 1 ? "" : "s"} that ${others.length === 1 ? "is" : "are"} not this lab's: ${shown.join(", ")}${others.length > shown.length ? ", …" : ""}`,
    { where: server, remedy: "is it the right cluster? give another --kubeconfig or --context; if you mean it, add --join" },
  );
}

/**
 * Takes a lab out of a cluster: its Nodes but for those named, their leases, what it made, the pods on its nodes. Nothing else
 * is touched; doing it again is no fault. @throws KubernetesApiError
 */
export async function leave(api: ObjectApi, owner: string, keep: readonly string[] = []): Promise<void> {
  const own = `${OWNER_LABEL}=${owner}`;
  const nodes = (await api.list<Node>(REFS.nodes, own)).filter(({ metadata }) => !keep.includes(metadata.name));
  const names = new Set(nodes.map(({ metadata }) => metadata.name));
  // First, so that nothing is scheduled on them any more.
  for (const node of nodes) await api.delete(REFS.nodes, idOf(node));
  if (keep.length === 0)
    for (const resource of MADE) for (const object of await listServed(api, resource, own)) await api.delete(resource, idOf(object));
  for (let look = 0; look < LOOKS && names.size > 0; look++) {
    const left = (await api.list<Pod>(REFS.pods)).filter(({ spec }) => names.has(spec.nodeName ?? ""));
    if (left.length === 0 && look > 0) break;
    for (const pod of left) await api.delete(REFS.pods, idOf(pod), 0);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  for (const name of names) await api.delete(REFS.leases, { metadata: { name, namespace: LEASE_NAMESPACE } });
  await dropBlocks(api, names);
  if (keep.length === 0) await dropDefinitions(api, own);
}

/** The definitions that carry the label and have no objects. Who may not see definitions has made none. */
async function dropDefinitions(api: ObjectApi, label: string): Promise<void> {
  const made = await listServed<CustomResourceDefinition>(api, REFS.customResourceDefinitions, label, [403, 404]);
  for (const definition of made) {
    const { group, names, versions } = definition.spec;
    const version = versions.find(({ storage }) => storage)?.name ?? "";
    if ((await listServed(api, { group, version, plural: names.plural })).length === 0)
      await api.delete(REFS.customResourceDefinitions, idOf(definition));
  }
}

interface IpamObject extends KubeObject {
  readonly spec?: {
    readonly node?: string;
    readonly affinity?: string | null;
    readonly cidr?: string;
    readonly block?: Readonly<Record<string, number>>;
  };
}

/** The routed network's blocks of nodes that are no more, and what refers to nothing else. */
async function dropBlocks(api: ObjectApi, nodes: ReadonlySet<string>): Promise<void> {
  const drop = async (resource: WatchedResource, which: (spec: NonNullable<IpamObject["spec"]>) => boolean) => {
    const gone = (await listServed<IpamObject>(api, resource)).filter(({ spec }) => spec && which(spec));
    for (const object of gone) await api.delete(resource, idOf(object));
    return gone;
  };
  const blocks = await drop(REFS.ipamBlocks, ({ affinity }) => affinity?.startsWith("host:") === true && nodes.has(affinity.slice(5)));
  const cidrs = new Set(blocks.map(({ spec }) => spec?.cidr));
  await drop(REFS.blockAffinities, ({ node = "" }) => nodes.has(node));
  await drop(REFS.ipamHandles, ({ block = {} }) => Object.keys(block).length > 0 && Object.keys(block).every((cidr) => cidrs.has(cidr)));
}

function idOf({ metadata: { name, namespace, uid } }: KubeObject): Pick<KubeObject, "metadata"> {
  return { metadata: { name, ...(namespace === undefined ? {} : { namespace }), ...(uid === undefined ? {} : { uid }) } };
}

/** None where the server does not have the kind, or answers otherwise with one of these codes. */
async function listServed<T extends KubeObject>(
  api: ObjectApi,
  resource: WatchedResource,
  labelSelector?: string,
  none: readonly number[] = [404],
): Promise<readonly T[]> {
  try {
    return await api.list<T>(resource, labelSelector);
  } catch (error) {
    if (error instanceof KubernetesApiError && none.includes(error.status)) return [];
    throw error;
  }
}
