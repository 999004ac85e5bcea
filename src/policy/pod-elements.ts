// Elements of nft sets that stand for pods, kept namespace by namespace: a changed pod costs its own namespace's part, and no other.
import { type Family, familyOf } from "../base/index.ts";
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { NftElement, NftSet, Owner } from "../kernel/index.ts";
import type { Namespace, Pod } from "../resources/index.ts";
import { podAddresses } from "./ends.ts";
import { namespaceLabels, SERVICE_ACCOUNTS } from "./label-view.ts";
import { formatTest, neededLabels, testLabels } from "./labels.ts";
import type { Selection } from "./rules.ts";
import { selects } from "./selection.ts";

/** A way to make elements of a pod; the same key, the same elements. */
export interface ElementMaker {
  readonly key: string;
  make(pod: Pod): readonly NftElement[];
}

interface Kept {
  /** What they depend on besides the pods. */
  readonly on: readonly unknown[];
  readonly elements: readonly NftElement[];
}

const EMPTY: readonly NftElement[] = [];
const kept = new WeakMap<readonly Pod[], Map<string, Kept>>();

/**
 * One list for each namespace that has some: the elements of the selected pods ("any": of all but host-network ones). A
 * list is the very same as long as its namespace's pods, labels and service accounts are. `key` names the selection.
 */
export function podElements(
  snapshot: ClusterSnapshot,
  selection: Selection | "any",
  { key, maker }: { readonly key: string; readonly maker: ElementMaker },
): (readonly NftElement[])[] {
  const whole = `${key} ${maker.key}`;
  const lists: (readonly NftElement[])[] = [];
  for (const namespace of selection === "any" ? snapshot.pods.namespaceNames() : namespacesOf(snapshot, selection)) {
    const pods = snapshot.pods.list(namespace);
    if (pods.length === 0) continue;
    let known = kept.get(pods);
    if (!known) {
      known = new Map();
      kept.set(pods, known);
    }
    const on = [snapshot.namespaces.get(namespace), snapshot.others.get(SERVICE_ACCOUNTS)];
    let entry = known.get(whole);
    if (!entry || on.some((each, index) => each !== entry?.on[index])) {
      const elements = candidates(snapshot, namespace, selection)
        .filter((pod) => (selection === "any" ? !pod.spec.hostNetwork : selects(snapshot, selection, pod)))
        .flatMap((pod) => maker.make(pod));
      entry = { on, elements: elements.length > 0 ? elements : EMPTY };
      known.set(whole, entry);
    }
    if (entry.elements.length > 0) lists.push(entry.elements);
  }
  return lists;
}

/** Pods of a namespace among which the selected ones are, by the snapshot's index where that helps. */
function candidates(snapshot: ClusterSnapshot, namespace: string, selection: Selection | "any"): Pod[] {
  const needed = selection === "any" ? undefined : neededLabels(selection.labels.test);
  if (!needed) return [...snapshot.pods.list(namespace)];
  const found = new Set<Pod>();
  for (const label of needed) {
    const cut = label.indexOf("=");
    for (const pod of snapshot.pods.select(namespace, { matchLabels: { [label.slice(0, cut)]: label.slice(cut + 1) } })) found.add(pod);
  }
  return [...found];
}

const chosen = new WeakMap<Part<Namespace>, Map<string, readonly string[]>>();

/** The namespaces that the selection may find pods in. */
function namespacesOf(snapshot: ClusterSnapshot, { namespace, namespaceSelector, view }: Selection): readonly string[] {
  if (!namespaceSelector) return namespace === undefined ? snapshot.pods.namespaceNames() : [namespace];
  const holds = (name: string) => {
    const labels = namespaceLabels(snapshot, name, view);
    return labels !== undefined && testLabels(namespaceSelector.test, labels);
  };
  if (namespace !== undefined) return holds(namespace) ? [namespace] : [];
  let known = chosen.get(snapshot.namespaces);
  if (!known) {
    known = new Map();
    chosen.set(snapshot.namespaces, known);
  }
  const key = `${view ?? ""} ${formatTest(namespaceSelector.test)}`;
  let names = known.get(key);
  if (!names) {
    names = Array.from(snapshot.namespaces.values(), ({ metadata }) => metadata.name).filter(holds);
    known.set(key, names);
  }
  // Calico knows a namespace by its pods, too.
  const objectless =
    view === "calico" ? snapshot.pods.namespaceNames().filter((name) => !snapshot.namespaces.get(name) && holds(name)) : [];
  return objectless.length > 0 ? [...names, ...objectless] : names;
}

const ofPods = new WeakMap<Pod, Readonly<Record<Family, readonly NftElement[]>>>();

/** A pod's addresses of one family; the same elements for the same pod. */
export function addressElements(pod: Pod, family: Family): readonly NftElement[] {
  let elements = ofPods.get(pod);
  if (!elements) {
    const all = podAddresses(pod).map((address) => ({ key: [address], owner: podOwner(pod) }));
    elements = {
      4: all.filter(({ key: [address] }) => familyOf(address ?? "") === 4),
      6: all.filter(({ key: [address] }) => familyOf(address ?? "") === 6),
    };
    ofPods.set(pod, elements);
  }
  return elements[family];
}

export function podOwner(pod: Pod): Owner {
  return { kind: "Pod", namespace: pod.metadata.namespace ?? "default", name: pod.metadata.name };
}

/** The last set that began with this list: of the same lists it is the same object, which needs no comparing. */
const lastSets = new WeakMap<readonly NftElement[], { readonly lists: readonly (readonly NftElement[])[]; readonly set: NftSet }>();

/** A set of all the lists' elements, each key once. */
export function joinSet(head: Omit<NftSet, "elements">, lists: readonly (readonly NftElement[])[]): NftSet {
  const [first] = lists;
  if (!first) return { ...head, elements: EMPTY };
  const last = lastSets.get(first);
  if (last?.set.name === head.name && last.lists.length === lists.length && last.lists.every((list, index) => list === lists[index]))
    return last.set;
  const unique = new Map<string, NftElement>();
  for (const list of lists) for (const element of list) unique.set(element.key.join(" "), element);
  const set = { ...head, elements: [...unique.values()] };
  lastSets.set(first, { lists, set });
  return set;
}
