// fairlead lab status: nodes, pods and Services of a lab.
import type { Command } from "commander";
import type { LabStatus } from "../../lab/index.ts";
import { Answer } from "../exit.ts";
import { callLab, type LabFlags, labFlags } from "../lab-client.ts";
import { showStatus } from "../show.ts";
import { paint, printJson } from "../terminal.ts";

export function command(command: Command): void {
  labFlags(command)
    .addHelpText("after", "\nExamples:\n  fairlead lab status\n  fairlead lab status --name second -o json\n")
    .addHelpText("after", "\nExit status: 0 if all is ready and in sync, 1 if not.\n")
    .action(async (flags: LabFlags) => {
      const status = await callLab<LabStatus>(flags, "status");
      if (flags.output === "json") printJson(status);
      else {
        process.stdout.write(`${showStatus(status)}\n`);
        if (status.missing.length > 0) process.stdout.write(`\n${status.missing.map((line) => `${paint.warn("!")} ${line}`).join("\n")}\n`);
      }
      if (!status.ready) throw new Answer(1);
    });
}
