// Which of several routes to one prefix is best (RFC 4271 §9.1.2.2), and at which step the others lose.
import type { PathAttributes } from "../wire/attributes.ts";

/** What the decision asks of where a route came from. */
export interface RouteSource {
  /** Ours: not learned from a neighbour. */
  readonly local: boolean;
  readonly external: boolean;
  readonly routerId: number;
  /** Orders neighbours; 16 bytes as a number for both families. */
  readonly addressOrder: bigint;
}

export interface Candidate {
  readonly attributes: PathAttributes;
  readonly source: RouteSource;
  readonly pathId: number;
  /** Kept beyond a graceful restart (RFC 9494). */
  readonly longLivedStale: boolean;
  /** Cost of the way to its next hop; undefined: there is none. */
  readonly metric: number | undefined;
}

/** The steps in their order. A route that loses tells the step by name. */
const STEPS = [
  "equal",
  "next-hop-unreachable",
  "long-lived-stale",
  "local-preference",
  "local-origin",
  "as-path-length",
  "origin",
  "med",
  "external-over-internal",
  "next-hop-metric",
  "router-id",
  "cluster-list-length",
  "neighbour-address",
  "path-id",
] as const;

type StepName = (typeof STEPS)[number];

/** Routes that differ only from here on are equally good for forwarding (ECMP). */
export const TIE_BREAK = STEPS.indexOf("router-id");
const MED = STEPS.indexOf("med");
const DEFAULT_LOCAL_PREF = 100;

/**
 * Compares two routes: the number of the step that decides, negative where `a` is better, 0 where they are equal.
 * MED counts only between routes of one neighbouring AS, so this alone orders only routes of one AS, or without MED.
 */
export function compareRoutes(a: Candidate, b: Candidate): number {
  const x = a.attributes;
  const y = b.attributes;
  if (a.metric !== b.metric && (a.metric === undefined || b.metric === undefined)) return a.metric === undefined ? 1 : -1;
  if (a.longLivedStale !== b.longLivedStale) return a.longLivedStale ? 2 : -2;
  const xp = x.localPref ?? DEFAULT_LOCAL_PREF;
  const yp = y.localPref ?? DEFAULT_LOCAL_PREF;
  if (xp !== yp) return xp > yp ? -3 : 3;
  if (a.source.local !== b.source.local) return a.source.local ? -4 : 4;
  if (x.pathLength !== y.pathLength) return x.pathLength < y.pathLength ? -5 : 5;
  if (x.origin !== y.origin) return x.origin < y.origin ? -6 : 6;
  if (x.neighbourAs === y.neighbourAs && x.med !== y.med) {
    const xm = x.med ?? 0;
    const ym = y.med ?? 0;
    if (xm !== ym) return xm < ym ? -MED : MED;
  }
  if (a.source.external !== b.source.external) return a.source.external ? -8 : 8;
  if (a.metric !== b.metric) return (a.metric ?? 0) < (b.metric ?? 0) ? -9 : 9;
  const xr = x.originatorId ?? a.source.routerId;
  const yr = y.originatorId ?? b.source.routerId;
  if (xr !== yr) return xr < yr ? -10 : 10;
  if (x.clusterList.length !== y.clusterList.length) return x.clusterList.length < y.clusterList.length ? -11 : 11;
  if (a.source.addressOrder !== b.source.addressOrder) return a.source.addressOrder < b.source.addressOrder ? -12 : 12;
  if (a.pathId !== b.pathId) return a.pathId < b.pathId ? -13 : 13;
  return 0;
}

export interface Decision {
  /** Index of the best; -1 if no candidate can be used. */
  readonly best: number;
  /** Indexes of those that are as good for forwarding, the best first. */
  readonly multipath: readonly number[];
  /** For each candidate: "best", "multipath", or the step at which it lost. */
  readonly reasons: readonly ("best" | "multipath" | StepName)[];
}

/** Decides among any candidates. With MEDs, the best of each neighbouring AS meet, which gives what §9.1.2.2's elimination gives. */
export function decide(candidates: readonly Candidate[]): Decision {
  const best = bestOf(candidates);
  const winner = candidates[best];
  if (!winner || winner.metric === undefined) {
    return { best: -1, multipath: [], reasons: candidates.map(() => "next-hop-unreachable") };
  }
  const multipath = [best];
  const reasons = candidates.map((candidate, index) => {
    if (index === best) return "best";
    const lost = lossOf(candidate, winner, candidates);
    if (lost < TIE_BREAK) return STEPS[lost] ?? "equal";
    multipath.push(index);
    return "multipath";
  });
  return { best, multipath, reasons };
}

/** The step at which a candidate lost: against the winner, or by MED against one of its own AS. */
function lossOf(candidate: Candidate, winner: Candidate, candidates: readonly Candidate[]): number {
  const step = Math.abs(compareRoutes(candidate, winner));
  if (step <= MED && step !== 0) return step;
  const byMed = candidates.some(
    (other) => other !== candidate && compareRoutes(candidate, other) === MED && Math.abs(compareRoutes(other, winner)) > MED,
  );
  return byMed ? MED : step;
}

/** Index of the best; -1 of none. */
function bestOf(candidates: readonly Candidate[]): number {
  if (!candidates.some(({ attributes }) => attributes.med !== undefined)) return bestAmong(candidates, candidates.keys());
  const winners = new Map<number, number>();
  for (const [index, candidate] of candidates.entries()) {
    const { neighbourAs } = candidate.attributes;
    const held = winners.get(neighbourAs);
    const other = held === undefined ? undefined : candidates[held];
    if (!other || compareRoutes(candidate, other) < 0) winners.set(neighbourAs, index);
  }
  return bestAmong(candidates, winners.values());
}

function bestAmong(candidates: readonly Candidate[], indexes: Iterable<number>): number {
  let best = -1;
  for (const index of indexes) {
    const candidate = candidates[index];
    const held = candidates[best];
    if (candidate && (!held || compareRoutes(candidate, held) < 0)) best = index;
  }
  return best;
}
