// The verdict for one new connection, by calculation alone, with the policy and rule that decide.
import { familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { protocolNumber } from "./calico/protocols.ts";
import { type End, pairAddresses, type ResolvedEnd, resolveEnd } from "./ends.ts";
import { type Flow, ruleMatches } from "./match.ts";
import { NO_NAMES } from "./names.ts";
import { indexPolicies } from "./policy-index.ts";
import type { Direction, NameBook, Policy } from "./rules.ts";
import { describeSelection } from "./selection.ts";

/** A connection's first packet, after service translation. */
export interface Connection {
  readonly from: End;
  readonly to: End;
  /** "TCP", "UDP", "SCTP", "UDPLite", "ICMP" (of either family), "ICMPv6" or a number; upper and lower case alike. */
  readonly protocol: string;
  /** The destination's, where the protocol has ports. */
  readonly port?: number;
  readonly sourcePort?: number;
  /** Of ICMP; an echo request where it is not given. */
  readonly icmp?: { readonly type: number; readonly code: number };
}

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

/** What one direction is asked: whom policies select, and the packet. */
export interface Question {
  readonly snapshot: ClusterSnapshot;
  readonly direction: Direction;
  readonly subject: Pod;
  readonly subjectName: string;
  readonly peer: ResolvedEnd;
  readonly flow: Flow;
}

/**
 * Whether policies let the connection begin; its replies are always let through. Egress is asked first, then ingress.
 * A pod reaches itself, and a pod's own node (with its host-network pods) always comes in.
 * @throws PolicyError `unknown-pod`, `unknown-node`, `bad-address`
 */
export function evaluatePolicies(snapshot: ClusterSnapshot, connection: Connection, names: NameBook = NO_NAMES): PolicyVerdict {
  const answers: PolicyVerdict[] = [];
  const { asked, open } = questionsOf(snapshot, connection, names);
  if (open !== undefined && asked.length === 0) return { verdict: "allow", steps: [], says: open };
  for (const question of asked) {
    const answer: PolicyVerdict = "says" in question ? { verdict: "allow", steps: [], says: question.says } : ask(question);
    if (answer.verdict === "deny" && question.direction === "egress") return answer;
    answers.push({ ...answer, steps: answers.flatMap(({ steps }) => steps).concat(answer.steps) });
  }
  const last = answers.at(-1);
  if (!last) return { verdict: "allow", steps: [], says: "neither end is a pod that policies can select" };
  if (last.verdict === "deny" || last.decidedBy) return last;
  const decided = answers.find((answer) => answer.decidedBy);
  return decided ? { ...decided, steps: last.steps } : last;
}

/** A direction that policies have no say in, and why. */
interface OpenDirection {
  readonly direction: Direction;
  readonly says: string;
}

/** What the policies are asked about a connection, in order; `open`: why they are asked nothing. */
export function questionsOf(
  snapshot: ClusterSnapshot,
  connection: Connection,
  names: NameBook,
): { readonly asked: readonly (Question | OpenDirection)[]; readonly open?: string } {
  const from = resolveEnd(snapshot, connection.from);
  const to = resolveEnd(snapshot, connection.to);
  if (from.pod && from.pod === to.pod)
    return { asked: [], open: `${from.name} reaches itself: policies do not apply to a pod's traffic with itself` };
  const flow = flowOf(snapshot, connection, { from, to }, names);
  const asked: (Question | OpenDirection)[] = [];
  const question = (
    direction: Direction,
    subject: Pod,
    { own, peer }: { readonly own: ResolvedEnd; readonly peer: ResolvedEnd },
  ): Question => ({
    snapshot,
    direction,
    subject,
    subjectName: own.name,
    peer,
    flow: { ...flow, node: subject.spec.nodeName },
  });
  if (from.pod) asked.push(question("egress", from.pod, { own: from, peer: to }));
  if (to.pod && from.node !== undefined && from.node === to.pod.spec.nodeName)
    asked.push({ direction: "ingress", says: `${from.name} is on the node of ${to.name}, which may always come in` });
  else if (to.pod) asked.push(question("ingress", to.pod, { own: to, peer: from }));
  return { asked };
}

/** The packet that begins a connection, as rules look at it. @throws PolicyError as evaluatePolicies does */
export function flowBetween(snapshot: ClusterSnapshot, connection: Connection, names: NameBook = NO_NAMES): Flow {
  const ends = { from: resolveEnd(snapshot, connection.from), to: resolveEnd(snapshot, connection.to) };
  return flowOf(snapshot, connection, ends, names);
}

function flowOf(
  snapshot: ClusterSnapshot,
  { protocol: text, port, sourcePort, icmp }: Connection,
  { from, to }: { readonly from: ResolvedEnd; readonly to: ResolvedEnd },
  names: NameBook,
): Flow {
  const pair = pairAddresses(from, to);
  const address = pair.to ?? pair.from;
  const named = protocolNumber(text) ?? 0;
  const protocol = named === 1 && address !== undefined && familyOf(address) === 6 ? 58 : named;
  const echo = protocol === 1 ? { type: 8, code: 0 } : protocol === 58 ? { type: 128, code: 0 } : undefined;
  return {
    snapshot,
    names,
    node: undefined,
    source: { end: from, address: pair.from, port: sourcePort },
    destination: { end: to, address: pair.to, port },
    protocol,
    ...(echo ? { icmp: icmp ?? echo } : {}),
  };
}

function ask(question: Question): PolicyVerdict {
  const { direction, subjectName, snapshot } = question;
  const index = indexPolicies(snapshot);
  const policies = index
    .selecting(snapshot, question.subject)
    .filter((policy) => policy.isolates.includes(direction) || policy[direction].length > 0);
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
    if (!first || index.tier(name).end === "pass") continue;
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
