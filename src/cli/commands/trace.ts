// fairlead trace: the packet's way, hop by hop.
import { type Command, Option } from "commander";
import { snapshotOf } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { type TraceOptions, type TraceResult, trace } from "../../trace/index.ts";
import { Answer } from "../exit.ts";
import { callLab, type LabFlags, labFlags } from "../lab-client.ts";
import { showTrace } from "../show.ts";
import { printJson } from "../terminal.ts";

export function command(command: Command): void {
  labFlags(command)
    .argument("<from>", "ns/pod, node/name or outside")
    .argument("<to>", "TO[:PORT]: ns/pod, svc/ns/name, node/name, outside, an address or a cluster name")
    .addOption(new Option("--protocol <protocol>", "what to send").choices(["tcp", "udp"]).default("tcp"))
    .addHelpText(
      "after",
      "\nExit status: 0 delivered, 1 not.\n\nExamples:\n  fairlead trace production/api production/mysql:3306\n  fairlead trace monitoring/prometheus production/mysql:3306\n  fairlead trace outside node/node-2:30080\n",
    )
    .action(async (from: string, to: string, flags: LabFlags & { protocol: TraceOptions["protocol"] }) => {
      const result = await traceLab(flags, { from, to, protocol: flags.protocol });
      if (flags.output === "json") printJson(result);
      else process.stdout.write(`${showTrace(result)}\n`);
      if (result.verdict !== "delivered") throw new Answer(1);
    });
}

/** Traces within a lab, from its objects. */
export async function traceLab(flags: LabFlags, options: TraceOptions): Promise<TraceResult> {
  return trace(snapshotOf(await callLab<KubeObject[]>(flags, "snapshot")), options);
}
