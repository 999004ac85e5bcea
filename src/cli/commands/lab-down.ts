// fairlead lab down: takes a lab down.
import type { Command } from "commander";
import { isUp, listLabs, removeRemains } from "../../lab/index.ts";
import { endLab, type LabFlags, labFlags } from "../lab-client.ts";
import { paint } from "../terminal.ts";

export function command(command: Command): void {
  labFlags(command)
    .option("--all", "every lab of this user")
    .addHelpText("after", "\nExamples:\n  fairlead lab down\n  fairlead lab down --name second\n  fairlead lab down --all\n")
    .action(async (flags: LabFlags & { all?: boolean }) => {
      for (const name of flags.all ? listLabs() : [flags.name]) {
        if (await isUp(name)) await endLab(name);
        else if (await removeRemains(name)) process.stderr.write(`${paint.good("✓")} removed what a killed lab ${name} had left\n`);
        else process.stderr.write(`no lab named ${name} is up\n`);
      }
    });
}
