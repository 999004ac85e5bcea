// One container of a pod: its runs, one after the other, with probes, hooks and back-off; a program of this machine, or a responder.
//
//   waiting ──▶ running ──▶ terminated ──▶ waiting (CrashLoopBackOff) ──▶ running …
//               startup probe, then readiness and liveness
import { join } from "node:path";
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { Container, Pod, Probe } from "../../resources/index.ts";
import { openLog } from "../workload/log-file.ts";
import { Program } from "../workload/program.ts";
import { askToEnd, enterCommand, firstProcess, PATH, type SandboxFiles, sandboxCommand } from "../workload/sandbox.ts";
import type { Component } from "./component.ts";
import { type Hook, runHook } from "./hooks.ts";
import type { KubeletContext } from "./kubelet.ts";
import type { ContainerState } from "./pod-files.ts";
import { runProbe } from "./probes.ts";
import { environmentOf, expand, MissingReference, type References } from "./references.ts";

/** What a container needs of its pod. */
export interface ContainerHost {
  readonly context: KubeletContext;
  readonly directory: string;
  readonly pod: Pod;
  readonly namespace: NetworkNamespace | undefined;
  readonly addresses: readonly string[];
  readonly references: References;
  /** The sandbox's files; volumes are written. @throws MissingReference */
  sandboxOf(container: Container): SandboxFiles;
  /** Responders answer on the container's ports. Gives the port that can't be had, and why. */
  simulate(container: Container): Promise<string | undefined>;
  /** Whether the container could run a program of this machine, as far as can be told before its volumes are there. */
  mayRun(container: Container): boolean;
  /** What Fairlead itself is in the image's place; undefined for every image but CoreDNS's. */
  componentOf(container: Container): Component | undefined;
  /** The program of this machine that the container runs; undefined where a responder stands for it. */
  programOf(container: Container): string | undefined;
  /** Something that the status tells has changed. */
  changed(): void;
}

/** Waits before the restarts, in milliseconds; the first is at once. A run of ten minutes begins anew (kubelet's own numbers). */
const BACK_OFF_MS = [0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000];
const GOOD_RUN_MS = 600_000;
const CONFIG_RETRY_MS = 1000;

interface Prepared {
  readonly files: SandboxFiles;
  readonly argv: readonly string[];
}

export class ContainerRun {
  readonly container: Container;
  readonly #host: ContainerHost;
  readonly #stop = new AbortController();
  #state: ContainerState;
  #program: Program | undefined;
  /** Holds the sandbox of a responder, for those who run commands in it. */
  #holder: Program | undefined;
  #env: Readonly<Record<string, string>> = {};
  #simulated = false;
  #probing = new AbortController();
  #failures = 0;
  #startedAt = 0;
  #killed: { readonly reason: string; readonly message: string } | undefined;

