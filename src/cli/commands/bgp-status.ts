// fairlead bgp status: each node's neighbours, and why a session is not up.
import type { Command } from "commander";
import type { BgpView, NeighbourView } from "../../agent/index.ts";
import { textTable } from "../../base/index.ts";
import { bgpNodes, bgpPage, type NodeFlags, nodeFlags } from "../bgp-pages.ts";
import { Answer } from "../exit.ts";
import { paint, printJson } from "../terminal.ts";
import { viewTrace } from "../views.ts";

export function command(command: Command): void {
  nodeFlags(command)
    .addHelpText(
      "after",
      "\nExit status: 0 all sessions are up, 1 one is not.\n\nExamples:\n  fairlead bgp status\n  fairlead bgp status --node node-2 -o json\n  fairlead bgp status --here                    # on a node of a real cluster\n",
    )
    .action(async (flags: NodeFlags) => {
      const nodes: BgpView[] = [];
      for (const node of await bgpNodes(flags)) nodes.push(await explained(await bgpPage<BgpView>(flags, node, "/bgp"), flags));
      if (flags.output === "json") printJson({ nodes });
      else process.stdout.write(`${nodes.map(show).join("\n\n")}\n`);
      if (nodes.some(({ neighbours }) => neighbours.some(({ state }) => state !== "Established"))) throw new Answer(1);
    });
}

/** Where packets get no answer, the walk through what the two nodes' kernels hold says which rule or route it is. */
async function explained(view: BgpView, flags: NodeFlags): Promise<BgpView> {
  if (flags.here) return view;
  const neighbours: NeighbourView[] = [];
  for (const neighbour of view.neighbours) neighbours.push(await withTrace(view.node, neighbour, flags));
  return { ...view, neighbours };
}

async function withTrace(node: string, neighbour: NeighbourView, flags: NodeFlags): Promise<NeighbourView> {
  const { why, node: other } = neighbour;
  if (!why || !["no-answer", "refused", "silent", "no-route"].includes(why.cause) || other === null) return neighbour;
  const there = await walk(node, other, neighbour, flags);
  const back = there ? undefined : await walk(other, node, neighbour, flags);
  const found = there ?? back;
  if (!found) return neighbour;
  const says =
    why.cause === "silent" || why.cause === "no-answer" ? `${why.says.split(":")[0]}: on ${found.at}, ${found.reason}` : why.says;
  const remedy = found.remedy || why.remedy;
  return { ...neighbour, info: says, why: { ...why, says, proof: `${why.proof}; ${found.way}: ${found.verdict} at ${found.at}`, remedy } };
}

async function walk(from: string, to: string, { port }: NeighbourView, flags: NodeFlags) {
  const result = await viewTrace({ name: flags.name }, { from: `node/${from}`, to: `node/${to}:${port}`, protocol: "tcp" }).catch(
    () => undefined,
  );
  if (!result || result.verdict === "delivered") return undefined;
  const at = result.hops.findLast(({ decision }) => decision !== "accept")?.node ?? to;
  return { verdict: result.verdict, reason: result.reason, remedy: result.remedy, way: `trace node/${from} node/${to}:${port}`, at };
}

function show(view: BgpView): string {
  if (!view.running) return `${paint.name(view.node)}  ${paint.dim("BGP is off")}`;
  const head = `${paint.name(view.node)}  AS ${view.as}, router id ${view.routerId}${view.clusterId ? `, reflector of cluster ${view.clusterId}` : ""}${view.restarting ? paint.warn("  restarting") : ""}`;
  const rows = view.neighbours.map((each) => [
    each.address,
    each.type,
    each.state === "Established" ? paint.good("up") : paint.bad(each.state === "Idle" ? "down" : "start"),
    each.since.slice(11, 19),
    `${each.state}${each.bfd ? ` (BFD ${each.bfd})` : ""}${each.keptRoutes ? paint.warn(" routes kept") : ""}`,
    each.node ?? each.owner.replace("BGPPeer ", ""),
    `${each.received}/${each.sent}`,
  ]);
  const table = textTable(["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO", "PEER", "IN/OUT"], rows, paint.dim);
  const reasons = view.neighbours.flatMap(({ address, why }) =>
    why
      ? [`${paint.bad("✗")} ${address}: ${why.says}`, `  ${paint.dim("proof:")}  ${why.proof}`, `  ${paint.dim("remedy:")} ${why.remedy}`]
      : [],
  );
  const remarks = view.remarks.map((remark) => `${paint.warn("!")} ${remark}`);
  return [head, view.neighbours.length === 0 ? paint.dim("no neighbours") : table, ...reasons, ...remarks].join("\n");
}
