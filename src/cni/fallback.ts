// The CNI executable in Node, for machines without a C compiler: does what native/fairlead-cni.c does.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { CNI_CODE, CniError, encodeError, SUPPORTED_VERSIONS, versionOf } from "./protocol.ts";

const VARIABLES = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_NETNS_OVERRIDE", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
const TIMEOUT_MS = 60_000;

/** Hands the call of this process to the agent and answers as it says. `executable`: the path that was called. */
export function runFallback(executable: string): void {
  const stdin = readFileSync(0, "utf8");
  const command = process.env.CNI_COMMAND;
  if (command === "VERSION") {
    process.stdout.write(`${JSON.stringify({ cniVersion: versionOf(stdin), supportedVersions: SUPPORTED_VERSIONS })}\n`);
    return;
  }
  const fail = (code: number, message: string) => {
    process.stdout.write(`${JSON.stringify(encodeError(versionOf(stdin), new CniError(code, message, path)))}\n`);
    process.exitCode = 1;
  };
  const path = socketPath(executable);
  const socket = connect({ path, allowHalfOpen: true });
  let answer = "";
  socket.setEncoding("utf8").setTimeout(TIMEOUT_MS, () => socket.destroy());
  socket.once("error", () => {
    fail(command === "STATUS" ? CNI_CODE.unavailable : CNI_CODE.tryAgain, "Fairlead's agent does not answer: start it, then try again");
  });
  socket.on("data", (chunk: string) => {
    answer += chunk;
  });
  socket.on("end", () => {
    const newline = answer.indexOf("\n");
    if (newline < 0) fail(CNI_CODE.tryAgain, "Fairlead's agent ended during the call: try again");
    else {
      process.stdout.write(answer.slice(newline + 1));
      process.exitCode = Number(answer.slice(0, newline));
    }
    socket.end();
  });
  const variables = VARIABLES.flatMap((name) => {
    const value = process.env[name];
    return value === undefined || value.includes("\n") ? [] : [`${name}=${value}\n`];
  });
  socket.end(`${variables.join("")}\n${stdin}`);
}

function socketPath(executable: string): string {
  if (process.env.FAIRLEAD_CNI_SOCKET) return process.env.FAIRLEAD_CNI_SOCKET;
  try {
    return readFileSync(`${executable}.socket`, "utf8").split("\n")[0] ?? "";
  } catch {
    return "/run/fairlead/cni.sock";
  }
}
