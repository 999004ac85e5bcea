// One pod's life on a node: namespace, CNI ADD, containers, probes, status; and its end: CNI DEL and clean-up.
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../base/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { Container, Pod } from "../../resources/index.ts";
import { findProgram, startCommand } from "../workload/command.ts";
import type { CniCall } from "./cni-runtime.ts";
import type { KubeletContext } from "./kubelet.ts";
import { type ContainerState, hostsFile, podStatus } from "./pod-files.ts";
import { runProbe } from "./probes.ts";

const RESTART_DELAY_MS = [500, 1000, 2000, 5000, 10_000];

/** Drives one pod until it is gone. */
export class PodWorker {
  pod: Pod;
  readonly #context: KubeletContext;
  readonly #directory: string;
  readonly #containers = new Map<string, ContainerState>();
  readonly #children = new Map<string, ChildProcess>();
  readonly #stop = new AbortController();
  #namespace: NetworkNamespace | undefined;
  #addresses: readonly string[] = [];
  #service: { close(): void } | undefined;
  #initialized = false;
  #phase: "Pending" | "Running" | "Succeeded" | "Failed" = "Pending";
  #message: string | undefined;
  #reason: string | undefined;
  #wired = false;
  #ended: Promise<void> | undefined;
  #started: Promise<void> = Promise.resolve();

  constructor(pod: Pod, context: KubeletContext) {
    this.pod = pod;
    this.#context = context;
    this.#directory = context.podDirectory(pod.metadata.uid ?? pod.metadata.name);
    for (const container of pod.spec.containers) {
      this.#containers.set(container.name, { container, state: "waiting", ready: false, restarts: 0 });
    }
  }

