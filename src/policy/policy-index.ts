// The compiled policies of a snapshot, and the index that answers which of them select an end point.
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { KubeObject, NetworkPolicy, Pod } from "../resources/index.ts";
import { readTier } from "./calico/tier.ts";
import { endParts } from "./end-points.ts";
import { SERVICE_ACCOUNTS } from "./label-view.ts";
import { neededLabels } from "./labels.ts";
import { policySources, tierParts } from "./readers.ts";
import {
  ADMIN_TIER,
  BASELINE_TIER,
  DEFAULT_TIER,
  type LabelledEnd,
  type Policy,
  PROFILE_TIER,
  type ReadPolicy,
  type Tier,
} from "./rules.ts";
import { selects, selectsEnd } from "./selection.ts";

/** Policies of one namespace (or of none): under each label of which their subject needs one, or under none. */
interface Shelf {
  readonly byLabel: Map<string, Policy[]>;
  readonly others: Policy[];
}

export interface PolicyIndex {
  readonly remarks: readonly string[];
  /** Every policy that is in force, in order of evaluation. */
  readonly all: readonly Policy[];
  /** Those that are only counted. */
  readonly staged: readonly Policy[];
  tier(name: string): Tier;
  /** Policies that could select pods of the namespace. */
  ofNamespace(namespace: string): Policy[];
  /** Policies that select the pod, in order of evaluation. Host-network pods are selected by none. */
  selecting(snapshot: ClusterSnapshot, pod: Pod): Policy[];
  /** Policies that select an end point that is no pod, in order of evaluation. */
  selectingEnd(snapshot: ClusterSnapshot, end: LabelledEnd): Policy[];
}

interface Compiled {
  readonly parts: readonly (object | undefined)[];
  readonly index: PolicyIndex;
}

const compiled = new WeakMap<Part<NetworkPolicy>, Compiled>();
const readings = new WeakMap<KubeObject, ReadPolicy>();

/** The parts of a snapshot that hold policies, in every language; the same objects as long as no policy changes. */
export function policyParts(snapshot: ClusterSnapshot): readonly (Part<KubeObject> | undefined)[] {
  return policySources(snapshot).map(({ part }) => part);
}

/** The index over a snapshot's policies; kept as long as the snapshot's parts of them are the same objects. */
export function indexPolicies(snapshot: ClusterSnapshot): PolicyIndex {
  const sources = policySources(snapshot);
  const parts = [...sources.map(({ part }) => part), ...tierParts(snapshot)];
  const known = compiled.get(snapshot.networkPolicies);
  if (known && parts.every((part, index) => part === known.parts[index])) return known.index;
  const remarks: string[] = [];
  const tiers = readTiers(snapshot, remarks);
  const policies: Policy[] = [];
  for (const { part, read } of sources)
    for (const object of part?.values() ?? []) {
      const reading = readings.get(object) ?? read(object as never);
      readings.set(object, reading);
      policies.push(...reading.policies);
      remarks.push(...reading.remarks);
    }
  const index = buildIndex(policies, tiers, remarks);
  compiled.set(snapshot.networkPolicies, { parts, index });
  return index;
}

function readTiers(snapshot: ClusterSnapshot, remarks: string[]): Map<string, Tier> {
  const tiers = new Map<string, Tier>();
  for (const part of tierParts(snapshot))
    for (const object of part?.values() ?? []) {
      const tier = readTier(object, remarks);
      tiers.set(tier.name, tier);
    }
  for (const fixed of [ADMIN_TIER, DEFAULT_TIER, BASELINE_TIER, PROFILE_TIER]) {
    // Of the fixed tiers only the default action of "default" is the user's to choose.
    const given = fixed === DEFAULT_TIER ? tiers.get(fixed.name) : undefined;
    tiers.set(fixed.name, given ? { ...fixed, end: given.end } : fixed);
  }
  return tiers;
}

