// The command line. What asks for nothing but the overview is answered at once; the rest is program.ts's.
import { overview } from "./overview.ts";

async function main(words: readonly string[]): Promise<number> {
  if (words.length > 1 || !["--help", "-h", "help", undefined].includes(words[0])) return (await import("./program.ts")).runCommand(words);
  process.stdout.write(overview());
  return words.length === 0 ? 2 : 0;
}

process.exitCode = await main(process.argv.slice(2));
