// Kubelet's part of exec, attach, logs and port-forward, for the pods of a lab.
import { Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import { ApiError, type CommandStreams, type CommandWishes, type PodHost } from "../api/index.ts";
import type { Pod } from "../resources/index.ts";
import type { ContainerRun } from "./kubelet/container.ts";
import type { PodWorker } from "./kubelet/pod-worker.ts";
import { readLog } from "./workload/log-file.ts";
import type { Program } from "./workload/program.ts";

/** `workerOf`: who drives the pod on its node; undefined if nobody does. */
export function createPodHost(workerOf: (pod: Pod) => PodWorker | undefined): PodHost {
  const worker = (pod: Pod): PodWorker => {
    const found = workerOf(pod);
    if (!found)
      throw new ApiError(
        "BadRequest",
        `pod ${pod.metadata.name} does not run on a node of this lab${pod.spec.nodeName ? "" : ": it has none yet"}`,
      );
    return found;
  };
  const running = (pod: Pod, name: string): ContainerRun => {
    const run = worker(pod).container(name);
    if (run?.state.state === "running") return run;
    const why = run?.state.reason ?? run?.state.state ?? "unknown";
    throw new ApiError("BadRequest", `container ${name} of pod ${pod.metadata.name} is not running: ${why}`);
  };
  return {
    async exec(pod, container, command, { wishes, streams }) {
      const program = await running(pod, container).exec(command, wishes);
      if (!program) throw new ApiError("InternalError", `container ${container} of pod ${pod.metadata.name} ended meanwhile`);
      streams.signal.addEventListener("abort", () => program.kill());
      if (streams.signal.aborted) program.kill();
      carryInput(program, streams);
      return carryOutput(program, wishes, streams);
    },
    async attach(pod, container, { wishes, streams }) {
      const run = worker(pod).container(container);
      // One that has just ended is attached to for its last words.
      const program = run?.program;
      if (!program) {
        const simulated = run?.simulated ? "a responder stands for it, which prints nothing" : (run?.state.reason ?? "it does not run");
        throw new ApiError("BadRequest", `cannot attach to container ${container} of pod ${pod.metadata.name}: ${simulated}`);
      }
      carryInput(program, streams);
      const gone = new Promise<number>((resolve) => streams.signal.addEventListener("abort", () => resolve(0)));
      return Promise.race([carryOutput(program, wishes, streams), gone]);
    },
    log(pod, container, wishes): Readable {
      const run = worker(pod).container(container);
      if (!run) throw new ApiError("BadRequest", `container ${container} in pod ${pod.metadata.name} is not available`);
      if (run.state.state === "waiting" && run.state.restarts === 0 && !wishes.previous)
        throw new ApiError(
          "BadRequest",
          `container "${container}" in pod "${pod.metadata.name}" is waiting to start: ${run.state.reason ?? "ContainerCreating"}`,
        );
      if (wishes.previous && run.state.last === undefined)
        throw new ApiError("BadRequest", `previous terminated container "${container}" in pod "${pod.metadata.name}" not found`);
      const ended = () => run.state.state === "terminated" || workerOf(pod) === undefined;
      return readLog(run.logFile, wishes, ended);
    },
    connect(pod, port): Promise<Duplex> {
      const { namespace } = worker(pod);
      if (!namespace) throw new ApiError("BadRequest", `pod ${pod.metadata.name} has no network yet`);
      return dial(() => namespace.openSocket({ protocol: "tcp", family: 4 }), "127.0.0.1", port).catch((error: unknown) =>
        dial(() => namespace.openSocket({ protocol: "tcp", family: 6 }), "::1", port).catch(() => Promise.reject(error)),
      );
    },
  };
}

function dial(makeSocket: () => number, host: string, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = new Socket({ fd: makeSocket(), allowHalfOpen: true });
    socket.once("error", reject);
    socket.connect({ host, port }, () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

function carryInput(program: Program, streams: CommandStreams): void {
  const { stdin } = program;
  streams.onResize((size) => program.resize(size));
  if (!streams.stdin || !stdin) return;
  // The end of input is a terminal's ^D; its stream stays open for what the program still prints.
  streams.stdin.pipe(stdin, { end: !program.hasTerminal });
}

async function carryOutput(program: Program, wishes: CommandWishes, streams: CommandStreams): Promise<number> {
  const stop = program.onOutput((stream, chunk) => {
    const to = stream === "stderr" && !wishes.tty ? streams.stderr : streams.stdout;
    if (to && !to.write(chunk)) program.pauseUntil(new Promise((resolve) => to.once("drain", resolve).once("close", resolve)));
  });
  const status = await program.exited;
  stop();
  return status;
}
