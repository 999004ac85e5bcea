// The CNI executable in Node, for machines without a C compiler: does what native/fairlead-cni.c does.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { CNI_CODE, CniError, encodeError, SUPPORTED_VERSIONS, versionOf } from "./protocol.ts";

const VARIABLES = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_NETNS_OVERRIDE", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
const INPUT_MAX = 1 << 20;
const TIMEOUT_MS = 60_000;

/** Hands the call of this process to the agent and answers as it says. `executable`: the path that was called. */
export function runFallback(executable: string): void {
  const stdin = readInput();
  const command = process.env.CNI_COMMAND;
  if (command === "VERSION") {
    finish(0, `${JSON.stringify({ cniVersion: versionOf(stdin), supportedVersions: SUPPORTED_VERSIONS })}\n`);
    return;
  }
  const fail = (code: number, message: string, details: string) =>
    finish(1, `${JSON.stringify(encodeError(versionOf(stdin), new CniError(code, message, details)))}\n`);
  if (Buffer.byteLength(stdin) > INPUT_MAX) {
    fail(CNI_CODE.decodingFailure, "the network configuration is larger than 1 MiB", "");
    return;
  }
  const broken = VARIABLES.find((name) => process.env[name]?.includes("\n"));
  if (broken !== undefined) {
    fail(CNI_CODE.invalidEnvironment, "a variable holds a line break", broken);
    return;
  }
  const variables = VARIABLES.flatMap((name) => (process.env[name] === undefined ? [] : [`${name}=${process.env[name]}\n`]));
  const path = socketPath(executable);
  ask(path, `${variables.join("")}\n${stdin}`, (answer) => {
    if (typeof answer === "object") finish(answer.status, answer.output);
    // An agent that does not answer can't serve ADD: that is what STATUS asks.
    else fail(command === "STATUS" ? CNI_CODE.unavailable : CNI_CODE.tryAgain, answer, path);
  });
}

/** Calls back once: with the agent's answer, or with why there is none. */
function ask(path: string, request: string, done: (answer: { status: number; output: string } | string) => void): void {
  const socket = connect({ path, allowHalfOpen: true });
  let answer = "";
  let connected = false;
  let problem = "Fairlead's agent does not answer: start it, then try again";
  socket.setEncoding("utf8").setTimeout(TIMEOUT_MS, () => {
    problem = "Fairlead's agent did not answer within a minute";
    socket.destroy();
  });
  socket.once("connect", () => {
    connected = true;
    problem = "Fairlead's agent ended during the call: try again";
  });
  // The agent may have refused before it had read everything: its answer counts, not the broken pipe.
  socket.on("error", () => {
    if (!connected) socket.destroy();
  });
  socket.on("data", (chunk: string) => {
    answer += chunk;
  });
  socket.once("end", () => socket.destroy());
  socket.once("close", () => {
    const newline = answer.indexOf("\n");
    // What the agent prints ends with a line break: without it, the rest was lost.
    done(newline < 0 || !answer.endsWith("\n") ? problem : { status: Number(answer.slice(0, newline)), output: answer.slice(newline + 1) });
  });
  socket.end(request);
}

function finish(status: number, output: string): void {
  process.stdout.write(output);
  process.exitCode = status;
}

function readInput(): string {
  try {
    return readFileSync(0, "utf8");
  } catch {
    // Standard input is closed: nothing was given.
    return "";
  }
}

function socketPath(executable: string): string {
  if (process.env.FAIRLEAD_CNI_SOCKET) return process.env.FAIRLEAD_CNI_SOCKET;
  try {
    return readFileSync(`${executable}.socket`, "utf8").split("\n")[0] ?? "";
  } catch {
    return "/run/fairlead/cni.sock";
  }
}
