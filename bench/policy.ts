// Policies: how long a node's plan takes, how soon a change is in the kernel, what packets pay, and all pairs by calculation.
//
//   node bench/policy.ts [plan|kernel|packets|matrix …]      kernel and packets as root
import { textTable } from "../src/base/index.ts";
import { createSnapshotBuilder, planMatrix, snapshotOf } from "../src/cluster/index.ts";
import { createLinuxKernel, createReconciler, EMPTY_STATE, ROUTE_PROTOCOL } from "../src/kernel/index.ts";
import { keepSame, type NodePlan, planNode, TABLE } from "../src/plan/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { predict } from "../src/trace/index.ts";
import { measurePackets } from "./policy-packets.ts";
import { policyWorld } from "./policy-world.ts";

const SIZE = { nodes: 100, pods: 10_000, policies: 10_000, namespaces: 100, podsOfNode: 110 };
const CHANGES = Number(process.env.FAIRLEAD_ROUNDS ?? 200);
const wanted = process.argv.slice(2);
const asked = (part: string) => wanted.length === 0 || wanted.includes(part);
const percentile = (values: readonly number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;
const show = (value: number) => value.toFixed(2);

/** From nothing, then change after change, into a real namespace's kernel. */
function measurePlan(intoKernel: boolean): void {
  const world = policyWorld(SIZE);
  const builder = createSnapshotBuilder();
  builder.apply(world.objects.map((object) => ({ type: "ADDED", object })));
  const snapshot = builder.snapshot();
  let started = performance.now();
  let plan: NodePlan = planNode(snapshot, world.facts);
  const full = performance.now() - started;
  const [table] = plan.kernel.tables;
  const rules = table?.chains.reduce((sum, chain) => sum + chain.rules.length, 0) ?? 0;
  const elements = table?.sets.reduce((sum, set) => sum + set.elements.length, 0) ?? 0;
  console.log(`${table?.chains.length} chains with ${rules} rules, ${table?.sets.length} sets with ${elements} elements`);
  const rows = [["full plan", show(full), "", "", ""]];
  const namespace = intoKernel ? createLinuxKernel().createNamespace() : undefined;
  const reconciler =
    namespace &&
    createReconciler({ namespace, owns: { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [TABLE] }, watch: false });
  const write = (next: NodePlan) => {
    const status = reconciler?.set({ ...EMPTY_STATE, tables: next.kernel.tables });
    if (status && !status.inSync) throw new Error(status.lastError);
  };
  started = performance.now();
  write(plan);
  if (intoKernel) rows.push(["full table into the kernel", show(performance.now() - started), "", "", ""]);
  const measure = (what: string, change: (round: number) => KubeObject) => {
    const times = Array.from({ length: CHANGES }, (_, round) => {
      const [begun, worked] = [performance.now(), process.cpuUsage()];
      builder.apply([{ type: "MODIFIED", object: change(round) }]);
      plan = keepSame(plan, planNode(builder.snapshot(), world.facts));
      const planned = performance.now();
      write(plan);
      const all = performance.now() - begun;
      const { user, system } = process.cpuUsage(worked);
      return { all, plan: planned - begun, cpu: (user + system) / 1000 };
    });
    const column = (name: "plan" | "all" | "cpu", share: number) =>
      show(
        percentile(
          times.map((each) => each[name]),
          share,
        ),
      );
    // On a machine that does other things besides, the processor's time says what the change itself costs.
    rows.push([what, column("plan", 0.5), column("all", 0.5), column("all", 0.99), column("cpu", 0.99)]);
  };
  // Policies 0…109 are of the namespaces and applications that the node's pods are of.
  measure("one policy of a local pod", (round) => world.policy(round % SIZE.podsOfNode, 1 + round));
  measure("one policy that selects no local pod", (round) => world.policy(SIZE.policies - 1 - (round % 100), 1 + round));
  measure("one label of a local pod", (round) => world.pod(round % SIZE.podsOfNode, { app: `app-${round % 20}` }));
  measure("one label of a far pod", (round) => world.pod(5000 + round, { app: `app-${round % 20}` }));
  measure("a label that no policy asks for", (round) => world.pod(6000 + round, { round: `r-${round}` }));
  console.log(textTable(["what", "plan ms", intoKernel ? "in the kernel ms" : "ms", "p99", "processor ms p99"], rows));
  reconciler?.close();
  namespace?.close();
}

if (asked("plan") && !asked("kernel")) measurePlan(false);
if (asked("kernel")) measurePlan(true);

/** Every pair of pods by calculation, from the objects to the verdicts. */
function measureMatrix(): void {
  const { objects } = policyWorld({ nodes: 10, pods: 1000, policies: 500, namespaces: 20, podsOfNode: 100 });
  const runs = Array.from({ length: 5 }, () => {
    const snapshot = snapshotOf(objects);
    const begun = performance.now();
    const { pairs } = planMatrix(snapshot, { ports: ["8080"] }, undefined);
    const listed = performance.now();
    const predictions = predict(snapshot, pairs);
    const connected = predictions.filter(({ verdict }) => verdict === "connected").length;
    return { list: listed - begun, predict: performance.now() - listed, pairs: pairs.length, connected };
  });
  const rows = runs.map(({ list, predict, pairs, connected }, index) => [
    index === 0 ? "first" : "again",
    String(pairs),
    String(connected),
    show(list),
    show(predict),
  ]);
  console.log(textTable(["all pairs of 1,000 pods, 500 policies", "pairs", "connected", "list ms", "verdicts ms"], rows));
}

if (asked("matrix")) measureMatrix();
if (asked("packets")) await measurePackets(15);
