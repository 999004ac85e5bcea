// fairlead bgp routes: what came in, what is best, what goes out, with the reason of each choice.
import type { Command } from "commander";
import type { BgpRoute, BgpRoutesView } from "../../agent/index.ts";
import { textTable } from "../../base/index.ts";
import { bgpNodes, bgpPage, type NodeFlags, nodeFlags } from "../bgp-pages.ts";
import { paint, printJson } from "../terminal.ts";

interface RoutesFlags extends NodeFlags {
  readonly peer?: string;
}

export function command(command: Command): void {
  nodeFlags(command)
    .argument("[prefix]", "one prefix only")
    .option("--peer <name>", "one neighbour only, as `fairlead bgp status -o json` names it")
    .addHelpText(
      "after",
      "\nExamples:\n  fairlead bgp routes --node node-1\n  fairlead bgp routes 10.244.1.0/26\n  fairlead bgp routes --node node-1 --peer node-2 -o json\n",
    )
    .action(async (prefix: string | undefined, flags: RoutesFlags) => {
      const query = new URLSearchParams({ ...(prefix ? { prefix } : {}), ...(flags.peer ? { peer: flags.peer } : {}) });
      const nodes: BgpRoutesView[] = [];
      for (const node of await bgpNodes(flags)) nodes.push(await bgpPage<BgpRoutesView>(flags, node, `/bgp/routes?${query}`));
      if (flags.output === "json") printJson({ nodes });
      else process.stdout.write(`${nodes.map(show).join("\n\n")}\n`);
    });
}

/** Routes as a table; `bgp replay` shows the same. */
export function showIn(routes: readonly BgpRoute[]): string {
  if (routes.length === 0) return paint.dim("none");
  const rows = routes.map((route) => [
    mark(route),
    route.prefix,
    route.peer,
    route.nextHop || paint.dim("here"),
    route.asPath || paint.dim("-"),
    [...route.communities, ...(route.originator ? [`from ${route.originator}`] : [])].join(" ") || paint.dim("-"),
    route.reason + (route.stale ? paint.warn(" (stale)") : ""),
  ]);
  return textTable(["", "PREFIX", "FROM", "NEXT HOP", "AS PATH", "COMMUNITIES", "WHY"], rows, paint.dim);
}

function mark({ reason }: BgpRoute): string {
  if (reason === "best") return paint.good("*");
  return reason === "multipath" ? paint.good("=") : paint.dim("·");
}

function show(view: BgpRoutesView): string {
  const best = view.best.map(({ prefix, nextHops }) => [prefix, nextHops.map(({ address }) => address).join(" ") || paint.dim("here")]);
  const out = view.out.map(({ peer, prefix, sent, reason }) => [prefix, peer, sent ? paint.good("sent") : paint.dim("not sent"), reason]);
  return [
    paint.name(view.node),
    paint.dim("in"),
    showIn(view.in),
    paint.dim("best"),
    best.length > 0 ? textTable(["PREFIX", "NEXT HOPS"], best, paint.dim) : paint.dim("none"),
    paint.dim("out"),
    out.length > 0 ? textTable(["PREFIX", "TO", "", "WHY"], out, paint.dim) : paint.dim("none"),
  ].join("\n");
}
