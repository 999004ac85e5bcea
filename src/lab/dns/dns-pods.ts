// The cluster's DNS servers in a lab: each coredns container is a process of its own, in its pod's network.
//
// A process for each pod: queries take nothing from the daemon's thread, replicas really share the load, and one that is
// killed takes no other with it. It reads its Corefile from the pod's ConfigMap volume and follows the API through the
// cluster's own network, as CoreDNS would.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DnsReport, DnsRequest } from "../../dns/index.ts";
import type { Container, Pod } from "../../resources/index.ts";
import type { Component, ComponentPlace } from "../kubelet/component.ts";
import { Program } from "../workload/program.ts";
import type { VolumeMount } from "../workload/sandbox.ts";
import type { AccessMessage, DnsMainOptions } from "./dns-main.ts";

export interface DnsPodsOptions {
  readonly domain: string;
  /** A kubeconfig for pods, once the API serves. */
  readonly kubeconfig: () => Promise<string>;
}

export interface DnsPodReport {
  readonly pod: string;
  readonly node: string;
  /** Undefined where the process does not answer. */
  readonly report: DnsReport | undefined;
}

export interface DnsPods {
  /** The program for a container whose image is CoreDNS's; undefined for every other. */
  component(pod: Pod, container: Container): Component | undefined;
  /** Files of volumes in this namespace were written again: the servers look at theirs. */
  filesChanged(namespace: string): void;
  reports(): Promise<DnsPodReport[]>;
}

const MAIN = fileURLToPath(new URL("./dns-main.ts", import.meta.url));
/** The pod's resolv.conf stands in for the host's: "forward . /etc/resolv.conf" means the pod's. */
const INSIDE = 'mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"';
const ANSWER_MS = 1000;

interface Running {
  readonly pod: Pod;
  readonly program: Program;
}

export function createDnsPods(options: DnsPodsOptions): DnsPods {
  const running = new Set<Running>();
  const waiting = new Map<number, (report: DnsReport | undefined) => void>();
  let nextId = 1;

  function ask(program: Program, op: DnsRequest["op"]): Promise<DnsReport | undefined> {
    const id = nextId++;
    return new Promise((resolve) => {
      const timer = setTimeout(() => answered(undefined), ANSWER_MS);
      const answered = (report: DnsReport | undefined) => {
        clearTimeout(timer);
        waiting.delete(id);
        resolve(report);
      };
      waiting.set(id, answered);
      if (!program.send({ id, op } satisfies DnsRequest)) answered(undefined);
    });
  }

  function launch(pod: Pod, container: Container, { namespace, files, env, log }: ComponentPlace): Program {
    const path = corefileOf(container);
    const corefile = onHost(path, files.mounts, files.directory);
    const main: DnsMainOptions = { corefile, shown: path, domain: options.domain };
    const node = [process.execPath, "--disable-warning=ExperimentalWarning", MAIN, JSON.stringify(main)];
    // No process stands between: signals and the message channel reach the server itself.
    const confine = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--", "sh", "-c", INSIDE];
    const program = new Program({
      namespace,
      argv: [...confine, join(files.directory, "resolv.conf"), ...node],
      env: { ...process.env, ...env } as Record<string, string>,
      tty: false,
      stdin: false,
      log,
      onMessage: (report: DnsReport) => waiting.get(report.id)?.(report),
    });
    void options.kubeconfig().then((kubeconfig) => program.send({ op: "access", kubeconfig } satisfies AccessMessage));
    const entry: Running = { pod, program };
    running.add(entry);
    void program.exited.then(() => running.delete(entry));
    return program;
  }

  return {
    component: (pod, container) => (isCoreDns(container) ? { launch: (place) => launch(pod, container, place) } : undefined),
    filesChanged(namespace) {
      for (const { pod, program } of running) if (pod.metadata.namespace === namespace) void ask(program, "look");
    },
    reports: () =>
      Promise.all(
        [...running].map(async ({ pod, program }) => ({
          pod: `${pod.metadata.namespace}/${pod.metadata.name}`,
          node: pod.spec.nodeName ?? "",
          report: await ask(program, "report"),
        })),
      ),
  };
}

/** By its image, wherever it was pulled from; a container with a command of its own is something else. */
function isCoreDns({ image, command }: Container): boolean {
  return command === undefined && /(^|\/)coredns(:|@|$)/.test(image ?? "");
}

/** -conf FILE, or -conf=FILE; CoreDNS's own default is a Corefile in its folder. */
function corefileOf({ args = [] }: Container): string {
  for (const [index, word] of args.entries()) {
    if (/^--?conf$/.test(word)) return args[index + 1] ?? "Corefile";
    const given = /^--?conf=(.*)$/.exec(word)?.[1];
    if (given !== undefined) return given;
  }
  return "Corefile";
}

/** The file of the pod's volumes that stands for a path in the container. */
function onHost(path: string, mounts: readonly VolumeMount[], directory: string): string {
  for (const { source, target } of mounts) {
    const base = target.replace(/\/$/, "");
    if (path === base) return join(directory, "volumes", source);
    if (path.startsWith(`${base}/`)) return join(directory, "volumes", source, path.slice(base.length + 1));
  }
  return path.startsWith("/") ? path : join(directory, path);
}
