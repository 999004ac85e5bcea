// The table of resources: every kind that the API serves, and how it behaves, as data. Their names are the resources room's.
import { apiVersionOf, KINDS, type KindInfo } from "../resources/index.ts";
import type { Schema } from "./schema/structural.ts";
import type { ResourceRef } from "./store.ts";

export interface PrinterColumn {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  /** Above 0: only where `-o wide` asks. */
  readonly priority?: number;
}

export interface Resource extends ResourceRef {
  readonly kind: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
  /** Whether status is a subresource of its own, which plain writes leave alone. */
  readonly status: boolean;
  /** Where scale reads and writes the number of replicas. */
  readonly scale: boolean;
  /** Whether metadata.generation counts changes of what is neither metadata nor status. */
  readonly generation: boolean;
  /** The status of a new object: the caller's, or this. */
  readonly initialStatus: "keep" | Readonly<Record<string, unknown>> | undefined;
  /** OpenAPI v3 schema of a custom kind, where its definition has one. */
  readonly schema?: Schema;
  /** Further columns of `kubectl get`, as its definition asks for them. */
  readonly columns?: readonly PrinterColumn[];
  /** Where the scale subresource of a custom kind reads and writes: ".spec.replicas". */
  readonly scalePaths?: { readonly spec: string; readonly status: string; readonly selector?: string };
  /** Further subresources, shown by discovery; the streaming ones are served by whoever registered them. */
  readonly subresources: readonly { readonly name: string; readonly kind: string; readonly verbs: readonly string[] }[];
}

/** How a kind behaves beyond its name. */
interface Behaviour {
  readonly status?: true;
  readonly scale?: true;
  readonly generation?: true;
  readonly all?: true;
  readonly initialStatus?: Resource["initialStatus"];
  readonly subresources?: Resource["subresources"];
  /** Only asked, never stored. */
  readonly review?: true;
}

const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const workload: Behaviour = { status: true, generation: true, all: true, initialStatus: {} };
const behaviours: Readonly<Record<string, Behaviour>> = {
  "v1/Namespace": {
    status: true,
    initialStatus: { phase: "Active" },
    subresources: [{ name: "finalize", kind: "Namespace", verbs: ["update"] }],
  },
  "v1/Node": {
    status: true,
    initialStatus: "keep",
    subresources: [{ name: "proxy", kind: "NodeProxyOptions", verbs: ["create", "delete", "get", "patch", "update"] }],
  },
  "v1/PersistentVolume": { status: true, initialStatus: { phase: "Pending" } },
  "v1/PersistentVolumeClaim": { status: true, initialStatus: { phase: "Pending" } },
  "v1/Pod": {
    status: true,
    all: true,
    generation: true,
    initialStatus: { phase: "Pending" },
    subresources: [
      { name: "attach", kind: "PodAttachOptions", verbs: ["create", "get"] },
      { name: "binding", kind: "Binding", verbs: ["create"] },
      { name: "ephemeralcontainers", kind: "Pod", verbs: ["get", "patch", "update"] },
      { name: "eviction", kind: "Eviction", verbs: ["create"] },
      { name: "exec", kind: "PodExecOptions", verbs: ["create", "get"] },
      { name: "log", kind: "Pod", verbs: ["get"] },
      { name: "portforward", kind: "PodPortForwardOptions", verbs: ["create", "get"] },
      { name: "proxy", kind: "PodProxyOptions", verbs: ["create", "delete", "get", "patch", "update"] },
    ],
  },
  "v1/ReplicationController": { ...workload, scale: true },
  "v1/ResourceQuota": { status: true, initialStatus: {} },
  "v1/Service": {
    status: true,
    all: true,
    initialStatus: { loadBalancer: {} },
    subresources: [{ name: "proxy", kind: "ServiceProxyOptions", verbs: ["create", "delete", "get", "patch", "update"] }],
  },
  "v1/ServiceAccount": { subresources: [{ name: "token", kind: "TokenRequest", verbs: ["create"] }] },
  "apps/v1/DaemonSet": workload,
  "apps/v1/Deployment": { ...workload, scale: true },
  "apps/v1/ReplicaSet": { ...workload, scale: true },
  "apps/v1/StatefulSet": { ...workload, scale: true },
  "batch/v1/CronJob": workload,
  "batch/v1/Job": workload,
  "autoscaling/v1/HorizontalPodAutoscaler": { status: true, initialStatus: {} },
  "autoscaling/v2/HorizontalPodAutoscaler": { status: true, all: true, initialStatus: {} },
  "policy/v1/PodDisruptionBudget": { status: true, generation: true, initialStatus: {} },
  "discovery.k8s.io/v1/EndpointSlice": { generation: true },
  "networking.k8s.io/v1/Ingress": { status: true, generation: true, initialStatus: { loadBalancer: {} } },
  "networking.k8s.io/v1/IngressClass": { generation: true },
  "networking.k8s.io/v1/NetworkPolicy": { generation: true },
  "policy.networking.k8s.io/v1alpha1/AdminNetworkPolicy": { status: true, generation: true },
  "policy.networking.k8s.io/v1alpha1/BaselineAdminNetworkPolicy": { status: true, generation: true },
  "policy.networking.k8s.io/v1alpha2/ClusterNetworkPolicy": { status: true, generation: true },
  "authentication.k8s.io/v1/SelfSubjectReview": { review: true },
  "authentication.k8s.io/v1/TokenReview": { review: true },
  "authorization.k8s.io/v1/LocalSubjectAccessReview": { review: true },
  "authorization.k8s.io/v1/SelfSubjectAccessReview": { review: true },
  "authorization.k8s.io/v1/SelfSubjectRulesReview": { review: true },
  "authorization.k8s.io/v1/SubjectAccessReview": { review: true },
  "apiextensions.k8s.io/v1/CustomResourceDefinition": { status: true, generation: true, initialStatus: {} },
};

