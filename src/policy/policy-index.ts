// The compiled policies of a snapshot, and the index that answers which of them select a pod.
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { KubeObject, NetworkPolicy, Pod } from "../resources/index.ts";
import { CLUSTER_POLICY_KINDS, readClusterPolicy } from "./cluster-network-policy.ts";
import { type Labels, testLabels } from "./labels.ts";
import { readNetworkPolicy } from "./network-policy.ts";
import type { LabelTest, PodSelection, Policy, ReadPolicy } from "./rules.ts";

/** Policies of one namespace (or of none): under a label that their subject needs, or under none. */
interface Shelf {
  readonly byLabel: Map<string, Policy[]>;
  readonly others: Policy[];
}

export interface PolicyIndex {
  readonly remarks: readonly string[];
  /** Every policy, in order of evaluation. */
  readonly all: readonly Policy[];
  /** Policies that could select pods of the namespace. */
  ofNamespace(namespace: string): Policy[];
  /** Policies that select the pod, in order of evaluation. Host-network pods are selected by none. */
  selecting(snapshot: ClusterSnapshot, pod: Pod): Policy[];
}

interface Compiled {
  readonly parts: readonly (object | undefined)[];
  readonly index: PolicyIndex;
}

const compiled = new WeakMap<Part<NetworkPolicy>, Compiled>();
const readings = new WeakMap<KubeObject, ReadPolicy>();

/** The parts of a snapshot that hold policies, in every language; the same objects as long as no policy changes. */
export function policyParts(snapshot: ClusterSnapshot): readonly (Part<KubeObject> | undefined)[] {
  return [snapshot.networkPolicies, ...CLUSTER_POLICY_KINDS.map((kind) => snapshot.others.get(kind))];
}

/** The index over a snapshot's policies; kept as long as the snapshot's parts of them are the same objects. */
export function indexPolicies(snapshot: ClusterSnapshot): PolicyIndex {
  const parts = policyParts(snapshot);
  const known = compiled.get(snapshot.networkPolicies);
  if (known && parts.every((part, index) => part === known.parts[index])) return known.index;
  const policies: Policy[] = [];
  const remarks: string[] = [];
  const add = (object: KubeObject, read: (object: never) => ReadPolicy) => {
    const reading = readings.get(object) ?? read(object as never);
    readings.set(object, reading);
    policies.push(reading.policy);
    remarks.push(...reading.remarks);
  };
  const [namespaced, ...clusterWide] = parts;
  for (const object of namespaced?.values() ?? []) add(object, readNetworkPolicy);
  for (const part of clusterWide) for (const object of part?.values() ?? []) add(object, readClusterPolicy);
  const index = buildIndex(policies, remarks);
  compiled.set(snapshot.networkPolicies, { parts, index });
  return index;
}

/** Whether two snapshots may differ in what policies say: other policies, or other pods or namespaces while there are policies. */
export function policiesMayDiffer(before: ClusterSnapshot, after: ClusterSnapshot): boolean {
  const [was, is] = [policyParts(before), policyParts(after)];
  if (is.every((part) => (part?.size ?? 0) === 0)) return false;
  return was.some((part, index) => part !== is[index]) || before.pods !== after.pods || before.namespaces !== after.namespaces;
}

function buildIndex(policies: readonly Policy[], remarks: readonly string[]): PolicyIndex {
  const shelves = new Map<string, Shelf>();
  for (const policy of policies) {
    const namespace = policy.subject.namespace ?? "";
    let shelf = shelves.get(namespace);
    if (!shelf) {
      shelf = { byLabel: new Map(), others: [] };
      shelves.set(namespace, shelf);
    }
    const label = neededLabel(policy.subject.podSelector.test);
    if (label === undefined) shelf.others.push(policy);
    else {
      const list = shelf.byLabel.get(label);
      if (list) list.push(policy);
      else shelf.byLabel.set(label, [policy]);
    }
  }
  const shelvesOf = (namespace: string) => [shelves.get(namespace), shelves.get("")].filter((shelf) => shelf !== undefined);
  return {
    remarks,
    all: policies.toSorted(comparePolicies),
    ofNamespace: (namespace) =>
      shelvesOf(namespace)
        .flatMap((shelf) => [...shelf.others, ...[...shelf.byLabel.values()].flat()])
        .sort(comparePolicies),
    selecting: (snapshot, pod) => {
      if (pod.spec.hostNetwork) return [];
      const found: Policy[] = [];
      for (const shelf of shelvesOf(pod.metadata.namespace ?? "default")) {
        found.push(...shelf.others);
        for (const [key, value] of Object.entries(pod.metadata.labels ?? {})) found.push(...(shelf.byLabel.get(`${key}=${value}`) ?? []));
      }
      return found.filter((policy) => selects(snapshot, policy.subject, pod)).sort(comparePolicies);
    },
  };
}

/** Tier, order, then name and namespace. */
function comparePolicies(a: Policy, b: Policy): number {
  return (
    a.tier.order - b.tier.order ||
    compareText(a.tier.name, b.tier.name) ||
    a.order - b.order ||
    compareText(a.owner.name, b.owner.name) ||
    compareText(a.owner.namespace ?? "", b.owner.namespace ?? "") ||
    compareText(a.owner.kind, b.owner.kind)
  );
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether the selection holds the pod. Host-network pods are in none. A namespace without its object matches no selector. */
export function selects(snapshot: ClusterSnapshot, selection: PodSelection, pod: Pod): boolean {
  if (pod.spec.hostNetwork) return false;
  const namespace = pod.metadata.namespace ?? "default";
  if (selection.namespace !== undefined && selection.namespace !== namespace) return false;
  if (!testLabels(selection.podSelector.test, pod.metadata.labels ?? {})) return false;
  if (selection.namespaceSelector === undefined) return true;
  const labels = namespaceLabels(snapshot, namespace);
  return labels !== undefined && testLabels(selection.namespaceSelector.test, labels);
}

/** The namespace's labels with the one that the API server sets. */
export function namespaceLabels(snapshot: ClusterSnapshot, name: string): Labels | undefined {
  const namespace = snapshot.namespaces.get(name);
  return namespace && { ...namespace.metadata.labels, "kubernetes.io/metadata.name": name };
}

function neededLabel(test: LabelTest): string | undefined {
  if (test.op === "in" && test.values.length === 1) return `${test.key}=${test.values[0]}`;
  if (test.op !== "all") return undefined;
  for (const part of test.of) {
    const label = neededLabel(part);
    if (label !== undefined) return label;
  }
  return undefined;
}
