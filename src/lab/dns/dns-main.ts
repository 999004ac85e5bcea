// Entry of a coredns container in a lab: a DNS server in the pod's network, which follows the API as the pod may reach it.

import { messageOf } from "../../base/index.ts";
import { sourceFromKubernetes } from "../../cluster/index.ts";
import { DNS_RESOURCES, runDns, slimObject, spareMemory } from "../../dns/index.ts";

export interface DnsMainOptions {
  /** The Corefile's path. */
  readonly corefile: string;
  /** How the container sees it, for what is told of it. */
  readonly shown: string;
  readonly domain: string;
}

/** What the lab tells as soon as its API serves: how it is reached, as a kubeconfig's text. */
export interface AccessMessage {
  readonly op: "access";
  readonly kubeconfig: string;
}

const options = JSON.parse(process.argv[2] ?? "{}") as DnsMainOptions;
const write = (level: string, plugin: string, text: string) =>
  void process.stdout.write(`[${level.toUpperCase()}] ${plugin === "" ? "" : `plugin/${plugin}: `}${shown(text)}\n`);
const shown = (text: string) => text.replaceAll(options.corefile, options.shown);
const said = new Set<string>();

/** The process starts while the API does. */
function access(): Promise<string> {
  return new Promise((resolve) => {
    process.on("message", function hear(message: AccessMessage) {
      if (message.op !== "access") return;
      process.off("message", hear);
      resolve(message.kubeconfig);
    });
  });
}

spareMemory();
try {
  const source = sourceFromKubernetes({
    kubeconfig: await access(),
    resources: DNS_RESOURCES,
    keep: slimObject,
    // In a lab the API is near, and was just raised: it is asked again soon.
    pause: (attempt) => Math.min(1000, 25 * 2 ** attempt),
    onProblem: (problem) => {
      if (said.has(problem) || said.size > 100) return;
      said.add(problem);
      write("warning", "kubernetes", problem);
    },
  });
  const status = await runDns({
    path: options.corefile,
    source,
    domain: options.domain,
    shown,
    log: write,
    started: ({ listeners }) => write("info", "", `serving on ${listeners.map(({ address, port }) => `${address}:${port}`).join(", ")}`),
  });
  process.exit(status);
} catch (error) {
  write("error", "", messageOf(error));
  process.exit(1);
}