function build(info: KindInfo): Resource {
  const { group, version, kind, plural, shortNames, namespaced } = info;
  const behaviour = behaviours[`${groupVersionOf(info)}/${kind}`] ?? {};
  return {
    group,
    version,
    plural,
    kind,
    singular: kind.toLowerCase(),
    shortNames,
    namespaced,
    verbs: behaviour.review ? ["create"] : VERBS,
    categories: behaviour.all ? ["all"] : [],
    status: behaviour.status ?? false,
    scale: behaviour.scale ?? false,
    generation: behaviour.generation ?? false,
    initialStatus: behaviour.initialStatus,
    subresources: behaviour.subresources ?? [],
  };
}

/** A kind that is not Kubernetes' own: stored as it is. `status` tells whether that is a subresource of its own. */
export function customResource(
  info: KindInfo,
  {
    status,
    ...more
  }: { readonly status: boolean } & Pick<Resource, "schema" | "columns" | "scalePaths"> & { readonly categories?: readonly string[] },
): Resource {
  return {
    ...build(info),
    status,
    generation: true,
    initialStatus: status ? "keep" : undefined,
    scale: more.scalePaths !== undefined,
    ...more,
  };
}

/** The kinds that are served from the start. */
export const builtinResources: readonly Resource[] = KINDS.map((info) =>
  info.builtin ? build(info) : customResource(info, { status: true }),
);

/** What is served now. Resources may be added and taken away (custom kinds); `revision` tells that discovery changed. */
export class ResourceTable {
  readonly #byPath = new Map<string, Resource>();
  revision = 0;

  constructor(resources: readonly Resource[] = builtinResources) {
    for (const resource of resources) this.add(resource);
  }

  add(resource: Resource): void {
    this.#byPath.set(`${resource.group}/${resource.version}/${resource.plural}`, resource);
    this.revision += 1;
  }

  remove(ref: ResourceRef): void {
    if (this.#byPath.delete(`${ref.group}/${ref.version}/${ref.plural}`)) this.revision += 1;
  }

  find(group: string, version: string, plural: string): Resource | undefined {
    return this.#byPath.get(`${group}/${version}/${plural}`);
  }

  all(): readonly Resource[] {
    return [...this.#byPath.values()];
  }
}

/** `v1`, `apps/v1`. */
export function groupVersionOf(resource: Pick<ResourceRef, "group" | "version">): string {
  return apiVersionOf(resource);
}
