// The compiled policies of a snapshot, and the index that answers which of them select an end point.
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { KubeObject, NetworkPolicy, Pod } from "../resources/index.ts";
import { calicoParts } from "./calico/objects.ts";
import { profilePolicies } from "./calico/profile.ts";
import { readTier } from "./calico/tier.ts";
import { endParts, endPoints } from "./end-points.ts";
import { SERVICE_ACCOUNTS } from "./label-view.ts";
import { neededLabels } from "./labels.ts";
import { type PolicySource, policySources, tierParts } from "./readers.ts";
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
import { kindsOf, selects, selectsEnd } from "./selection.ts";

/** Policies that could select pods of one namespace (or of any): under each label of which their subject needs one, or under none. */
interface Shelf {
  readonly byLabel: Map<string, Policy[]>;
  readonly others: Policy[];
}

/** What the policies of one kind and namespace are; kept as long as none of them changes. */
interface Reading {
  readonly policies: readonly Policy[];
  readonly remarks: readonly string[];
  /** By the namespace of those that they select ("": any). */
  readonly shelves: ReadonlyMap<string, Shelf>;
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
  /** Policies that select the pod, in order of evaluation, the staged ones among them. Host-network pods are selected by none. */
  selecting(snapshot: ClusterSnapshot, pod: Pod): readonly Policy[];
  /** Policies that select an end point that is no pod, in order of evaluation. */
  selectingEnd(snapshot: ClusterSnapshot, end: LabelledEnd): readonly Policy[];
}

interface Compiled {
  readonly parts: readonly (object | undefined)[];
  readonly index: PolicyIndex;
}

const compiled = new WeakMap<Part<NetworkPolicy>, Compiled>();
const readings = new WeakMap<readonly KubeObject[], Reading>();
const readObjects = new WeakMap<KubeObject, ReadPolicy>();

/** The parts of a snapshot that hold policies, in every language; the same objects as long as no policy changes. */
export function policyParts(snapshot: ClusterSnapshot): readonly (Part<KubeObject> | undefined)[] {
  return policySources(snapshot).map(({ part }) => part);
}

/** The index over a snapshot's policies; kept as long as the snapshot's parts of them are the same objects. */
export function indexPolicies(snapshot: ClusterSnapshot): PolicyIndex {
  const sources = policySources(snapshot);
  // Host end points name profiles, which are policies.
  const parts = [...sources.map(({ part }) => part), ...tierParts(snapshot), ...calicoParts(snapshot, ["Profile", "HostEndpoint"])];
  const known = compiled.get(snapshot.networkPolicies);
  if (known && parts.every((part, index) => part === known.parts[index])) return known.index;
  const read = sources.flatMap(({ part, read }) =>
    (part?.namespaceNames() ?? []).map((namespace) => readAll(part?.list(namespace) ?? [], read)),
  );
  const index = buildIndex([...read, readProfiles(snapshot)], readTiers(snapshot));
  compiled.set(snapshot.networkPolicies, { parts, index });
  return index;
}

function readAll(objects: readonly KubeObject[], read: PolicySource["read"]): Reading {
  let reading = readings.get(objects);
  if (!reading) {
    const policies: Policy[] = [];
    const remarks: string[] = [];
    for (const object of objects) {
      const one = readObjects.get(object) ?? read(object as never);
      readObjects.set(object, one);
      policies.push(...one.policies);
      remarks.push(...one.remarks);
    }
    reading = { policies, remarks, shelves: shelve(policies) };
    readings.set(objects, reading);
  }
  return reading;
}

const profileReadings = new WeakMap<object, { readonly part: unknown; readonly reading: Reading }>();

/** The same object as long as no profile and no host end point changes. */
function readProfiles(snapshot: ClusterSnapshot): Reading {
  const [part] = calicoParts(snapshot, ["Profile"]);
  const ends = endPoints(snapshot);
  const known = profileReadings.get(ends);
  if (known && known.part === part) return known.reading;
  const profiles = profilePolicies(snapshot);
  const reading = { ...profiles, shelves: shelve(profiles.policies) };
  profileReadings.set(ends, { part, reading });
  return reading;
}

interface Tiers {
  readonly byName: ReadonlyMap<string, Tier>;
  readonly remarks: readonly string[];
}

const tierReadings = new WeakMap<object, { readonly parts: readonly unknown[]; readonly tiers: Tiers }>();
const NO_PART = {};

