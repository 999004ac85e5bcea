// The matrix: which pairs to try, and what a truth table expects of them. Pure.
import { FairleadError } from "../base/index.ts";
import type { Pod, Protocol } from "../resources/index.ts";
import { findEnds, nameOfEnd, workloadOf } from "./ends.ts";
import type { ClusterSnapshot } from "./snapshot.ts";

/** One connection to try. */
export interface Pair {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: "TCP" | "UDP";
}

export interface PairOptions {
  /** Namespaces whose pods take part; every one but kube-system if empty. */
  readonly namespaces?: readonly string[];
  readonly from?: readonly string[];
  readonly to?: readonly string[];
  /** "80", "80/TCP", "53/UDP"; every declared port of the target if empty. */
  readonly ports?: readonly string[];
  /** One pod of each workload is enough. */
  readonly onePerWorkload?: boolean;
}

export type Expected = "connected" | "blocked";

/** A truth table: who may reach whom. */
export interface Expectations {
  readonly default?: Expected;
  readonly pairs: readonly {
    readonly from: string;
    readonly to: string;
    readonly port?: number;
    readonly protocol?: Protocol;
    readonly verdict: Expected;
  }[];
}

/** Every pair of running pods (not to themselves) on every port that the target declares. */
function listPairs(snapshot: ClusterSnapshot, options: PairOptions = {}): Pair[] {
  const inside = podsOf(snapshot, options);
  const sorted = (names: readonly string[]) => names.toSorted((a, b) => a.localeCompare(b));
  const from = sorted(options.from?.length ? namesOf(snapshot, options.from) : inside.map((pod) => nameOfEnd({ kind: "pod", pod })));
  const to = sorted(options.to?.length ? namesOf(snapshot, options.to) : inside.map((pod) => nameOfEnd({ kind: "pod", pod })));
  const targets = to.map((target) => {
    const ports = options.ports?.length ? options.ports.map(parsePort) : declaredPorts(snapshot, target);
    return { target, ports: ports.toSorted((a, b) => a.port - b.port) };
  });
  const pairs: Pair[] = [];
  for (const source of from) {
    for (const { target, ports } of targets) {
      if (source === target) continue;
      for (const { port, protocol } of ports) pairs.push({ from: source, to: target, port, protocol });
    }
  }
  return pairs;
}

function podsOf(snapshot: ClusterSnapshot, options: PairOptions): Pod[] {
  const wanted = new Set(options.namespaces ?? []);
  const seen = new Set<string>();
  const pods: Pod[] = [];
  for (const pod of snapshot.pods.values()) {
    const namespace = pod.metadata.namespace ?? "";
    if (wanted.size > 0 ? !wanted.has(namespace) : namespace === "kube-system") continue;
    if (!pod.status?.podIP || pod.status.phase !== "Running" || pod.metadata.deletionTimestamp) continue;
    const workload = `${namespace}/${workloadOf(pod)}`;
    if (options.onePerWorkload && seen.has(workload)) continue;
    seen.add(workload);
    pods.push(pod);
  }
  return pods;
}

function namesOf(snapshot: ClusterSnapshot, texts: readonly string[]): string[] {
  return texts.flatMap((text) => {
    const ends = findEnds(snapshot, text);
    if (ends.length === 0) throw new FairleadError("no-such-end", `"${text}" is nothing in this cluster`);
    return ends.map(nameOfEnd);
  });
}

/** Ports that the target declares: a pod's container ports, a Service's ports. SCTP can't be tried by every kernel and is left out. */
export function declaredPorts(snapshot: ClusterSnapshot, target: string): { port: number; protocol: "TCP" | "UDP" }[] {
  const end = findEnds(snapshot, target)[0];
  const declared =
    end?.kind === "pod"
      ? end.pod.spec.containers.flatMap((container) =>
          (container.ports ?? []).map((port) => ({ port: port.containerPort, protocol: port.protocol ?? "TCP" })),
        )
      : end?.kind === "service"
        ? (end.service.spec.ports ?? []).map((port) => ({ port: port.port, protocol: port.protocol ?? "TCP" }))
        : [];
  return declared.filter((port): port is { port: number; protocol: "TCP" | "UDP" } => port.protocol !== "SCTP");
}

function parsePort(text: string): { port: number; protocol: "TCP" | "UDP" } {
  const match = /^(\d{1,5})(?:\/(tcp|udp))?$/i.exec(text);
  const port = Number(match?.[1] ?? 0);
  if (port < 1 || port > 65_535) throw new FairleadError("bad-port", `"${text}" is no port`, { remedy: "write 80, 80/TCP or 53/UDP" });
  return { port, protocol: (match?.[2]?.toUpperCase() ?? "TCP") as "TCP" | "UDP" };
}

