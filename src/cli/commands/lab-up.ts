// fairlead lab up: raises a lab and applies manifests.
import { type Command, InvalidArgumentError, Option } from "commander";
import { NETWORKS, type Network, SERVICE_MODES, type ServiceMode } from "../../agent/index.ts";
import { FairleadError } from "../../base/index.ts";
import { flattenKubeconfig } from "../../cluster/index.ts";
import {
  asksForRouted,
  DEFAULT_NETWORKS,
  isUp,
  type LabStatus,
  labPaths,
  launchLab,
  networkObjects,
  type Readiness,
} from "../../lab/index.ts";
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
  readonly services: ServiceMode;
  readonly network?: Network;
  readonly podCidr: readonly string[];
  readonly serviceCidr: readonly string[];
  readonly apiPort: number;
  readonly nodeLocalDns?: boolean;
  readonly timeout: number;
  readonly foreground?: boolean;
  readonly keep?: boolean;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly join?: boolean;
  readonly quiet?: boolean;
}

export function command(command: Command): void {
  labFlags(command)
    .argument("[path...]", "manifests: files or folders")
    .option("--nodes <number>", "how many nodes", number(1, 1000), 3)
    .option("--subnets <number>", "underlay subnets that the nodes are spread over", number(1, 16), 1)
    .option("--mtu <bytes>", "MTU of the underlay", number(1280, 9216), 1500)
    .option("--pod-cidr <ranges>", "range of the pods' addresses; one per family: 10.244.0.0/16,fd00:10:244::/48", list, [
      ...DEFAULT_NETWORKS.podCidrs,
    ])
    .option("--service-cidr <ranges>", "range of the Services' addresses; one per family", list, [...DEFAULT_NETWORKS.serviceCidrs])
    .option("--api-port <port>", "port of the API on 127.0.0.1; 0 for any that is free", number(0, 65_535), 0)
    .addOption(
      new Option("--network <kind>", "how pods are connected (default: overlay; routed where the manifests hold an Installation)").choices([
        ...NETWORKS,
      ]),
    )
    .addOption(new Option("--services <mode>", "how Services are balanced").choices([...SERVICE_MODES]).default("nftables"))
    .addOption(
      new Option("--agents <where>", "agents within the daemon, or in processes of their own")
        .choices(["inline", "processes"])
        .default("inline"),
    )
    .option("--node-local-dns", "a DNS cache on every node (169.254.20.10, and the cluster's DNS address itself)", false)
    .option("--timeout <seconds>", "how long to wait until all is ready", number(1, 3600), 60)
    .option("--keep", "the cluster's objects outlive the lab; raised again with --keep it goes on with them")
    .option("--kubeconfig <file>", "the API server that the nodes work for, instead of the lab's own")
    .option("--context <name>", "a context of that file, instead of its current one")
    .option("--join", "also where that cluster has nodes that are not this lab's")
    .option("--foreground", "stay until Ctrl-C, then take the lab down")
    .addHelpText(
      "after",
      "\nExamples:\n  fairlead lab up examples/shop\n  fairlead lab up --nodes 5 --subnets 2 --mtu 9000 app.yaml\n  fairlead lab up --pod-cidr 10.50.0.0/16 --service-cidr 10.60.0.0/20\n  fairlead lab up --kubeconfig cluster.kubeconfig examples/shop\n  export KUBECONFIG=$(fairlead lab kubeconfig); kubectl get pods -A -o wide\n",
    )
    .action(async (paths: string[], flags: UpFlags) => {
      refuseContradictions(command, flags);
      await refuseChanges(command, flags);
      const interruption = listenForInterruption();
      try {
        await raise(paths, flags, interruption.signal);
        await tellStatus(flags).catch((error) => {
          // Interrupted while it asked, it takes the lab down all the same.
          if (!flags.foreground || !interruption.signal.aborted) throw error;
        });
        if (!flags.foreground) return;
        await untilAborted(interruption.signal);
        await endLab(flags.name);
      } finally {
        interruption.close();
      }
    });
}

async function tellStatus(flags: UpFlags): Promise<void> {
  const status = await callLab<LabStatus>(flags, "status");
  if (flags.output === "json") printJson(status);
  else process.stdout.write(`${showStatus(status)}\n`);
}

