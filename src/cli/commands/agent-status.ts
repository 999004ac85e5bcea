// fairlead agent status: what the agent of this node says of itself.
import { get } from "node:http";
import type { Command } from "commander";
import type { AgentStatus } from "../../agent/index.ts";
import { FairleadError, textTable } from "../../base/index.ts";
import { Answer } from "../exit.ts";
import { paint, printJson } from "../terminal.ts";

const URL = "http://127.0.0.1:10249/status";

export function command(command: Command): void {
  command
    .option("-o, --output <format>", "json for machines")
    .addHelpText(
      "after",
      "\nAsks the agent on this machine (or, by fairlead lab node, on a node of a lab). Exit status: 0 ready, 1 not.\n\nExamples:\n  fairlead agent status\n  fairlead agent status -o json\n",
    )
    .action(async (flags: { output?: string }) => {
      const status = await ask();
      if (flags.output === "json") printJson(status);
      else process.stdout.write(`${show(status)}\n`);
      if (!status.ready) throw new Answer(1);
    });
}

function ask(): Promise<AgentStatus> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error) =>
      reject(
        new FairleadError("no-agent", "no agent answers on this machine", {
          where: URL,
          remedy: "is `fairlead agent` running here?",
          cause,
        }),
      );
    get(URL, { timeout: 3000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => {
        try {
          resolve(JSON.parse(text) as AgentStatus);
        } catch (cause) {
          fail(cause as Error);
        }
      });
    }).on("error", fail);
  });
}

function show(status: AgentStatus): string {
  const state = status.ready ? paint.good("ready") : paint.bad(status.reason ?? "not ready");
  const mended = Object.entries(status.kernel.mended).map(([kind, count]) => `${count} ${kind}`);
  const rows = [
    ["node", paint.name(status.node)],
    ["state", state],
    ["network", status.network],
    ["revision", String(status.revision)],
    ["pods", String(status.pods)],
    ...status.ranges.map(({ range, used, size }) => ["addresses", `${used} of ${size} in ${range}`]),
    ["kernel", `${status.kernel.runs} runs, ${status.kernel.failures} failed, the last took ${status.kernel.lastMs.toFixed(1)} ms`],
    ...(status.bgp ? [["BGP", `AS ${status.bgp.as}, ${status.bgp.established} of ${status.bgp.neighbours} sessions are up`]] : []),
    ...status.follows.map((each) => ["follows", each]),
    ["mended", mended.length > 0 ? mended.join(", ") : "nothing"],
  ];
  const remarks = status.remarks.map((remark) => `${paint.warn("!")} ${remark}`);
  return [textTable(["", ""], rows, paint.dim).replace(/^\s*\n/, ""), ...remarks].join("\n");
}
