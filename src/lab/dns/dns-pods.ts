// The cluster's DNS servers in a lab: each coredns container is a process of its own, in its pod's network.
//
// A process for each pod: queries take nothing from the daemon's thread, replicas really share the load, and one that is
// killed takes no other with it. It reads its Corefile from the pod's ConfigMap volume and follows the API through the
// cluster's own network, as CoreDNS would.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ObjectStore } from "../../api/index.ts";
import { FairleadError } from "../../base/index.ts";
import type { DnsReport, DnsRequest } from "../../dns/index.ts";
import type { ConfigMap, Container, Pod } from "../../resources/index.ts";
import type { Component, ComponentPlace } from "../kubelet/component.ts";
import { type ConfigVolume, configVolumes, writeConfigVolume } from "../kubelet/config-volume.ts";
import { REFS } from "../refs.ts";
import type { AccessMessage, DnsMainOptions } from "./dns-main.ts";

export interface DnsPodsOptions {
  readonly store: ObjectStore;
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
  reports(): Promise<DnsPodReport[]>;
  close(): void;
}

const MAIN = fileURLToPath(new URL("./dns-main.ts", import.meta.url));
/** The pod's resolv.conf stands in for the host's: "forward . /etc/resolv.conf" means the pod's. */
const INSIDE = 'mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"';
const ANSWER_MS = 1000;

interface Running {
  readonly pod: Pod;
  readonly child: ChildProcess;
  readonly directory: string;
  readonly volumes: readonly ConfigVolume[];
}

export function createDnsPods(options: DnsPodsOptions): DnsPods {
  const running = new Set<Running>();
  const waiting = new Map<number, (report: DnsReport | undefined) => void>();
  let nextId = 1;

  function ask(child: ChildProcess, op: DnsRequest["op"]): Promise<DnsReport | undefined> {
    const id = nextId++;
    return new Promise((resolve) => {
      const timer = setTimeout(() => answered(undefined), ANSWER_MS);
      const answered = (report: DnsReport | undefined) => {
        clearTimeout(timer);
        waiting.delete(id);
        resolve(report);
      };
      waiting.set(id, answered);
      if (child.connected) child.send({ id, op } satisfies DnsRequest);
      else answered(undefined);
    });
  }

  const stop = options.store.watch(REFS.configMaps, {}, ({ type, object }) => {
    if (type === "BOOKMARK") return;
    for (const each of running) {
      const volume = each.volumes.find(({ configMap }) => configMap === object.metadata.name);
      if (!volume || each.pod.metadata.namespace !== object.metadata.namespace || type === "DELETED") continue;
      writeConfigVolume(join(each.directory, "volumes", volume.volume), volume, object as ConfigMap);
      void ask(each.child, "look");
    }
  });

  function launch(pod: Pod, container: Container, place: ComponentPlace): ChildProcess {
    const { namespace, directory, env, log } = place;
    const volumes = configVolumes(pod, container);
    const main: DnsMainOptions = {
      corefile: onHost(corefileOf(container), volumes, directory),
      domain: options.domain,
    };
    const output = openSync(log, "a", 0o600);
    const words = ["--disable-warning=ExperimentalWarning", MAIN, JSON.stringify(main)];
    // No process stands between: signals and the message channel reach the server itself.
    const child = namespace.run(() =>
      spawn(
        "setpriv",
        [
          "--pdeathsig",
          "KILL",
          "--",
          "unshare",
          "--mount",
          "--",
          "sh",
          "-c",
          INSIDE,
          join(directory, "resolv.conf"),
          process.execPath,
          ...words,
        ],
        { env: { ...process.env, ...env, HOSTNAME: pod.metadata.name }, stdio: ["ignore", output, output, "ipc"], cwd: directory },
      ),
    );
    closeSync(output);
    const entry: Running = { pod, child, directory, volumes };
    running.add(entry);
    void options.kubeconfig().then((kubeconfig) => child.connected && child.send({ op: "access", kubeconfig } satisfies AccessMessage));
    child.on("message", (report: DnsReport) => waiting.get(report.id)?.(report));
    child.on("exit", () => running.delete(entry));
    child.on("error", () => running.delete(entry));
    return child;
  }

  function prepare(pod: Pod, container: Container, directory: string): void {
    for (const volume of configVolumes(pod, container)) {
      const { namespace } = pod.metadata;
      const configMap = options.store.get<ConfigMap>(REFS.configMaps, namespace, volume.configMap);
      if (!configMap && !volume.optional)
        throw new FairleadError("no-config-map", `configmap "${volume.configMap}" not found`, {
          where: `${namespace}/${pod.metadata.name}`,
        });
      writeConfigVolume(join(directory, "volumes", volume.volume), volume, configMap);
    }
  }

  return {
    component(pod, container) {
      if (!isCoreDns(container)) return undefined;
      return {
        prepare: (place) => prepare(pod, container, place.directory),
        launch: (place) => launch(pod, container, place),
      };
    },
    reports: () =>
      Promise.all(
        [...running].map(async ({ pod, child }) => ({
          pod: `${pod.metadata.namespace}/${pod.metadata.name}`,
          node: pod.spec.nodeName ?? "",
          report: await ask(child, "report"),
        })),
      ),
    close: stop,
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

/** The file of the pod's directory that stands for a path in the container. */
function onHost(path: string, volumes: readonly ConfigVolume[], directory: string): string {
  for (const { mountPath, volume } of volumes) {
    const base = mountPath.replace(/\/$/, "");
    if (path.startsWith(`${base}/`)) return join(directory, "volumes", volume, path.slice(base.length + 1));
  }
  return path.startsWith("/") ? path : join(directory, path);
}
