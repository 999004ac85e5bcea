// The matrix by calculation: what every pair would see, without sending a packet.
//
// Between two pods, the way is walked once for each pair of nodes, in a world without policies, and the policy chains of
// all nodes are evaluated for all pods at once (reach.ts). Every other pair is traced by itself.
import type { ClusterSnapshot, Pair } from "../cluster/index.ts";
import type { Pod } from "../resources/index.ts";
import type { TraceResult } from "./hop.ts";
import { createReach, type Reach } from "./reach.ts";
import { listens, trace } from "./trace.ts";
import { desiredWorld, openWorld } from "./world.ts";

export interface Prediction extends Pair {
  readonly verdict: "connected" | "refused" | "timeout" | "unreachable";
  /** Why, in words; put into words when it is asked for. */
  readonly reason: string;
}

/** What a probe would report for how a packet's way ends. */
const VERDICTS: Readonly<Record<TraceResult["verdict"], Prediction["verdict"]>> = {
  delivered: "connected",
  dropped: "timeout",
  rejected: "refused",
  refused: "refused",
  unroutable: "unreachable",
};

/** Predicts pairs. Their ends must exist in the snapshot. @throws FairleadError as trace does */
export function predict(snapshot: ClusterSnapshot, pairs: readonly Pair[]): Prediction[] {
  const quick = pairs.length > FEW ? quickVerdicts(snapshot) : () => undefined;
  return pairs.map((pair) => {
    const verdict = quick(pair);
    return verdict === undefined ? predictByTrace(snapshot, pair) : new PodPrediction(snapshot, pair, verdict);
  });
}

/** So many pairs are sooner traced than prepared for. */
const FEW = 32;

/** A pair's verdict by a walk of its own. */
export function predictByTrace(snapshot: ClusterSnapshot, pair: Pair): Prediction {
  const to = pair.to.includes(":") ? `[${pair.to}]:${pair.port}` : `${pair.to}:${pair.port}`;
  const { verdict, reason } = trace(snapshot, { from: pair.from, to, protocol: pair.protocol === "UDP" ? "udp" : "tcp" });
  return { ...pair, verdict: VERDICTS[verdict], reason };
}

class PodPrediction implements Prediction {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: "TCP" | "UDP";
  readonly verdict: Prediction["verdict"];
  readonly #snapshot: ClusterSnapshot;

  constructor(snapshot: ClusterSnapshot, { from, to, port, protocol }: Pair, verdict: Prediction["verdict"]) {
    this.from = from;
    this.to = to;
    this.port = port;
    this.protocol = protocol;
    this.verdict = verdict;
    this.#snapshot = snapshot;
  }

  get reason(): string {
    return predictByTrace(this.#snapshot, this).reason;
  }

  toJSON(): Prediction {
    const { from, to, port, protocol, verdict, reason } = this;
    return { from, to, port, protocol, verdict, reason };
  }
}

/** Answers for pairs of pods; undefined for what only a walk can tell. */
function quickVerdicts(snapshot: ClusterSnapshot): (pair: Pair) => Prediction["verdict"] | undefined {
  const reach = createReach(snapshot, desiredWorld(snapshot));
  if (!reach) return () => undefined;
  const ways = wayBetween(snapshot, reach);
  const open = openPorts(snapshot, reach);
  let lastFrom: { readonly name: string; readonly index: number | undefined } | undefined;
  return ({ from, to, port, protocol }) => {
    if (lastFrom?.name !== from) lastFrom = { name: from, index: reach.indexOf(from) };
    const source = lastFrom.index;
    const target = reach.indexOf(to);
    if (source === undefined || target === undefined || source === target || !ways(source, target)) return undefined;
    const transport = protocol === "UDP" ? "udp" : "tcp";
    const drops = reach.drops(source, target, transport, port);
    if (drops === undefined) return undefined;
    return drops ? "timeout" : open(target, transport, port) ? "connected" : "refused";
  };
}

/** Whether a packet gets from the node of one pod to that of another where no policy is in its way: walked once per pair of nodes. */
function wayBetween(snapshot: ClusterSnapshot, { pods }: Reach): (from: number, to: number) => boolean {
  const world = openWorld(snapshot);
  const known = new Map<string, Map<string, boolean>>();
  return (from, to) => {
    const [a, b] = [pods[from], pods[to]];
    if (!a || !b) return false;
    let ways = known.get(a.node);
    if (!ways) {
      ways = new Map();
      known.set(a.node, ways);
    }
    let way = ways.get(b.node);
    if (way === undefined) {
      const { verdict, doubts } = trace(snapshot, { from: a.key, to: `${b.key}:1`, protocol: "tcp", world });
      way = (verdict === "delivered" || verdict === "refused") && doubts === undefined;
      ways.set(b.node, way);
    }
    return way;
  };
}

function openPorts(snapshot: ClusterSnapshot, { pods }: Reach): (index: number, protocol: "tcp" | "udp", port: number) => boolean {
  const known = new Map<number, boolean[]>();
  return (index, protocol, port) => {
    const question = port * 2 + (protocol === "udp" ? 1 : 0);
    let list = known.get(question);
    if (!list) {
      list = [];
      known.set(question, list);
    }
    list[index] ??= listens(snapshot.pods.get(pods[index]?.key ?? "") as Pod, { protocol, destinationPort: port });
    return list[index];
  };
}
