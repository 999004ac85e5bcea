// fairlead ipam check: leaked, doubled and orphaned addresses.
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { auditIpam } from "../../ipam/index.ts";
import { Answer } from "../exit.ts";
import { type IpamFlags, ipamFlags, readIpam, withIpam } from "../ipam-view.ts";
import { paint, printJson } from "../terminal.ts";

/** What is just under way looks like a fault, and no more at the second look. */
const SECOND_LOOK_MS = 1000;

export function command(command: Command): void {
  ipamFlags(command)
    .addHelpText(
      "after",
      "\nLooks twice, a second apart, where the first look finds something: pods may be coming and going.\n\nExit status: 0 nothing is wrong, 1 something is.\n\nExamples:\n  fairlead ipam check\n  fairlead ipam check --kubeconfig ~/.kube/config -o json\n",
    )
    .action(async (flags: IpamFlags) => {
      const findings = await withIpam(flags, async (api) => {
        const first = auditIpam(await readIpam(api));
        if (first.length === 0) return [];
        await sleep(SECOND_LOOK_MS);
        const seen = new Set(first.map(({ kind, object, says }) => `${kind} ${object} ${says}`));
        return auditIpam(await readIpam(api)).filter(({ kind, object, says }) => seen.has(`${kind} ${object} ${says}`));
      });
      if (flags.output === "json") printJson({ findings });
      else if (findings.length === 0) process.stdout.write(`${paint.good("✓")} every address has one owner, and every owner is there\n`);
      else
        for (const { kind, says, remedy } of findings)
          process.stdout.write(`${paint.bad("✗")} ${kind}: ${says}\n  ${paint.dim("remedy:")} ${remedy}\n`);
      if (findings.length > 0) throw new Answer(1);
    });
}
