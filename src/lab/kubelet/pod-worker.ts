// One pod's life on a node: namespace, CNI ADD, volumes, init containers, containers, status; and its end: hooks, CNI DEL, clean-up.
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../base/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { Container, Pod } from "../../resources/index.ts";
import { findProgram, type SandboxFiles } from "../workload/sandbox.ts";
import type { CniCall } from "./cni-runtime.ts";
import type { Component } from "./component.ts";
import { type ContainerHost, ContainerRun } from "./container.ts";
import type { KubeletContext } from "./kubelet.ts";
import { hostsFile, podStatus } from "./pod-files.ts";
import type { References } from "./references.ts";
import { followsObjects, mountsOf, type TokenWish, tokensOf, writeVolume } from "./volumes.ts";

/** How long clients of a responder's open connections have to hear of its end. */
const DRAIN_MS = 500;
/** How often CNI DEL is tried: some ten seconds, in which an agent that was killed is back. */
const DEL_TRIES = 9;

/** Drives one pod until it is gone. */
export class PodWorker implements ContainerHost {
  pod: Pod;
  readonly context: KubeletContext;
  readonly directory: string;
  readonly #init: readonly ContainerRun[];
  readonly #containers: readonly ContainerRun[];
  /** Containers that were added to the running pod (ephemeralContainers). */
  readonly #added = new Map<string, ContainerRun>();
  /** What responders serve or are to serve, by "TCP/80": what containers declare, and what Services send to. */
  readonly #ports = new Map<string, Port>();
  readonly #offered = new Map<string, Port>();
  readonly #served = new Set<string>();
  /** Service account tokens, by what was asked for. */
  readonly #tokens = new Map<string, string>();
  readonly #stop = new AbortController();
  #namespace: NetworkNamespace | undefined;
  #addresses: readonly string[] = [];
  #initialized = false;
  #phase: "Pending" | "Running" | "Succeeded" | "Failed" = "Pending";
  #message: string | undefined;
  #reason: string | undefined;
  #wired = false;
  #ended: Promise<void> | undefined;
  #abandoned = false;
  #started: Promise<void> = Promise.resolve();
  #reporting = false;

