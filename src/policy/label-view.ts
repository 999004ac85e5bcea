// The labels that an end point shows: those written on it, and what each language adds from its namespace and service account.
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import type { Labels } from "./labels.ts";
import type { Selection } from "./rules.ts";

type View = Selection["view"];

const NONE: Labels = {};

/** Where a snapshot holds service accounts. */
export const SERVICE_ACCOUNTS = "v1/ServiceAccount";

export function serviceAccountOf(pod: Pod): string {
  return pod.spec.serviceAccountName ?? "default";
}

/** A namespace's labels with those that the API server and the language add; undefined where the namespace is not there and the language minds. */
export function namespaceLabels(snapshot: ClusterSnapshot, name: string, view?: View): Labels | undefined {
  const namespace = snapshot.namespaces.get(name);
  if (!namespace) return view === "calico" ? addNames({}, name, view) : undefined;
  return seen(namespace, view ?? "", [], () => addNames(namespace.metadata.labels, name, view));
}

function addNames(own: Labels | undefined, name: string, view: View): Labels {
  const labels = { ...own, "kubernetes.io/metadata.name": name };
  return view === "calico" ? { ...labels, "projectcalico.org/name": name } : labels;
}

/** A service account's labels; none where it is not there. */
export function serviceAccountLabels(snapshot: ClusterSnapshot, namespace: string, name: string, view?: View): Labels {
  const labels = accountsOf(snapshot)?.get(`${namespace}/${name}`)?.metadata.labels ?? NONE;
  return view === "calico" ? { ...labels, "projectcalico.org/name": name } : labels;
}

function accountsOf(snapshot: ClusterSnapshot): Part<KubeObject> | undefined {
  return snapshot.others.get(SERVICE_ACCOUNTS);
}

/** A pod's labels as the language sees them. */
export function podLabels(snapshot: ClusterSnapshot, pod: Pod, view: View): Labels {
  const own = pod.metadata.labels ?? NONE;
  if (view === undefined) return own;
  const namespace = pod.metadata.namespace ?? "default";
  const account = serviceAccountOf(pod);
  const on = [snapshot.namespaces.get(namespace), accountsOf(snapshot)?.get(`${namespace}/${account}`)];
  return seen(pod, view, on, () => {
    const ofNamespace = namespaceLabels(snapshot, namespace, view) ?? NONE;
    const ofAccount = serviceAccountLabels(snapshot, namespace, account, view);
    if (view === "calico")
      return {
        ...own,
        ...prefixed("pcns.", ofNamespace),
        ...prefixed("pcsa.", ofAccount),
        "projectcalico.org/namespace": namespace,
        "projectcalico.org/orchestrator": "k8s",
        "projectcalico.org/serviceaccount": account,
      };
    return {
      ...own,
      ...prefixed("io.cilium.k8s.namespace.labels.", ofNamespace),
      "io.kubernetes.pod.namespace": namespace,
      "io.cilium.k8s.policy.serviceaccount": account,
      "io.cilium.k8s.policy.cluster": "default",
    };
  });
}

/** The labels of an end point that is no pod: what a namespace lends to a network set is there too. */
export function endLabels(snapshot: ClusterSnapshot, end: { readonly namespace?: string; readonly labels: Labels }, view: View): Labels {
  if (view !== "calico" || end.namespace === undefined) return end.labels;
  return {
    ...end.labels,
    ...prefixed("pcns.", namespaceLabels(snapshot, end.namespace, view) ?? NONE),
    "projectcalico.org/namespace": end.namespace,
  };
}

function prefixed(prefix: string, labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [`${prefix}${key}`, value]));
}

interface Seen {
  readonly on: readonly unknown[];
  readonly labels: Labels;
}

const views = new WeakMap<object, Map<string, Seen>>();

/** Calculated once per object, view, and the objects that it also depends on. */
function seen(object: object, view: string, on: readonly unknown[], make: () => Labels): Labels {
  let known = views.get(object);
  if (!known) {
    known = new Map();
    views.set(object, known);
  }
  const last = known.get(view);
  if (last?.on.every((each, index) => each === on[index])) return last.labels;
  const labels = make();
  known.set(view, { on, labels });
  return labels;
}