/** The same object as long as no tier changes. */
function readTiers(snapshot: ClusterSnapshot): Tiers {
  const parts = tierParts(snapshot);
  const first = parts.find((part) => part !== undefined) ?? NO_PART;
  const known = tierReadings.get(first);
  if (known && parts.length === known.parts.length && parts.every((part, index) => part === known.parts[index])) return known.tiers;
  const remarks: string[] = [];
  const tiers = { byName: calculateTiers(snapshot, remarks), remarks };
  tierReadings.set(first, { parts, tiers });
  return tiers;
}

function calculateTiers(snapshot: ClusterSnapshot, remarks: string[]): Map<string, Tier> {
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

function buildIndex(read: readonly Reading[], tiers: Tiers): PolicyIndex {
  const { byName } = tiers;
  const tierOf = (name: string): Tier => byName.get(name) ?? DEFAULT_TIER;
  const compare = (a: Policy, b: Policy) => comparePolicies(tierOf, a, b);
  const inForce = ({ staged, tier }: Policy) => !staged && byName.has(tier);
  const shelves = new Map<string, Shelf[]>();
  const remarks = [...tiers.remarks];
  const homeless: Policy[] = [];
  for (const reading of read) {
    remarks.push(...reading.remarks);
    for (const [namespace, shelf] of reading.shelves) {
      const list = shelves.get(namespace);
      if (list) list.push(shelf);
      else shelves.set(namespace, [shelf]);
    }
    for (const policy of reading.policies) if (!byName.has(policy.tier)) homeless.push(policy);
  }
  for (const { owner, tier } of homeless)
    remarks.push(`${titleOf(owner)}: spec.tier: there is no tier "${tier}"; the policy is not in force until there is`);
  const shelvesOf = (namespace: string) => [...(shelves.get(namespace) ?? []), ...(shelves.get("") ?? [])];
  let all: readonly Policy[] | undefined;
  let hostPolicies: readonly Policy[] | undefined;
  const sorted = () => {
    all ??= read.flatMap(({ policies }) => policies.filter(inForce)).sort(compare);
    return all;
  };
  return {
    remarks,
    get all() {
      return sorted();
    },
    get staged() {
      return read.flatMap(({ policies }) => policies.filter(({ staged, tier }) => staged && byName.has(tier))).sort(compare);
    },
    tier: tierOf,
    ofNamespace: (namespace) =>
      [...new Set(shelvesOf(namespace).flatMap((shelf) => [...shelf.others, ...[...shelf.byLabel.values()].flat()]))]
        .filter(inForce)
        .sort(compare),
    selecting: (snapshot, pod) => {
      if (pod.spec.hostNetwork) return NONE;
      const hasTier = ({ tier }: Policy) => byName.has(tier);
      return selectingPod(snapshot, pod, { shelves: shelvesOf(pod.metadata.namespace ?? "default"), tiers, inForce: hasTier, compare });
    },
    selectingEnd: (snapshot, end) => {
      hostPolicies ??= sorted().filter(({ subject }) => kindsOf(subject).some((kind) => kind !== "pod"));
      return hostPolicies.filter((policy) => selectsEnd(snapshot, policy.subject, end));
    },
  };
}

interface PodQuestion {
  readonly shelves: readonly Shelf[];
  readonly tiers: Tiers;
  readonly inForce: (policy: Policy) => boolean;
  readonly compare: (a: Policy, b: Policy) => number;
}

interface PodAnswer {
  readonly on: readonly unknown[];
  readonly policies: readonly Policy[];
}

const NONE: readonly Policy[] = [];
const podAnswers = new WeakMap<Pod, PodAnswer>();

/** The same list as long as the answer is the same: what is made of it can be kept with it. */
function selectingPod(snapshot: ClusterSnapshot, pod: Pod, { shelves, tiers, inForce, compare }: PodQuestion): readonly Policy[] {
  const namespace = pod.metadata.namespace ?? "default";
  const on = [tiers, snapshot.namespaces.get(namespace), snapshot.others.get(SERVICE_ACCOUNTS), ...shelves];
  const before = podAnswers.get(pod);
  if (before && sameItems(before.on, on)) return before.policies;
  const found = new Set<Policy>();
  for (const shelf of shelves) {
    for (const policy of shelf.others) found.add(policy);
    for (const [key, value] of Object.entries(pod.metadata.labels ?? {}))
      for (const policy of shelf.byLabel.get(`${key}=${value}`) ?? []) found.add(policy);
  }
  const policies = [...found].filter((policy) => inForce(policy) && selects(snapshot, policy.subject, pod)).sort(compare);
  const answer = { on, policies: before && sameItems(before.policies, policies) ? before.policies : policies };
  podAnswers.set(pod, answer);
  return answer.policies;
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
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
