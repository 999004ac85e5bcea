// The verdict for one new connection, by calculation alone, with the policy and rule that decide.
import { familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Pod } from "../resources/index.ts";
import { protocolNumber } from "./calico/protocols.ts";
import { decide, type PolicyVerdict } from "./decide.ts";
import { type End, pairAddresses, type ResolvedEnd, resolveEnd } from "./ends.ts";
import { askHosts } from "./host-verdict.ts";
import type { Flow } from "./match.ts";
import { NO_NAMES } from "./names.ts";
import { indexPolicies } from "./policy-index.ts";
import type { Direction, NameBook } from "./rules.ts";

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

/**
 * Whether policies let the connection begin; its replies are always let through. Egress is asked first, then ingress.
 * A pod reaches itself, and a pod's own node (with its host-network pods) always comes in.
 * @throws PolicyError `unknown-pod`, `unknown-node`, `bad-address`
 */
export function evaluatePolicies(snapshot: ClusterSnapshot, connection: Connection, names: NameBook = NO_NAMES): PolicyVerdict {
  return verdictOf(flowBetween(snapshot, connection, names));
}

/** The packet that begins a connection, as rules look at it. @throws PolicyError as evaluatePolicies does */
export function flowBetween(snapshot: ClusterSnapshot, connection: Connection, names: NameBook = NO_NAMES): Flow {
  const ends = { from: resolveEnd(snapshot, connection.from), to: resolveEnd(snapshot, connection.to) };
  return flowOf(snapshot, connection, ends, names);
}

/** The verdict for a packet. */
export function verdictOf(flow: Flow): PolicyVerdict {
  const [from, to] = [flow.source.end, flow.destination.end];
  if (from.pod && from.pod === to.pod) {
    return { verdict: "allow", steps: [], says: `${from.name} reaches itself: policies do not apply to a pod's traffic with itself` };
  }
  const answers: PolicyVerdict[] = [];
  for (const ask of [
    () => (from.pod ? [askPod(flow, "egress", { pod: from.pod, name: from.name, peer: to })] : []),
    () => askHosts(flow, "egress"),
    () => askHosts(flow, "ingress"),
    () => (to.pod ? [askIngress(flow, { pod: to.pod, name: to.name, peer: from })] : []),
  ])
    for (const answer of ask()) {
      answers.push({ ...answer, steps: [...(answers.at(-1)?.steps ?? []), ...answer.steps] });
      if (answer.verdict === "deny") return answers.at(-1) ?? answer;
    }
  const last = answers.at(-1);
  if (!last) return { verdict: "allow", steps: [], says: "neither end is one that policies select" };
  if (last.decidedBy) return last;
  const decided = answers.findLast((answer) => answer.decidedBy);
  return decided ? { ...decided, steps: last.steps } : last;
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

interface Asked {
  readonly pod: Pod;
  readonly name: string;
  readonly peer: ResolvedEnd;
}

function askIngress(flow: Flow, asked: Asked): PolicyVerdict {
  const { pod, name, peer } = asked;
  if (peer.node === undefined || peer.node !== pod.spec.nodeName) return askPod(flow, "ingress", asked);
  return { verdict: "allow", steps: [], says: `${peer.name} is on the node of ${name}, which may always come in` };
}

function askPod(flow: Flow, direction: Direction, { pod, name, peer }: Asked): PolicyVerdict {
  const index = indexPolicies(flow.snapshot);
  return decide({
    policies: index.selecting(flow.snapshot, pod),
    direction,
    subjectName: name,
    peer,
    flow: { ...flow, node: pod.spec.nodeName },
    tier: index.tier,
    ends: true,
  });
}
