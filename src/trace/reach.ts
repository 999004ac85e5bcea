// Whether policies let pods' packets through, for all pods at once: the policy chains of every node's table, evaluated for many packets together.
import type { ClusterSnapshot } from "../cluster/index.ts";
import { type Drops, ManyWalk, type NftElement, type NftRule, type NftTable } from "../kernel/index.ts";
import { isMidstream, isVersionChain } from "../policy/index.ts";
import { podAddressesOf } from "./objects.ts";
import type { World } from "./world.ts";

/** A pod with an IPv4 address on a node that is planned, by its place in the list. */
interface ReachPod {
  readonly key: string;
  readonly node: string;
  readonly address: string;
}

export interface Reach {
  readonly pods: readonly ReachPod[];
  indexOf(key: string): number | undefined;
  /** Whether the nodes' policy chains drop the first packet from one pod to another; undefined where only a walk can tell. */
  drops(from: number, to: number, protocol: "tcp" | "udp", port: number): boolean | undefined;
}

type Direction = "egress" | "ingress";

/** The chain that every forwarded packet goes through, as the policy room writes it. */
const ENTRY = "policy-forward";

interface NodePolicy {
  readonly walk: ManyWalk;
  /** Local address → chain of its policies. */
  readonly chains: Readonly<Record<Direction, ReadonlyMap<string, string>>>;
}

/** What all pods' policies say of each other; undefined where tables hold what is not followed here. */
export function createReach(snapshot: ClusterSnapshot, world: World): Reach | undefined {
  const pods: ReachPod[] = [];
  for (const pod of snapshot.pods.values()) {
    const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const address = podAddressesOf(pod).find((each) => !each.includes(":"));
    const place = world.pod(key);
    if (!pod.spec.hostNetwork && address !== undefined && place) pods.push({ key, node: place.node, address });
  }
  const addresses = pods.map(({ address }) => address);
  const nodes = new Map<string, NodePolicy>();
  for (const node of new Set(pods.map((pod) => pod.node))) {
    const tables = world.node(node)?.state.tables ?? [];
    const policy = tables.length === 1 && tables[0] ? readPolicy(tables[0], addresses) : undefined;
    if (!policy) return undefined;
    nodes.set(node, policy);
  }
  const indexes = new Map(pods.map(({ key }, index) => [key, index]));
  return { pods, indexOf: (key) => indexes.get(key), drops: answers(pods, nodes) };
}

type Answers = (Drops | "open" | undefined)[];

function answers(pods: readonly ReachPod[], nodes: ReadonlyMap<string, NodePolicy>): Reach["drops"] {
  const known = new Map<string, Drops>();
  /** By pod and direction for one protocol and port: what the last question about it found. */
  const asked = { egress: new Map<number, Answers>(), ingress: new Map<number, Answers>() };
  const ask = (direction: Direction, subject: number, protocol: "tcp" | "udp", port: number): Drops | "open" => {
    const number = port * 2 + (protocol === "udp" ? 1 : 0);
    let list = asked[direction].get(number);
    if (!list) {
      list = new Array(pods.length);
      asked[direction].set(number, list);
    }
    const before = list[subject];
    if (before !== undefined) return before;
    const { node, address } = pods[subject] as ReachPod;
    const { walk, chains } = nodes.get(node) as NodePolicy;
    const chain = chains[direction].get(address);
    let answer: Drops | "open" = "open";
    if (chain !== undefined) {
      const packets = { varies: direction === "egress" ? ("destination" as const) : ("source" as const), protocol, port };
      const shared = `${node} ${chain} ${number}`;
      answer = known.get(shared) ?? walk.drops(chain, packets);
      known.set(shared, answer);
      if (answer === "other") answer = walk.drops(chain, { ...packets, other: address });
    }
    list[subject] = answer;
    return answer;
  };
  const dropped = (drops: Drops | "open", peer: number) =>
    drops === "open" ? false : typeof drops === "string" ? undefined : drops[peer] === 1;
  return (from, to, protocol, port) => {
    if (from === to) return false;
    const out = dropped(ask("egress", from, protocol, port), to);
    return out === false ? dropped(ask("ingress", to, protocol, port), from) : out;
  };
}

/** Which chain each local address has in each direction, where the entry does nothing else to a packet between pods. */
function readPolicy(table: NftTable, addresses: readonly string[]): NodePolicy | undefined {
  const chains = { egress: new Map<string, string>(), ingress: new Map<string, string>() };
  const entry = table.chains.find(({ name }) => name === ENTRY);
  for (const rule of entry?.rules ?? []) {
    if (isMidstream(rule) || concernsNoNewPacket(rule)) continue;
    const [statement] = rule.statements;
    // That what is allowed was asked of one version concerns no packet that waits for no commit.
    if (statement && "chain" in statement && isVersionChain(statement.chain)) continue;
    if (rule.matches.length > 0 || !statement || !("vmap" in statement) || typeof statement.vmap.map !== "string") return undefined;
    const { key, map } = statement.vmap;
    const [field] = key;
    if (key.length !== 1 || typeof field !== "string") return undefined;
    if (field.startsWith("ip6 ")) continue;
    const direction = field === "ip saddr" ? "egress" : field === "ip daddr" ? "ingress" : undefined;
    const elements = table.sets.find(({ name }) => name === map)?.elements;
    if (!direction || !elements?.every((element) => enter(chains[direction], element))) return undefined;
  }
  return { walk: new ManyWalk(table, addresses), chains };
}

function enter(chains: Map<string, string>, { key, value }: NftElement): boolean {
  if (!value || !("verdict" in value) || value.verdict !== "jump" || key.length !== 1) return false;
  chains.set(key[0] ?? "", value.chain);
  return true;
}

/** Replies, neighbour discovery, what a pod sends to itself, and forged sources: the first packet from one pod to another is none of these. */
function concernsNoNewPacket({ matches: [match], owner, statements: [statement] }: NftRule): boolean {
  if (owner?.kind === "Fairlead" && owner.name === "forged-source") return true;
  if (!match || "opaque" in match || !statement || !("verdict" in statement) || statement.verdict !== "return") return false;
  if (match.left === "ct state") return Array.isArray(match.right) && !match.right.includes("new");
  if (match.left === "icmpv6 type") return true;
  return Array.isArray(match.left) && /^ip6? saddr,ip6? daddr$/.test(match.left.join()) && isSelf(match.right);
}

function isSelf(right: object | string): boolean {
  return typeof right === "object" && "set" in right && typeof right.set === "string" && right.set.startsWith("pod-self");
}
