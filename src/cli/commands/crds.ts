// fairlead crds: CustomResourceDefinitions for a cluster that lacks them.
import type { Command } from "commander";
import { stringify } from "yaml";
import { FairleadError } from "../../base/index.ts";
import { networkDefinitions } from "../../cluster/index.ts";
import { printJson } from "../terminal.ts";

export function command(command: Command): void {
  command
    .argument("[group...]", "only those of these API groups")
    .option("-o, --output <format>", "json: one List")
    .addHelpText(
      "after",
      "\nPolicies of Calico and Cilium, cluster-wide policies, pools, BGP, and the blocks of addresses that routed nodes keep. Their schemas are\nopen; where a project's own definitions are in the cluster, leave those.\n\nExamples:\n  fairlead crds | kubectl apply --server-side -f -\n  fairlead crds crd.projectcalico.org projectcalico.org | kubectl apply --server-side -f -   # what routed nodes need\n  fairlead crds cilium.io > cilium-crds.yaml\n",
    )
    .action((groups: string[], { output }: { output?: string }) => {
      const all = networkDefinitions();
      const known = [...new Set(all.map(({ spec }) => spec.group))];
      const unknown = groups.find((group) => !known.includes(group));
      if (unknown !== undefined)
        throw new FairleadError("unknown-group", `no definitions of the group ${unknown} are here`, {
          remedy: `there are: ${known.join(", ")}`,
        });
      const items = all.filter(({ spec }) => groups.length === 0 || groups.includes(spec.group));
      if (output === "json") printJson({ apiVersion: "v1", kind: "List", items });
      else process.stdout.write(items.map((item) => `---\n${stringify(item)}`).join(""));
    });
}
