// Times of CNI ADD and DEL: ours (native executable → agent) against Debian's bridge + host-local with ipMasq, in turns.
//
//   node bench/cni.ts [ROUNDS]      as root, with scripts/build-native.sh run and the containernetworking-plugins installed
//
// Each has a node's namespace of its own. What is measured is what a container runtime waits for: start of the process to its end,
// by a clock in C (clock.c), so that Node's own way of starting processes is not counted for either.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startAgent } from "../src/agent/index.ts";
import { textTable } from "../src/base/index.ts";
import { sourceFromObjects } from "../src/cluster/index.ts";
import { createLinuxKernel, type NetworkNamespace } from "../src/kernel/index.ts";
import type { KubeObject } from "../src/resources/index.ts";

const ROUNDS = Number(process.argv[2] ?? 40);
const NATIVE = fileURLToPath(new URL("../.build/fairlead-cni", import.meta.url));
const PLUGINS = ["/usr/lib/cni", "/opt/cni/bin"].find((directory) => existsSync(join(directory, "bridge")));
const kernel = createLinuxKernel();
const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
const CLOCK = join(directory, "clock");
execFileSync("cc", ["-O2", "-o", CLOCK, fileURLToPath(new URL("clock.c", import.meta.url))]);

/** VERSION does nothing: it tells what starting the process costs. */
const COMMANDS = ["ADD", "DEL", "VERSION"] as const;
type Command = (typeof COMMANDS)[number];

interface Contender {
  readonly name: string;
  readonly node: NetworkNamespace;
  readonly executable: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly config: object;
  readonly times: Record<Command, number[]>;
}

const times = () => ({ ADD: [], DEL: [], VERSION: [] });
const object = (kind: string, name: string, rest: object): KubeObject =>
  ({ apiVersion: "v1", kind, metadata: { name }, ...rest }) as KubeObject;

function nodeNamespace(): NetworkNamespace {
  const node = kernel.createNamespace();
  node.addVethPair({ name: "eth0", up: true }, { name: "wire", up: true });
  node.apply({ op: "add", address: { link: "eth0", address: "10.112.0.51/24" } });
  return node;
}

/** Runs one call, notes its time, and gives what it printed. */
async function call(contender: Contender, command: Command, id: string, pod: NetworkNamespace, prevResult?: object): Promise<object> {
  const environment = {
    ...contender.environment,
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_NETNS: pod.path,
    CNI_IFNAME: "eth0",
    CNI_PATH: PLUGINS ?? "",
  };
  const config = { cniVersion: "1.0.0", name: "bench", ...contender.config, ...(prevResult ? { prevResult } : {}) };
  const child = contender.node.run(() =>
    spawn(CLOCK, [contender.executable], { env: { PATH: process.env.PATH, ...environment }, stdio: ["pipe", "pipe", "inherit", "pipe"] }),
  );
  let printed = "";
  let nanoseconds = "";
  child.stdout?.on("data", (chunk) => {
    printed += chunk;
  });
  child.stdio[3]?.on("data", (chunk) => {
    nanoseconds += chunk;
  });
  // Who does not read its input (VERSION) may be gone before it is written.
  child.stdin?.on("error", () => {});
  child.stdin?.end(JSON.stringify(config));
  const [status] = await once(child, "close");
  if (status !== 0) throw new Error(`${contender.name} ${command}: ${printed}`);
  contender.times[command].push(Number(nanoseconds) / 1e6);
  return printed === "" ? {} : JSON.parse(printed);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const agent = await (async () => {
  const node = nodeNamespace();
  const socket = join(directory, "cni.sock");
  const status = { addresses: [{ type: "InternalIP", address: "10.112.0.51" }] };
  const running = await startAgent({
    node: "node-1",
    kernel,
    namespace: node,
    source: sourceFromObjects([object("Node", "node-1", { spec: { podCIDRs: ["10.244.1.0/24"] }, status })]),
    stateDirectory: join(directory, "agent"),
    cniSocket: socket,
    annotate: () => {},
    log: (line) => console.error(line),
  });
  return { node, socket, close: () => running.close() };
})();
const contenders: Contender[] = [
  {
    name: "fairlead",
    node: agent.node,
    executable: NATIVE,
    environment: { FAIRLEAD_CNI_SOCKET: agent.socket },
    config: { type: "fairlead" },
    times: times(),
  },
];
if (PLUGINS) {
  contenders.push({
    name: "bridge + host-local",
    node: nodeNamespace(),
    executable: join(PLUGINS, "bridge"),
    environment: {},
    config: {
      type: "bridge",
      bridge: "cni0",
      isDefaultGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: { type: "host-local", dataDir: join(directory, "host-local"), ranges: [[{ subnet: "10.245.1.0/24" }]] },
    },
    times: times(),
  });
} else console.log("The reference plugins (Debian: containernetworking-plugins) are not installed: ours alone is measured.");

try {
  for (let round = 0; round < ROUNDS; round++) {
    for (const contender of contenders) {
      const pod = kernel.createNamespace();
      const result = await call(contender, "ADD", `c${round}`, pod);
      await call(contender, "DEL", `c${round}`, pod, result);
      await call(contender, "VERSION", `c${round}`, pod);
      pod.close();
    }
  }
  const rows = COMMANDS.map((command) => {
    const [ours = Number.NaN, theirs] = contenders.map((contender) => median(contender.times[command]));
    return [
      command,
      `${ours.toFixed(1)} ms`,
      ...(theirs === undefined ? [] : [`${theirs.toFixed(1)} ms`, `1/${(theirs / ours).toFixed(1)}`]),
    ];
  });
  console.log(
    textTable([`median of ${ROUNDS}`, ...contenders.map((contender) => contender.name), ...(PLUGINS ? ["ours : theirs"] : [])], rows),
  );
} finally {
  await agent.close();
  for (const contender of contenders) contender.node.close();
  rmSync(directory, { recursive: true });
}
