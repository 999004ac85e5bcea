// fairlead policy diff: who reaches whom that did not before, and the other way round.
import type { Command } from "commander";
import { textTable } from "../../base/index.ts";
import {
  assumeCluster,
  type ClusterSnapshot,
  type Expected,
  findEnds,
  objectsOf,
  type Pair,
  parseExpectations,
  planMatrix,
  snapshotOf,
  workloadOf,
} from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { type Prediction, predict } from "../../trace/index.ts";
import { Answer } from "../exit.ts";
import { labFlags } from "../lab-client.ts";
import { loadManifests } from "../manifests.ts";
import { paint, printJson } from "../terminal.ts";
import { type ViewFlags, viewSnapshot } from "../views.ts";
import { readTable } from "./matrix.ts";

interface DiffFlags extends ViewFlags {
  readonly with?: readonly string[];
  readonly expect?: string;
}

/** One pair whose verdict is another; null where an end is on one side only. */
interface Change {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: string;
  readonly before: Prediction["verdict"] | null;
  readonly after: Prediction["verdict"] | null;
  readonly reason: string;
}

export function command(command: Command): void {
  labFlags(command)
    .argument("<old>", "manifests as they are: a file or folder; or, with one argument alone, those to apply to a lab or cluster")
    .argument("[new]", "manifests as they shall be")
    .option("--with <path...>", "manifests that stand beside both, such as the pods")
    .option("--kubeconfig <file>", "with one argument: another cluster than a lab")
    .option("--expect <file>", "a truth table (YAML) that the new ones must meet")
    .addHelpText(
      "after",
      "\nBy calculation; with two arguments no lab and no root is needed. Exit status: 0, or 1 if the new manifests do not meet the truth table.\n\nExamples:\n  fairlead policy diff policies/ policies.new/ --with apps/\n  fairlead policy diff stricter.yaml                       # what would change in the lab\n  fairlead policy diff stricter.yaml --kubeconfig ~/.kube/config\n  git show main:policies.yaml > /tmp/old.yaml; fairlead policy diff /tmp/old.yaml policies.yaml --with apps/ --expect expect.yaml\n",
    )
    .action(async (older: string, newer: string | undefined, flags: DiffFlags) => {
      const [before, after] = newer === undefined ? await withApplied(older, flags) : [readSide(older, flags), readSide(newer, flags)];
      const changes = diff(verdicts(before), verdicts(after));
      const failures = flags.expect === undefined ? [] : unmet(after, flags.expect);
      if (flags.output === "json") printJson({ changes, ...(flags.expect === undefined ? {} : { failures }) });
      else process.stdout.write(`${show(changes, failures)}\n`);
      if (failures.length > 0) throw new Answer(1);
    });
}

function readSide(path: string, flags: DiffFlags): ClusterSnapshot {
  return snapshotOf(assumeCluster(loadManifests([...(flags.with ?? []), path])));
}

/** A lab or cluster as it is, and with manifests applied to it: their policies and namespaces, not their workloads. */
async function withApplied(path: string, flags: DiffFlags): Promise<[ClusterSnapshot, ClusterSnapshot]> {
  const before = await viewSnapshot(flags);
  const applied = loadManifests([path]).filter(
    ({ kind }) =>
      /Policy$|Set$|Group$|^Tier$|^Namespace$/.test(kind) && kind !== "ReplicaSet" && kind !== "StatefulSet" && kind !== "DaemonSet",
  );
  const keyOf = ({ apiVersion, kind, metadata }: KubeObject) => `${apiVersion} ${kind} ${metadata.namespace ?? ""}/${metadata.name}`;
  const after = new Map(objectsOf(before).map((object) => [keyOf(object), object]));
  for (const object of applied) after.set(keyOf(object), object);
  return [before, snapshotOf(after.values())];
}

/** Pods are called by their workloads: their own names differ between two readings of the same manifests. */
function nameIn(snapshot: ClusterSnapshot, end: string): string {
  const [found] = findEnds(snapshot, end);
  return found?.kind === "pod" ? `${found.pod.metadata.namespace}/${workloadOf(found.pod)}` : end;
}

/** A pair by its workloads' names, and what was found for it: its reason is made only when it is asked for. */
interface Named extends Pair {
  readonly prediction: Prediction;
}

function verdicts(snapshot: ClusterSnapshot): Map<string, Named> {
  const { pairs } = planMatrix(snapshot, { onePerWorkload: true }, undefined);
  return new Map(
    predict(snapshot, pairs).map((prediction) => {
      const [from, to] = [nameIn(snapshot, prediction.from), nameIn(snapshot, prediction.to)];
      const { port, protocol } = prediction;
      return [`${from} ${to} ${port} ${protocol}`, { from, to, port, protocol, prediction }];
    }),
  );
}

function diff(before: ReadonlyMap<string, Named>, after: ReadonlyMap<string, Named>): Change[] {
  const keys = [...new Set([...before.keys(), ...after.keys()])].sort();
  return keys.flatMap((key): Change[] => {
    const [was, is] = [before.get(key), after.get(key)];
    const either = is ?? was;
    const [verdictBefore = null, verdictAfter = null] = [was?.prediction.verdict, is?.prediction.verdict];
    if (!either || verdictBefore === verdictAfter) return [];
    const { from, to, port, protocol } = either;
    const reason = is ? is.prediction.reason : "it is gone";
    return [{ from, to, port, protocol, before: verdictBefore, after: verdictAfter, reason }];
  });
}

interface Unmet {
  readonly pair: Pick<Prediction, "from" | "to" | "port" | "protocol" | "verdict" | "reason">;
  readonly expected: Expected;
}

function unmet(snapshot: ClusterSnapshot, file: string): Unmet[] {
  const { pairs, expected } = planMatrix(snapshot, { onePerWorkload: true }, parseExpectations(readTable(file), file));
  return predict(snapshot, pairs).flatMap((prediction, index) => {
    const wanted = expected[index];
    return wanted === undefined || (prediction.verdict === "connected") === (wanted === "connected")
      ? []
      : [{ pair: prediction, expected: wanted }];
  });
}

function show(changes: readonly Change[], failures: readonly Unmet[]): string {
  const rows = changes.map((change) => [
    change.after === "connected" ? paint.warn("+") : paint.bad("-"),
    paint.name(change.from),
    paint.name(`${change.to}:${change.port}`),
    change.protocol,
    `${change.before ?? "absent"} → ${change.after ?? "absent"}`,
    paint.dim(change.reason),
  ]);
  const table =
    changes.length === 0 ? `${paint.good("✓")} no pair changes` : textTable(["", "FROM", "TO", "", "VERDICT", "WHY"], rows, paint.dim);
  const missed = failures.map(
    ({ pair, expected }) =>
      `${paint.bad("✗")} expected ${expected}: ${pair.from} → ${pair.to}:${pair.port} is ${pair.verdict}: ${pair.reason}`,
  );
  return [table, ...missed].join("\n");
}