const ENTRY_FIELDS = ["from", "to", "port", "protocol", "verdict"];

/** Checks a truth table's shape. @throws FairleadError `bad-expectations` saying which entry */
export function parseExpectations(value: unknown, where: string): Expectations {
  const bad = (message: string): never => {
    throw new FairleadError("bad-expectations", message, {
      where,
      remedy: "a truth table is: {default: connected|blocked, pairs: [{from, to, port, protocol, verdict}]}",
    });
  };
  if (typeof value !== "object" || value === null || Array.isArray(value)) return bad("a truth table is a mapping");
  const { default: fallback, pairs = [] } = value as { default?: unknown; pairs?: unknown };
  if (fallback !== undefined && fallback !== "connected" && fallback !== "blocked")
    bad(`default: "${fallback}" is neither connected nor blocked`);
  if (!Array.isArray(pairs)) return bad("pairs is a list");
  for (const [index, pair] of pairs.entries()) {
    const { from, to, port, protocol, verdict } = (pair ?? {}) as Record<string, unknown>;
    const at = `pairs[${index}]`;
    const unknown = Object.keys(pair ?? {}).find((field) => !ENTRY_FIELDS.includes(field));
    if (unknown !== undefined) bad(`${at} has a field "${unknown}", which is none of ${ENTRY_FIELDS.join(", ")}`);
    if (typeof from !== "string" || typeof to !== "string") bad(`${at} needs from and to`);
    if (port !== undefined && (typeof port !== "number" || port < 1 || port > 65_535)) bad(`${at}.port: ${String(port)} is no port`);
    if (protocol !== undefined && protocol !== "TCP" && protocol !== "UDP" && protocol !== "SCTP")
      bad(`${at}.protocol: ${String(protocol)} is neither TCP nor UDP`);
    if (verdict !== "connected" && verdict !== "blocked") bad(`${at}.verdict: "${String(verdict)}" is neither connected nor blocked`);
  }
  return { ...(fallback ? { default: fallback as Expected } : {}), pairs: pairs as Expectations["pairs"] };
}

/** What the table expects of each pair; pairs that it does not speak of are not in the answer. Entries of the table that name more (Services, outside) are added to the pairs. */
function expectPairs(snapshot: ClusterSnapshot, pairs: readonly Pair[], expectations: Expectations): { pair: Pair; expected: Expected }[] {
  const expected = new Map<string, { pair: Pair; expected: Expected }>();
  const key = (pair: Pair) => `${pair.from} ${pair.to} ${pair.port} ${pair.protocol}`;
  if (expectations.default) for (const pair of pairs) expected.set(key(pair), { pair, expected: expectations.default });
  for (const entry of expectations.pairs) {
    for (const from of namesOf(snapshot, [entry.from])) {
      for (const to of namesOf(snapshot, [entry.to])) {
        if (from === to) continue;
        const ports =
          entry.port === undefined
            ? declaredPorts(snapshot, to).filter((port) => entry.protocol === undefined || port.protocol === entry.protocol)
            : [{ port: entry.port, protocol: entry.protocol === "UDP" ? ("UDP" as const) : ("TCP" as const) }];
        for (const port of ports) {
          const pair = { from, to, ...port };
          expected.set(key(pair), { pair, expected: entry.verdict });
        }
      }
    }
  }
  return [...expected.values()];
}

/** The pairs to try, and what a truth table (if there is one) expects of them. */
export function planMatrix(
  snapshot: ClusterSnapshot,
  options: PairOptions,
  expectations: Expectations | undefined,
): { readonly pairs: readonly Pair[]; readonly expected: readonly (Expected | undefined)[] } {
  const pairs = listPairs(snapshot, options);
  if (!expectations) return { pairs, expected: pairs.map(() => undefined) };
  const wanted = expectPairs(snapshot, pairs, expectations);
  return { pairs: wanted.map((each) => each.pair), expected: wanted.map((each) => each.expected) };
}

/** Results that are not as expected: "blocked" is any verdict but connected. */
export function unexpected<T extends { readonly verdict: string }>(
  results: readonly T[],
  expected: readonly (Expected | undefined)[],
): { readonly pair: T; readonly expected: Expected }[] {
  return results.flatMap((pair, index) => {
    const wanted = expected[index];
    return wanted === undefined || (pair.verdict === "connected") === (wanted === "connected") ? [] : [{ pair, expected: wanted }];
  });
}
