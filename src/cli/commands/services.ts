// fairlead services: each Service as a node serves it.
import type { Command } from "commander";
import { FairleadError } from "../../base/index.ts";
import type { ConntrackFlow } from "../../kernel/index.ts";
import { viewServices } from "../../services/index.ts";
import { callLab, labFlags } from "../lab-client.ts";
import { showServices } from "../show-services.ts";
import { printJson } from "../terminal.ts";
import { type ViewFlags, viewSnapshot } from "../views.ts";

export function command(command: Command): void {
  labFlags(command)
    .argument("[what]", "NS/NAME, or NS for all of a namespace; all Services if left out")
    .option("--node <node>", "the node from which to look (default: the first)")
    .option("--manifests <path...>", "calculate from manifests: no lab, no root needed")
    .addHelpText(
      "after",
      "\nFor each port: where the node's nftables hold it, its end points, their connections, and why one is not used.\n\nExamples:\n  fairlead services\n  fairlead services production/api-service --node node-2\n  fairlead services production --manifests examples/shop\n",
    )
    .action(async (only: string | undefined, flags: ViewFlags & { node?: string }) => {
      const snapshot = await viewSnapshot(flags);
      const names = [...snapshot.nodes.values()].map(({ metadata }) => metadata.name);
      const node = flags.node?.replace(/^node\//, "") ?? names[0] ?? "";
      if (!names.includes(node))
        throw new FairleadError("no-such-node", `there is no node "${node}"`, { remedy: `there are ${names.join(", ")}` });
      const flows = flags.manifests?.length ? undefined : await callLab<ConntrackFlow[]>(flags, "flows", { node });
      const services = viewServices(snapshot, { node, ...(only === undefined ? {} : { only }), ...(flows ? { flows } : {}) });
      if (only !== undefined && services.length === 0)
        throw new FairleadError("no-such-service", `"${only}" names no Service`, {
          remedy: `there are ${[...snapshot.services.values()].map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(", ")}`,
        });
      if (flags.output === "json") printJson({ node, mode: "nftables", services });
      else process.stdout.write(`${showServices(node, services, only?.includes("/") === true)}\n`);
    });
}
