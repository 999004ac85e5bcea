// The command line: finds the command, loads its file, runs it, and turns what is thrown into one line and an exit status.
import { Command, CommanderError } from "commander";
import { COMMANDS, GROUPS } from "./commands.ts";
import { Answer } from "./exit.ts";

const VERSION = "0.1.0";

/** The program with only the asked command's options loaded; every other command is a name and a summary. */
async function buildProgram(words: readonly string[]): Promise<Command> {
  const program = new Command("fairlead")
    .description("The network of a Kubernetes cluster.")
    .version(VERSION, "-V, --version")
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .exitOverride()
    .addHelpText(
      "after",
      "\nExamples:\n  fairlead lab up examples/shop\n  fairlead matrix --namespace production\n  fairlead trace production/api production/mysql:3306\n",
    );
  const groups = new Map<string, Command>();
  for (const entry of COMMANDS) {
    const [first = "", second] = entry.name.split(" ");
    let parent = program;
    if (second !== undefined) {
      parent =
        groups.get(first) ??
        program
          .command(first)
          .description(GROUPS[first] ?? "")
          .exitOverride();
      groups.set(first, parent);
    }
    const command = parent
      .command(second ?? first)
      .description(entry.summary)
      .exitOverride();
    // "agent" is a command, and the group of "agent status".
    if (second === undefined) groups.set(first, command);
    const called = second === undefined ? words[0] === first : words[0] === first && words[1] === second;
    if (called || words[0] === "completion") (await entry.load()).command(command);
  }
  return program;
}

async function main(): Promise<number> {
  const words = process.argv.slice(2);
  const program = await buildProgram(words.filter((word) => !word.startsWith("-")));
  if (words.length === 0) {
    program.outputHelp();
    return 2;
  }
  try {
    await program.parseAsync(process.argv);
    return 0;
  } catch (error) {
    if (error instanceof Answer) return error.status;
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`fairlead: ${error instanceof Error ? error.message : String(error)}\n`);
    if (process.env.FAIRLEAD_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return 2;
  }
}

process.exitCode = await main();
