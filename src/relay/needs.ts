// Which node needs which pod: its own, and those that are peers in policies that select one of its own.
//
//   policy ── subject ──▶ choice of pods ──▶ nodes that they are on ─┐
//         └── peers ────▶ choices of pods ──────────────────────────┴─▶ such a node needs such a pod
//
// Choices that are written alike are one. A pod that changes moves between choices; a policy that changes ties and unties them. Nothing
// is looked at but what could have changed: at 5,000 nodes a pod costs as much as there are choices that could hold it.
import type { ClusterSnapshot, ObjectChange } from "../cluster/index.ts";
import type { PodChoice, PolicyNeed } from "../policy/index.ts";
import type { Pod } from "../resources/index.ts";
import { keyOf } from "./lines.ts";

/** Told which keys a node must be told of, or no longer. */
export interface Listener {
  /** Whether anybody follows the node. */
  isWatched(node: string): boolean;
  touch(node: string, key: string): void;
  /** Every node that somebody follows. */
  watched(): Iterable<string>;
}

interface Choice {
  readonly choice: PodChoice;
  readonly pods: Set<string>;
  /** How many of its pods are on each node. */
  readonly nodes: Map<string, number>;
  /** Choices that nodes with a pod of this one need, and how many policies say so. */
  readonly peers: Map<Choice, number>;
  /** The other way about. */
  readonly subjects: Map<Choice, number>;
  /** How many policies make every node need it. */
  everywhere: number;
}

const ANYWHERE = "";

export class Needs {
  readonly #read: (snapshot: ClusterSnapshot) => readonly PolicyNeed[];
  readonly #choices = new Map<string, Choice>();
  /** Choices by the namespace that they are confined to. */
  readonly #byNamespace = new Map<string, Set<Choice>>();
  readonly #ofPod = new Map<string, Set<Choice>>();
  readonly #nodeOf = new Map<string, string>();
  readonly #podsOn = new Map<string, Set<string>>();
  #policies = new Set<PolicyNeed>();

  constructor(read: (snapshot: ClusterSnapshot) => readonly PolicyNeed[]) {
    this.#read = read;
  }

  /** Takes changes in, of which the snapshot is the outcome. */
  apply(changes: readonly ObjectChange[], snapshot: ClusterSnapshot, listener: Listener): void {
    const again = new Set<string>();
    for (const { type, object } of changes) {
      if (object.apiVersion !== "v1") continue;
      if (object.kind === "Pod") {
        again.delete(keyOf(object));
        this.#place(type === "DELETED" ? undefined : (object as Pod), keyOf(object), snapshot, listener);
      } else if (object.kind === "Namespace" || object.kind === "ServiceAccount") {
        const namespace = object.kind === "Namespace" ? object.metadata.name : (object.metadata.namespace ?? "");
        for (const pod of snapshot.pods.inNamespace(namespace)) again.add(keyOf(pod));
      }
    }
    for (const key of again) {
      const pod = podOf(snapshot, key);
      if (pod) this.#place(pod, key, snapshot, listener);
    }
    this.#followPolicies(snapshot, listener);
  }

  /** Everything that a node needs now. */
  *of(node: string): Iterable<string> {
    yield* this.#podsOn.get(node) ?? [];
    for (const choice of this.#choices.values()) {
      if (choice.everywhere > 0) yield* choice.pods;
      if (!choice.nodes.has(node)) continue;
      for (const peer of choice.peers.keys()) yield* peer.pods;
    }
  }

  /** Whether a node needs a pod, and whether whole: undefined if not. */
  formFor(node: string, key: string): "whole" | "peer" | undefined {
    if (this.#nodeOf.get(key) === node) return "whole";
    for (const choice of this.#ofPod.get(key) ?? []) {
      if (choice.everywhere > 0) return "peer";
      for (const subject of choice.subjects.keys()) if (subject.nodes.has(node)) return "peer";
    }
    return undefined;
  }

  /** Takes note of a pod as it is now; undefined: it is gone. */
  #place(pod: Pod | undefined, key: string, snapshot: ClusterSnapshot, listener: Listener): void {
    const before = { node: this.#nodeOf.get(key), choices: this.#ofPod.get(key) ?? new Set<Choice>() };
    const node = pod?.spec.nodeName;
    const choices = new Set(pod ? this.#holding(snapshot, pod) : []);
    for (const each of new Set([before.node, node])) if (each !== undefined && listener.isWatched(each)) listener.touch(each, key);
    if (before.node !== undefined && before.node !== node) this.#podsOn.get(before.node)?.delete(key);
    if (node === undefined) this.#nodeOf.delete(key);
    else {
      this.#nodeOf.set(key, node);
      put(this.#podsOn, node, key);
    }
    // Who needs it must hear of it, also where it only changed.
    for (const choice of new Set([...before.choices, ...choices])) this.#tellSubjects(choice, key, listener);
    for (const choice of before.choices) if (!choices.has(choice) || before.node !== node) this.#leave(choice, key, before.node, listener);
    for (const choice of choices) if (!before.choices.has(choice) || before.node !== node) this.#enter(choice, key, node, listener);
    if (choices.size > 0) this.#ofPod.set(key, choices);
    else this.#ofPod.delete(key);
  }

  *#holding(snapshot: ClusterSnapshot, pod: Pod): Iterable<Choice> {
    for (const namespace of [ANYWHERE, pod.metadata.namespace ?? ""]) {
      for (const choice of this.#byNamespace.get(namespace) ?? []) if (choice.choice.holds(snapshot, pod)) yield choice;
      if (pod.metadata.namespace === undefined) return;
    }
  }

  #enter(choice: Choice, key: string, node: string | undefined, listener: Listener): void {
    choice.pods.add(key);
    if (node === undefined) return;
    const count = choice.nodes.get(node) ?? 0;
    choice.nodes.set(node, count + 1);
    if (count === 0) this.#tellPeers(choice, node, listener);
  }

  #leave(choice: Choice, key: string, node: string | undefined, listener: Listener): void {
    choice.pods.delete(key);
    if (node === undefined) return;
    const count = (choice.nodes.get(node) ?? 1) - 1;
    if (count > 0) choice.nodes.set(node, count);
    else {
      choice.nodes.delete(node);
      this.#tellPeers(choice, node, listener);
    }
  }

  /** A pod of the choice is another: nodes that need it hear of it. */
  #tellSubjects(choice: Choice, key: string, listener: Listener): void {
    if (choice.everywhere > 0) for (const node of listener.watched()) listener.touch(node, key);
    for (const subject of choice.subjects.keys())
      for (const node of subject.nodes.keys()) if (listener.isWatched(node)) listener.touch(node, key);
  }

