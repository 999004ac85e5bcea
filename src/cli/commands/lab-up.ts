// fairlead lab up: raises a lab and applies manifests.
import { type Command, InvalidArgumentError, Option } from "commander";
import { FairleadError } from "../../base/index.ts";
import { isUp, type LabStatus, labPaths, launchLab, type Readiness } from "../../lab/index.ts";
import { Answer } from "../exit.ts";
import { callLab, endLab, labFlags } from "../lab-client.ts";
import { loadManifests } from "../manifests.ts";
import { showStatus } from "../show.ts";
import { paint, printJson, startProgress } from "../terminal.ts";

export interface UpFlags {
  readonly name: string;
  readonly output?: string;
  readonly nodes: number;
  readonly subnets: number;
  readonly mtu: number;
  readonly agents: string;
  readonly timeout: number;
  readonly foreground?: boolean;
  readonly quiet?: boolean;
}

export function command(command: Command): void {
  labFlags(command)
    .argument("[path...]", "manifests: files or folders")
    .option("--nodes <number>", "how many nodes", number(1, 1000), 3)
    .option("--subnets <number>", "underlay subnets that the nodes are spread over", number(1, 16), 1)
    .option("--mtu <bytes>", "MTU of the underlay", number(1280, 9216), 1500)
    .addOption(new Option("--network <kind>", "how pods are connected").choices(["overlay"]).default("overlay"))
    .addOption(new Option("--services <mode>", "how Services are balanced").choices(["nftables"]).default("nftables"))
    .addOption(
      new Option("--agents <where>", "agents within the daemon, or in processes of their own")
        .choices(["inline", "processes"])
        .default("inline"),
    )
    .option("--timeout <seconds>", "how long to wait until all is ready", number(1, 3600), 60)
    .option("--foreground", "stay until Ctrl-C, then take the lab down")
    .addHelpText(
      "after",
      "\nExamples:\n  fairlead lab up examples/shop\n  fairlead lab up --nodes 5 --subnets 2 --mtu 9000 app.yaml\n  export KUBECONFIG=$(fairlead lab kubeconfig); kubectl get pods -A -o wide\n",
    )
    .action(async (paths: string[], flags: UpFlags) => {
      await raise(paths, flags);
      const status = await callLab<LabStatus>(flags, "status");
      if (flags.output === "json") printJson(status);
      else process.stdout.write(`${showStatus(status)}\n`);
      if (!flags.foreground) return;
      await untilInterrupted();
      await endLab(flags.name);
    });
}

/** Raises the lab (or takes the one that is up), applies the manifests, waits until all is ready. */
export async function raise(paths: readonly string[], flags: UpFlags): Promise<void> {
  const objects = loadManifests(paths);
  const started = performance.now();
  const progress = flags.output === "json" ? undefined : startProgress("raising the lab");
  const up = await isUp(flags.name);
  const interrupted = () => {
    progress?.done();
    void endLab(flags.name).finally(() => process.exit(130));
  };
  process.once("SIGINT", interrupted);
  try {
    if (!up) {
      const { name, nodes, subnets, mtu } = flags;
      await launchLab({ name, nodes, subnets, mtu, agentProcesses: flags.agents === "processes" }, (text) => progress?.update(text));
    } else if (paths.length === 0)
      throw new FairleadError("lab-exists", `a lab named ${flags.name} is up already`, {
        remedy: `fairlead lab down${flags.name === "lab" ? "" : ` --name ${flags.name}`} first, or give manifests to apply to it`,
      });
    progress?.update(`applying ${objects.length} objects`);
    try {
      const { notices } = objects.length > 0 ? await callLab<{ notices: string[] }>(flags, "apply", { objects }) : { notices: [] };
      progress?.done();
      for (const notice of notices) process.stderr.write(`${paint.warn("!")} ${notice}\n`);
    } catch (error) {
      // Nothing half-made stays: a lab that was raised for these manifests goes with them.
      if (!up) await endLab(flags.name);
      throw error;
    }
    progress?.update("waiting for pods");
    const look = await callLab<Readiness>(flags, "wait", { timeoutMs: flags.timeout * 1000 });
    if (!look.ready) {
      progress?.done();
      process.stderr.write(
        `not ready after ${flags.timeout} s:\n${look.missing.map((line) => `  ${paint.warn("!")} ${line}`).join("\n")}\n`,
      );
      throw new Answer(1);
    }
    progress?.done(
      `lab ${paint.name(flags.name)}: ${look.pods.ready} pods ready in ${((performance.now() - started) / 1000).toFixed(1)} s  ${paint.dim(`KUBECONFIG=${labPaths(flags.name).kubeconfig}`)}`,
    );
  } finally {
    progress?.done();
    process.off("SIGINT", interrupted);
  }
}

/** Resolves at Ctrl-C or SIGTERM. */
export function untilInterrupted(): Promise<void> {
  const keep = setInterval(() => {}, 1 << 30);
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => {
        clearInterval(keep);
        resolve();
      });
    }
  });
}

/** A whole number within bounds. */
export function number(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`It is a whole number from ${least} to ${most}.`);
    return value;
  };
}
