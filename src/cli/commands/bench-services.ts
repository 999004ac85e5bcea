// fairlead bench services: Services by each mode against their number, as a table and plots.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { FairleadError } from "../../base/index.ts";

const BENCH = fileURLToPath(new URL("../../../bench/services.ts", import.meta.url));

interface BenchFlags {
  readonly modes: string;
  readonly counts: string;
  readonly out: string;
  readonly output: string;
}

export function command(command: Command): void {
  command
    .option("--modes <list>", "which modes, by commas: nftables, iptables, ipvs", "nftables,iptables")
    .option("--counts <list>", "how many Services, by commas", "1,10,100,1000,5000,10000,50000")
    .option("--out <directory>", "where the plots go, as SVG", ".build/bench")
    .option("-o, --output <format>", "text or json", "text")
    .addHelpText(
      "after",
      "\nConnect latency, time of the first sync and of one more Service, and memory, in namespaces of its own.\nTakes some minutes; iptables with 50,000 Services the longest.\n\nExamples:\n  fairlead bench services\n  fairlead bench services --modes nftables --counts 10,45000\n",
    )
    .action(async ({ modes, counts, out, output }: BenchFlags) => {
      if (process.getuid?.() !== 0)
        throw new FairleadError("no-privilege", "the benchmark makes network namespaces and must be root", {
          remedy: "run it as root, or as root of a user namespace: unshare -Urnm",
        });
      const words = ["--modes", modes, "--counts", counts, "--out", out, ...(output === "json" ? ["--json"] : [])];
      const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", BENCH, ...words], { stdio: "inherit" });
      const [status] = (await once(child, "exit")) as [number | null];
      process.exitCode = status ?? 1;
    });
}
