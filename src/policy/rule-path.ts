// Where a rule, a subject and the other end stand in the object that they were read from, in each language.
import type { Owner } from "../kernel/index.ts";
import type { Direction } from "./rules.ts";

/** "spec.ingress[0]", "spec.egressDeny[1]", "specs[2].ingress[0]": what the rule's number stands for. */
export function rulePath({ rule }: Owner, direction: Direction): string {
  if (rule === undefined) return `spec.${direction}`;
  if (typeof rule === "number") return `spec.${direction}[${rule}]`;
  const path = rule.replace(/\.(\d+)/g, "[$1]");
  return path.startsWith("specs") ? path : `spec.${path}`;
}

const SUBJECTS: Readonly<Record<string, string>> = {
  NetworkPolicy: "podSelector",
  ClusterNetworkPolicy: "subject",
  AdminNetworkPolicy: "subject",
  BaselineAdminNetworkPolicy: "subject",
  CiliumNetworkPolicy: "endpointSelector",
  CiliumClusterwideNetworkPolicy: "endpointSelector",
};

/** Where whom a policy selects is written. */
export function subjectPath({ kind }: Owner): string {
  return `spec.${SUBJECTS[kind] ?? "selector"}`;
}

/** Where the other end of a rule is written, under the rule; "" where a language has several fields for it. */
export function peersField({ kind }: Owner, direction: Direction): string {
  if (kind.startsWith("Cilium")) return "";
  if (kind === "NetworkPolicy" || kind in SUBJECTS) return direction === "ingress" ? "from" : "to";
  return direction === "ingress" ? "source" : "destination";
}
