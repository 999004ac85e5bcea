// What a check says about a policy.
import type { Owner } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import type { Direction, Policy, Rule } from "./rules.ts";

export interface PolicyFinding {
  /** "invalid" parts match nothing or deny; a "warning" works as written. */
  readonly severity: "invalid" | "warning";
  readonly code:
    | "invalid"
    | "selects-nothing"
    | "peer-matches-nothing"
    | "unknown-port-name"
    | "unreachable-rule"
    | "shadowed-allow"
    | "dns-forgotten"
    | "probes-denied";
  readonly policy: Owner;
  /** "spec.ingress[0].from[1]" */
  readonly path: string;
  readonly says: string;
  readonly remedy: string;
}

/** A rule that denies, and whom it selects. */
export interface Denial {
  readonly policy: Policy;
  readonly rule: Rule;
  readonly direction: Direction;
  readonly selected: ReadonlySet<Pod>;
}

export const nameOf = ({ kind, namespace, name }: Owner) => `${kind} ${namespace ?? ""}/${name}`;

export const keyOf = (pod: Pod) => `${pod.metadata.namespace ?? "default"}/${pod.metadata.name}`;

/** What a reader remarked: "NetworkPolicy ns/name: spec.ingress[0]: what". */
export function readRemark(remark: string): Pick<PolicyFinding, "policy" | "path" | "says"> | undefined {
  const match = /^(\S+) (?:([^\s/]+)\/)?(\S+): (\S+): (.*)$/s.exec(remark);
  if (!match) return undefined;
  const [, kind = "", namespace, name = "", path = "", says = ""] = match;
  return { policy: { kind, name, ...(namespace === undefined ? {} : { namespace }) }, path, says };
}
