// fairlead services: each Service as a node serves it.
import type { Command } from "commander";
import { FairleadError } from "../../base/index.ts";
import type { Served } from "../../lab/index.ts";
import { nodeSettings } from "../../plan/index.ts";
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
      "\nFor each port: what holds it in the node's kernel, its end points, their connections, and why one is not used.\n\nExamples:\n  fairlead services\n  fairlead services production/api-service --node node-2\n  fairlead services production --manifests examples/shop\n",
    )
    .action(async (only: string | undefined, flags: ViewFlags & { node?: string }) => {
      const snapshot = await viewSnapshot(flags);
      const names = [...snapshot.nodes.values()].map(({ metadata }) => metadata.name);
      const node = flags.node?.replace(/^node\//, "") ?? names[0] ?? "";
      if (!names.includes(node))
        throw new FairleadError("no-such-node", `there is no node "${node}"`, { remedy: `there are ${names.join(", ")}` });
      const served = flags.manifests?.length
        ? { mode: nodeSettings(snapshot, node).services }
        : await callLab<Served>(flags, "served", { node });
      const services = viewServices(snapshot, { node, ...(only === undefined ? {} : { only }), ...served });
      if (only !== undefined && services.length === 0)
        throw new FairleadError("no-such-service", `"${only}" names no Service`, {
          remedy: `there are ${[...snapshot.services.values()].map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(", ")}`,
        });
      if (flags.output === "json") printJson({ node, mode: served.mode, services });
      else process.stdout.write(`${showServices({ node, mode: served.mode }, services, only?.includes("/") === true)}\n`);
    });
}
