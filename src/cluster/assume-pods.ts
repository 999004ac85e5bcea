// Workloads as the pods that their controllers would make, with names as Kubernetes gives them, but the same every time.
import { createHash } from "node:crypto";
import {
  applyDefaults,
  type KubeObject,
  type Node,
  type OwnerReference,
  type Pod,
  type PodTemplate,
  type ReplicaSet,
  whyNotOn,
} from "../resources/index.ts";

/** Letters and digits that make no words. */
const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";
const TEMPLATE_HASH = "pod-template-hash";

interface Workload extends KubeObject {
  readonly spec?: {
    readonly replicas?: number;
    readonly parallelism?: number;
    readonly completions?: number;
    readonly completionMode?: string;
    readonly suspend?: boolean;
    readonly serviceName?: string;
    readonly ordinals?: { readonly start?: number };
    readonly selector?: ReplicaSet["spec"]["selector"];
    readonly template?: PodTemplate;
  };
}

/** The pods of all workloads among the objects whose pods are not there yet, and the ReplicaSets of Deployments. No pod has a place yet. */
export function assumePods(objects: readonly KubeObject[], nodes: readonly Node[]): { readonly pods: Pod[]; readonly sets: KubeObject[] } {
  const owners = new Set<string>();
  for (const { metadata } of objects)
    for (const owner of metadata.ownerReferences ?? []) owners.add(`${metadata.namespace}/${owner.kind}/${owner.name}`);
  const isNew = ({ kind, metadata }: KubeObject) => !owners.has(`${metadata.namespace}/${kind}/${metadata.name}`);
  const workloads = objects.filter(
    (object): object is Workload => /^(apps|batch)\/v1$/.test(object.apiVersion) || object.kind === "ReplicationController",
  );
  const sets = workloads.filter((each) => each.kind === "Deployment" && isNew(each)).flatMap(replicaSetOf);
  const pods = [...workloads, ...sets].filter((each) => each.kind !== "Deployment" && isNew(each)).flatMap((each) => podsOf(each, nodes));
  const present = new Set(objects.filter(({ kind }) => kind === "Pod").map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  return { pods: pods.filter(({ metadata }) => !present.has(`${metadata.namespace}/${metadata.name}`)), sets };
}

function replicaSetOf(deployment: Workload): Workload[] {
  const { spec, metadata } = deployment;
  if (!spec?.template) return [];
  const hash = suffixOf(canonicalJson(spec.template), 9);
  const labels = { ...spec.template.metadata?.labels, [TEMPLATE_HASH]: hash };
  const set = {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: { ...placeOf(deployment, `${metadata.name}-${hash}`), labels, ownerReferences: [referenceTo(deployment)] },
    spec: {
      replicas: spec.replicas ?? 1,
      selector: { ...spec.selector, matchLabels: { ...spec.selector?.matchLabels, [TEMPLATE_HASH]: hash } },
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
    },
  };
  return [set];
}

function podsOf(workload: Workload, nodes: readonly Node[]): Pod[] {
  const { kind, metadata, spec } = workload;
  const template = spec?.template;
  if (!spec || !template?.spec) return [];
  const many = (count: number, name: (index: number) => Parameters<typeof podOf>[2]) =>
    Array.from({ length: Math.max(0, count) }, (_, index) => podOf(workload, template, name(index)));
  const random = (text: string) => `${metadata.name}-${suffixOf(`${kind}/${metadata.namespace}/${metadata.name}/${text}`, 5)}`;
  switch (kind) {
    case "ReplicaSet":
    case "ReplicationController":
      return many(spec.replicas ?? 1, (index) => ({ name: random(String(index)) }));
    case "StatefulSet": {
      const subdomain = spec.serviceName ? { subdomain: spec.serviceName } : {};
      return many(spec.replicas ?? 1, (index) => {
        const ordinal = index + (spec.ordinals?.start ?? 0);
        const name = `${metadata.name}-${ordinal}`;
        const labels = { "statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": String(ordinal) };
        return { name, labels, spec: { hostname: name, ...subdomain } };
      });
    }
    case "DaemonSet":
      return nodes
        .filter((node) => whyNotOn(node, template.spec, { daemon: true }) === undefined)
        .map((node) => podOf(workload, template, { name: random(node.metadata.name), spec: { nodeName: node.metadata.name } }));
    case "Job": {
      if (spec.suspend) return [];
      const labels = { "job-name": metadata.name, "batch.kubernetes.io/job-name": metadata.name };
      const count = Math.min(spec.parallelism ?? 1, spec.completions ?? spec.parallelism ?? 1);
      if (spec.completionMode !== "Indexed") return many(count, (index) => ({ name: random(String(index)), labels }));
      return many(count, (index) => ({
        name: `${metadata.name}-${index}-${suffixOf(`${metadata.namespace}/${metadata.name}/${index}`, 5)}`,
        labels: { ...labels, "batch.kubernetes.io/job-completion-index": String(index) },
        spec: { hostname: `${metadata.name}-${index}` },
      }));
    }
    default:
      return [];
  }
}

function podOf(
  owner: Workload,
  template: PodTemplate,
  options: { readonly name: string; readonly labels?: Readonly<Record<string, string>>; readonly spec?: Partial<Pod["spec"]> },
): Pod {
  const annotations = template.metadata?.annotations ? { annotations: template.metadata.annotations } : {};
  return applyDefaults({
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...placeOf(owner, options.name),
      labels: { ...template.metadata?.labels, ...options.labels },
      ...annotations,
      ownerReferences: [referenceTo(owner)],
    },
    spec: { ...template.spec, ...options.spec },
  });
}

function placeOf(owner: KubeObject, name: string): { name: string; namespace?: string } {
  return { name, ...(owner.metadata.namespace === undefined ? {} : { namespace: owner.metadata.namespace }) };
}

function referenceTo({ apiVersion, kind, metadata }: KubeObject): OwnerReference {
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid ?? "", controller: true, blockOwnerDeletion: true };
}

/** Letters of a text's digest: as random as names are, and the same for the same text. */
function suffixOf(text: string, length: number): string {
  const digest = createHash("sha256").update(text).digest();
  return Array.from(digest.subarray(0, length), (byte) => ALPHABET[byte % ALPHABET.length]).join("");
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
