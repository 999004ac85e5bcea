// fairlead lab list: the labs of this user.
import type { Command } from "commander";
import { textTable } from "../../base/index.ts";
import { isUp, labPaths, listLabs } from "../../lab/index.ts";
import { paint, printJson } from "../terminal.ts";

export function command(command: Command): void {
  command
    .option("-o, --output <format>", "json for machines")
    .addHelpText("after", "\nExamples:\n  fairlead lab list\n  fairlead lab list -o json\n")
    .action(async (flags: { output?: string }) => {
      const labs = await Promise.all(
        listLabs().map(async (name) => ({ name, up: await isUp(name), kubeconfig: labPaths(name).kubeconfig })),
      );
      if (flags.output === "json") printJson({ labs });
      else if (labs.length === 0) process.stdout.write("no lab is up\n");
      else {
        const rows = labs.map((lab) => [
          paint.name(lab.name),
          lab.up ? paint.good("up") : paint.warn("killed (fairlead lab down removes it)"),
          lab.kubeconfig,
        ]);
        process.stdout.write(`${textTable(["LAB", "STATE", "KUBECONFIG"], rows, paint.dim)}\n`);
      }
    });
}
