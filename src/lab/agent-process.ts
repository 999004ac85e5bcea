// An agent in a process of its own: the daemon hands it the cluster's objects over a message channel, and starts it anew if it dies.
import { type ChildProcess, fork } from "node:child_process";
import type { AgentStatus, Network, ServiceMode } from "../agent/index.ts";
import { type ClusterSnapshot, type ClusterSource, type ObjectApi, objectsOf } from "../cluster/index.ts";
import type { NetworkNamespace } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { type ApiAnswer, type ApiCall, answerCall } from "./api-channel.ts";

export interface AgentProcessOptions {
  readonly node: string;
  readonly namespace: NetworkNamespace;
  readonly source: ClusterSource;
  readonly stateDirectory: string;
  readonly cniSocket: string;
  readonly services: ServiceMode;
  readonly network: Network;
  readonly api: ObjectApi;
  readonly annotate: (annotations: Readonly<Record<string, string | null>>) => void;
  readonly log: (message: string) => void;
}

/** What the child is told. */
export type ToAgent =
  | {
      readonly op: "start";
      readonly node: string;
      readonly netns: string;
      readonly stateDirectory: string;
      readonly cniSocket: string;
      readonly services: ServiceMode;
      readonly network: Network;
    }
  | ApiAnswer
  | { readonly op: "objects"; readonly revision: number; readonly objects: readonly KubeObject[] }
  | { readonly op: "stop" };

/** What the child tells. */
export type FromAgent =
  | { readonly op: "annotate"; readonly annotations: Readonly<Record<string, string | null>> }
  | ApiCall
  | { readonly op: "status"; readonly status: AgentStatus }
  | { readonly op: "log"; readonly message: string }
  | { readonly op: "ready" };

export interface AgentProcess {
  /** What it told last; of a process that ended, nothing counts any more. */
  readonly status: AgentStatus;
  readonly pid: number | undefined;
  close(): Promise<void>;
}

const RESTART_MS = 200;

/** Starts the agent's process; resolves once its CNI socket serves. */
export async function startAgentProcess(options: AgentProcessOptions): Promise<AgentProcess> {
  let closed = false;
  let status: AgentStatus | undefined;
  let child: ChildProcess;
  let ready: () => void = () => {};
  const started = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const send = (message: ToAgent) => {
    // A process that was just killed takes nothing any more; its end is told elsewhere.
    if (child.connected) child.send(message, () => {});
  };
  const sendObjects = (snapshot: ClusterSnapshot) => send({ op: "objects", revision: snapshot.revision, objects: objectsOf(snapshot) });
  const launch = () => {
    const own = fork(new URL("./agent-main.ts", import.meta.url), {
      // As bin/fairlead starts an agent.
      execArgv: [...process.execArgv, "--max-semi-space-size=8"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      detached: false,
    });
    child = own;
    own.on("message", (message: FromAgent) => {
      if (message.op === "annotate") options.annotate(message.annotations);
      else if (message.op === "api") void answerCall(options.api, message).then(send);
      else if (message.op === "log") options.log(`${options.node}: ${message.message}`);
      else if (message.op === "ready") ready();
      // Last words may come behind the end.
      else if (own.exitCode === null && own.signalCode === null) status = message.status;
    });
    own.on("exit", () => {
      status = undefined;
      if (!closed) setTimeout(launch, RESTART_MS);
    });
    const { node, stateDirectory, cniSocket, services, network, namespace } = options;
    send({ op: "start", node, netns: namespace.path, stateDirectory, cniSocket, services, network });
    if (options.source.synced) sendObjects(options.source.snapshot);
  };
  launch();
  const stop = options.source.subscribe(sendObjects);
  await started;
  return {
    get status() {
      return status ?? notYet(options.node);
    },
    get pid() {
      return child.pid;
    },
    async close() {
      closed = true;
      stop();
      if (child.exitCode !== null) return;
      await new Promise<void>((resolve) => {
        child.once("exit", () => resolve());
        send({ op: "stop" });
        if (!child.connected) resolve();
      });
    },
  };
}

function notYet(node: string): AgentStatus {
  const kernel = { inSync: false, runs: 0, failures: 0, drifts: 0, mended: {}, lastMs: 0 };
  const policyLog = { packets: 0, unwritten: 0, recent: [] };
  return {
    node,
    ready: false,
    reason: "the agent is starting",
    revision: 0,
    pods: 0,
    network: "overlay",
    ranges: [],
    kernel,
    podDrifts: 0,
    bgp: null,
    services: "nftables",
    policyLog,
    dnsAnswers: {},
    follows: [],
    remarks: [],
  };
}
