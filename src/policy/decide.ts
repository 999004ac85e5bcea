// The walk of one packet through the policies that select one end point in one direction: tier by tier, rule by rule.
import type { Owner } from "../kernel/index.ts";
import type { ResolvedEnd } from "./ends.ts";
import { type Flow, ruleMatches } from "./match.ts";
import type { Direction, Policy, Tier } from "./rules.ts";
import { describeSelection } from "./selection.ts";

export interface PolicyStep {
  readonly direction: Direction;
  readonly policy: Owner;
  readonly selected: boolean;
  readonly decision: "allow" | "deny" | "none";
  /** Index of the rule that decided. */
  readonly rule?: number | string;
  readonly says: string;
}

export interface PolicyVerdict {
  readonly verdict: "allow" | "deny";
  /** The direction that decided; absent where no policy had a say. */
  readonly direction?: Direction;
  readonly steps: readonly PolicyStep[];
  readonly decidedBy?: Owner;
  readonly says: string;
}

/** What is asked of the policies of one end point. */
export interface Question {
  /** That select the end point, in order of evaluation. */
  readonly policies: readonly Policy[];
  readonly direction: Direction;
  readonly subjectName: string;
  readonly peer: ResolvedEnd;
  readonly flow: Flow;
  tier(name: string): Tier;
  /** Whether tiers' ends count; before the connection is known they do not. */
  readonly ends: boolean;
}

/** Who decides; allowed by nobody where no policy isolates the end point. */
export function decide(question: Question): PolicyVerdict {
  const { direction, subjectName } = question;
  question.flow.hear?.(question);
  const policies = question.policies.filter(
    (policy) => !policy.staged && (policy.isolates.includes(direction) || policy[direction].length > 0),
  );
  const way = direction === "ingress" ? "come in to" : "go out of";
  const steps: PolicyStep[] = [];
  next: for (const [name, tier] of Map.groupBy(policies, (policy) => policy.tier)) {
    for (const policy of tier) {
      const rule = policy[direction].find((each) => each.action !== "log" && ruleMatches(each, question.flow));
      const step = { direction, policy: policy.owner, selected: true };
      if (!rule) {
        steps.push({ ...step, decision: "none", says: sayUnmatched(policy, question) });
        continue;
      }
      const index = rule.owner.rule === undefined ? {} : { rule: rule.owner.rule };
      const says = `${policy.owner.name} selects ${subjectName}, and its ${direction} rule ${rule.owner.rule ?? ""} matches: ${rule.action}`;
      if (rule.action === "pass") {
        steps.push({ ...step, decision: "none", ...index, says });
        continue next;
      }
      const verdict = rule.action === "allow" ? "allow" : "deny";
      steps.push({ ...step, decision: verdict, ...index, says });
      return { verdict, direction, steps, decidedBy: rule.owner, says };
    }
    const isolating = tier.filter((policy) => policy.isolates.includes(direction));
    const first = isolating[0];
    if (!question.ends || !first || question.tier(name).end === "pass") continue;
    const says =
      isolating.length === 1
        ? sayUnmatched(first, question)
        : `${isolating.map(({ owner }) => owner.name).join(", ")} isolate ${subjectName}, and none of their ${direction} rules matches`;
    const denied = steps.map(
      (step): PolicyStep => (isolating.some(({ owner }) => owner === step.policy) ? { ...step, decision: "deny" } : step),
    );
    return { verdict: "deny", direction, steps: denied, decidedBy: first.owner, says };
  }
  return { verdict: "allow", steps, says: `no policy isolates ${subjectName}: anything may ${way} it` };
}

function sayUnmatched(policy: Policy, { direction, peer }: Question): string {
  const selects = `${policy.owner.name} selects ${describeSelection(policy.subject)}`;
  const rules = policy[direction];
  if (rules.length === 0)
    return `${selects} and has no ${direction} rule, so nothing may ${direction === "ingress" ? "come in" : "go out"}`;
  return `${selects}, and ${rules.length === 1 ? `its ${direction} rule does not match` : `none of its ${rules.length} ${direction} rules matches`} ${peer.name}`;
}
