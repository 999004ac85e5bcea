// fairlead trace: the packet's way, hop by hop.
import { type Command, Option } from "commander";
import type { TraceOptions } from "../../trace/index.ts";
import { Answer } from "../exit.ts";
import { labFlags } from "../lab-client.ts";
import { showTrace } from "../show.ts";
import { printJson } from "../terminal.ts";
import { type TraceFlags, viewTrace } from "../views.ts";

export function command(command: Command): void {
  labFlags(command)
    .argument("<from>", "ns/pod, node/name or outside")
    .argument("<to>", "TO[:PORT]: ns/pod, svc/ns/name, node/name, outside, an address or a cluster name")
    .option("--manifests <path...>", "calculate from manifests: no lab, no root needed")
    .option("--desired", "walk through what the kernels should hold, not through what they hold now")
    .addOption(new Option("--protocol <protocol>", "what to send").choices(["tcp", "udp", "icmp"]).default("tcp"))
    .addHelpText(
      "after",
      "\nExit status: 0 delivered, 1 not.\n\nExamples:\n  fairlead trace production/api production/mysql:3306\n  fairlead trace monitoring/prometheus production/mysql:3306\n  fairlead trace outside node/node-2:30080\n  fairlead trace production/api production/redis:6379 --manifests examples/shop\n",
    )
    .action(async (from: string, to: string, flags: TraceFlags & { protocol: TraceOptions["protocol"] }) => {
      const result = await viewTrace(flags, { from, to, protocol: flags.protocol });
      if (flags.output === "json") printJson(result);
      else process.stdout.write(`${showTrace(result)}\n`);
      if (result.verdict !== "delivered") throw new Answer(1);
    });
}
