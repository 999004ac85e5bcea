// What is suspicious about policies in their cluster: valid, and yet hardly meant so. Pure.
import { transportName } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { covers } from "./covers.ts";
import { deniedProbes } from "./denied-probes.ts";
import { endPoints } from "./end-points.ts";
import { type Denial, nameOf, type PolicyFinding, readRemark } from "./finding.ts";
import { forgottenDns } from "./forgotten-dns.ts";
import { namedPorts, WITH_PORTS } from "./match.ts";
import { nearest } from "./nearest.ts";
import { indexPolicies } from "./policy-index.ts";
import { peersField, rulePath, subjectPath } from "./rule-path.ts";
import { type Direction, type Policy, peerSide, type Rule, type Side } from "./rules.ts";
import { describeSelection, kindsOf, selects } from "./selection.ts";

/** Findings over all policies of a snapshot, in order of policy and path. */
export function checkPolicies(snapshot: ClusterSnapshot): PolicyFinding[] {
  const index = indexPolicies(snapshot);
  const pods = [...snapshot.pods.values()].filter((pod) => !pod.spec.hostNetwork);
  const policies = [...index.all, ...index.staged];
  const context: CheckContext = {
    snapshot,
    pods,
    denials: denialsOf(snapshot, index.all, pods),
    order: new Map(policies.map((policy, at) => [policy, at])),
  };
  const findings = policies.flatMap((policy) => checkPolicy(policy, context));
  return [
    ...invalid([...index.remarks, ...endPoints(snapshot).remarks]),
    ...findings,
    ...forgottenDns(snapshot, pods),
    ...deniedProbes(snapshot, context.denials),
  ].sort((a, b) => compare(nameOf(a.policy), nameOf(b.policy)) || compare(a.path, b.path));
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
function invalid(remarks: readonly string[]): PolicyFinding[] {
  return remarks.flatMap((text): PolicyFinding[] => {
    const remark = readRemark(text);
    return remark ? [{ severity: "invalid", code: "invalid", ...remark, remedy: "correct the field" }] : [];
  });
}

interface CheckContext {
  readonly snapshot: ClusterSnapshot;
  readonly pods: readonly Pod[];
  /** Rules that deny, in order of evaluation, with whom they select. */
  readonly denials: readonly Denial[];
  /** Place of each policy in the order of evaluation. */
  readonly order: ReadonlyMap<Policy, number>;
}

const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

function denialsOf(snapshot: ClusterSnapshot, policies: readonly Policy[], pods: readonly Pod[]): Denial[] {
  return policies.flatMap((policy) => {
    const denying = DIRECTIONS.flatMap((direction) =>
      policy[direction].filter(({ action }) => action === "deny").map((rule) => ({ policy, rule, direction })),
    );
    if (denying.length === 0) return [];
    const selected = new Set(pods.filter((pod) => selects(snapshot, policy.subject, pod)));
    return denying.map((each) => ({ ...each, selected }));
  });
}

function checkPolicy(policy: Policy, context: CheckContext): PolicyFinding[] {
  const { snapshot, pods } = context;
  const selected = pods.filter((pod) => selects(snapshot, policy.subject, pod));
  const findings: PolicyFinding[] = [];
  const warn: Warn = (code, path, says, remedy) => findings.push({ severity: "warning", code, policy: policy.owner, path, says, remedy });
  const concernsPods = kindsOf(policy.subject).includes("pod");
  if (selected.length === 0 && concernsPods)
    warn(
      "selects-nothing",
      subjectPath(policy.owner),
      `it selects ${describeSelection(policy.subject)}, and there is none`,
      nearest(snapshot, policy.subject, pods),
    );
  for (const direction of DIRECTIONS) {
    checkReach(policy, direction, warn);
    if (selected.length > 0) checkShadows(policy, direction, { context, selected, warn });
    for (const [rule, at] of entriesOf(policy, direction)) {
      const path = rulePath(rule.owner, direction);
      const field = peersField(rule.owner, direction);
      checkPeers(snapshot, peerSide(rule, direction), {
        path: field === "" ? path : `${path}.${field}`,
        listed: field === "from" || field === "to",
        from: at,
        pods,
        warn,
      });
      if (selected.length > 0) checkNames(snapshot, rule, { path: `${path}.ports`, direction, selected, pods, warn });
    }
  }
  return findings;
}

/** Rules with the number of peers that stand before theirs in the same entry: a language's entry may be several rules. */
function entriesOf(policy: Policy, direction: Direction): [Rule, number][] {
  const before = new Map<Owner["rule"], number>();
  return policy[direction].map((rule): [Rule, number] => {
    const at = before.get(rule.owner.rule) ?? 0;
    before.set(rule.owner.rule, at + peerSide(rule, direction).within.flat().length);
    return [rule, at];
  });
}

/** Entries of which every rule is matched by a rule of another entry before. */
function checkReach(policy: Policy, direction: Direction, warn: Warn): void {
  const rules = policy[direction];
  for (const [number, entry] of Map.groupBy(rules, ({ owner }) => owner.rule)) {
    const wider = entry.map((rule) =>
      rules.slice(0, rules.indexOf(rule)).find((other) => other.owner.rule !== number && covers(other, rule, direction)),
    );
    const [first, own] = [wider[0], entry[0]];
    if (!first || !own || wider.includes(undefined)) continue;
    const before = rulePath(first.owner, direction);
    if (first.action === "deny" && own.action === "allow")
      warn(
        "shadowed-allow",
        rulePath(own.owner, direction),
        `it lets nothing through: ${before} denies all that it matches before`,
        `put it before ${before}, or narrow that`,
      );
    else
      warn(
        "unreachable-rule",
        rulePath(own.owner, direction),
        `it decides nothing: ${typeof first.owner.rule === "number" ? `rule ${first.owner.rule}` : before} matches all that it matches`,
        `take it out, or narrow ${typeof first.owner.rule === "number" ? `rule ${first.owner.rule}` : before}`,
      );
  }
}

/** What another policy denies before, for everybody whom this one selects. */
function checkShadows(
  policy: Policy,
  direction: Direction,
  { context, selected, warn }: { readonly context: CheckContext; readonly selected: readonly Pod[]; readonly warn: Warn },
): void {
  for (const [number, entry] of Map.groupBy(policy[direction], ({ owner }) => owner.rule)) {
    if (entry.some(({ action }) => action !== "allow")) continue;
    const shadows = entry.map((rule) => shadowOf(rule, { policy, direction, context, selected }));
    const [first] = shadows;
    if (!first || shadows.includes(undefined)) continue;
    const who = `${first.policy.owner.kind} ${first.policy.owner.namespace === undefined ? "" : `${first.policy.owner.namespace}/`}${first.policy.owner.name}`;
    warn(
      "shadowed-allow",
      rulePath({ ...policy.owner, ...(number === undefined ? {} : { rule: number }) }, direction),
      `it lets nothing through: ${who}, ${rulePath(first.rule.owner, direction)} denies all that it matches`,
      "take one of the two out, or narrow the denial",
    );
  }
}

function shadowOf(
  rule: Rule,
  { policy, direction, context, selected }: { policy: Policy; direction: Direction; context: CheckContext; selected: readonly Pod[] },
): Denial | undefined {
  const order = context.order.get(policy) ?? 0;
  return context.denials.find(
    (denial) =>
      denial.direction === direction &&
      denial.policy !== policy &&
      (context.order.get(denial.policy) ?? 0) < order &&
      selected.every((pod) => denial.selected.has(pod)) &&
      covers(denial.rule, rule, direction),
  );
}

type Warn = (code: PolicyFinding["code"], path: string, says: string, remedy: string) => void;

interface PeerContext {
  readonly path: string;
  /** Whether the peers are a list there, and how many stand before these. */
  readonly listed: boolean;
  readonly from: number;
  readonly pods: readonly Pod[];
  readonly warn: Warn;
}

function checkPeers(snapshot: ClusterSnapshot, side: Side, { path, listed, from, pods, warn }: PeerContext): void {
  for (const [index, peer] of side.within.flat().entries()) {
    if (peer.kind !== "ends" || peer.kinds || pods.some((pod) => selects(snapshot, peer, pod))) continue;
    const at = listed ? `${path}[${from + index}]` : path;
    warn("peer-matches-nothing", at, `there are no ${describeSelection(peer)}`, nearest(snapshot, peer, pods));
  }
}

interface NameContext {
  readonly path: string;
  readonly direction: Direction;
  readonly selected: readonly Pod[];
  readonly pods: readonly Pod[];
  readonly warn: Warn;
}

/** A port's name is looked up on the destination: the selected pods for ingress, the peers for egress. */
function checkNames(snapshot: ClusterSnapshot, rule: Rule, { path, direction, selected, pods, warn }: NameContext): void {
  if (rule.traffic === "any") return;
  const peers = peerSide(rule, direction).within.flat();
  const targets =
    direction === "ingress"
      ? selected
      : peers.length === 0
        ? pods
        : pods.filter((pod) => peers.some((peer) => peer.kind === "ends" && selects(snapshot, peer, pod)));
  if (targets.length === 0) return;
  for (const [index, traffic] of rule.traffic.entries()) {
    for (const port of traffic.ports ?? []) {
      if (!("name" in port)) continue;
      const protocols = traffic.protocol === undefined ? WITH_PORTS : [traffic.protocol];
      if (targets.some((pod) => protocols.some((protocol) => namedPorts(pod, protocol, port.name).length > 0))) continue;
      const names = [
        ...new Set(
          targets.flatMap((pod) => pod.spec.containers.flatMap((container) => (container.ports ?? []).flatMap(({ name }) => name ?? []))),
        ),
      ];
      warn(
        "unknown-port-name",
        `${path}[${index}].port`,
        `no ${direction === "ingress" ? "selected pod" : "peer"} has a ${transportName(traffic.protocol)?.toUpperCase() ?? "TCP, UDP or SCTP"} port named "${port.name}"`,
        names.length > 0 ? `their ports are named ${names.join(", ")}` : "their ports have no names: write the number",
      );
    }
  }
}
