// One question, answered three ways: by calculation, by a walk through the planned rules as data, and by real packets.
import { addressAt, formatAddress, parsePrefix } from "../src/base/index.ts";
import type { ClusterSnapshot } from "../src/cluster/index.ts";
import { evaluateHook, type HookName, makePacket, type NftTable, type Protocol } from "../src/kernel/index.ts";
import { composeTable } from "../src/plan/index.ts";
import { evaluatePolicies, type NameBook, NO_NAMES, planPolicy } from "../src/policy/index.ts";
import type { Node } from "../src/resources/index.ts";
import type { PacketRig, RigNode, RigPod } from "./packet-rig.ts";

/** A connection's first packet, by addresses. */
export interface Question {
  readonly source: string;
  readonly destination: string;
  /** IANA's number. */
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmp?: { readonly type: number; readonly code: number };
}

export interface Answers {
  readonly question: Question;
  readonly calculated: boolean;
  readonly walked: boolean;
  /** Absent without a rig. */
  readonly sent?: boolean;
  /** Why, as calculated. */
  readonly says: string;
}

const NAMES: Readonly<Record<number, Protocol>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp" };
const WITH_PORTS: readonly number[] = [6, 17, 132];

/** What the nodes' kernels hold of policies, by node. */
export function planTables(snapshot: ClusterSnapshot, names: NameBook): Map<string, NftTable> {
  const nodes = [...snapshot.nodes.values()].map(({ metadata }) => metadata.name);
  return new Map(nodes.map((node) => [node, composeTable([planPolicy(snapshot, node, [], { names }).table])]));
}

/** The answers; with a rig, its nodes get their tables first. */
export async function askThreeWays(
  snapshot: ClusterSnapshot,
  questions: readonly Question[],
  { rig, names = NO_NAMES }: { readonly rig?: PacketRig; readonly names?: NameBook } = {},
): Promise<Answers[]> {
  const tables = planTables(snapshot, names);
  const answers = questions.map((question): Answers => {
    const { verdict, says } = calculate(snapshot, question, names);
    return { question, calculated: verdict === "allow", walked: walk(snapshot, tables, question), says };
  });
  if (!rig) return answers;
  for (const [node, table] of tables) rig.load(node, table);
  const sent = await sendAll(
    rig,
    answers,
    [...answers.keys()].filter((index) => canBeSeen(snapshot, (answers[index] as Answers).question)),
  );
  return answers.map((answer, index) => {
    const came = sent[index];
    return came === undefined ? answer : { ...answer, sent: came };
  });
}

/** What nodes send to nodes, and what they take in without an answer, comes out nowhere. */
function canBeSeen(snapshot: ClusterSnapshot, { source, destination, protocol }: Question): boolean {
  const holder = nodeHolding(snapshot, destination);
  if (holder === undefined) return true;
  return nodeHolding(snapshot, source) === undefined && [1, 6, 17, 58].includes(protocol);
}

/** Those that differ, in words. */
export function differences(answers: readonly Answers[]): string[] {
  return answers
    .filter(({ calculated, walked, sent }) => calculated !== walked || (sent !== undefined && sent !== calculated))
    .map(
      ({ question, calculated, walked, sent, says }) =>
        `${JSON.stringify(question)}: ${JSON.stringify({ calculated, walked, sent })}: ${says}`,
    );
}

function calculate(snapshot: ClusterSnapshot, question: Question, names: NameBook) {
  const { source, destination, protocol, sourcePort, destinationPort, icmp } = question;
  const connection = {
    from: { address: source },
    to: { address: destination },
    protocol: String(protocol),
    ...(destinationPort === undefined ? {} : { port: destinationPort }),
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(icmp ? { icmp } : {}),
  };
  return evaluatePolicies(snapshot, connection, names);
}