  /** A node needs the choice's peers now, or no longer. */
  #tellPeers(choice: Choice, node: string, listener: Listener): void {
    if (!listener.isWatched(node)) return;
    for (const peer of choice.peers.keys()) for (const key of peer.pods) listener.touch(node, key);
  }

  #followPolicies(snapshot: ClusterSnapshot, listener: Listener): void {
    const now = new Set(this.#read(snapshot));
    for (const policy of now) if (!this.#policies.has(policy)) this.#tie(policy, 1, snapshot, listener);
    for (const policy of this.#policies) if (!now.has(policy)) this.#tie(policy, -1, snapshot, listener);
    this.#policies = now;
  }

  #tie({ subject, peers, everywhere }: PolicyNeed, by: 1 | -1, snapshot: ClusterSnapshot, listener: Listener): void {
    if (peers.length === 0) return;
    const from = this.#choice(subject, snapshot);
    for (const each of peers) {
      const to = this.#choice(each, snapshot);
      const count = (from.peers.get(to) ?? 0) + by;
      if (count > 0) {
        from.peers.set(to, count);
        to.subjects.set(from, count);
      } else {
        from.peers.delete(to);
        to.subjects.delete(from);
      }
      if (count === 0 || (count === 1 && by === 1))
        for (const node of from.nodes.keys()) if (listener.isWatched(node)) for (const key of to.pods) listener.touch(node, key);
      if (everywhere) {
        to.everywhere += by;
        if (to.everywhere === 0 || (to.everywhere === 1 && by === 1))
          for (const node of listener.watched()) for (const key of to.pods) listener.touch(node, key);
      }
      this.#forget(to);
    }
    this.#forget(from);
  }

  #choice(choice: PodChoice, snapshot: ClusterSnapshot): Choice {
    let found = this.#choices.get(choice.key);
    if (found) return found;
    found = { choice, pods: new Set(), nodes: new Map(), peers: new Map(), subjects: new Map(), everywhere: 0 };
    this.#choices.set(choice.key, found);
    put(this.#byNamespace, choice.namespace ?? ANYWHERE, found);
    for (const pod of choice.namespace === undefined ? snapshot.pods.values() : snapshot.pods.inNamespace(choice.namespace)) {
      if (!choice.holds(snapshot, pod)) continue;
      const key = keyOf(pod);
      const node = this.#nodeOf.get(key);
      found.pods.add(key);
      if (node !== undefined) found.nodes.set(node, (found.nodes.get(node) ?? 0) + 1);
      put(this.#ofPod, key, found);
    }
    return found;
  }

  /** A choice that no policy makes any more. */
  #forget(choice: Choice): void {
    if (choice.peers.size > 0 || choice.subjects.size > 0 || choice.everywhere > 0) return;
    this.#choices.delete(choice.choice.key);
    this.#byNamespace.get(choice.choice.namespace ?? ANYWHERE)?.delete(choice);
    for (const key of choice.pods) {
      const choices = this.#ofPod.get(key);
      choices?.delete(choice);
      if (choices?.size === 0) this.#ofPod.delete(key);
    }
  }
}

function put<V>(map: Map<string, Set<V>>, key: string, value: V): void {
  const set = map.get(key);
  if (set) set.add(value);
  else map.set(key, new Set([value]));
}

function podOf(snapshot: ClusterSnapshot, key: string): Pod | undefined {
  const [, , namespace, name] = key.split("|");
  return snapshot.pods.get(`${namespace}/${name}`);
}
