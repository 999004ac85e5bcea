// fairlead agent: this node's network, following a Kubernetes API server.
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type Command, Option } from "commander";
import {
  type Agent,
  holdLease,
  NETWORKS,
  type Network,
  SERVICE_MODES,
  type ServiceDutiesOptions,
  type ServiceMode,
  startAgent,
  startPolicyDuties,
  startServiceDuties,
} from "../../agent/index.ts";
import { FairleadError } from "../../base/index.ts";
import {
  type ApiAccess,
  apiFromKubernetes,
  inClusterAccess,
  readKubeconfig,
  sourceFromKubernetes,
  writerToKubernetes,
} from "../../cluster/index.ts";
import { installPlugin } from "../../cni/index.ts";
import { createLinuxKernel } from "../../kernel/index.ts";
import { LEASE } from "../lease.ts";
import { type RelayFlags, relayFlags, relaySource } from "../relay-flags.ts";
import { stopped } from "../signals.ts";

interface AgentFlags extends RelayFlags {
  readonly node?: string;
  readonly kubeconfig?: string;
  readonly state: string;
  readonly cniBin: string;
  readonly cniConf: string;
  readonly cniInstall: boolean;
  readonly services: ServiceMode;
  readonly network: Network;
  readonly cleanForeign?: boolean;
}

const NODES = { group: "", version: "v1", plural: "nodes" } as const;
/** How often it is asked whether the node can be given to the container runtime, in milliseconds. */
const LOOK_EVERY_MS = 100;

export function command(command: Command): void {
  relayFlags(command)
    .option("--node <name>", "this node's name in the cluster (default: $NODE_NAME, else the host's name)")
    .option("--kubeconfig <file>", "how to reach the API server (default: $KUBECONFIG, else the pod's service account)")
    .option("--state <directory>", "records of what is wired, and the last snapshot", "/var/lib/fairlead")
    .option("--cni-bin <directory>", "where the container runtime looks for plugins", "/opt/cni/bin")
    .option("--cni-conf <directory>", "where it looks for configurations", "/etc/cni/net.d")
    .option("--no-cni-install", "leave these directories alone")
    .addOption(
      new Option("--services <mode>", "how Services are balanced where neither the Node nor the cluster says it")
        .choices([...SERVICE_MODES])
        .default(SERVICE_MODES[0]),
    )
    .addOption(
      new Option("--network <kind>", "how pods are connected where neither the Node nor the cluster says it")
        .choices([...NETWORKS])
        .default(NETWORKS[0]),
    )
    .option("--clean-foreign", "remove what kube-proxy has left on the node; without it, that is only told")
    .addHelpText(
      "after",
      "\nRuns until SIGTERM or Ctrl-C; the node's network stays as it is then, and the next agent takes it over.\nThe CNI configuration is written once the agent can serve.\n\nExamples:\n  fairlead agent --kubeconfig /etc/fairlead/kubeconfig\n  NODE_NAME=node-1 fairlead agent                            # as a pod\n  fairlead agent --relay 10.112.0.51:5473,10.112.0.52:5473 --relay-ca ca.crt --relay-token-file token\n  curl http://127.0.0.1:10249/metrics\n",
    )
    .action(async (flags: AgentFlags) => {
      if (process.getuid?.() !== 0)
        throw new FairleadError("no-privilege", "the agent writes this node's network and must be root", {
          remedy: "run it as root; to try Fairlead without root, see: fairlead lab up",
        });
      await run(flags);
    });
}

/** What one agent does for the whole cluster. */
function startDuties(options: Pick<ServiceDutiesOptions, "source" | "writer" | "log">): () => void {
  const duties = [startServiceDuties(options), startPolicyDuties(options)];
  return () => {
    for (const duty of duties) duty.close();
  };
}

async function run(flags: AgentFlags): Promise<void> {
  const node = flags.node ?? process.env.NODE_NAME ?? hostname();
  const access = accessOf(flags);
  const log = (message: string) => void process.stdout.write(`${new Date().toISOString()} ${message}\n`);
  const said = new Set<string>();
  const onProblem = (problem: string) => sayOnce(said, problem, log);
  const source = relaySource(flags, node, onProblem) ?? sourceFromKubernetes({ kubeconfig: access, onProblem });
  const writer = writerToKubernetes(access);
  const kernel = createLinuxKernel();
  mkdirSync(flags.state, { recursive: true, mode: 0o700 });
  const socketPath = join(flags.state, "cni.sock");
  const agent = await startAgent({
    node,
    kernel,
    namespace: kernel.openNamespace("/proc/self/ns/net"),
    source,
    stateDirectory: flags.state,
    cniSocket: socketPath,
    services: flags.services,
    network: flags.network,
    api: apiFromKubernetes(access),
    cleanForeign: flags.cleanForeign === true,
    annotate: async (annotations) => {
      await writer.patch({ resource: NODES, name: node }, { metadata: { annotations } });
    },
    log,
  });
  log(`the agent of ${node} follows ${flags.relay ?? access.server.origin}; state in ${flags.state}`);
  // A relay's part of the cluster is not enough for what is done once for all: that is the relays' then.
  const lease =
    flags.relay === undefined
      ? holdLease({ writer, place: LEASE, identity: node, held: () => startDuties({ source, writer, log }), log })
      : undefined;
  const looking = setInterval(() => {
    if (!agent.status.ready) return;
    clearInterval(looking);
    if (flags.cniInstall) installPlugin({ binDirectory: flags.cniBin, configDirectory: flags.cniConf, socketPath });
    log(
      `ready: revision ${agent.status.revision}, ${agent.status.pods} pods${flags.cniInstall ? `, CNI installed in ${flags.cniConf}` : ""}`,
    );
  }, LOOK_EVERY_MS);
  sayWhatWaits(agent, log);
  await stopped("agent");
  clearInterval(looking);
  await lease?.close();
  source.close();
  await agent.close();
  writer.close();
  log("stopped; the node's network stays as it is");
  process.exit(0);
}

function accessOf(flags: AgentFlags): ApiAccess {
  const file = flags.kubeconfig ?? process.env.KUBECONFIG;
  return file === undefined ? inClusterAccess() : readKubeconfig(file);
}

/** Says after a while why the agent is not ready, so that a person who looks at the log knows. */
function sayWhatWaits(agent: Agent, log: (message: string) => void): void {
  let last: string | undefined;
  setInterval(() => {
    const { reason } = agent.status;
    if (reason !== last && reason !== undefined) log(`waiting: ${reason}`);
    last = reason;
  }, 5000).unref();
}

/** A server that is away is tried again and again: each problem is said once. */
function sayOnce(said: Set<string>, problem: string, log: (message: string) => void): void {
  if (said.has(problem)) return;
  if (said.size > 100) said.clear();
  said.add(problem);
  log(problem);
}