/** Through the nodes of both ends: sent or forwarded by the one, forwarded or taken in by the other. */
function walk(snapshot: ClusterSnapshot, tables: ReadonlyMap<string, NftTable>, question: Question): boolean {
  const placeOf = (address: string) => {
    const pod = snapshot.pods.byAddress(address)?.spec.nodeName;
    const held = pod === undefined ? nodeHolding(snapshot, address) : undefined;
    return { node: pod ?? held, isNode: held !== undefined };
  };
  const [from, to] = [placeOf(question.source), placeOf(question.destination)];
  for (const node of new Set([from.node, to.node])) {
    const table = node === undefined ? undefined : tables.get(node);
    if (!table) continue;
    // A pod's device, the wire to the other node, or the way out.
    const device = (end: typeof from) => (end.node === node ? (end.isNode ? "" : "cali0") : end.node === undefined ? "out" : "wire");
    const sends = from.node === node && from.isNode;
    const hooks: readonly HookName[] = sends ? ["output"] : ["prerouting", to.node === node && to.isNode ? "input" : "forward"];
    let packet = makePacket({ ...question, protocol: NAMES[question.protocol] ?? `${question.protocol}` });
    for (const hook of hooks) {
      const result = evaluateHook([table], hook, packet, {
        inDevice: sends ? "" : device(from),
        outDevice: hook === "forward" || hook === "output" ? device(to) || "lo" : "",
        isLocal: (address: string) => nodeHolding(snapshot, address) === node,
        choose: () => 0,
      });
      if (result.doubts.length > 0) throw new Error(`${JSON.stringify(question)}: ${result.doubts.join("; ")}`);
      if (result.verdict !== "accept") return false;
      packet = result.packet;
    }
  }
  return true;
}

/** Whose own an address is: a node has those of its object, and its bridge's in each of its pods' prefixes. */
function nodeHolding(snapshot: ClusterSnapshot, address: string): string | undefined {
  return [...snapshot.nodes.values()].find((node) => addressesOf(node).includes(address))?.metadata.name;
}

function addressesOf({ spec, status }: Node): string[] {
  const prefixes = spec?.podCIDRs ?? (spec?.podCIDR === undefined ? [] : [spec.podCIDR]);
  const own = (status?.addresses ?? []).filter(({ type }) => type === "InternalIP").map(({ address }) => address);
  return [...own, ...prefixes.map((prefix) => formatAddress(addressAt(parsePrefix(prefix), 1n)))];
}

/** What has no ports is told apart by addresses alone, so that each is sent into nodes that know no flow. */
async function sendAll(rig: PacketRig, answers: readonly Answers[], all: readonly number[]): Promise<(boolean | undefined)[]> {
  const sent: (boolean | undefined)[] = answers.map(() => undefined);
  const run = (indexes: readonly number[]) => {
    const packets = indexes.map((index) => (answers[index] as Answers).question);
    const arrived = rig.send(packets, (so) => indexes.every((index, at) => answers[index]?.calculated === so.has(at)));
    for (const [at, index] of indexes.entries()) sent[index] = arrived.has(at);
  };
  const apart = (index: number) => isToldApart((answers[index] as Answers).question);
  run(all.filter(apart));
  for (const index of all) {
    if (apart(index)) continue;
    await rig.forget();
    run([index]);
  }
  return sent;
}

/** Ports tell flows apart, and ICMP's identifiers, but for what might answer a packet sent before. */
function isToldApart({ protocol, icmp }: Question): boolean {
  const type = icmp?.type ?? 8;
  return WITH_PORTS.includes(protocol) || (protocol === 1 && ![0, 14, 16, 18].includes(type)) || (protocol === 58 && type !== 129);
}

/** The nodes and pods of a snapshot, as a rig takes them. */
export function rigOf(snapshot: ClusterSnapshot): { readonly nodes: RigNode[]; readonly pods: RigPod[] } {
  const nodes = [...snapshot.nodes.values()].map((node) => ({ name: node.metadata.name, addresses: addressesOf(node) }));
  const pods = [...snapshot.pods.values()]
    .filter(({ spec }) => !spec.hostNetwork)
    .map(({ spec, status }) => ({ node: spec.nodeName ?? "", addresses: (status?.podIPs ?? []).map(({ ip }) => ip) }));
  return { nodes, pods };
}