  constructor(pod: Pod, context: KubeletContext) {
    this.pod = pod;
    this.context = context;
    this.directory = context.podDirectory(pod.metadata.uid ?? pod.metadata.name);
    this.#init = (pod.spec.initContainers ?? []).map(
      (container) => new ContainerRun(container, this, container.restartPolicy !== "Always"),
    );
    this.#containers = pod.spec.containers.map((container) => new ContainerRun(container, this));
  }

  get namespace(): NetworkNamespace | undefined {
    return this.pod.spec.hostNetwork ? this.context.namespace : this.#namespace;
  }

  get addresses(): readonly string[] {
    return this.#addresses;
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

  /** A container by its name; the first one where none is given. */
  container(name?: string): ContainerRun | undefined {
    if (name === undefined) return this.#containers[0];
    return this.#all.find(({ container }) => container.name === name);
  }

  get #all(): readonly ContainerRun[] {
    return [...this.#init, ...this.#containers, ...this.#added.values()];
  }

  get references(): References {
    const { context } = this;
    const { namespace = "default" } = this.pod.metadata;
    return {
      find: (kind, name) => context.find(kind, namespace, name),
      services: () => context.services(namespace),
      node: context.node,
      hostAddresses: context.hostAddresses,
      addresses: this.#addresses,
    };
  }

  start(): void {
    this.#started = this.#run().catch((error) => this.#fail("StartError", messageOf(error)));
  }

  async #run(): Promise<void> {
    mkdirSync(this.directory, { recursive: true, mode: 0o755 });
    if (this.pod.spec.hostNetwork) this.#addresses = this.context.hostAddresses;
    else await this.#wire();
    if (this.#stop.signal.aborted) return;
    writeFileSync(join(this.directory, "resolv.conf"), this.context.resolvConf(this.pod));
    writeFileSync(join(this.directory, "hosts"), hostsFile(this.pod, this.#addresses, this.context.domain));
    // With its address reported early, the other nodes' policies know the pod before it speaks.
    this.#report();
    await this.#awaitTokens();
    if (this.#stop.signal.aborted) return;
    for (const run of this.#init) {
      // A sidecar (KEP-753) starts in its turn and goes on; the next waits until it has started.
      if (run.container.restartPolicy === "Always") await this.#startSidecar(run);
      else if (!(await run.complete())) return this.#stop.signal.aborted ? undefined : this.#settle();
      if (this.#stop.signal.aborted) return;
    }
    this.#initialized = true;
    for (const run of this.#containers) run.wait("ContainerCreating");
    this.#phase = "Running";
    await Promise.all(this.#containers.map((run) => run.start()));
    if (this.#isOpen) await this.#serve();
    this.changed();
  }

  async #startSidecar(run: ContainerRun): Promise<void> {
    void run.start();
    while (!this.#stop.signal.aborted && !(run.state.state === "running" && run.state.started))
      await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** CNI ADD, tried again while the network is not there yet: a pod waits for its network, it does not fail. */
  async #wire(): Promise<void> {
    for (let tries = 0; !this.#stop.signal.aborted; tries++) {
      this.#namespace ??= this.context.kernel.createNamespace();
      try {
        const result = await this.context.cni.add(this.call);
        this.#wired = true;
        this.#addresses = result.ips.map((ip) => ip.address.replace(/\/.*/, ""));
        return;
      } catch (error) {
        for (const run of this.#containers) run.wait("ContainerCreating", messageOf(error));
        await backOff(tries);
      }
    }
  }

  /** CNI DEL, tried again as ADD is, though not for ever: what is left then, the agent collects in time. */
  async #unwire(): Promise<void> {
    for (let tries = 0; !this.#abandoned; tries++) {
      try {
        return await this.context.cni.delete(this.call);
      } catch (error) {
        if (tries + 1 === DEL_TRIES) return this.context.log(`CNI DEL of ${this.pod.metadata.name}: ${messageOf(error)}`);
        await backOff(tries);
      }
    }
  }

  /** The tokens of its volumes, tried again while the API does not give them. */
  async #awaitTokens(): Promise<void> {
    for (let tries = 0; !this.#stop.signal.aborted; tries++) {
      try {
        return await this.#fetchTokens();
      } catch (error) {
        for (const run of this.#containers) run.wait("ContainerCreating", messageOf(error));
        await backOff(tries);
      }
    }
  }

  async #fetchTokens(): Promise<void> {
    for (const wish of tokensOf(this.pod)) {
      const token = await this.context.token(this.pod, wish);
      if (token !== undefined) this.#tokens.set(tokenKey(wish), token);
    }
  }

  /** New tokens, long before the old ones end. */
  async renewTokens(): Promise<void> {
    try {
      await this.#fetchTokens();
      this.refresh();
    } catch (error) {
      this.context.log(`tokens of ${this.pod.metadata.name}: ${messageOf(error)}`);
    }
  }

  sandboxOf(container: Container): SandboxFiles {
    const { name } = this.pod.metadata;
    const mounted = new Set(((container.volumeMounts ?? []) as readonly { readonly name: string }[]).map((mount) => mount.name));
    for (const volume of this.#volumes) if (mounted.has(volume.name)) this.#writeVolume(volume);
    return {
      directory: this.directory,
      container: container.name,
      hostname: this.pod.spec.hostname ?? name,
      mounts: mountsOf(container, this.pod, (volume) => this.#volumeDirectory(volume)),
    };
  }

  get #volumes(): readonly { readonly name: string }[] {
    return (this.pod.spec.volumes ?? []) as readonly { readonly name: string }[];
  }

  #volumeDirectory(name: string): string {
    return join(this.directory, "volumes", name);
  }

  #writeVolume(volume: { readonly name: string }): void {
    const token = (wish: TokenWish) => this.#tokens.get(tokenKey(wish));
    writeVolume(volume, this.#volumeDirectory(volume.name), this.pod, { ...this.references, token });
  }

  /** ConfigMaps, Secrets or the pod itself have changed: the files that follow them are written again. */
  refresh(): void {
    for (const volume of this.#volumes) {
      if (!followsObjects(volume) || !existsSync(this.#volumeDirectory(volume.name))) continue;
      try {
        this.#writeVolume(volume);
      } catch {
        // What is missing now stays as it was.
      }
    }
  }

  /** Starts containers that were added to the pod. */
  addContainers(): void {
    const added = (this.pod.spec.ephemeralContainers ?? []) as readonly Container[];
    for (const container of added) {
      if (this.#added.has(container.name) || !this.#initialized) continue;
      const run = new ContainerRun({ ...container, restartPolicy: "Never" }, this);
      this.#added.set(container.name, run);
      void run.start();
    }
  }

  componentOf(container: Container): Component | undefined {
    return this.context.component(this.pod, container);
  }

  mayRun(container: Container): boolean {
    if (this.componentOf(container)) return true;
    const [program] = container.command ?? [];
    const { privileged } = (container.securityContext ?? {}) as { readonly privileged?: boolean };
    if (program === undefined || privileged) return false;
    const mounts = (container.volumeMounts ?? []) as readonly { readonly mountPath?: string }[];
    return findProgram(program) !== undefined || mounts.some(({ mountPath }) => mountPath && program.startsWith(`${mountPath}/`));
  }

  programOf(container: Container): string | undefined {
    if (this.componentOf(container)) return container.image;
    return hostProgram(container, this.#volumes, (name) => this.#volumeDirectory(name));
  }

  async simulate(container: Container): Promise<string | undefined> {
    for (const port of portsOf(container)) this.#ports.set(keyOf(port), port);
    const failed = await this.#serve();
    const bad = failed.find((failure) => container.ports?.some((port) => port.containerPort === failure.port));
    return bad && `port ${bad.port}: ${bad.message}`;
  }

  /** All its containers are responders: ports that none of them declares are served too. */
  get #isOpen(): boolean {
    return this.#initialized && this.#containers.every((run) => run.simulated);
  }

  /** Ports that Services send to this pod: where responders stand for all its containers, they answer there too. */
  offer(ports: readonly Port[]): void {
    for (const port of ports) this.#offered.set(keyOf(port), port);
    if (this.#isOpen) void this.#serve();
  }

  async #serve(): ReturnType<KubeletContext["responders"]["serve"]> {
    const { namespace } = this;
    const wanted = this.#isOpen ? new Map([...this.#ports, ...this.#offered]) : this.#ports;
    const ports = [...wanted].filter(([key]) => !this.#served.has(key));
    if (!namespace || ports.length === 0 || this.#stop.signal.aborted) return [];
    for (const [key] of ports) this.#served.add(key);
    const { namespace: podNamespace, name, uid = "" } = this.pod.metadata;
    const who = { pod: `${podNamespace}/${name}`, node: this.context.node };
    return this.context.responders.serve({ key: uid, netns: namespace.path, who, ports: ports.map(([, port]) => port) });
  }

  changed(): void {
    this.#settle();
    if (this.#reporting) return;
    this.#reporting = true;
    queueMicrotask(() => {
      this.#reporting = false;
      this.#report();
    });
  }

  /** All containers ended for good: the pod is finished, and its sidecars with it. */
  #settle(): void {
    if (this.#phase === "Succeeded" || this.#phase === "Failed") return;
    const policy = this.pod.spec.restartPolicy ?? "Always";
    const last = (run: ContainerRun) =>
      run.state.state === "terminated" && (policy === "Never" || (policy === "OnFailure" && run.state.exitCode === 0));
    const broken = policy === "Never" && this.#init.some((run) => run.state.state === "terminated" && run.state.exitCode !== 0);
    if (!broken && !(this.#initialized && this.#containers.every(last))) return;
    const failed = broken || this.#containers.some((run) => run.state.exitCode !== 0);
    this.#phase = failed ? "Failed" : "Succeeded";
    for (const run of this.#init.toReversed()) void run.stop(1000);
  }

  #fail(reason: string, message: string): void {
    this.#phase = "Failed";
    this.#reason = reason;
    this.#message = message;
    this.#report();
  }

  #report(): void {
    if (this.#ended && this.#stop.signal.aborted) return;
    this.context.report(this.pod, (pod) =>
      podStatus({
        pod,
        phase: this.#phase,
        addresses: this.#addresses,
        hostAddresses: this.context.hostAddresses,
        containers: this.#containers.map((run) => run.state),
        initContainers: this.#init.map((run) => run.state),
        ephemeralContainers: [...this.#added.values()].map((run) => run.state),
        initialized: this.#initialized,
        now: this.context.now(),
        ...(this.#message === undefined ? {} : { message: this.#message }),
        ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      }),
    );
  }

  /** Lets go of the pod without taking it down: the whole lab ends, and the kernel takes back what the namespaces held. */
  abandon(): void {
    this.#abandoned = true;
    this.#stop.abort();
    for (const run of this.#all) run.abandon();
    this.#namespace?.close();
  }

  /** Ends the pod: containers are stopped within the grace period, sidecars behind them; then its network is taken down. Idempotent. */
  end(graceSeconds: number): Promise<void> {
    this.#ended ??= this.#end(graceSeconds);
    return this.#ended;
  }

  async #end(graceSeconds: number): Promise<void> {
    const deadline = Date.now() + graceSeconds * 1000;
    const left = () => Math.max(0, deadline - Date.now());
    if (graceSeconds === 0) this.#stop.abort();
    const first = this.#initialized ? this.#containers : this.#all;
    await Promise.all([...first, ...this.#added.values()].map((run) => run.stop(left())));
    for (const run of this.#init.toReversed()) await run.stop(left());
    this.#stop.abort();
    await this.#started;
    await this.context.responders.stop(this.pod.metadata.uid ?? "", Math.min(DRAIN_MS, left()));
    if (this.#wired) await this.#unwire();
    this.#namespace?.close();
    if (existsSync(this.directory)) rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Waits before the next try, the longer the more there were. */
function backOff(tries: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.min(5000, 50 * 2 ** tries)));
}

function tokenKey({ audience, expirationSeconds }: TokenWish): string {
  return `${expirationSeconds} ${audience}`;
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
 * The program of the host that a container runs; undefined where a responder must stand for it: the program is neither here nor in a
 * volume, its command names a file that a volume does not hold, or it wants privileges, which nothing in a lab has.
 */
function hostProgram(container: Container, volumes: readonly { readonly name: string }[], directoryOf: (volume: string) => string) {
  const program = container.command?.[0];
  if (program === undefined) return undefined;
  const text = [...(container.command ?? []), ...(container.args ?? [])].join(" ");
  let inVolume = false;
  for (const { name, mountPath } of (container.volumeMounts ?? []) as readonly { readonly name: string; readonly mountPath?: string }[]) {
    if (!mountPath || !text.includes(mountPath)) continue;
    if (process.env.FAIRLEAD_ROOTLESS === "1") return undefined;
    const volume = volumes.find((each) => each.name === name);
    const named = text.split(/[\s'"();|&<>=]+/).filter((word) => word.startsWith(`${mountPath}/`));
    const missing = named.some((word) => !existsSync(join(directoryOf(name), word.slice(mountPath.length))));
    if (missing && (volume === undefined || followsObjects(volume) || named.includes(program))) return undefined;
    inVolume ||= named.includes(program);
  }
  return inVolume ? program : findProgram(program);
}
