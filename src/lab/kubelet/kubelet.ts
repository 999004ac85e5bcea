// Kubelet's part for one node: a worker for each pod bound to it, and the status of node and pods in the API.
import type { EventNote } from "../../api/index.ts";
import type { Kernel, NetworkNamespace } from "../../kernel/index.ts";
import type { Container, KubeObject, Pod, PodStatus } from "../../resources/index.ts";
import type { Responders } from "../workload/responders.ts";
import type { CniRuntime } from "./cni-runtime.ts";
import type { Component } from "./component.ts";
import { PodWorker } from "./pod-worker.ts";
import type { ServiceVariable } from "./references.ts";
import type { TokenWish } from "./volumes.ts";

/** What a pod's worker needs of its node. */
export interface KubeletContext {
  readonly node: string;
  readonly kernel: Kernel;
  readonly namespace: NetworkNamespace;
  readonly hostAddresses: readonly string[];
  readonly cni: CniRuntime;
  readonly responders: Responders;
  readonly domain: string;
  podDirectory(uid: string): string;
  resolvConf(pod: Pod): string;
  find(kind: "ConfigMap" | "Secret", namespace: string, name: string): KubeObject | undefined;
  /** Services whose addresses a container of the namespace finds in its environment. */
  services(namespace: string): readonly { readonly name: string; readonly address: string; readonly ports: readonly ServiceVariable[] }[];
  /** A token of the pod's service account; undefined where it has none. It fails where it can't be had now. */
  token(pod: Pod, request: TokenWish): Promise<string | undefined>;
  /** The program of a container that Fairlead itself can be (cluster DNS); undefined for every other. */
  component(pod: Pod, container: Container): Component | undefined;
  /** Writes the status that the function makes of the newest object; a pod that is gone is no error. */
  report(pod: Pod, status: (pod: Pod) => PodStatus): void;
  /** Removes a terminated pod from the API for good. */
  removed(pod: Pod): void;
  /** Notes an event about a pod. */
  note(pod: Pod, note: EventNote): void;
  log(message: string): void;
  now(): string;
}

export interface Kubelet {
  /** A pod bound to this node was added or changed. */
  update(pod: Pod): void;
  /** A pod is gone from the API, without grace. */
  remove(pod: Pod): void;
  /** A ConfigMap or Secret of the namespace has changed: files of volumes follow. */
  refresh(namespace: string): void;
  worker(uid: string): PodWorker | undefined;
  readonly workers: Iterable<PodWorker>;
  /** The lab ends: pods are let go, not taken down one by one. */
  abandon(): void;
}

const RENEWAL_MS = 10 * 60_000;

/** Starts kubelet's part of a node. */
export function createKubelet(context: KubeletContext): Kubelet {
  const workers = new Map<string, PodWorker>();
  // Tokens are renewed long before they end.
  const renewal = setInterval(() => {
    for (const worker of workers.values()) void worker.renewTokens();
  }, RENEWAL_MS).unref();

  function finish(worker: PodWorker, graceSeconds: number): void {
    const uid = worker.pod.metadata.uid ?? "";
    void worker.end(graceSeconds).then(() => {
      workers.delete(uid);
      context.removed(worker.pod);
    });
  }

  return {
    update(pod) {
      const uid = pod.metadata.uid ?? "";
      let worker = workers.get(uid);
      if (!worker) {
        if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return;
        worker = new PodWorker(pod, context);
        workers.set(uid, worker);
        if (!pod.metadata.deletionTimestamp) worker.start();
      }
      const before = worker.pod;
      worker.pod = pod;
      if (before.spec.ephemeralContainers !== pod.spec.ephemeralContainers) worker.addContainers();
      if (pod.metadata.deletionTimestamp) finish(worker, pod.metadata.deletionGracePeriodSeconds ?? 30);
    },
    remove(pod) {
      const worker = workers.get(pod.metadata.uid ?? "");
      if (worker) finish(worker, 0);
    },
    refresh(namespace) {
      for (const worker of workers.values()) if (worker.pod.metadata.namespace === namespace) worker.refresh();
    },
    worker: (uid) => workers.get(uid),
    get workers() {
      return workers.values();
    },
    abandon() {
      clearInterval(renewal);
      for (const worker of workers.values()) worker.abandon();
      workers.clear();
    },
  };
}
