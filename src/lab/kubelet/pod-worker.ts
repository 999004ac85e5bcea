// One pod's life on a node: namespace, CNI ADD, containers, probes, status; and its end: CNI DEL and clean-up.
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../base/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { Container, Pod } from "../../resources/index.ts";
import { findProgram, startCommand } from "../workload/command.ts";
import type { CniCall } from "./cni-runtime.ts";
import type { Component, ComponentPlace } from "./component.ts";
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
  readonly #probing = new Map<string, AbortController>();
  /** What responders serve or are to serve, by "TCP/80": what containers declare, and what Services send to. */
  readonly #ports = new Map<string, Port>();
  readonly #offered = new Map<string, Port>();
  readonly #served = new Set<string>();
  /** All its containers are responders: ports that none of them declares are served too. */
  #open = false;
  /** No container is started any more. */
  readonly #stop = new AbortController();
  /** Its programs have ended: until then probes go on, as those of a pod that drains tell when it is done. */
  readonly #over = new AbortController();
  #namespace: NetworkNamespace | undefined;
  #addresses: readonly string[] = [];
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
    for (const container of this.pod.spec.initContainers ?? []) {
      // A sidecar (KEP-753) starts in its turn and goes on.
      if (container.restartPolicy === "Always") await this.#startContainers([container]);
      else await this.#runToEnd(container);
      if (this.#stop.signal.aborted) return;
    }
    if (this.#stop.signal.aborted) return;
    this.#initialized = true;
    await this.#startContainers(this.pod.spec.containers);
    this.#open = this.#children.size === 0;
    if (this.#open) await this.#serve();
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

  async #startContainers(containers: readonly Container[]): Promise<void> {
    const simulated: Container[] = [];
    for (const container of containers) {
      const component = this.#context.component(this.pod, container);
      if (component) await this.#startComponent(container, component);
      else if (hostProgram(container)) this.#startProgram(container);
      else simulated.push(container);
    }
    await this.#simulate(simulated);
  }

  /** Waits for what it needs, such as its ConfigMap, then starts it. */
  async #startComponent(container: Container, component: Component): Promise<void> {
    const place = this.#place(container);
    for (let tries = 0; !this.#stop.signal.aborted; tries++) {
      try {
        component.prepare(place);
        break;
      } catch (error) {
        this.#waiting("ContainerCreating", messageOf(error));
        await new Promise((resolve) => setTimeout(resolve, Math.min(2000, 50 * 2 ** tries)));
      }
    }
    if (!this.#stop.signal.aborted) this.#startProgram(container, () => component.launch(place));
  }

  #place(container: Container): ComponentPlace {
    const { namespace } = this;
    if (!namespace) throw new Error("the pod has no network yet");
    return {
      namespace,
      directory: this.#directory,
      env: environmentOf(container, this.pod, this.#addresses, this.#context),
      log: join(this.#directory, `${container.name}.log`),
    };
  }

  /** Responders stand for containers: their ports answer. A Job's container has done its work at once. */
  async #simulate(containers: readonly Container[]): Promise<void> {
    if (this.pod.metadata.ownerReferences?.some((owner) => owner.controller && owner.kind === "Job")) {
      const now = this.#context.now();
      for (const container of containers)
        this.#set(container, { state: "terminated", ready: false, exitCode: 0, startedAt: now, finishedAt: now });
      this.#settle();
      return;
    }
    for (const port of containers.flatMap(portsOf)) this.#ports.set(keyOf(port), port);
    const failed = await this.#serve();
    for (const container of containers) {
      const bad = failed.find((failure) => container.ports?.some((port) => port.containerPort === failure.port));
      if (bad) this.#set(container, { state: "waiting", ready: false, reason: "PortInUse", message: `port ${bad.port}: ${bad.message}` });
      else this.#running(container, true);
    }
  }

  /** Ports that Services send to this pod: where responders stand for all its containers, they answer there too. */
  offer(ports: readonly Port[]): void {
    for (const port of ports) this.#offered.set(keyOf(port), port);
    if (this.#open) void this.#serve();
  }

  async #serve(): ReturnType<KubeletContext["responders"]["serve"]> {
    const { namespace } = this;
    const wanted = this.#open ? new Map([...this.#ports, ...this.#offered]) : this.#ports;
    const ports = [...wanted].filter(([key]) => !this.#served.has(key));
    if (!namespace || ports.length === 0 || this.#stop.signal.aborted) return [];
    for (const [key] of ports) this.#served.add(key);
    const { namespace: podNamespace, name, uid = "" } = this.pod.metadata;
    const who = { pod: `${podNamespace}/${name}`, node: this.#context.node };
    return this.#context.responders.serve({ key: uid, netns: namespace.path, who, ports: ports.map(([, port]) => port) });
  }

  #running(container: Container, simulated: boolean, eager = simulated): void {
    const probe = container.readinessProbe;
    this.#set(container, { state: "running", ready: !probe, startedAt: this.#context.now() });
    this.#probing.get(container.name)?.abort();
    if (!probe) return;
    const address = this.#addresses[0] ?? "127.0.0.1";
    const exec = (command: readonly string[]) => this.#exec(command);
    const probing = new AbortController();
    this.#probing.set(container.name, probing);
    const signal = AbortSignal.any([this.#over.signal, probing.signal]);
    runProbe(probe, { namespace: this.#context.namespace, address, container, simulated, eager, exec }, signal, (success, message) => {
      const now = this.#containers.get(container.name);
      if (now?.state !== "running") return;
      this.#set(container, { ready: success, ...(success ? {} : { message }) });
      this.#report();
    });
  }

  #launch(container: Container): ChildProcess {
    return startCommand({
      ...this.#place(container),
      argv: [...(container.command ?? []), ...(container.args ?? [])],
      resolvConf: join(this.#directory, "resolv.conf"),
      hosts: join(this.#directory, "hosts"),
      hostname: this.pod.spec.hostname ?? this.pod.metadata.name,
    });
  }

  /** `component`: starts what stands for the image; else the container's own command is run. */
  #startProgram(container: Container, component?: () => ChildProcess): void {
    const child = component ? component() : this.#launch(container);
    this.#children.set(container.name, child);
    this.#running(container, false, component !== undefined);
    child.on("error", () => {});
    child.on("exit", (status, signal) => {
      this.#children.delete(container.name);
      if (this.#stop.signal.aborted) return;
      const exitCode = status ?? 128 + (signal === "SIGKILL" ? 9 : 15);
      if (isOfImage(exitCode) && !component) {
        // The host has the shell, but not what the shell was to run: a responder stands for the container after all.
        this.#open = this.#initialized && this.#children.size === 0;
        void this.#simulate([container]).then(() => this.#report());
        return;
      }
      const restarts = this.#containers.get(container.name)?.restarts ?? 0;
      this.#set(container, { state: "terminated", ready: false, exitCode, finishedAt: this.#context.now() });
      const policy = this.pod.spec.restartPolicy ?? "Always";
      if (policy === "Always" || (policy === "OnFailure" && exitCode !== 0)) {
        const delay = RESTART_DELAY_MS[Math.min(restarts, RESTART_DELAY_MS.length - 1)];
        setTimeout(() => {
          if (this.#stop.signal.aborted) return;
          this.#set(container, { restarts: restarts + 1 });
          this.#startProgram(container, component);
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

  /** An init container: run to its end if the host has all that it needs, else taken as done. */
  async #runToEnd(container: Container): Promise<void> {
    while (hostProgram(container) && !this.#stop.signal.aborted) {
      const child = this.#launch(container);
      this.#children.set(container.name, child);
      let lacks = false;
      child.stderr?.on("data", (chunk: Buffer) => {
        // "until nc -z db 5432" would wait for ever for a program that only the image has.
        lacks ||= /: (?:command )?not found\s*$/m.test(chunk.toString("utf8"));
        if (lacks) child.kill("SIGKILL");
      });
      const status = await new Promise<number>((resolve) => child.on("exit", (code) => resolve(code ?? 1)).on("error", () => resolve(1)));
      this.#children.delete(container.name);
      if (status === 0 || lacks || isOfImage(status)) return;
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
    if (this.#over.signal.aborted) return;
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
    this.#over.abort();
    for (const child of this.#children.values()) child.kill("SIGKILL");
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
    this.#over.abort();
    await this.#started;
    await this.#context.responders.stop(this.pod.metadata.uid ?? "");
    if (this.#wired)
      await this.#context.cni
        .delete(this.call)
        .catch((error) => this.#context.log(`CNI DEL of ${this.pod.metadata.name}: ${messageOf(error)}`));
    this.#namespace?.close();
    if (existsSync(this.#directory)) rmSync(this.#directory, { recursive: true, force: true });
  }
}

interface Port {
  readonly port: number;
  readonly protocol: "TCP" | "UDP";
}

function keyOf({ protocol, port }: Port): string {
  return `${protocol}/${port}`;
}

/** What a container listens on, as far as its manifest tells: the ports it declares, and those its probes ask. */
function portsOf(container: Container): Port[] {
  const declared = (container.ports ?? []).flatMap(({ containerPort, protocol = "TCP" }) =>
    protocol === "SCTP" ? [] : [{ port: containerPort, protocol }],
  );
  const probed = [container.readinessProbe, container.livenessProbe, container.startupProbe].flatMap((probe) => {
    const port = Number(probe?.httpGet?.port ?? probe?.tcpSocket?.port ?? probe?.grpc?.port);
    return port > 0 ? [{ port, protocol: "TCP" as const }] : [];
  });
  return [...declared, ...probed];
}

/**
 * The program of the host that a container runs; undefined where a responder must stand for it: the program or the files of
 * mounted volumes that its command names are not here, or it wants privileges, which nothing in a lab has.
 */
function hostProgram(container: Container): string | undefined {
  const program = container.command?.[0];
  if (program === undefined) return undefined;
  const { privileged } = (container.securityContext ?? {}) as { readonly privileged?: boolean };
  const mounts = (container.volumeMounts ?? []) as readonly { readonly mountPath?: string }[];
  const words = [...(container.command ?? []), ...(container.args ?? [])];
  const needsVolume = mounts.some(({ mountPath }) => mountPath && words.some((word) => word.includes(mountPath)));
  return privileged || needsVolume ? undefined : findProgram(program);
}

/** How a shell says that there is no such program, or none that runs here. */
function isOfImage(exitCode: number): boolean {
  return exitCode === 126 || exitCode === 127;
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
