// fairlead dns check: whether a Corefile is right, without serving it.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { FairleadError, messageOf } from "../../base/index.ts";
import { CorefileError, checkCorefile } from "../../dns/index.ts";
import { Answer } from "../exit.ts";
import { paint, printJson } from "../terminal.ts";

export function command(command: Command): void {
  command
    .argument("<corefile>", "its path")
    .option("-o, --output <format>", "json for machines")
    .addHelpText(
      "after",
      "\nExit status: 0 it would be taken, 1 it would be refused.\n\nExamples:\n  fairlead dns check Corefile\n  fairlead dns check Corefile -o json\n",
    )
    .action((path: string, flags: { output?: string }) => {
      const answer = check(path);
      if (flags.output === "json") printJson(answer);
      else if (answer.fault) process.stdout.write(`${paint.bad("✗")} ${answer.fault.says}\n`);
      else
        for (const block of answer.blocks)
          process.stdout.write(`${paint.good("✓")} ${block.zones.join(" ")} port ${block.port}: ${block.plugins.join(" → ")}\n`);
      if (answer.fault) throw new Answer(1);
    });
}

function check(path: string) {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new FairleadError("dns-no-corefile", `it can't be read: ${messageOf(cause)}`, { where: path, cause });
  }
  try {
    return { blocks: checkCorefile(text, path, process.env), fault: null };
  } catch (error) {
    if (!(error instanceof CorefileError)) throw error;
    return { blocks: [], fault: { ...error.place, says: error.message } };
  }
}
