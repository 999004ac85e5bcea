// fairlead bgp monitor: a node's sessions and messages as they come, as JSON lines that `fairlead bgp replay` reads.
import type { Command } from "commander";
import { FairleadError } from "../../base/index.ts";
import { bgpLines, bgpNodes, type NodeFlags, nodeFlags } from "../bgp-pages.ts";

export function command(command: Command): void {
  nodeFlags(command)
    .addHelpText(
      "after",
      "\nBegins with what is (settings, sessions, routes), then tells what happens, until Ctrl-C.\n\nExamples:\n  fairlead bgp monitor --node node-1 > session.jsonl\n  fairlead bgp monitor --node node-1 | jq -r 'select(.type == \"phase\") | [.peer, .phase] | @tsv'\n",
    )
    .action(async (flags: NodeFlags) => {
      const [node, second] = await bgpNodes(flags);
      if (node === undefined || second !== undefined)
        throw new FairleadError("which-node", "a monitor watches one node", { remedy: "name it: --node node-1" });
      const gone = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => gone.abort());
      process.stdout.on("error", () => gone.abort());
      await bgpLines(flags, node, "/bgp/monitor", (line) => process.stdout.write(`${line}\n`), gone.signal).catch((error) => {
        if (!gone.signal.aborted) throw error;
      });
    });
}
