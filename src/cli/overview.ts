// What fairlead is and can do, on one page. Printed without the option parser, whose loading takes longer than all the rest.
import { COMMANDS } from "./commands.ts";

export const VERSION = "0.1.0";
export const DESCRIPTION = "The network of a Kubernetes cluster.";
export const EXAMPLES =
  "\nExamples:\n  fairlead lab up examples/shop\n  fairlead matrix --namespace production\n  fairlead trace production/api production/mysql:3306\n";

/** The text of `fairlead --help`: every command, those within groups too. */
export function overview(): string {
  const options = [
    ["-V, --version", "output the version number"],
    ["-h, --help", "this page; after a command: its options"],
  ] as const;
  const commands = COMMANDS.map(({ name, summary }) => [name, summary] as const);
  const width = Math.max(...[...options, ...commands].map(([name]) => name.length)) + 2;
  const list = (rows: readonly (readonly [string, string])[]) => rows.map(([name, says]) => `  ${name.padEnd(width)}${says}\n`).join("");
  return `Usage: fairlead [options] [command]\n\n${DESCRIPTION}\n\nOptions:\n${list(options)}\nCommands:\n${list(commands)}${EXAMPLES}`;
}
