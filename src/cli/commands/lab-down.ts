// fairlead lab down: takes a lab down.

import { existsSync, rmSync } from "node:fs";
import type { Command } from "commander";
import { isUp, labPaths, listKept, listLabs, removeRemains } from "../../lab/index.ts";
import { endLab, type LabFlags, labFlags } from "../lab-client.ts";
import { paint } from "../terminal.ts";

export function command(command: Command): void {
  labFlags(command)
    .option("--all", "every lab of this user")
    .option("--forget", "also what --keep has kept; and leave in a cluster elsewhere what it can't be asked for")
    .addHelpText(
      "after",
      "\nExamples:\n  fairlead lab down\n  fairlead lab down --name second\n  fairlead lab down --all\n  fairlead lab down --forget\n",
    )
    .action(async (flags: LabFlags & { all?: boolean; forget?: boolean }) => {
      for (const name of flags.forget && flags.all ? [...new Set([...listLabs(), ...listKept()])] : flags.all ? listLabs() : [flags.name]) {
        await takeDown(name, flags.forget === true);
        if (flags.forget) forget(name);
      }
    });
}

async function takeDown(name: string, forgetting: boolean): Promise<void> {
  if (await isUp(name)) await endLab(name);
  else if (await removeRemains(name, forgetting)) process.stderr.write(`${paint.good("✓")} removed what a killed lab ${name} had left\n`);
  else process.stderr.write(`no lab named ${name} is up\n`);
}

function forget(name: string): void {
  const { kept } = labPaths(name);
  if (!existsSync(kept)) return;
  rmSync(kept, { recursive: true, force: true });
  process.stderr.write(`${paint.good("✓")} forgot the objects of lab ${name}\n`);
}
