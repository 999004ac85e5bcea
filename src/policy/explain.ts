// The whole walk of a packet through the policies: tiers, policies and rules, what each of them decided, and why.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { PolicyVerdict, Question } from "./decide.ts";
import { describePeer, describeSide, describeTraffic, nameOf } from "./describe.ts";
import { type Connection, flowBetween, verdictOf } from "./evaluate.ts";
import { missingPart, peerHolds } from "./match.ts";
import { NO_NAMES } from "./names.ts";
import { rulePath } from "./rule-path.ts";
import { type Direction, type NameBook, type Policy, peerSide, type Rule } from "./rules.ts";
import { describeSelection } from "./selection.ts";

interface RuleWalk {
  readonly rule: Owner;
  /** Where it stands in its object: "spec.ingress[0]". */
  readonly path: string;
  readonly action: Rule["action"];
  readonly matches: boolean;
  /** Which peer, ports, … match, or what does not. */
  readonly says: string;
}

interface PolicyWalk {
  readonly policy: Owner;
  /** Whom it selects, in words. */
  readonly selects: string;
  readonly isolates: boolean;
  /** "deny" also where it isolates and the tier ends without a rule that matches. */
  readonly decision: "allow" | "deny" | "pass" | "none";
  /** Tried in this order, up to the one that decided. */
  readonly rules: readonly RuleWalk[];
}

interface TierWalk {
  readonly tier: string;
  readonly order: number | null;
  /** What befalls what no rule of it decided, while one of its policies isolates. */
  readonly end: "deny" | "pass";
  readonly decision: "allow" | "deny" | "pass" | "none";
  readonly policies: readonly PolicyWalk[];
}

export interface DirectionWalk {
  readonly direction: Direction;
  /** The end point that policies select: a pod, a host end point or a node. */
  readonly subject: string;
  readonly tiers: readonly TierWalk[];
  readonly verdict: "allow" | "deny";
  readonly says: string;
}

export interface PolicyExplanation {
  readonly verdict: PolicyVerdict;
  readonly walk: readonly DirectionWalk[];
}

/** Everything that has a say about a connection, in order of evaluation. @throws PolicyError as evaluatePolicies does */
export function explainPolicies(snapshot: ClusterSnapshot, connection: Connection, names: NameBook = NO_NAMES): PolicyExplanation {
  const asked: Question[] = [];
  const flow = flowBetween(snapshot, connection, names);
  const verdict = verdictOf({ ...flow, hear: (question) => asked.push(question as Question) });
  return { verdict, walk: asked.map(walkQuestion) };
}

function walkQuestion(question: Question): DirectionWalk {
  const { direction, subjectName } = question;
  const policies = question.policies.filter(
    (policy) => !policy.staged && (policy.isolates.includes(direction) || policy[direction].length > 0),
  );
  const tiers: TierWalk[] = [];
  for (const [name, ofTier] of Map.groupBy(policies, (policy) => policy.tier)) {
    const { order, end } = question.tier(name);
    const walked: PolicyWalk[] = [];
    let decision: TierWalk["decision"] = "none";
    for (const policy of ofTier) {
      const walk = walkPolicy(policy, question);
      walked.push(walk);
      if (walk.decision === "none") continue;
      decision = walk.decision;
      break;
    }
    const isolating = question.ends && decision === "none" && walked.some(({ isolates }) => isolates);
    if (isolating) decision = end;
    const denied = isolating && end === "deny";
    tiers.push({
      tier: name,
      order: Number.isFinite(order) ? order : null,
      end,
      decision,
      policies: denied ? walked.map((walk) => (walk.isolates ? { ...walk, decision: "deny" } : walk)) : walked,
    });
    if (decision === "allow" || decision === "deny")
      return { direction, subject: subjectName, tiers, verdict: decision, says: sayEnd(tiers, subjectName) };
  }
  const says =
    tiers.length === 0 ? `no policy selects ${subjectName} in this direction` : `no rule decides, and nothing isolates ${subjectName}`;
  return { direction, subject: subjectName, tiers, verdict: "allow", says };
}

function walkPolicy(policy: Policy, question: Question): PolicyWalk {
  const { direction } = question;
  const rules: RuleWalk[] = [];
  let decision: PolicyWalk["decision"] = "none";
  for (const rule of policy[direction]) {
    const missing = missingPart(rule, question.flow);
    const says = missing === undefined ? sayMatch(rule, question) : sayMissing(rule, missing, question);
    rules.push({ rule: rule.owner, path: rulePath(rule.owner, direction), action: rule.action, matches: missing === undefined, says });
    if (missing !== undefined || rule.action === "log") continue;
    decision = rule.action;
    break;
  }
  const isolates = policy.isolates.includes(direction);
  return { policy: policy.owner, selects: describeSelection(policy.subject), isolates, decision, rules };
}

/** The very peer that matched. */
function sayMatch(rule: Rule, { direction, flow, peer }: Question): string {
  const side = peerSide(rule, direction);
  const end = direction === "ingress" ? flow.source : flow.destination;
  const found = side.within.flatMap((any) => any.find((each) => peerHolds(each, flow, end)) ?? []);
  const who = found.length === 0 ? "anybody" : found.map(describePeer).join(", of these ");
  return `${peer.name} is among ${who}; ${describeTraffic(rule.traffic)}`;
}

function sayMissing(rule: Rule, part: Exclude<ReturnType<typeof missingPart>, undefined>, question: Question): string {
  const { direction, flow, peer, subjectName } = question;
  switch (part) {
    case "application":
      return `it asks for more than ports (${Object.keys(rule.application ?? {}).join(", ")}), which this data path does not see: it allows nothing`;
    case "family":
      return `it is about IPv${rule.family} alone`;
    case "traffic": {
      const { port } = flow.destination;
      return `${nameOf(flow.protocol)}${port === undefined ? "" : ` ${port}`} is not ${describeTraffic(rule.traffic)}`;
    }
    case "source":
    case "destination": {
      const own = (part === "source") === (direction === "egress");
      return `${own ? subjectName : peer.name} is not ${describeSide(rule[part])}`;
    }
  }
}

function sayEnd(tiers: readonly TierWalk[], subject: string): string {
  const tier = tiers.at(-1);
  const decided = tier?.policies.find(({ decision }) => decision !== "none");
  if (!tier || !decided) return `no policy decides about ${subject}`;
  const rule = decided.rules.at(-1);
  const title = `${decided.policy.kind} ${decided.policy.namespace === undefined ? "" : `${decided.policy.namespace}/`}${decided.policy.name}`;
  if (rule?.matches && rule.action === decided.decision) return `${title}, ${rule.path}: ${rule.action}, because ${rule.says}`;
  const isolating = tier.policies.filter(({ decision }) => decision === "deny").length;
  const others = isolating > 1 ? ` and ${isolating - 1} more` : "";
  return `${title}${others} isolate${isolating > 1 ? "" : "s"} ${subject}, and no rule of tier ${tier.tier} lets this through`;
}
