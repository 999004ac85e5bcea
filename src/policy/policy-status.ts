// What each policy object is told of itself: whether it was understood, as a condition where its kind has a status, else as a fault.
import type { ClusterSnapshot, WatchedResource } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { CILIUM_POLICY_KINDS } from "./cilium/policy.ts";
import { CLUSTER_POLICY_KINDS } from "./cluster-network-policy.ts";
import { type EndRegistry, endParts, endPoints } from "./end-points.ts";
import { readRemark } from "./finding.ts";
import { indexPolicies, type PolicyIndex, policyParts } from "./policy-index.ts";
import { tierParts } from "./readers.ts";

/** As `metav1.Condition` has it, without its times. */
export interface PolicyCondition {
  readonly type: "Valid";
  readonly status: "True" | "False";
  readonly reason: "Understood" | "NotUnderstood";
  /** The exact places, and what follows. */
  readonly message: string;
}

export interface PolicyStatus {
  readonly object: KubeObject;
  readonly condition: PolicyCondition;
  /** Where its status is written; undefined for kinds that have none (NetworkPolicy, Calico's, CiliumCIDRGroup). */
  readonly resource?: WatchedResource;
}

const WITH_STATUS: Readonly<Record<string, WatchedResource>> = Object.fromEntries(
  [...CILIUM_POLICY_KINDS, ...CLUSTER_POLICY_KINDS].map((name) => {
    const [group = "", version = "", kind = ""] = name.split("/");
    return [name, { group, version, plural: `${kind.toLowerCase().replace(/y$/, "ies")}` }];
  }),
);
/** A status is no place for a book. */
const MOST_REMARKS = 8;

const kept = new WeakMap<PolicyIndex, { readonly ends: EndRegistry; readonly statuses: readonly PolicyStatus[] }>();

/** Of every policy object and of what policies speak of (tiers, sets, host end points, profiles), in no order that matters; the same list as long as none of them changes. */
export function policyStatuses(snapshot: ClusterSnapshot): readonly PolicyStatus[] {
  const [index, ends] = [indexPolicies(snapshot), endPoints(snapshot)];
  const known = kept.get(index);
  if (known?.ends === ends) return known.statuses;
  const statuses = calculate(snapshot, [...index.remarks, ...ends.remarks]);
  kept.set(index, { ends, statuses });
  return statuses;
}

function calculate(snapshot: ClusterSnapshot, said: readonly string[]): PolicyStatus[] {
  const remarks = new Map<string, string[]>();
  for (const text of new Set(said)) {
    const remark = readRemark(text);
    if (!remark) continue;
    const { kind, namespace, name } = remark.policy;
    const key = `${kind} ${namespace ?? ""}/${name}`;
    const list = remarks.get(key);
    const says = `${remark.path}: ${remark.says}`;
    if (list) list.push(says);
    else remarks.set(key, [says]);
  }
  const [, ...ends] = endParts(snapshot);
  return [...policyParts(snapshot), ...tierParts(snapshot), ...ends].flatMap((part) =>
    Array.from(part?.values() ?? [], (object): PolicyStatus => {
      const resource = WITH_STATUS[`${object.apiVersion}/${object.kind}`];
      return { object, condition: conditionOf(remarks.get(keyOf(object))), ...(resource ? { resource } : {}) };
    }),
  );
}

function keyOf({ apiVersion, kind, metadata }: KubeObject): string {
  const own = kind === "NetworkPolicy" && apiVersion.includes("projectcalico.org") ? "NetworkPolicy.projectcalico.org" : kind;
  return `${own} ${metadata.namespace ?? ""}/${metadata.name}`;
}

function conditionOf(remarks: readonly string[] = []): PolicyCondition {
  if (remarks.length === 0)
    return { type: "Valid", status: "True", reason: "Understood", message: "every part of the policy is understood and in force" };
  const shown = remarks.slice(0, MOST_REMARKS).join("; ");
  const more = remarks.length > MOST_REMARKS ? `; and ${remarks.length - MOST_REMARKS} more` : "";
  return { type: "Valid", status: "False", reason: "NotUnderstood", message: `${shown}${more}` };
}
