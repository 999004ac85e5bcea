// What a way to connect pods costs: TCP throughput, round trip and CPU between two nodes, for each way in turn, on one underlay.
//
//   pod ── node ── bridge (the wire) ── node ── pod          the same five namespaces for every way; only what connects them differs
//
//   wire      from node to node, no pods at all
//   veth      pods by plain forwarding: static routes, no rules, no connection tracking
//   tracked   the same with connection tracking, which Services and policies stand on, and one rule that lets everything through
//   overlay   Fairlead's agents: bridge, VXLAN          routed   Fairlead's agents: routes          routed-vxlan   … wrapped
//   routed-slow  routed, without the fast path: every packet through routing and netfilter
//   routed-big   routed, on nodes' interfaces that take TCP packets of 192 KiB in one piece (BIG TCP) and not the usual 64
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, startAgent } from "../../agent/index.ts";
import { SqliteStore } from "../../api/index.ts";
import { FairleadError } from "../../base/index.ts";
import { apiFromStore, sourceFromStore } from "../../cluster/index.ts";
import { installPlugin } from "../../cni/index.ts";
import { createLinuxKernel, type Kernel, type NetworkNamespace, type Route } from "../../kernel/index.ts";
import type { KubeObject, Node } from "../../resources/index.ts";

export const WAYS = ["wire", "veth", "tracked", "overlay", "routed", "routed-slow", "routed-vxlan", "routed-big"] as const;
export type Way = (typeof WAYS)[number];

export interface Measurement {
  readonly way: Way;
  /** MTU of the ends' interfaces, in bytes. */
  readonly mtu: number;
  /** One TCP stream, in bits a second: every round's. */
  readonly throughput: readonly number[];
  /** Mean round trip of small packets, in milliseconds: every round's. */
  readonly roundTrip: readonly number[];
  /** CPU that both ends' programs took for a gigabyte, in seconds: every round's. The kernel's forwarding is not in it. */
  readonly cpu: readonly number[];
}

export interface BenchOptions {
  readonly ways: readonly Way[];
  readonly rounds: number;
  /** Of each stream, in seconds. */
  readonly seconds: number;
  readonly progress: (text: string) => void;
}

const UNDERLAY = "eth0";
/** Of routed-big, in bytes. */
const BIG = 196_608;

/** Measures every way, the ways in turns, so that whatever else the machine does hits all of them. @throws FairleadError `no-iperf3` */
export async function benchNetwork({ ways, rounds, seconds, progress }: BenchOptions): Promise<readonly Measurement[]> {
  if (spawnSync("iperf3", ["--version"]).status !== 0)
    throw new FairleadError("no-iperf3", "iperf3 is not on this machine", { remedy: "apt-get install iperf3" });
  const kernel = createLinuxKernel();
  const stages: Stage[] = [];
  try {
    for (const way of ways) {
      progress(`setting up: ${way}`);
      stages.push(await raiseStage(kernel, way));
    }
    const found = stages.map((stage) => ({ stage, throughput: [] as number[], roundTrip: [] as number[], cpu: [] as number[] }));
    for (let round = 1; round <= rounds; round++)
      for (const { stage, throughput, roundTrip, cpu } of found) {
        progress(`round ${round} of ${rounds}: ${stage.way}`);
        roundTrip.push(pingOnce(stage));
        const stream = await streamOnce(stage, seconds);
        throughput.push(stream.bitsPerSecond);
        cpu.push(stream.cpu);
      }
    return found.map(({ stage, ...figures }) => ({ way: stage.way, mtu: stage.mtu, ...figures }));
  } finally {
    for (const stage of stages) await stage.close();
  }
}

/** Two ends with a network between them. */
interface Stage {
  readonly way: Way;
  readonly mtu: number;
  readonly from: NetworkNamespace;
  readonly to: NetworkNamespace;
  readonly address: string;
  close(): Promise<void>;
}

