// fairlead lab kubeconfig: where a lab's kubeconfig is.
import type { Command } from "commander";
import { labPaths } from "../../lab/index.ts";
import { callLab, type LabFlags, labFlags } from "../lab-client.ts";

export function command(command: Command): void {
  labFlags(command)
    .option("--print", "its text instead of its path")
    .addHelpText("after", "\nExamples:\n  export KUBECONFIG=$(fairlead lab kubeconfig)\n  kubectl get pods -A -o wide\n")
    .action(async (flags: LabFlags & { print?: boolean }) => {
      const text = await callLab<string>(flags, "kubeconfig");
      process.stdout.write(flags.print ? text : `${labPaths(flags.name).kubeconfig}\n`);
    });
}
