// Whether a selection holds an end point, how a selection is called in sentences, and which text names it.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Pod } from "../resources/index.ts";
import { endLabels, namespaceLabels, podLabels, serviceAccountLabels, serviceAccountOf } from "./label-view.ts";
import { formatTest, isAll, sayLabels, testLabels } from "./labels.ts";
import type { EndKind, LabelledEnd, LabelMatch, Selection } from "./rules.ts";

const PODS: readonly EndKind[] = ["pod"];

export function kindsOf(selection: Selection): readonly EndKind[] {
  return selection.kinds ?? PODS;
}

/** Whether the selection holds the pod. Host-network pods are in none. A namespace without its object matches no selector. */
export function selects(snapshot: ClusterSnapshot, selection: Selection, pod: Pod): boolean {
  if (pod.spec.hostNetwork || selection.global || !kindsOf(selection).includes("pod")) return false;
  const namespace = pod.metadata.namespace ?? "default";
  if (selection.namespace !== undefined && selection.namespace !== namespace) return false;
  if (selection.names && !selection.names.includes(`${namespace}/${pod.metadata.name}`)) return false;
  if (!testLabels(selection.labels.test, podLabels(snapshot, pod, selection.view))) return false;
  if (!inNamespaces(snapshot, selection, namespace)) return false;
  const { serviceAccounts, serviceAccountSelector, view } = selection;
  const account = serviceAccountOf(pod);
  if (serviceAccounts && !serviceAccounts.includes(account)) return false;
  return !serviceAccountSelector || testLabels(serviceAccountSelector.test, serviceAccountLabels(snapshot, namespace, account, view));
}

/** Whether the selection holds an end point that is no pod. */
export function selectsEnd(snapshot: ClusterSnapshot, selection: Selection, end: LabelledEnd): boolean {
  if (!kindsOf(selection).includes(end.kind)) return false;
  if (selection.serviceAccounts) return false;
  if (selection.serviceAccountSelector && !(selection.view === "calico" && testLabels(selection.serviceAccountSelector.test, {})))
    return false;
  if (selection.global && end.namespace !== undefined) return false;
  if (selection.namespace !== undefined && selection.namespace !== end.namespace) return false;
  if (selection.names && !selection.names.includes(nameOf(end))) return false;
  if (!testLabels(selection.labels.test, endLabels(snapshot, end, selection.view))) return false;
  return inNamespaces(snapshot, selection, end.namespace);
}

function nameOf({ namespace, name }: LabelledEnd): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** Calico asks also those without a namespace: they have none of its labels, which may be what is asked for. */
function inNamespaces(snapshot: ClusterSnapshot, { namespaceSelector, view }: Selection, namespace: string | undefined): boolean {
  if (namespaceSelector === undefined) return true;
  const labels = namespace === undefined ? (view === "calico" ? {} : undefined) : namespaceLabels(snapshot, namespace, view);
  return labels !== undefined && testLabels(namespaceSelector.test, labels);
}

const NOUNS: Readonly<Record<EndKind, string>> = {
  pod: "pod",
  host: "host end point",
  set: "network set",
  group: "CIDR group",
  node: "node",
};

/** "every pod of production", "pods with app=web of namespaces with team=a". */
export function describeSelection(selection: Selection): string {
  const kinds = kindsOf(selection);
  // What Calico calls an end point is a pod to most people.
  const noun = kinds.includes("pod") ? "pod" : NOUNS[kinds[0] ?? "pod"];
  const { names, namespace, namespaceSelector, serviceAccounts, serviceAccountSelector } = selection;
  const who = names
    ? `${noun} ${names.join(", ")}`
    : isAll(selection.labels)
      ? `every ${noun}`
      : `${noun}s with ${sayLabels(selection.labels)}`;
  const accounts = [
    ...(serviceAccounts ? [` of service account ${serviceAccounts.join(" or ")}`] : []),
    ...(serviceAccountSelector ? [` of service accounts with ${sayLabels(serviceAccountSelector)}`] : []),
  ].join("");
  const within = namespace === undefined ? "" : ` of ${namespace}`;
  if (namespaceSelector === undefined) return `${who}${accounts}${within}${selection.global ? " of no namespace" : ""}`;
  if (isAll(namespaceSelector)) return `${who}${accounts}${within || " of every namespace"}`;
  return `${who}${accounts}${within} of namespaces with ${sayLabels(namespaceSelector)}`;
}

const keys = new WeakMap<Selection, string>();

/** The text that two selections share exactly if they are written alike. */
export function selectionKey(selection: Selection): string {
  let key = keys.get(selection);
  if (key === undefined) {
    const test = (match: LabelMatch | undefined) => (match === undefined ? null : formatTest(match.test));
    key = JSON.stringify([
      selection.namespace ?? null,
      test(selection.namespaceSelector),
      test(selection.labels),
      ...(selection.kinds ? [[...selection.kinds].sort()] : []),
      ...(selection.view ? [selection.view] : []),
      ...(selection.names ? ["names", selection.names] : []),
      ...(selection.global ? ["global"] : []),
      ...(selection.serviceAccounts ? ["accounts", [...selection.serviceAccounts].sort()] : []),
      ...(selection.serviceAccountSelector ? ["account", test(selection.serviceAccountSelector)] : []),
    ]);
    keys.set(selection, key);
  }
  return key;
}