  /** `init`: it runs to its end, and what follows waits for it; never restarted but after a failure. */
  constructor(container: Container, host: ContainerHost, init = false) {
    this.container = container;
    this.#host = host;
    this.#state = {
      container,
      state: "waiting",
      ready: false,
      started: false,
      restarts: 0,
      ...(init ? {} : { reason: "PodInitializing" }),
    };
  }

  get state(): ContainerState {
    return this.#state;
  }

  /** Whether a responder stands for it. */
  get simulated(): boolean {
    return this.#simulated;
  }

  get program(): Program | undefined {
    return this.#program;
  }

  get logFile(): string {
    return join(this.#host.directory, `${this.container.name}.log`);
  }

  #set(change: Partial<ContainerState>): void {
    const { reason: _reason, message: _message, ...before } = this.#state;
    this.#state = { ...before, ...change };
    this.#host.changed();
  }

  /** Says why it does not run yet. */
  wait(reason: string, message?: string): void {
    if (this.#state.state === "waiting") this.#set({ reason, ...(message === undefined ? {} : { message }) });
  }

  /** Starts it; resolves once it runs (a responder: once its ports answer) or is stopped. */
  async start(): Promise<void> {
    // A responder needs none of what its container refers to, so that what others would bring does not hold it up.
    if (!this.#host.mayRun(this.container)) return this.#simulate();
    const prepared = await this.#prepare();
    if (!prepared || this.#stop.signal.aborted) return;
    if (this.#host.programOf(this.container) === undefined) return this.#simulate();
    this.#run(prepared);
  }

  /** Runs an init container to its success. Resolves with false if it failed for good, or was stopped. */
  async complete(): Promise<boolean> {
    for (;;) {
      if (!this.#host.mayRun(this.container)) return this.#done(0);
      const prepared = await this.#prepare();
      if (!prepared || this.#stop.signal.aborted) return false;
      // What only its image could do is taken as done.
      if (this.#host.programOf(this.container) === undefined) return this.#done(0);
      const { exitCode, lacks } = await this.#runOnce(prepared);
      if (this.#stop.signal.aborted) return false;
      if (exitCode === 0 || lacks) return this.#done(0);
      this.#done(exitCode);
      if (this.#host.pod.spec.restartPolicy === "Never") return false;
      if (!(await this.#backOff())) return false;
    }
  }

  #done(exitCode: number): boolean {
    const now = this.#host.context.now();
    const startedAt = this.#state.startedAt ?? now;
    this.#set({ state: "terminated", ready: exitCode === 0, started: false, exitCode, startedAt, finishedAt: now });
    return true;
  }

  /** Environment and sandbox, as soon as all that they refer to is there. */
  async #prepare(): Promise<Prepared | undefined> {
    while (!this.#stop.signal.aborted) {
      try {
        const { pod, references } = this.#host;
        this.#env = environmentOf(this.container, pod, references);
        const files = this.#host.sandboxOf(this.container);
        const words = [...(this.container.command ?? []), ...(this.container.args ?? [])];
        return { files, argv: words.map((word) => expand(word, this.#env)) };
      } catch (error) {
        if (!(error instanceof MissingReference)) throw error;
        this.#set({ state: "waiting", ready: false, reason: "CreateContainerConfigError", message: error.message });
        this.#host.context.note(this.#host.pod, { type: "Warning", reason: "Failed", message: `Error: ${error.message}` });
        await this.#pause(CONFIG_RETRY_MS);
      }
    }
    return undefined;
  }

  #launch({ files, argv }: Prepared): Program {
    const { namespace } = this.#host;
    if (!namespace) throw new Error("the pod has no network yet");
    const component = this.#host.componentOf(this.container);
    if (component) return component.launch({ namespace, files, env: this.#environment(files.hostname), log: openLog(this.logFile) });
    const { tty, stdin, workingDir } = this.container as { readonly tty?: boolean; readonly stdin?: boolean; readonly workingDir?: string };
    return new Program({
      namespace,
      argv: sandboxCommand(files, argv, workingDir),
      env: this.#environment(files.hostname),
      tty: tty === true,
      stdin: stdin === true,
      log: openLog(this.logFile),
    });
  }

  #environment(hostname: string): Record<string, string> {
    return { PATH, HOME: "/root", HOSTNAME: hostname, ...this.#env };
  }

  async #runOnce(prepared: Prepared): Promise<{ readonly exitCode: number; readonly lacks: boolean }> {
    const program = this.#launch(prepared);
    this.#program = program;
    this.#startedAt = Date.now();
    this.#set({ state: "running", ready: false, started: true, startedAt: this.#host.context.now() });
    let lacks = false;
    program.onOutput((stream, chunk) => {
      // "until nc -z db 5432" would wait for ever for a program that only the image has.
      if (stream !== "stderr" || !/: (?:command )?not found\s*$/m.test(chunk.toString("utf8"))) return;
      lacks = true;
      program.kill();
    });
    const exitCode = await program.exited;
    this.#program = undefined;
    return { exitCode, lacks: lacks || isOfImage(exitCode) };
  }

  #run(prepared: Prepared): void {
    const program = this.#launch(prepared);
    this.#program = program;
    this.#simulated = false;
    this.#running();
    void this.#hook("postStart");
    void program.exited.then((exitCode) => this.#ended(program, exitCode));
  }

  async #simulate(): Promise<void> {
    const { pod, context } = this.#host;
    // A Job's container has done its work at once.
    if (pod.metadata.ownerReferences?.some((owner) => owner.controller && owner.kind === "Job")) {
      this.#set({ startedAt: context.now() });
      this.#done(0);
      return;
    }
    this.#simulated = true;
    const taken = await this.#host.simulate(this.container);
    if (this.#stop.signal.aborted) return;
    if (taken !== undefined) this.#set({ state: "waiting", ready: false, reason: "PortInUse", message: taken });
    else this.#running();
  }

  #running(): void {
    const { readinessProbe, startupProbe } = this.container;
    this.#startedAt = Date.now();
    this.#killed = undefined;
    this.#probing.abort();
    this.#probing = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, this.#probing.signal]);
    this.#host.context.note(this.#host.pod, { type: "Normal", reason: "Started", message: `Started container ${this.container.name}` });
    this.#set({ state: "running", started: !startupProbe, ready: !readinessProbe && !startupProbe, startedAt: this.#host.context.now() });
    if (!startupProbe) {
      this.#watch(signal);
      return;
    }
    const started = new AbortController();
    this.#probe(startupProbe, AbortSignal.any([signal, started.signal]), (success, message) => {
      started.abort();
      if (success) {
        this.#set({ started: true, ready: !readinessProbe });
        this.#watch(signal);
      } else this.#kill("Unhealthy", `Startup probe failed: ${message}`, startupProbe);
    });
  }

  #watch(signal: AbortSignal): void {
    const { readinessProbe, livenessProbe } = this.container;
    // Readiness is asked for until the end: a container that drains says so by it.
    if (readinessProbe)
      this.#probe(readinessProbe, this.#probing.signal, (ready, message) => {
        this.#set({ ready, ...(ready ? {} : { message }) });
        if (ready) return;
        const { context, pod } = this.#host;
        context.note(pod, { type: "Warning", reason: "Unhealthy", message: `Readiness probe failed: ${message}` });
      });
    if (livenessProbe)
      this.#probe(livenessProbe, signal, (success, message) => {
        if (!success) this.#kill("Unhealthy", `Liveness probe failed: ${message}`, livenessProbe);
      });
  }

  #probe(probe: Probe, signal: AbortSignal, verdict: (success: boolean, message: string) => void): void {
    const { context, addresses } = this.#host;
    const target = {
      namespace: context.namespace,
      address: addresses[0] ?? "127.0.0.1",
      container: this.container,
      simulated: this.#simulated,
      // What has not begun to live is not asked whether it does before its time.
      eager: probe !== this.container.livenessProbe && (this.#simulated || this.#host.componentOf(this.container) !== undefined),
      exec: (command: readonly string[]) => this.#status(command),
    };
    runProbe(probe, target, signal, (success, message) => {
      if (this.#state.state === "running") verdict(success, message);
    });
  }

  /** A container that failed its probe is ended, and begins again as its restart policy says. */
  #kill(reason: string, message: string, probe: Probe): void {
    this.#killed = { reason, message };
    const { context, pod } = this.#host;
    context.note(pod, { type: "Warning", reason, message });
    context.note(pod, {
      type: "Normal",
      reason: "Killing",
      message: `Container ${this.container.name} failed its probe, will be restarted`,
    });
    const grace = (probe as { readonly terminationGracePeriodSeconds?: number }).terminationGracePeriodSeconds;
    const program = this.#program;
    this.#probing.abort();
    if (program) void this.#end(program, (grace ?? this.#grace) * 1000);
    else void this.#restartSimulated();
  }

  async #restartSimulated(): Promise<void> {
    this.#terminated(137);
    if (await this.#backOff()) await this.#simulate();
  }

  get #grace(): number {
    return this.#host.pod.spec.terminationGracePeriodSeconds ?? 30;
  }

  async #ended(program: Program, exitCode: number): Promise<void> {
    if (this.#program === program) this.#program = undefined;
    this.#probing.abort();
    if (isOfImage(exitCode) && !program.isDirect && !this.#stop.signal.aborted && this.#state.restarts === 0) {
      // The machine has the shell, but not what the shell was to run: a responder stands for the container after all.
      await this.#simulate();
      return;
    }
    this.#terminated(exitCode);
    if (this.#stop.signal.aborted) return;
    const policy = this.container.restartPolicy ?? this.#host.pod.spec.restartPolicy ?? "Always";
    if (policy !== "Always" && !(policy === "OnFailure" && exitCode !== 0)) return;
    if (await this.#backOff()) await this.start();
  }

  #terminated(exitCode: number): void {
    const finishedAt = this.#host.context.now();
    this.#set({ state: "terminated", ready: false, started: false, exitCode, finishedAt, ...(this.#killed ?? {}) });
  }

  /** Waits for the next attempt. False if the container is stopped meanwhile. */
  async #backOff(): Promise<boolean> {
    if (Date.now() - this.#startedAt > GOOD_RUN_MS) this.#failures = 0;
    const wait = BACK_OFF_MS[Math.min(this.#failures, BACK_OFF_MS.length - 1)] ?? 0;
    this.#failures += 1;
    const { exitCode, startedAt, finishedAt, reason, message } = this.#state;
    const last = JSON.parse(JSON.stringify({ exitCode: exitCode ?? 0, startedAt, finishedAt, reason, message })) as NonNullable<
      ContainerState["last"]
    >;
    const restarts = this.#state.restarts + 1;
    if (wait > 0) {
      const text = `back-off ${wait / 1000}s restarting failed container=${this.container.name} pod=${this.#host.pod.metadata.name}`;
      this.#host.context.note(this.#host.pod, {
        type: "Warning",
        reason: "BackOff",
        message: `Back-off restarting failed container ${this.container.name}`,
      });
      this.#set({ state: "waiting", ready: false, last, reason: "CrashLoopBackOff", message: text });
      await this.#pause(wait);
    }
    if (this.#stop.signal.aborted) return false;
    this.#set({ state: "waiting", last, restarts });
    return true;
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#stop.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #hook(name: "postStart" | "preStop"): Promise<void> {
    const lifecycle = (this.container.lifecycle ?? {}) as Readonly<Record<string, Hook | undefined>>;
    const hook = lifecycle[name];
    if (!hook) return Promise.resolve();
    const { context, addresses } = this.#host;
    return runHook(hook, {
      namespace: context.namespace,
      address: addresses[0] ?? "127.0.0.1",
      container: this.container,
      exec: (command) => this.#status(command),
    });
  }

  async #status(command: readonly string[]): Promise<number> {
    const program = await this.exec(command, { tty: false, stdin: false });
    return program ? program.exited : 1;
  }

  /** Runs a command in the container; undefined if that is not running. */
  async exec(command: readonly string[], how: { readonly tty: boolean; readonly stdin: boolean }): Promise<Program | undefined> {
    const { namespace } = this.#host;
    const pid = await this.firstProcess();
    if (pid === undefined || !namespace) return undefined;
    const env = this.#environment(this.#host.pod.spec.hostname ?? this.#host.pod.metadata.name);
    const { workingDir } = this.container as { readonly workingDir?: string };
    return new Program({ namespace, argv: enterCommand(pid, command, workingDir), env, ...how });
  }

  /** The first process of the container's sandbox; that of a responder is made when it is first asked for. */
  async firstProcess(): Promise<number | undefined> {
    if (this.#stop.signal.aborted && !this.#program) return undefined;
    const { namespace } = this.#host;
    const own = this.#program?.isDirect ? undefined : this.#program;
    const running = own ?? (this.#holder?.status === undefined ? this.#holder : undefined);
    if (running?.pid !== undefined) return firstProcess(running.pid);
    const outside = this.#simulated || this.#program?.isDirect;
    if (this.#state.state !== "running" || !outside || !namespace) return undefined;
    const files = this.#host.sandboxOf(this.container);
    const env = this.#environment(files.hostname);
    this.#holder = new Program({ namespace, argv: sandboxCommand(files, ["sleep", "infinity"]), env, tty: false, stdin: false });
    return this.#holder.pid === undefined ? undefined : firstProcess(this.#holder.pid);
  }

  /** Ends it as the documentation states: the hook, SIGTERM, and after the grace period (counted from now) SIGKILL. */
  async stop(graceMs: number): Promise<void> {
    const deadline = Date.now() + graceMs;
    if (this.#state.state === "running")
      this.#host.context.note(this.#host.pod, { type: "Normal", reason: "Killing", message: `Stopping container ${this.container.name}` });
    if (this.#state.state === "running" && graceMs > 0)
      await Promise.race([this.#hook("preStop"), new Promise((resolve) => setTimeout(resolve, graceMs).unref())]);
    this.#stop.abort();
    if (this.#program) await this.#end(this.#program, Math.max(0, deadline - Date.now()));
    this.#probing.abort();
    this.#holder?.kill();
    await this.#holder?.exited;
    if (this.#state.state === "running") this.#terminated(0);
  }

  async #end(program: Program, graceMs: number): Promise<void> {
    const { pid, isDirect } = program;
    const inner = pid === undefined || graceMs === 0 ? undefined : isDirect ? pid : await firstProcess(pid);
    if (inner !== undefined) askToEnd(inner);
    else program.kill();
    const force = setTimeout(() => program.kill(), graceMs);
    await program.exited;
    clearTimeout(force);
  }

  /** Lets go at once: the whole lab ends. */
  abandon(): void {
    this.#stop.abort();
    this.#probing.abort();
    this.#program?.kill();
    this.#holder?.kill();
  }
}

/** How a shell says that there is no such program, or none that runs here. */
function isOfImage(exitCode: number): boolean {
  return exitCode === 126 || exitCode === 127;
}
