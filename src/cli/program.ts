// The commands as a program of commander: finds the asked one, loads its file, runs it, and turns what is thrown into one line and an exit status.
import { Command, CommanderError } from "commander";
import { COMMANDS, GROUPS } from "./commands.ts";
import { Answer } from "./exit.ts";
import { DESCRIPTION, EXAMPLES, VERSION } from "./overview.ts";

/** The program with only the asked command's options loaded; every other command is a name and a summary. */
async function buildProgram(words: readonly string[]): Promise<Command> {
  const program = new Command("fairlead")
    .description(DESCRIPTION)
    .version(VERSION, "-V, --version")
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .exitOverride()
    .addHelpText("after", EXAMPLES);
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

/** Runs what the words ask for. @returns the exit status */
export async function runCommand(words: readonly string[]): Promise<number> {
  const program = await buildProgram(words.filter((word) => !word.startsWith("-")));
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