async function raiseStage(kernel: Kernel, way: Way): Promise<Stage> {
  const wire = kernel.createNamespace();
  wire.apply({ op: "add", link: { name: "br0", kind: { type: "bridge" }, up: true } });
  const nodes = [0, 1].map((i) => {
    const node = kernel.createNamespace();
    wire.addVethPair({ name: `node${i}`, up: true, master: "br0" }, { name: UNDERLAY, namespace: node, up: true });
    if (way === "routed-big")
      for (const [side, name] of [
        [wire, `node${i}`],
        [node, UNDERLAY],
      ] as const)
        side.apply({ op: "set", link: { name, gsoIpv4MaxSize: BIG } });
    node.apply({ op: "add", address: { link: UNDERLAY, address: `10.112.0.${51 + i}/24` } });
    node.apply({ op: "add", route: toward("0.0.0.0/0", `10.112.0.${52 - i}`, UNDERLAY) });
    return node;
  });
  const closers: (() => unknown)[] = [() => wire.close(), ...nodes.map((node) => () => node.close())];
  const close = async () => {
    for (const each of closers.reverse()) await each();
  };
  try {
    const [first, second] = nodes as [NetworkNamespace, NetworkNamespace];
    if (way === "wire") return { way, mtu: 1500, from: first, to: second, address: "10.112.0.52", close };
    const pods = nodes.map(() => kernel.createNamespace()) as [NetworkNamespace, NetworkNamespace];
    closers.push(...pods.map((pod) => () => pod.close()));
    const address =
      way === "veth" || way === "tracked"
        ? connectPlain(nodes, pods, way === "tracked")
        : await connectByAgents(kernel, way, { nodes, pods, closers });
    const mtu = pods[0].listLinks().find(({ name }) => name === "eth0")?.mtu ?? 0;
    return { way, mtu, from: pods[0], to: pods[1], address, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function toward(destination: string, via: string | undefined, link: string): Route {
  const hop = { link, ...(via === undefined ? {} : { via }) };
  return { family: 4, destination, type: "unicast", nexthops: [hop], table: 254, protocol: 4 };
}

const TRACKING = `table inet tracking {
  chain forward { type filter hook forward priority filter; ct state established,new accept; }
}
`;

/** What a person would do by hand. */
function connectPlain(nodes: readonly NetworkNamespace[], pods: readonly NetworkNamespace[], tracked: boolean): string {
  for (const [i, node] of nodes.entries()) {
    const pod = pods[i] as NetworkNamespace;
    node.writeSysctl("net.ipv4.ip_forward", "1");
    if (tracked) node.nft.run(TRACKING);
    node.addVethPair({ name: "pod", up: true }, { name: "eth0", namespace: pod, up: true });
    node.apply({ op: "add", address: { link: "pod", address: `10.244.${i}.1/24` } });
    pod.apply({ op: "add", address: { link: "eth0", address: `10.244.${i}.2/24` } });
    pod.apply({ op: "add", route: toward("0.0.0.0/0", `10.244.${i}.1`, "eth0") });
    node.apply({ op: "add", route: toward(`10.244.${1 - i}.0/24`, `10.112.0.${52 - i}`, UNDERLAY) });
  }
  return "10.244.1.2";
}

const REFS = {
  nodes: { group: "", version: "v1", plural: "nodes" },
  pools: { group: "projectcalico.org", version: "v3", plural: "ippools" },
} as const;

/** Agents as on real nodes, over an API of their own, called as a container runtime calls. */
async function connectByAgents(
  kernel: Kernel,
  way: Exclude<Way, "wire" | "veth" | "tracked">,
  {
    nodes,
    pods,
    closers,
  }: { readonly nodes: readonly NetworkNamespace[]; readonly pods: readonly NetworkNamespace[]; readonly closers: (() => unknown)[] },
): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  const store = new SqliteStore({ path: ":memory:" });
  closers.push(() => rmSync(directory, { recursive: true, force: true }));
  const spec = { cidr: "10.244.0.0/16", natOutgoing: true, vxlanMode: way === "routed-vxlan" ? "Always" : "Never" };
  store.create(REFS.pools, { apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: "pods" }, spec } as KubeObject);
  for (const i of nodes.keys()) {
    const annotations = way === "routed-slow" ? { "fairlead.dev/fast-path": "off" } : {};
    const node = { apiVersion: "v1", kind: "Node", metadata: { name: `node-${i}`, annotations }, spec: { podCIDRs: [`10.244.${i}.0/24`] } };
    const made = store.create(REFS.nodes, node as KubeObject);
    const status = { addresses: [{ type: "InternalIP", address: `10.112.0.${51 + i}` }] };
    store.update(REFS.nodes, { ...made, status } as KubeObject, { subresource: "status" });
  }
  const agents: Agent[] = [];
  for (const [i, namespace] of nodes.entries()) {
    const source = sourceFromStore(store);
    const socketPath = join(directory, `${i}.sock`);
    installPlugin({
      binDirectory: join(directory, `bin${i}`),
      configDirectory: join(directory, `net.d${i}`),
      socketPath,
      directoryMode: 0o700,
    });
    const agent = await startAgent({
      node: `node-${i}`,
      kernel,
      namespace,
      source,
      network: way === "overlay" ? "overlay" : "routed",
      api: apiFromStore(store),
      stateDirectory: join(directory, String(i)),
      cniSocket: socketPath,
      annotate: (annotations) => annotate(store, `node-${i}`, annotations),
      log: () => {},
    });
    agents.push(agent);
    closers.push(
      () => source.close(),
      () => agent.close(),
    );
  }
  await until(() => agents.every(({ status }) => status.ready), "the agents are ready");
  const addresses: string[] = [];
  for (const [i, pod] of pods.entries()) addresses.push(await addPod(join(directory, `bin${i}`), `pod${i}`, pod));
  const address = addresses[1] ?? "";
  await until(() => spawnIn(pods[0] as NetworkNamespace, "ping", "-c", "1", "-W", "1", address).status === 0, "the pods reach each other");
  return address;
}

/** @returns the pod's address */
async function addPod(binDirectory: string, containerId: string, pod: NetworkNamespace): Promise<string> {
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: containerId, CNI_NETNS: pod.path, CNI_IFNAME: "eth0", CNI_PATH: binDirectory };
  const child = spawn(join(binDirectory, "fairlead"), [], {
    env: { PATH: process.env.PATH ?? "", ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  child.stdin.end(JSON.stringify({ cniVersion: "1.1.0", name: "bench", type: "fairlead" }));
  const [status] = await once(child, "close");
  if (status !== 0) throw new FairleadError("bench-failed", `ADD: ${text}`);
  const { ips } = JSON.parse(text) as { readonly ips: readonly { readonly address: string }[] };
  return (ips[0]?.address ?? "").replace(/\/.*/, "");
}

function annotate(store: SqliteStore, name: string, annotations: Readonly<Record<string, string | null>>): void {
  const node = store.get<Node>(REFS.nodes, undefined, name);
  if (!node) return;
  const merged = Object.entries({ ...node.metadata.annotations, ...annotations }).filter(
    (entry): entry is [string, string] => entry[1] !== null,
  );
  store.update(REFS.nodes, { ...node, metadata: { ...node.metadata, annotations: Object.fromEntries(merged) } });
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i === 200) throw new FairleadError("bench-failed", `it did not come about that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function spawnIn(namespace: NetworkNamespace, command: string, ...words: string[]) {
  return namespace.run(() => spawnSync(command, words, { encoding: "utf8" }));
}

/** Mean round trip in milliseconds. */
function pingOnce({ from, address }: Stage): number {
  const { stdout } = spawnIn(from, "ping", "-q", "-c", "200", "-i", "0.002", address);
  return Number(/= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1]);
}

interface IperfReport {
  readonly error?: string;
  readonly end?: {
    readonly sum_received: { readonly bits_per_second: number; readonly bytes: number };
    readonly cpu_utilization_percent: { readonly host_total: number; readonly remote_total: number };
  };
}

async function streamOnce(
  { from, to, address }: Stage,
  seconds: number,
): Promise<{ readonly bitsPerSecond: number; readonly cpu: number }> {
  const server = to.spawn("iperf3", ["-s", "-1"], { stdio: "ignore" });
  const ended = once(server, "exit");
  try {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const client = from.spawn("iperf3", ["-c", address, "-t", String(seconds), "-J"], { stdio: ["ignore", "pipe", "ignore"] });
    let text = "";
    client.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    await once(client, "close");
    const { end, error } = JSON.parse(text) as IperfReport;
    if (!end?.sum_received) throw new FairleadError("bench-failed", `iperf3: ${error ?? "no result"}`);
    const percent = end.cpu_utilization_percent.host_total + end.cpu_utilization_percent.remote_total;
    return { bitsPerSecond: end.sum_received.bits_per_second, cpu: ((percent / 100) * seconds) / (end.sum_received.bytes / 1e9) };
  } finally {
    server.kill();
    await ended;
  }
}
