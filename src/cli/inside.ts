// Runs a command inside a node or pod of a lab, with this terminal.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { type ExecPlace, enterCommand } from "../lab/index.ts";

/** Exit status of the command; 128 + signal if it was killed. */
export function runInside(place: ExecPlace, words: readonly string[]): Promise<number> {
  const argv = words[0] === "--" ? words.slice(1) : words;
  const user = place.rootless ? [`--user=/proc/${place.pid}/ns/user`, "--preserve-credentials", `--mount=/proc/${place.pid}/ns/mnt`] : [];
  const inner = place.inside === undefined ? argv : enterCommand(place.inside, argv);
  const child = spawn("nsenter", [...user, `--net=${place.netns}`, "--", ...inner], { stdio: "inherit" });
  // The command gets the terminal's signals itself.
  const ignore = () => {};
  process.on("SIGINT", ignore);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (status, signal) => {
      process.off("SIGINT", ignore);
      resolve(status ?? 128 + (signal ? (constants.signals[signal] ?? 0) : 0));
    });
  });
}