/** Whether two snapshots may differ in what policies say: other policies, or other ends while there are policies. */
export function policiesMayDiffer(before: ClusterSnapshot, after: ClusterSnapshot): boolean {
  const [was, is] = [policyParts(before), policyParts(after)];
  if (is.every((part) => (part?.size ?? 0) === 0)) return false;
  if (was.some((part, index) => part !== is[index])) return true;
  const ends = (snapshot: ClusterSnapshot) => [
    snapshot.pods,
    snapshot.namespaces,
    snapshot.endpointSlices,
    snapshot.others.get(SERVICE_ACCOUNTS),
    ...tierParts(snapshot),
    ...endParts(snapshot),
  ];
  const now = ends(after);
  return ends(before).some((part, index) => part !== now[index]);
}

function buildIndex(read: readonly Policy[], tiers: ReadonlyMap<string, Tier>, remarks: string[]): PolicyIndex {
  for (const { owner, tier } of read)
    if (!tiers.has(tier))
      remarks.push(`${titleOf(owner)}: spec.tier: there is no tier "${tier}"; the policy is not in force until there is`);
  const known = read.filter(({ tier }) => tiers.has(tier));
  const tierOf = (name: string): Tier => tiers.get(name) ?? DEFAULT_TIER;
  const compare = (a: Policy, b: Policy) => comparePolicies(tierOf, a, b);
  const inForce = known.filter(({ staged }) => !staged).sort(compare);
  const shelves = shelve(inForce);
  const shelvesOf = (namespace: string) => [shelves.get(namespace), shelves.get("")].filter((shelf) => shelf !== undefined);
  return {
    remarks,
    all: inForce,
    staged: known.filter(({ staged }) => staged).sort(compare),
    tier: tierOf,
    ofNamespace: (namespace) =>
      [...new Set(shelvesOf(namespace).flatMap((shelf) => [...shelf.others, ...[...shelf.byLabel.values()].flat()]))].sort(compare),
    selecting: (snapshot, pod) => {
      if (pod.spec.hostNetwork) return [];
      const found = new Set<Policy>();
      for (const shelf of shelvesOf(pod.metadata.namespace ?? "default")) {
        for (const policy of shelf.others) found.add(policy);
        for (const [key, value] of Object.entries(pod.metadata.labels ?? {}))
          for (const policy of shelf.byLabel.get(`${key}=${value}`) ?? []) found.add(policy);
      }
      return [...found].filter((policy) => selects(snapshot, policy.subject, pod)).sort(compare);
    },
    selectingEnd: (snapshot, end) => inForce.filter((policy) => selectsEnd(snapshot, policy.subject, end)),
  };
}

function shelve(policies: readonly Policy[]): Map<string, Shelf> {
  const shelves = new Map<string, Shelf>();
  for (const policy of policies) {
    const { subject } = policy;
    if (subject.kinds && !subject.kinds.includes("pod")) continue;
    // Untracked and before translation, policies concern host end points alone.
    if (policy.host && policy.host.at !== "connection") continue;
    const namespace = subject.namespace ?? "";
    let shelf = shelves.get(namespace);
    if (!shelf) {
      shelf = { byLabel: new Map(), others: [] };
      shelves.set(namespace, shelf);
    }
    const labels = neededLabels(subject.labels.test);
    if (labels === undefined) shelf.others.push(policy);
    for (const label of labels ?? []) {
      const list = shelf.byLabel.get(label);
      if (list) list.push(policy);
      else shelf.byLabel.set(label, [policy]);
    }
  }
  return shelves;
}

/** Tier, order, then name, namespace and kind. */
function comparePolicies(tierOf: (name: string) => Tier, a: Policy, b: Policy): number {
  return (
    compareNumber(tierOf(a.tier).order, tierOf(b.tier).order) ||
    compareText(a.tier, b.tier) ||
    compareNumber(a.order, b.order) ||
    compareText(a.owner.name, b.owner.name) ||
    compareText(a.owner.namespace ?? "", b.owner.namespace ?? "") ||
    compareText(a.owner.kind, b.owner.kind)
  );
}

/** Infinity is equal to itself. */
function compareNumber(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function titleOf({ kind, namespace, name }: Policy["owner"]): string {
  return `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}
