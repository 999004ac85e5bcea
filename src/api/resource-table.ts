// The table of resources: every kind that the API serves, and how it behaves, as data.
import type { ResourceRef } from "./store.ts";

export interface Resource extends ResourceRef {
  readonly kind: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  readonly categories: readonly string[];
  /** Whether status is a subresource of its own, which plain writes leave alone. */
  readonly status: boolean;
  /** Where scale reads and writes the number of replicas. */
  readonly scale: boolean;
  /** Whether metadata.generation counts changes of what is neither metadata nor status. */
  readonly generation: boolean;
  /** The status of a new object: the caller's, or this. */
  readonly initialStatus: "keep" | Readonly<Record<string, unknown>> | undefined;
  /** Further subresources, shown by discovery; the streaming ones are served by whoever registered them. */
  readonly subresources: readonly { readonly name: string; readonly kind: string; readonly verbs: readonly string[] }[];
}

interface Row {
  readonly short?: string;
  readonly cluster?: true;
  readonly status?: true;
  readonly scale?: true;
  readonly generation?: true;
  readonly all?: true;
  readonly plural?: string;
  readonly initialStatus?: Resource["initialStatus"];
  readonly subresources?: Resource["subresources"];
}

const workload: Row = { status: true, generation: true, all: true, initialStatus: {} };
const rows: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  v1: {
    ConfigMap: { short: "cm" },
    Endpoints: { short: "ep", plural: "endpoints" },
    Event: { short: "ev" },
    LimitRange: { short: "limits" },
    Namespace: {
      short: "ns",
      cluster: true,
      status: true,
      initialStatus: { phase: "Active" },
      subresources: [{ name: "finalize", kind: "Namespace", verbs: ["update"] }],
    },
    Node: { short: "no", cluster: true, status: true, initialStatus: "keep" },
    PersistentVolume: { short: "pv", cluster: true, status: true, initialStatus: { phase: "Pending" } },
    PersistentVolumeClaim: { short: "pvc", status: true, initialStatus: { phase: "Pending" } },
    Pod: {
      short: "po",
      status: true,
      all: true,
      generation: true,
      initialStatus: { phase: "Pending" },
      subresources: [
        { name: "attach", kind: "PodAttachOptions", verbs: ["create", "get"] },
        { name: "binding", kind: "Binding", verbs: ["create"] },
        { name: "eviction", kind: "Eviction", verbs: ["create"] },
        { name: "exec", kind: "PodExecOptions", verbs: ["create", "get"] },
        { name: "log", kind: "Pod", verbs: ["get"] },
        { name: "portforward", kind: "PodPortForwardOptions", verbs: ["create", "get"] },
      ],
    },
    PodTemplate: {},
    ReplicationController: { ...workload, short: "rc", scale: true },
    ResourceQuota: { short: "quota", status: true, initialStatus: {} },
    Secret: {},
    Service: { short: "svc", status: true, all: true, initialStatus: { loadBalancer: {} } },
    ServiceAccount: { short: "sa" },
  },
  "apps/v1": {
    ControllerRevision: {},
    DaemonSet: { ...workload, short: "ds" },
    Deployment: { ...workload, short: "deploy", scale: true },
    ReplicaSet: { ...workload, short: "rs", scale: true },
    StatefulSet: { ...workload, short: "sts", scale: true },
  },
  "batch/v1": { CronJob: { ...workload, short: "cj" }, Job: { ...workload } },
  "autoscaling/v2": { HorizontalPodAutoscaler: { short: "hpa", status: true, all: true, initialStatus: {} } },
  "policy/v1": { PodDisruptionBudget: { short: "pdb", status: true, generation: true, initialStatus: {} } },
  "discovery.k8s.io/v1": { EndpointSlice: { generation: true } },
  "coordination.k8s.io/v1": { Lease: {} },
  "networking.k8s.io/v1": {
    Ingress: { short: "ing", status: true, generation: true, initialStatus: { loadBalancer: {} } },
    IngressClass: { cluster: true, generation: true },
    NetworkPolicy: { short: "netpol", generation: true },
  },
  "rbac.authorization.k8s.io/v1": {
    ClusterRole: { cluster: true },
    ClusterRoleBinding: { cluster: true },
    Role: {},
    RoleBinding: {},
  },
  "storage.k8s.io/v1": { StorageClass: { short: "sc", cluster: true } },
  "scheduling.k8s.io/v1": { PriorityClass: { short: "pc", cluster: true } },
  "apiextensions.k8s.io/v1": {
    CustomResourceDefinition: { short: "crd,crds", cluster: true, status: true, generation: true, initialStatus: {} },
  },
};

function pluralOf(lower: string): string {
  if (lower.endsWith("s") || lower.endsWith("x")) return `${lower}es`;
  return /[^aeiou]y$/.test(lower) ? `${lower.slice(0, -1)}ies` : `${lower}s`;
}

function build(groupVersion: string, kind: string, row: Row): Resource {
  const slash = groupVersion.indexOf("/");
  const lower = kind.toLowerCase();
  return {
    group: slash < 0 ? "" : groupVersion.slice(0, slash),
    version: groupVersion.slice(slash + 1),
    plural: row.plural ?? pluralOf(lower),
    kind,
    singular: lower,
    shortNames: row.short?.split(",") ?? [],
    namespaced: !row.cluster,
    categories: row.all ? ["all"] : [],
    status: row.status ?? false,
    scale: row.scale ?? false,
    generation: row.generation ?? false,
    initialStatus: row.initialStatus,
    subresources: row.subresources ?? [],
  };
}

/** The kinds that are served from the start. */
export const builtinResources: readonly Resource[] = Object.entries(rows).flatMap(([groupVersion, kinds]) =>
  Object.entries(kinds).map(([kind, row]) => build(groupVersion, kind, row)),
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
export function groupVersionOf(resource: ResourceRef): string {
  return resource.group ? `${resource.group}/${resource.version}` : resource.version;
}
