// Calls a CNI executable as a container runtime does: parameters in the environment, the configuration on standard input.
import { spawn } from "node:child_process";

export interface CniAnswer {
  readonly status: number | null;
  readonly text: string;
  /** Standard output read as JSON; undefined where there was none. */
  // biome-ignore lint/suspicious/noExplicitAny: what a program printed
  readonly json: any;
}

/** Runs `command` (a program with its arguments) and resolves when it has ended. */
export function callCni(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
  stdin: string | object,
): Promise<CniAnswer> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { PATH: process.env.PATH ?? "", ...environment }, stdio: ["pipe", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    child.stdin.on("error", () => {});
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, text, json: text === "" ? undefined : JSON.parse(text) }));
    child.stdin.end(typeof stdin === "string" ? stdin : JSON.stringify(stdin));
  });
}
