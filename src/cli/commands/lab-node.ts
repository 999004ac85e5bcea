// fairlead lab node: a command in a node's namespace.
import type { Command } from "commander";
import type { ExecPlace } from "../../lab/index.ts";
import { Answer } from "../exit.ts";
import { runInside } from "../inside.ts";
import { callLab, type LabFlags, labFlags } from "../lab-client.ts";

export function command(command: Command): void {
  labFlags(command)
    .argument("<node>", "node-1, …; router or outside")
    .argument("<command...>", "what to run")
    .addHelpText(
      "after",
      "\nExamples:\n  fairlead lab node node-1 -- ip -d link show flannel.1\n  fairlead lab node node-1 -- ip route\n  fairlead lab node node-1 -- nft list table inet fairlead\n",
    )
    .action(async (node: string, argv: string[], flags: LabFlags) => {
      const place = await callLab<ExecPlace>(flags, "place", {
        what: node.startsWith("node/") || node === "outside" || node === "router" ? node : `node/${node}`,
      });
      const status = await runInside(place, argv);
      if (status !== 0) throw new Answer(status);
    });
}
