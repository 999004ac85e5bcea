// fairlead dns serve: a DNS server by a Corefile, alone on this machine or as a cluster's.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { FairleadError } from "../../base/index.ts";
import { assumeCluster, type ClusterSource, createReplicaSource, readKubeconfig, sourceFromKubernetes } from "../../cluster/index.ts";
import { DNS_RESOURCES, runDns, slimObject, spareMemory } from "../../dns/index.ts";
import { Answer } from "../exit.ts";
import { loadManifests } from "../manifests.ts";

interface ServeFlags {
  readonly conf: string;
  readonly kubeconfig?: string;
  readonly manifests?: readonly string[];
  readonly domain: string;
}

export function command(command: Command): void {
  command
    .option("--conf <corefile>", "the Corefile", "Corefile")
    .option(
      "--kubeconfig <file>",
      "the cluster whose names the plugin kubernetes answers (default: $KUBECONFIG, else the pod's service account)",
    )
    .option("--manifests <path...>", "manifests in a cluster's place")
    .option("--domain <name>", "the cluster's domain, by which names of search paths are known", "cluster.local")
    .addHelpText(
      "after",
      `
Serves until SIGTERM or Ctrl-C; SIGHUP reads the Corefile (and the manifests) again. At its end it goes on answering until
nobody asks any more.

Examples:
  fairlead dns serve --conf Corefile
  fairlead dns serve --conf Corefile --manifests examples/shop
  fairlead dns serve --conf /etc/coredns/Corefile --kubeconfig /etc/fairlead/kubeconfig
`,
    )
    .action(async (flags: ServeFlags) => {
      const log = (level: string, plugin: string, text: string) =>
        void process.stdout.write(
          `${new Date().toISOString()} [${level.toUpperCase()}] ${plugin === "" ? "" : `plugin/${plugin}: `}${text}\n`,
        );
      spareMemory();
      const source = sourceOf(flags, (problem) => log("warning", "kubernetes", problem));
      const status = await runDns({
        path: flags.conf,
        domain: flags.domain,
        log,
        ...(source ? { source } : {}),
        started: ({ listeners }) =>
          log(
            "info",
            "",
            `serving on ${listeners.map(({ address, port }) => `${address.includes(":") ? `[${address}]` : address}:${port}`).join(", ")}`,
          ),
      });
      source?.close();
      throw new Answer(status);
    });
}

/** Undefined: the plugin kubernetes, if the Corefile has it, finds its cluster itself. */
function sourceOf(flags: ServeFlags, onProblem: (problem: string) => void): ClusterSource | undefined {
  const { manifests } = flags;
  if (manifests?.length && flags.kubeconfig !== undefined)
    throw new FairleadError("two-sources", "--manifests and --kubeconfig exclude each other", { remedy: "give one of them" });
  if (manifests?.length) {
    const source = createReplicaSource();
    const read = () => source.replace(assumeCluster(loadManifests(manifests)));
    read();
    process.on("SIGHUP", () => {
      try {
        read();
      } catch (error) {
        onProblem(error instanceof Error ? error.message : String(error));
      }
    });
    return source;
  }
  const file = flags.kubeconfig ?? process.env.KUBECONFIG;
  if (file === undefined) return undefined;
  readFileSync(file);
  return sourceFromKubernetes({ kubeconfig: readKubeconfig(file), resources: DNS_RESOURCES, keep: slimObject, onProblem });
}