  get namespace(): NetworkNamespace | undefined {
    return this.pod.spec.hostNetwork ? this.#context.namespace : this.#namespace;
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  get directory(): string {
    return this.#directory;
  }

  get call(): CniCall {
    const { name, namespace = "default", uid = "" } = this.pod.metadata;
    const containerId = uid.replaceAll("-", "");
    return {
      containerId,
      netns: this.#namespace?.path ?? "",
      interface: "eth0",
      args: {
        IgnoreUnknown: "1",
        K8S_POD_NAMESPACE: namespace,
        K8S_POD_NAME: name,
        K8S_POD_INFRA_CONTAINER_ID: containerId,
        K8S_POD_UID: uid,
      },
    };
  }

  start(): void {
    this.#started = this.#run().catch((error) => this.#fail("StartError", messageOf(error)));
  }

  async #run(): Promise<void> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    if (this.pod.spec.hostNetwork) this.#addresses = this.#context.hostAddresses;
    else await this.#wire();
    if (this.#stop.signal.aborted) return;
    this.#writeFiles();
    // With its address reported early, the other nodes' policies know the pod before it speaks.
    this.#report();
    for (const container of this.pod.spec.initContainers ?? []) await this.#runToEnd(container);
    if (this.#stop.signal.aborted) return;
    this.#initialized = true;
    await this.#startContainers();
    if (this.#phase === "Pending") this.#phase = "Running";
    this.#report();
  }

  /** CNI ADD, tried again while the network is not there yet: a pod waits for its network, it does not fail. */
  async #wire(): Promise<void> {
    for (let tries = 0; !this.#stop.signal.aborted; tries++) {
      this.#namespace ??= this.#context.kernel.createNamespace();
      try {
        const result = await this.#context.cni.add(this.call);
        this.#wired = true;
        this.#addresses = result.ips.map((ip) => ip.address.replace(/\/.*/, ""));
        return;
      } catch (error) {
        this.#waiting("ContainerCreating", messageOf(error));
        await new Promise((resolve) => setTimeout(resolve, Math.min(5000, 50 * 2 ** tries)));
      }
    }
  }

  #writeFiles(): void {
    writeFileSync(join(this.#directory, "resolv.conf"), this.#context.resolvConf(this.pod));
    writeFileSync(join(this.#directory, "hosts"), hostsFile(this.pod, this.#addresses, this.#context.domain));
  }

  async #startContainers(): Promise<void> {
    const namespace = this.namespace;
    if (!namespace) return;
    const simulated: Container[] = [];
    for (const container of this.pod.spec.containers) {
      if (this.#programOf(container)) this.#startProgram(container);
      else simulated.push(container);
    }
    this.#service = this.#context.serveSpecial(this.pod, namespace);
    const ports = this.#service ? [] : portsOf(simulated);
    const who = { pod: `${this.pod.metadata.namespace}/${this.pod.metadata.name}`, node: this.#context.node };
    const failed =
      ports.length > 0 ? await this.#context.responders.serve({ key: this.pod.metadata.uid ?? "", netns: namespace.path, who, ports }) : [];
    for (const container of simulated) {
      const bad = failed.find((failure) => container.ports?.some((port) => port.containerPort === failure.port));
      if (bad) this.#set(container, { state: "waiting", ready: false, reason: "PortInUse", message: `port ${bad.port}: ${bad.message}` });
      else this.#running(container, true);
    }
  }

  #running(container: Container, simulated: boolean): void {
    const probe = container.readinessProbe;
    this.#set(container, { state: "running", ready: !probe, startedAt: this.#context.now() });
    if (!probe) return;
    const address = this.#addresses[0] ?? "127.0.0.1";
    const exec = (command: readonly string[]) => this.#exec(command);
    runProbe(probe, { namespace: this.#context.namespace, address, container, simulated, exec }, this.#stop.signal, (success, message) => {
      const now = this.#containers.get(container.name);
      if (now?.state !== "running") return;
      this.#set(container, { ready: success, ...(success ? {} : { message }) });
      this.#report();
    });
  }

  #programOf(container: Container): string | undefined {
    const program = container.command?.[0];
    return program === undefined ? undefined : findProgram(program);
  }

  #launch(container: Container): ChildProcess {
    const { namespace } = this;
    if (!namespace) throw new Error("the pod has no network yet");
    return startCommand({
      namespace,
      argv: [...(container.command ?? []), ...(container.args ?? [])],
      env: environmentOf(container, this.pod, this.#addresses, this.#context),
      resolvConf: join(this.#directory, "resolv.conf"),
      hosts: join(this.#directory, "hosts"),
      hostname: this.pod.spec.hostname ?? this.pod.metadata.name,
      log: join(this.#directory, `${container.name}.log`),
    });
  }

  #startProgram(container: Container): void {
    const child = this.#launch(container);
    this.#children.set(container.name, child);
    this.#running(container, false);
    child.on("error", () => {});
    child.on("exit", (status, signal) => {
      this.#children.delete(container.name);
      if (this.#stop.signal.aborted) return;
      const exitCode = status ?? 128 + (signal === "SIGKILL" ? 9 : 15);
      const restarts = this.#containers.get(container.name)?.restarts ?? 0;
      this.#set(container, { state: "terminated", ready: false, exitCode, finishedAt: this.#context.now() });
      const policy = this.pod.spec.restartPolicy ?? "Always";
      if (policy === "Always" || (policy === "OnFailure" && exitCode !== 0)) {
        const delay = RESTART_DELAY_MS[Math.min(restarts, RESTART_DELAY_MS.length - 1)];
        setTimeout(() => {
          if (this.#stop.signal.aborted) return;
          this.#set(container, { restarts: restarts + 1 });
          this.#startProgram(container);
          this.#report();
        }, delay).unref();
      } else this.#settle();
      this.#report();
    });
  }

  /** All containers ended for good: the pod is finished. */
  #settle(): void {
    const states = [...this.#containers.values()];
    if (!states.every((state) => state.state === "terminated")) return;
    this.#phase = states.every((state) => state.exitCode === 0) ? "Succeeded" : "Failed";
  }

  /** An init container: run to its end if the host has its program, else taken as done. */
  async #runToEnd(container: Container): Promise<void> {
    while (this.#programOf(container) && !this.#stop.signal.aborted) {
      const child = this.#launch(container);
      this.#children.set(container.name, child);
      const status = await new Promise<number>((resolve) => child.on("exit", (code) => resolve(code ?? 1)).on("error", () => resolve(1)));
      if (status === 0) return;
      this.#waiting("PodInitializing", `init container ${container.name} exited with ${status}`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  #exec(command: readonly string[]): Promise<number> {
    const { namespace } = this;
    const [program, ...args] = command;
    if (!namespace || !program) return Promise.resolve(1);
    return new Promise((resolve) => {
      const child = namespace.spawn(program, args, { stdio: "ignore" });
      child.on("exit", (status) => resolve(status ?? 1));
      child.on("error", () => resolve(127));
    });
  }

  #set(container: Container, change: Partial<ContainerState>): void {
    const {
      message: _message,
      reason: _reason,
      ...before
    } = this.#containers.get(container.name) ?? { state: "waiting" as const, ready: false, restarts: 0 };
    this.#containers.set(container.name, { ...before, container, ...change });
  }

  #waiting(reason: string, message: string): void {
    for (const state of this.#containers.values()) this.#set(state.container, { state: "waiting", ready: false, reason, message });
    this.#report();
  }

  #fail(reason: string, message: string): void {
    this.#phase = "Failed";
    this.#reason = reason;
    this.#message = message;
    this.#report();
  }

  #report(): void {
    if (this.#ended) return;
    this.#context.report(this.pod, (pod) =>
      podStatus({
        pod,
        phase: this.#phase,
        addresses: this.#addresses,
        hostAddresses: this.#context.hostAddresses,
        containers: [...this.#containers.values()],
        initialized: this.#initialized,
        now: this.#context.now(),
        ...(this.#message === undefined ? {} : { message: this.#message }),
        ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      }),
    );
  }

  /** Lets go of the pod without taking it down: the whole lab ends, and the kernel takes back what the namespaces held. */
  abandon(): void {
    this.#stop.abort();
    for (const child of this.#children.values()) child.kill("SIGKILL");
    this.#service?.close();
    this.#namespace?.close();
  }

  /** Ends the pod: programs get SIGTERM and, after the grace period, SIGKILL; then its network is taken down. Idempotent. */
  end(graceSeconds: number): Promise<void> {
    this.#ended ??= this.#end(graceSeconds);
    return this.#ended;
  }

  async #end(graceSeconds: number): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#children.values()].map((child) => endProcess(child, graceSeconds * 1000)));
    await this.#started;
    this.#service?.close();
    await this.#context.responders.stop(this.pod.metadata.uid ?? "");
    if (this.#wired)
      await this.#context.cni
        .delete(this.call)
        .catch((error) => this.#context.log(`CNI DEL of ${this.pod.metadata.name}: ${messageOf(error)}`));
    this.#namespace?.close();
    if (existsSync(this.#directory)) rmSync(this.#directory, { recursive: true, force: true });
  }
}

function portsOf(containers: readonly Container[]): { port: number; protocol: "TCP" | "UDP" }[] {
  const seen = new Map<string, { port: number; protocol: "TCP" | "UDP" }>();
  for (const port of containers.flatMap((container) => container.ports ?? [])) {
    const protocol = port.protocol ?? "TCP";
    if (protocol !== "SCTP") seen.set(`${protocol}/${port.containerPort}`, { port: port.containerPort, protocol });
  }
  return [...seen.values()];
}

function environmentOf(container: Container, pod: Pod, addresses: readonly string[], context: KubeletContext): Record<string, string> {
  const fields: Record<string, string | undefined> = {
    "metadata.name": pod.metadata.name,
    "metadata.namespace": pod.metadata.namespace,
    "metadata.uid": pod.metadata.uid,
    "spec.nodeName": context.node,
    "spec.serviceAccountName": pod.spec.serviceAccountName,
    "status.podIP": addresses[0],
    "status.podIPs": addresses.join(","),
    "status.hostIP": context.hostAddresses[0],
  };
  const environment: Record<string, string> = {};
  for (const { name, value, valueFrom } of container.env ?? []) {
    const path = (valueFrom as { fieldRef?: { fieldPath?: string } } | undefined)?.fieldRef?.fieldPath;
    environment[name] = value ?? (path ? (fields[path] ?? "") : "");
  }
  return environment;
}

function endProcess(child: ChildProcess, graceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const force = setTimeout(() => child.kill("SIGKILL"), graceMs);
    child.on("exit", () => {
      clearTimeout(force);
      resolve();
    });
    child.kill("SIGTERM");
  });
}
