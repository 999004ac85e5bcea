// Kubelet's part for one node: a worker for each pod bound to it, and the status of node and pods in the API.
import type { Kernel, NetworkNamespace } from "../../kernel/index.ts";
import type { Container, Pod, PodStatus } from "../../resources/index.ts";
import type { Responders } from "../workload/responders.ts";
import type { CniRuntime } from "./cni-runtime.ts";
import type { Component } from "./component.ts";
import { PodWorker } from "./pod-worker.ts";

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
  /** The program of a container that Fairlead itself can be (cluster DNS); undefined for every other. */
  component(pod: Pod, container: Container): Component | undefined;
  /** Writes the status that the function makes of the newest object; a pod that is gone is no error. */
  report(pod: Pod, status: (pod: Pod) => PodStatus): void;
  /** Removes a terminated pod from the API for good. */
  removed(pod: Pod): void;
  log(message: string): void;
  now(): string;
}

export interface Kubelet {
  /** A pod bound to this node was added or changed. */
  update(pod: Pod): void;
  /** A pod is gone from the API, without grace. */
  remove(pod: Pod): void;
  worker(uid: string): PodWorker | undefined;
  readonly workers: Iterable<PodWorker>;
  /** The lab ends: pods are let go, not taken down one by one. */
  abandon(): void;
}

/** Starts kubelet's part of a node. */
export function createKubelet(context: KubeletContext): Kubelet {
  const workers = new Map<string, PodWorker>();

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
      worker.pod = pod;
      if (pod.metadata.deletionTimestamp) finish(worker, pod.metadata.deletionGracePeriodSeconds ?? 30);
    },
    remove(pod) {
      const worker = workers.get(pod.metadata.uid ?? "");
      if (worker) finish(worker, 0);
    },
    worker: (uid) => workers.get(uid),
    get workers() {
      return workers.values();
    },
    abandon() {
      for (const worker of workers.values()) worker.abandon();
      workers.clear();
    },
  };
}
