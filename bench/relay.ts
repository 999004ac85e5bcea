// The relay: one change to all agents, over mutual TLS.
//
//   node bench/relay.ts [AGENTS] [PODS PER NODE] [SERVICES] [POLICIES]
//
// The relay runs in a process of its own, with a cluster of as many nodes as there are agents. The agents are this process's: they read
// bytes and look for the change. Measured: the time until every agent has all that it needs, the time from a change (of a Service, which
// concerns all; of a pod, which concerns its node and the policies' peers) until the last agent that it concerns has it, and the
// relay's processor time and memory.
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { textTable } from "../src/base/index.ts";
import { ChangeSource } from "../src/cluster/index.ts";
import { startRelay } from "../src/relay/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { makePki } from "../test/pki.ts";

const [agents = 2000, podsPerNode = 10, services = 2000, policies = 200] = process.argv
  .slice(2)
  .filter((word) => /^\d+$/.test(word))
  .map(Number);
const CHANGES = 20;

type Told =
  | { readonly op: "start"; readonly cert: string; readonly key: string; readonly ca: string }
  | { readonly op: "change"; readonly mark: string; readonly what: "service" | "pod" };

function podObject(index: number, mark = ""): KubeObject {
  const node = index % agents;
  const labels = { app: `app-${index % 500}`, ...(mark ? { mark } : {}) };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: `ns-${index % 50}`, name: `pod-${index}`, uid: String(index), resourceVersion: mark || "1", labels },
    spec: { nodeName: `node-${node}`, containers: [{ name: "main", image: "image", ports: [{ containerPort: 8080 }] }] },
    status: { phase: "Running", podIPs: [{ ip: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}` }] },
  } as unknown as KubeObject;
}

const serviceObject = (index: number, mark = ""): KubeObject =>
  ({
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: `ns-${index % 50}`,
      name: `service-${index}`,
      resourceVersion: mark || "1",
      ...(mark ? { labels: { mark } } : {}),
    },
    spec: {
      clusterIP: `10.96.${index >> 8}.${index & 255}`,
      selector: { app: `app-${index % 500}` },
      ports: [{ port: 80, targetPort: 8080 }],
    },
  }) as unknown as KubeObject;

function clusterObjects(): KubeObject[] {
  const count = (length: number, make: (index: number) => KubeObject) => Array.from({ length }, (_, index) => make(index));
  return [
    ...count(50, (index) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name: `ns-${index}`, labels: { name: `ns-${index}` } } })),
    ...count(agents, (index) => ({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: `node-${index}`, labels: { zone: `z${index % 3}` } },
    })),
    ...count(agents * podsPerNode, podObject),
    ...count(services, serviceObject),
    ...count(policies, (index) => ({
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { namespace: `ns-${index % 50}`, name: `policy-${index}` },
      spec: {
        podSelector: { matchLabels: { app: `app-${index % 500}` } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: `app-${(index + 50) % 500}` } } }] }],
      },
    })),
  ];
}

async function serve(): Promise<void> {
  const source = new ChangeSource();
  process.on("message", async (told: Told) => {
    if (told.op === "change") {
      const object = told.what === "service" ? serviceObject(0, told.mark) : podObject(0, told.mark);
      source.change([{ type: "MODIFIED", object }]);
      return;
    }
    source.change(clusterObjects().map((object) => ({ type: "ADDED", object })));
    source.markSynced();
    const tls = { cert: Buffer.from(told.cert), key: Buffer.from(told.key), clientCa: Buffer.from(told.ca) };
    const relay = await startRelay({ source, listen: { host: "127.0.0.1", port: 0 }, tls });
    process.send?.({ port: relay.port });
  });
}

/** One agent: how much it has read, and when it was told all, or of a change. */
class Agent {
  readonly complete: Promise<void>;
  bytes = 0;
  onMark: (() => void) | undefined;
  mark = "";
  #rest = "";

  constructor(socket: TLSSocket, node: string) {
    socket.write(`GET /stream?node=${node} HTTP/1.1\r\nhost: relay\r\n\r\n`);
    this.complete = new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("data", (chunk: Buffer) => {
        this.bytes += chunk.length;
        const text = this.#rest + chunk.toString("latin1");
        if (/(^|\n)=\n/.test(text)) resolve();
        if (this.mark !== "" && text.includes(this.mark)) this.onMark?.();
        this.#rest = text.slice(-200);
      });
    });
  }
}

function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function measure(): Promise<void> {
  const pki = await makePki();
  const child = fork(fileURLToPath(import.meta.url), ["relay", ...[agents, podsPerNode, services, policies].map(String)]);
  const text = (bytes: Buffer) => bytes.toString("utf8");
  child.send({ op: "start", cert: text(pki.server.cert), key: text(pki.server.key), ca: text(pki.ca) } satisfies Told);
  const { port } = await new Promise<{ port: number }>((resolve) => child.once("message", (told) => resolve(told as { port: number })));
  const pid = child.pid ?? 0;
  const before = cpuOf(pid);
  const started = performance.now();
  const all: Agent[] = [];
  for (let index = 0; index < agents; index++) {
    const socket = await new Promise<TLSSocket>((resolve, reject) => {
      const made = connect({ host: "127.0.0.1", port, ca: pki.ca, ...pki.client }, () => resolve(made));
      made.on("error", reject);
    });
    all.push(new Agent(socket, `node-${index}`));
  }
  await Promise.all(all.map(({ complete }) => complete));
  const joined = (performance.now() - started) / 1000;
  const joining = cpuOf(pid) - before;
  const spread = async (what: "service" | "pod", concerned: readonly Agent[]) => {
    const times: number[] = [];
    for (let change = 0; change < CHANGES; change++) {
      const mark = `mark-${what}-${change}-`;
      const from = performance.now();
      const done = Promise.all(
        concerned.map(
          (agent) =>
            new Promise<void>((resolve) => {
              agent.mark = mark;
              agent.onMark = () => {
                agent.onMark = undefined;
                resolve();
              };
            }),
        ),
      );
      child.send({ op: "change", mark, what } satisfies Told);
      await done;
      times.push(performance.now() - from);
      for (const agent of concerned) agent.mark = "";
    }
    times.sort((a, b) => a - b);
    return [times[Math.floor(times.length / 2)] ?? 0, times.at(-1) ?? 0] as const;
  };
  const service = await spread("service", all);
  const pod = await spread("pod", all.slice(0, 1));
  const memory = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
  const average = all.reduce((sum, { bytes }) => sum + bytes, 0) / agents / 1e6;
  console.log(`${agents} agents over mutual TLS, ${agents * podsPerNode} pods, ${services} Services, ${policies} policies`);
  console.log(
    textTable(
      ["", "median", "longest"],
      [
        ["a Service's change reaches every agent", ...service.map((ms) => `${ms.toFixed(0)} ms`)],
        ["a pod's change reaches its node", ...pod.map((ms) => `${ms.toFixed(1)} ms`)],
      ],
    ),
  );
  console.log(
    `all agents told all: ${joined.toFixed(1)} s, ${joining.toFixed(1)} s of the relay's processor, ${average.toFixed(2)} MB each; the relay's memory at most ${Math.round(memory)} MB`,
  );
  child.kill();
  process.exit(0);
}

if (process.argv[2] === "relay") await serve();
else await measure();
