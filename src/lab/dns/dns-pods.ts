// The cluster's DNS servers in a lab: each coredns container is a process of its own, in its pod's network.
//
// A process for each pod: queries take nothing from the daemon's thread, replicas really share the load, and one that is
// killed takes no other with it. It reads its Corefile from the pod's ConfigMap volume and follows the API through the
// cluster's own network, as CoreDNS would.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { deadline, messageOf } from "../../base/index.ts";
import type { DnsReport, DnsRequest } from "../../dns/index.ts";
import type { Container, Pod } from "../../resources/index.ts";
import type { Component, ComponentPlace } from "../kubelet/component.ts";
import { Program } from "../workload/program.ts";
import type { SandboxFiles } from "../workload/sandbox.ts";
import type { AccessMessage, DnsMainOptions } from "./dns-main.ts";
import { fillCorefile, type NodeCacheOptions, nodeCacheOptions, placeNodeCache, removeNodeCache } from "./node-cache.ts";

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
  /** The program for a container whose image is CoreDNS's or the node-local cache's; undefined for every other. */
  component(pod: Pod, container: Container): Component | undefined;
  /** Files of volumes in this namespace were written again: the servers look at theirs. */
  filesChanged(namespace: string): void;
  reports(): Promise<DnsPodReport[]>;
}

const MAIN = fileURLToPath(new URL("./dns-main.ts", import.meta.url));
/** The pod's resolv.conf stands in for the host's: "forward . /etc/resolv.conf" means the pod's. */
const INSIDE = 'mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"';
const ANSWER_MS = 5000;

interface Running {
  readonly pod: Pod;
  readonly program: Program;
  /** Makes the Corefile that it reads anew from the files of its volumes. */
  readonly refresh: () => void;
}

export function createDnsPods(options: DnsPodsOptions): DnsPods {
  const running = new Set<Running>();
  const waiting = new Map<number, (report: DnsReport | undefined) => void>();
  let nextId = 1;

  function ask(program: Program, op: DnsRequest["op"]): Promise<DnsReport | undefined> {
    const id = nextId++;
    return new Promise((resolve) => {
      const heard = deadline(ANSWER_MS, () => answered(undefined));
      const answered = (report: DnsReport | undefined) => {
        heard();
        waiting.delete(id);
        resolve(report);
      };
      waiting.set(id, answered);
      if (!program.send({ id, op } satisfies DnsRequest)) answered(undefined);
    });
  }

  function launchServer(pod: Pod, container: Container, place: ComponentPlace): Program {
    const shown = corefileOf(container);
    return launch(pod, place, { corefile: onHost(shown, place.files), shown, domain: options.domain }, () => {});
  }

  function launchCache(pod: Pod, place: ComponentPlace, cache: NodeCacheOptions): Program {
    const template = onHost(cache.conf, place.files);
    const corefile = join(place.files.directory, "Corefile");
    const refresh = () => writeFileSync(corefile, fillCorefile(readFileSync(template, "utf8"), cache, place.env), { mode: 0o600 });
    try {
      refresh();
      placeNodeCache(place.namespace, cache.addresses);
    } catch (error) {
      // The server says it in its own words, in the pod's log: it finds no Corefile.
      place.log.write("stderr", Buffer.from(`${messageOf(error)}\n`));
    }
    const program = launch(pod, place, { corefile, shown: cache.conf, domain: options.domain }, refresh);
    void program.exited.then(() => removeNodeCache(place.namespace));
    return program;
  }

  function launch(pod: Pod, place: ComponentPlace, main: DnsMainOptions, refresh: () => void): Program {
    const { namespace, files, env, log } = place;
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
    const entry: Running = { pod, program, refresh };
    running.add(entry);
    void program.exited.then(() => running.delete(entry));
    return program;
  }

  return {
    component(pod, container) {
      const cache = nodeCacheOptions(container);
      if (cache) return { launch: (place) => launchCache(pod, place, cache) };
      return isCoreDns(container) ? { launch: (place) => launchServer(pod, container, place) } : undefined;
    },
    filesChanged(namespace) {
      for (const { pod, program, refresh } of running) {
        if (pod.metadata.namespace !== namespace) continue;
        refresh();
        void ask(program, "look");
      }
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
function onHost(path: string, { mounts, directory }: SandboxFiles): string {
  for (const { source, target } of mounts) {
    const base = target.replace(/\/$/, "");
    if (path === base) return join(directory, "volumes", source);
    if (path.startsWith(`${base}/`)) return join(directory, "volumes", source, path.slice(base.length + 1));
  }
  return path.startsWith("/") ? path : join(directory, path);
}
