// fairlead exec: a command inside a pod.
import type { Command } from "commander";
import type { ExecPlace } from "../../lab/index.ts";
import { Answer } from "../exit.ts";
import { runInside } from "../inside.ts";
import { callLab, type LabFlags, labFlags } from "../lab-client.ts";

export function command(command: Command): void {
  labFlags(command)
    .argument("<pod>", "ns/pod or ns/workload")
    .argument("<command...>", "a program of this machine")
    .addHelpText(
      "after",
      "\nThe program is one of this machine; it runs with the pod's network, /etc/resolv.conf and /etc/hosts.\n\nExamples:\n  fairlead exec production/api -- curl -s http://order-svc\n  fairlead exec production/api -- cat /etc/resolv.conf\n",
    )
    .action(async (pod: string, argv: string[], flags: LabFlags) => {
      const place = await callLab<ExecPlace>(flags, "place", { what: pod });
      const status = await runInside(place, argv);
      if (status !== 0) throw new Answer(status);
    });
}
