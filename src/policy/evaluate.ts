// The verdict for one new connection, by calculation alone, with the policy and rule that decide.
import { parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { type End, pairAddresses, type ResolvedEnd, resolveEnd } from "./ends.ts";
import { describeSelection } from "./labels.ts";
import { indexPolicies, selects } from "./policy-index.ts";
import type { Direction, Peer, Policy, PortMatch, Rule } from "./rules.ts";

/** A connection's first packet, after service translation. Ports count for TCP, UDP and SCTP; other protocols are in lower or upper case alike. */
export interface Connection {
  readonly from: End;
  readonly to: End;
  readonly protocol: string;
  readonly port?: number;
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

/** What one direction is asked: the pod that policies select, its peer, and the destination's pod for named ports. */
interface Question {
  readonly snapshot: ClusterSnapshot;
  readonly direction: Direction;
  readonly subject: Pod;
  readonly subjectName: string;
  readonly peer: ResolvedEnd;
  readonly peerAddress: string | undefined;
  readonly target: ResolvedEnd;
  readonly protocol: string;
  readonly port: number | undefined;
}

/**
 * Whether policies let the connection begin; its replies are always let through. Egress is asked first, then ingress.
 * A pod reaches itself, and a pod's own node (with its host-network pods) always comes in.
 * @throws PolicyError `unknown-pod`, `unknown-node`, `bad-address`
 */
export function evaluatePolicies(snapshot: ClusterSnapshot, connection: Connection): PolicyVerdict {
  const from = resolveEnd(snapshot, connection.from);
  const to = resolveEnd(snapshot, connection.to);
  if (from.pod && from.pod === to.pod) {
    return { verdict: "allow", steps: [], says: `${from.name} reaches itself: policies do not apply to a pod's traffic with itself` };
  }
  const pair = pairAddresses(from, to);
  const common = { snapshot, target: to, protocol: connection.protocol.toUpperCase(), port: connection.port };
  const answers: Answer[] = [];
  if (from.pod) {
    const answer = ask({ ...common, direction: "egress", subject: from.pod, subjectName: from.name, peer: to, peerAddress: pair.to });
    if (answer.verdict === "deny") return answer;
    answers.push(answer);
  }
  if (to.pod) {
    const answer: Answer =
      from.node !== undefined && from.node === to.pod.spec.nodeName
        ? { verdict: "allow", steps: [], says: `${from.name} is on the node of ${to.name}, which may always come in` }
        : ask({ ...common, direction: "ingress", subject: to.pod, subjectName: to.name, peer: from, peerAddress: pair.from });
    answers.push({ ...answer, steps: answers.flatMap(({ steps }) => steps).concat(answer.steps) });
  }
  const last = answers.at(-1);
  if (!last) return { verdict: "allow", steps: [], says: "neither end is a pod that policies can select" };
  if (last.verdict === "deny" || last.decidedBy) return last;
  const decided = answers.find((answer) => answer.decidedBy);
  return decided ? { ...decided, steps: last.steps } : last;
}

type Answer = PolicyVerdict;

function ask(question: Question): Answer {
  const { direction, subjectName, snapshot } = question;
  const policies = indexPolicies(snapshot)
    .selecting(snapshot, question.subject)
    .filter((policy) => policy.isolates.includes(direction) || policy[direction].length > 0);
  const way = direction === "ingress" ? "come in to" : "go out of";
  const steps: PolicyStep[] = [];
  const tiers = Map.groupBy(policies, (policy) => `${policy.tier.order} ${policy.tier.name}`);
  next: for (const tier of tiers.values()) {
    for (const policy of tier) {
      const rule = policy[direction].find((each) => each.action !== "log" && ruleMatches(each, question));
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
    if (!first) continue;
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

function ruleMatches(rule: Rule, question: Question): boolean {
  return (
    (rule.peers === "any" || rule.peers.some((peer) => peerMatches(peer, question))) &&
    (rule.ports === "any" || rule.ports.some((port) => portMatches(port, question)))
  );
}

function peerMatches(peer: Peer, { snapshot, peer: end, peerAddress }: Question): boolean {
  if (peer.kind === "pods") return end.pod !== undefined && selects(snapshot, peer, end.pod);
  if (peerAddress === undefined) return false;
  const address = parseAddress(peerAddress);
  return prefixContains(parsePrefix(peer.cidr), address) && !peer.except.some((hole) => prefixContains(parsePrefix(hole), address));
}

function portMatches(match: PortMatch, { protocol, port, target }: Question): boolean {
  if (match.protocol !== protocol) return false;
  if ("name" in match) return port !== undefined && target.pod !== undefined && namedPorts(target.pod, match).includes(port);
  if (match.from === 0 && match.to === 65535) return true;
  return port !== undefined && port >= match.from && port <= match.to;
}

/** The numbers that a name has on a pod for a protocol; sidecars among the init containers count. */
export function namedPorts(pod: Pod, { protocol, name }: { readonly protocol: string; readonly name: string }): number[] {
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter((each) => each.restartPolicy === "Always")];
  const ports = containers.flatMap((container) => container.ports ?? []);
  return ports.filter((port) => port.name === name && (port.protocol ?? "TCP") === protocol).map((port) => port.containerPort);
}