/** Raises the lab (or takes the one that is up), applies the manifests, waits until all is ready. Aborted, it takes back what it has made. */
export async function raise(paths: readonly string[], flags: UpFlags, interruption: AbortSignal): Promise<void> {
  const objects = loadManifests(paths);
  const started = performance.now();
  const progress = flags.output === "json" ? undefined : startProgress("raising the lab");
  const up = await isUp(flags.name);
  let raised = false;
  try {
    if (!up) {
      const { name, nodes, subnets, mtu, podCidr, serviceCidr, apiPort, nodeLocalDns = false, services } = flags;
      const options = { name, nodes, subnets, mtu, podCidrs: podCidr, serviceCidrs: serviceCidr, apiPort, nodeLocalDns, services };
      const network = flags.network ?? (asksForRouted(objects) ? "routed" : "overlay");
      const launching = {
        ...options,
        network,
        networkObjects: networkObjects(objects),
        agentProcesses: flags.agents === "processes",
        keep: flags.keep === true,
        foreign: flags.kubeconfig !== undefined,
      };
      const foreign =
        flags.kubeconfig === undefined
          ? undefined
          : { kubeconfig: flattenKubeconfig(flags.kubeconfig, flags.context), join: flags.join === true };
      await launchLab(launching, (text) => progress?.update(text), interruption, foreign);
      raised = true;
    } else if (paths.length === 0) {
      throw new FairleadError("lab-exists", `a lab named ${flags.name} is up already`, {
        remedy: `fairlead lab down${nameFlag(flags)} first, or give manifests to apply to it`,
      });
    }
    interruption.throwIfAborted();
    progress?.update(`applying ${objects.length} objects`);
    try {
      const { notices } = objects.length > 0 ? await callLab<{ notices: string[] }>(flags, "apply", { objects }) : { notices: [] };
      progress?.done();
      for (const notice of notices) process.stderr.write(`${paint.warn("!")} ${notice}\n`);
    } catch (error) {
      // Nothing half-made stays: a lab that was raised for these manifests goes with them.
      if (raised && !interruption.aborted) await endLab(flags.name);
      throw error;
    }
    progress?.update("waiting for pods");
    const look = await callLab<Readiness>(flags, "wait", { timeoutMs: flags.timeout * 1000 });
    interruption.throwIfAborted();
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
  } catch (error) {
    if (!interruption.aborted) throw error;
    progress?.done();
    // A lab that was up before stays.
    if (raised) await endLab(flags.name).catch(() => {});
    process.stderr.write(up ? "interrupted; the lab stays up\n" : "interrupted; nothing was left\n");
    throw new Answer(130);
  } finally {
    progress?.done();
  }
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** How the lab is named in a command: nothing for the usual one. */
export function nameFlag({ name }: Pick<UpFlags, "name">): string {
  return name === "lab" ? "" : ` --name ${name}`;
}

/** What an API server elsewhere brings is not the lab's to say. @throws FairleadError `contradiction` */
function refuseContradictions(command: Command, { kubeconfig }: UpFlags): void {
  const own = ["keep", "serviceCidr"];
  const foreign = ["context", "join"];
  const given = (kubeconfig === undefined ? foreign : own).filter((option) => command.getOptionValueSource(option) === "cli");
  if (given.length === 0) return;
  const options = command.options.filter((option) => given.includes(option.attributeName())).map((option) => option.long);
  throw kubeconfig === undefined
    ? new FairleadError("contradiction", `${options.join(", ")} is about another API server, and none is given`, {
        remedy: "add --kubeconfig FILE",
      })
    : new FairleadError("contradiction", `${options.join(", ")} is about the lab's own API, and --kubeconfig gives another`, {
        remedy: "leave out one of them",
      });
}

/** What a lab is made with can't be changed by a second `lab up`. @throws FairleadError `lab-exists` */
async function refuseChanges(command: Command, flags: UpFlags): Promise<void> {
  const given = [
    "nodes",
    "subnets",
    "mtu",
    "agents",
    "services",
    "network",
    "podCidr",
    "serviceCidr",
    "apiPort",
    "nodeLocalDns",
    "kubeconfig",
  ].filter((option) => command.getOptionValueSource(option) === "cli");
  if (given.length === 0 || !(await isUp(flags.name))) return;
  const options = command.options.filter((option) => given.includes(option.attributeName())).map((option) => option.long);
  throw new FairleadError("lab-exists", `a lab named ${flags.name} is up already, and ${options.join(", ")} can't be changed while it is`, {
    remedy: `fairlead lab down${nameFlag(flags)} first, or give the new one another --name`,
  });
}

/** Until closed, the first Ctrl-C or SIGTERM does not end the process: it aborts the signal, at whatever moment it comes. */
export function listenForInterruption(): { readonly signal: AbortSignal; close(): void } {
  const controller = new AbortController();
  const interrupt = () => controller.abort();
  for (const signal of SIGNALS) process.once(signal, interrupt);
  return {
    signal: controller.signal,
    close() {
      for (const signal of SIGNALS) process.off(signal, interrupt);
    },
  };
}

/** Resolves when the signal is aborted; the process lives until then. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const keep = setInterval(() => {}, 1 << 30);
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => {
      clearInterval(keep);
      resolve();
    });
  });
}

/** "a,b" */
const list = (text: string): string[] => text.split(",").map((part) => part.trim());

/** A whole number within bounds. */
export function number(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`It is a whole number from ${least} to ${most}.`);
    return value;
  };
}
