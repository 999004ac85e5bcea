// What of a cluster a node must know for its policies: for each policy, whom it selects and which pods its rules may name.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Pod } from "../resources/index.ts";
import { indexPolicies } from "./policy-index.ts";
import type { Peer, Policy, Rule, Selection, Side } from "./rules.ts";
import { kindsOf, selectionKey, selects } from "./selection.ts";

/** Pods by what a policy says of them. */
export interface PodChoice {
  /** Equal for choices that hold the same pods. */
  readonly key: string;
  /** The only namespace of its pods, where there is one. */
  readonly namespace: string | undefined;
  readonly holds: (snapshot: ClusterSnapshot, pod: Pod) => boolean;
}

/** What a policy makes the nodes of its subjects need. The same object as long as the policy does not change. */
export interface PolicyNeed {
  readonly subject: PodChoice;
  readonly peers: readonly PodChoice[];
  /** It holds for nodes' own connections or host end points: every node needs its peers. */
  readonly everywhere: boolean;
}

const EVERY_POD: PodChoice = { key: "*", namespace: undefined, holds: (_, pod) => !pod.spec.hostNetwork };

const choices = new WeakMap<Selection, PodChoice>();
const needs = new WeakMap<Policy, PolicyNeed>();

/** The needs of every policy, in every language: of those that are in force, and of those that are only counted. */
export function policyNeeds(snapshot: ClusterSnapshot): readonly PolicyNeed[] {
  const { all, staged } = indexPolicies(snapshot);
  return [...all, ...staged].map(needOf);
}

function needOf(policy: Policy): PolicyNeed {
  let need = needs.get(policy);
  if (!need) {
    const peers = new Map<string, PodChoice>();
    const found = [...policy.ingress.flatMap(choicesOf), ...policy.egress.flatMap((rule) => [...choicesOf(rule), ...namedPortsOf(rule)])];
    for (const choice of found) peers.set(choice.key, choice);
    const everywhere = policy.host !== undefined || kindsOf(policy.subject).some((kind) => kind !== "pod");
    need = { subject: choiceOf(policy.subject), peers: [...peers.values()], everywhere };
    needs.set(policy, need);
  }
  return need;
}

function choicesOf({ source, destination }: Rule): PodChoice[] {
  return [source, destination].flatMap(({ within, except }: Side) => [...within.flat(), ...except].flatMap(choiceOfPeer));
}

/** A port's name counts at whatever pod is at that end, unless the rule names pods alone. */
function namedPortsOf({ traffic, destination }: Rule): PodChoice[] {
  const named =
    traffic !== "any" && traffic.some(({ ports = [], notPorts = [] }) => [...ports, ...notPorts].some((port) => "name" in port));
  return named && !(destination.within[0]?.every(({ kind }) => kind === "ends") ?? false) ? [EVERY_POD] : [];
}

function choiceOfPeer(peer: Peer): PodChoice[] {
  if (peer.kind === "ends") return kindsOf(peer).includes("pod") ? [choiceOf(peer)] : [];
  return peer.kind === "entity" && (peer.entity === "cluster" || peer.entity === "world") ? [EVERY_POD] : [];
}

function choiceOf(selection: Selection): PodChoice {
  let choice = choices.get(selection);
  if (!choice) {
    choice = { key: selectionKey(selection), namespace: selection.namespace, holds: (snapshot, pod) => selects(snapshot, selection, pod) };
    choices.set(selection, choice);
  }
  return choice;
}
