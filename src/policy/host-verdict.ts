// What host end points say about a packet, by calculation: at the node that it leaves, and at the node that it reaches.
import { parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import { decide, type PolicyVerdict } from "./decide.ts";
import type { ResolvedEnd } from "./ends.ts";
import { failsafePorts, type HostStage, type HostSubject, hostSubjects, policiesAt, TUNNEL_PORTS } from "./hosts.ts";
import type { Flow } from "./match.ts";
import { indexPolicies } from "./policy-index.ts";
import type { Direction } from "./rules.ts";

const UDP = 17;

/** Where an end is: the node that it is, or the node of its pod. */
function nodeOf({ node, pod }: ResolvedEnd): string | undefined {
  return node ?? pod?.spec.nodeName;
}

/** The answers of the host end points of the node that the packet leaves (egress) or comes to (ingress); a denial is the last of them. */
export function askHosts(flow: Flow, direction: Direction): PolicyVerdict[] {
  const { end } = direction === "ingress" ? flow.destination : flow.source;
  const peer = direction === "ingress" ? flow.source.end : flow.destination.end;
  const node = nodeOf(end);
  if (node === undefined) return [];
  const within = nodeOf(peer) === node;
  // To itself, and to its own pods, a node sends as it likes.
  if (within && (peer.node === node || direction === "egress" || end.pod)) return [];
  if (isTunnel(flow)) return [];
  const answers: PolicyVerdict[] = [];
  const subjects = hostSubjects(flow.snapshot, node).filter(({ pods }) => !within || pods);
  for (const [first] of [subjects.filter(({ pods }) => !pods), subjects.filter(({ pods }) => pods)].map((all) =>
    chooseFirst(all, flow, direction),
  )) {
    if (!first) continue;
    const answer = askSubject(first, { ...flow, node }, { direction, peer, forwarded: end.pod !== undefined });
    if (answer) answers.push(answer);
    if (answer?.verdict === "deny") break;
  }
  return answers;
}

/** The one that a packet meets: that of its address, that of some interface, that of all. */
function chooseFirst(subjects: readonly HostSubject[], flow: Flow, direction: Direction): readonly HostSubject[] {
  const address = (direction === "ingress" ? flow.destination : flow.source).address;
  const own = subjects.find(({ end }) => address !== undefined && end.host?.addresses.includes(address));
  return own ? [own] : subjects.slice(0, 1);
}

interface At {
  readonly direction: Direction;
  readonly peer: ResolvedEnd;
  /** The packet goes through the node, to or from one of its pods. */
  readonly forwarded: boolean;
}

function askSubject(subject: HostSubject, flow: Flow, { direction, peer, forwarded }: At): PolicyVerdict | undefined {
  const subjectName = `${subject.pods ? "node" : "host end point"} ${subject.end.name}`;
  const ask = (stage: HostStage): PolicyVerdict | undefined => {
    const policies = policiesAt(subject, stage, direction);
    if (policies.length === 0) return undefined;
    const ends = stage === "connection" || stage === "forwarded";
    return decide({ policies, direction, subjectName, peer, flow, tier: indexPolicies(flow.snapshot).tier, ends });
  };
  const safe = !subject.pods && isFailsafe(flow, direction);
  if (!safe)
    for (const stage of ["untracked", "before-nat"] as const) {
      const answer = ask(stage);
      // What is allowed there is asked nothing more by this end point.
      if (answer?.decidedBy) return answer;
    }
  return forwarded ? ask("forwarded") : safe ? undefined : ask("connection");
}

/** Nodes' tunnels to each other carry pods' packets, which have policies of their own. */
function isTunnel({ protocol, source, destination }: Flow): boolean {
  const between = source.end.node !== undefined && destination.end.node !== undefined;
  return between && protocol === UDP && destination.port !== undefined && TUNNEL_PORTS.includes(destination.port);
}

function isFailsafe({ snapshot, protocol, source, destination }: Flow, direction: Direction): boolean {
  const peer = (direction === "ingress" ? source : destination).address;
  return failsafePorts(snapshot, direction).some(
    (each) =>
      each.protocol === protocol &&
      each.port === destination.port &&
      (each.cidr === undefined || (peer !== undefined && prefixContains(parsePrefix(each.cidr), parseAddress(peer)))),
  );
}
