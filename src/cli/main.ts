// The command line. What asks for nothing but the overview is answered at once; the rest is program.ts's.
import { overview } from "./overview.ts";

// A reader that has seen enough (`| head`) closes the pipe: what follows has nowhere to go, and the command ends as at Ctrl-C, tidily.
let unread = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  if (!unread) process.kill(process.pid, "SIGINT");
  unread = true;
});

async function main(words: readonly string[]): Promise<number> {
  if (words.length > 1 || !["--help", "-h", "help", undefined].includes(words[0])) return (await import("./program.ts")).runCommand(words);
  process.stdout.write(overview());
  return words.length === 0 ? 2 : 0;
}

process.exitCode = await main(process.argv.slice(2));
