// fairlead relay: watches the API server once, and feeds any number of agents.
import { hostname } from "node:os";
import type { Command } from "commander";
import { holdLease, startServiceDuties } from "../../agent/index.ts";
import { FairleadError } from "../../base/index.ts";
import { inClusterAccess, readKubeconfig, sourceFromKubernetes, writerToKubernetes } from "../../cluster/index.ts";
import { checkRelay, type RelayOptions, startRelay } from "../../relay/index.ts";
import { LEASE } from "../lease.ts";
import { readGiven } from "../relay-flags.ts";
import { stopped } from "../signals.ts";

interface RelayFlags {
  readonly kubeconfig?: string;
  readonly listen: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly tokenFile?: string;
  readonly insecure?: boolean;
}

export function command(command: Command): void {
  command
    .option("--kubeconfig <file>", "how to reach the API server (default: $KUBECONFIG, else the pod's service account)")
    .option("--listen <address>", "where agents connect: PORT or HOST:PORT", "5473")
    .option("--tls-cert <file>", "this relay's certificate")
    .option("--tls-key <file>", "its key")
    .option("--client-ca <file>", "agents show a certificate of this authority")
    .option("--token-file <file>", "or agents show this token; read anew for each connection")
    .option("--insecure", "plain and open, where nobody else can reach it")
    .addHelpText(
      "after",
      "\nRun several: agents choose one, and move to another when it ends. Also serves /healthz, /readyz and /metrics.\n\nExamples:\n  fairlead relay --tls-cert relay.crt --tls-key relay.key --client-ca ca.crt\n  fairlead agent --relay 10.112.0.51:5473,10.112.0.52:5473 --relay-ca ca.crt --relay-cert agent.crt --relay-key agent.key\n",
    )
    .action(run);
}

async function run(flags: RelayFlags): Promise<void> {
  const log = (message: string) => void process.stdout.write(`${new Date().toISOString()} ${message}\n`);
  const security = securityOf(flags);
  if (!flags.insecure) checkRelay(security);
  const listen = parseListen(flags.listen);
  const file = flags.kubeconfig ?? process.env.KUBECONFIG;
  const access = file === undefined ? inClusterAccess() : readKubeconfig(file);
  const said = new Set<string>();
  const source = sourceFromKubernetes({
    kubeconfig: access,
    onProblem(problem) {
      if (said.size > 100) said.clear();
      if (!said.has(problem)) log(problem);
      said.add(problem);
    },
  });
  const relay = await startRelay({ source, listen, log, ...security });
  log(`relaying ${access.server.origin} on port ${relay.port}`);
  // What is done once for all needs the whole cluster, which agents that are fed by relays do not know.
  const writer = writerToKubernetes(access);
  const lease = holdLease({
    writer,
    place: LEASE,
    identity: `${hostname()}-${process.pid}`,
    held: () => startServiceDuties({ source, writer, log }).close,
    log,
  });
  await stopped("relay");
  await lease.close();
  await relay.close();
  source.close();
  writer.close();
  log("stopped; the agents move to another replica");
  process.exit(0);
}

function securityOf({ tlsCert, tlsKey, clientCa, tokenFile }: RelayFlags): Pick<RelayOptions, "tls" | "token"> {
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new FairleadError("bad-relay", "a certificate and its key go together", { remedy: "give both --tls-cert and --tls-key" });
  const tls = tlsCert !== undefined && tlsKey !== undefined ? { cert: readGiven(tlsCert), key: readGiven(tlsKey) } : undefined;
  return {
    ...(tls ? { tls: { ...tls, ...(clientCa === undefined ? {} : { clientCa: readGiven(clientCa) }) } } : {}),
    ...(tokenFile === undefined ? {} : { token: () => readGiven(tokenFile).toString("utf8").trim() }),
  };
}

function parseListen(text: string): { readonly host?: string; readonly port: number } {
  const [, host, port] = /^(?:\[?([^\]]*?)\]?:)?(\d{1,5})$/.exec(text) ?? [];
  if (port === undefined || Number(port) > 65535)
    throw new FairleadError("bad-relay", `"${text}" is no port to listen on`, { remedy: "write it like 5473 or 10.0.0.1:5473" });
  return { port: Number(port), ...(host ? { host } : {}) };
}
