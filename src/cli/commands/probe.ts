// fairlead probe: one real attempt.
import { type Command, Option } from "commander";
import type { ProbeResult } from "../../lab/index.ts";
import { Answer } from "../exit.ts";
import { callLab, type LabFlags, labFlags } from "../lab-client.ts";
import { showProbe } from "../show.ts";
import { printJson } from "../terminal.ts";
import { number } from "./lab-up.ts";

export function command(command: Command): void {
  labFlags(command)
    .argument("<from>", "ns/pod, node/name or outside")
    .argument("<to>", "TO[:PORT]: ns/pod, svc/ns/name, node/name, outside, an address or a DNS name")
    .addOption(new Option("--protocol <protocol>", "what to speak").choices(["tcp", "udp", "icmp", "http"]).default("tcp"))
    .option("--timeout <milliseconds>", "when to give up", number(1, 60_000), 1000)
    .addHelpText(
      "after",
      "\nExit status: 0 connected, 1 not.\n\nExamples:\n  fairlead probe production/api production/mysql:3306\n  fairlead probe outside node/node-2:30080\n  fairlead probe production/api order-svc --protocol http\n",
    )
    .action(async (from: string, to: string, flags: LabFlags & { protocol: string; timeout: number }) => {
      const result = await callLab<ProbeResult>(flags, "probe", { from, to, protocol: flags.protocol, timeoutMs: flags.timeout });
      if (flags.output === "json") printJson(result);
      else process.stdout.write(`${showProbe(result)}\n`);
      if (result.verdict !== "connected") throw new Answer(1);
    });
}
