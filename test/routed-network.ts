// Routed nodes for kernel tests: a namespace each on one wire, with real agents over an API of the test's own, and pods by the CNI executable.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Agent, startAgent } from "../src/agent/index.ts";
import { SqliteStore } from "../src/api/index.ts";
import { apiFromStore, sourceFromStore } from "../src/cluster/index.ts";
import { createLinuxKernel, type NetworkNamespace } from "../src/kernel/index.ts";
import type { KubeObject, Node } from "../src/resources/index.ts";
import { callCni } from "./cni-call.ts";
import { poolObject } from "./ipam-objects.ts";
import { eventually } from "./patience.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
execFileSync("sh", [join(ROOT, "scripts/build-native.sh")]);
const EXECUTABLE = join(ROOT, ".build/fairlead-cni");

const NODES = { group: "", version: "v1", plural: "nodes" } as const;
const POOLS = { group: "projectcalico.org", version: "v3", plural: "ippools" } as const;

export interface RoutedPod {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly addresses: readonly string[];
  /** Exit status of a command in the pod's network. */
  run(...words: string[]): number;
}

export interface RoutedNetwork {
  readonly store: SqliteStore;
  readonly nodes: readonly { readonly name: string; readonly namespace: NetworkNamespace; agent: Agent; readonly log: string[] }[];
  pod(node: number, name: string): Promise<RoutedPod>;
  remove(node: number, pod: RoutedPod): Promise<void>;
  /** Waits until the nodes have told each other all that they have to. */
  settle(holds: () => boolean): Promise<boolean>;
  close(): Promise<void>;
}

/** Output of a command in a namespace. */
export function outputOf(namespace: NetworkNamespace, ...[command = "", ...words]: string[]): string {
  return namespace.run(() => spawnSync(command, words, { encoding: "utf8" })).stdout;
}

export async function raiseRouted(options: {
  readonly nodes: number;
  readonly pools: Readonly<Record<string, object>>;
  /** Length of the underlay's prefix: with 32, nodes are not on each other's link, and a router stands between. */
  readonly subnets?: boolean;
  /** The largest packet that the wire's interfaces take in one piece, in bytes. */
  readonly gsoIpv4MaxSize?: number;
}): Promise<RoutedNetwork> {
  const kernel = createLinuxKernel();
  const directory = mkdtempSync(join(tmpdir(), "fairlead-routed-"));
  const store = new SqliteStore({ path: ":memory:" });
  for (const [name, spec] of Object.entries(options.pools)) store.create(POOLS, poolObject(name, spec));
  const held: NetworkNamespace[] = [];
  const make = () => {
    const namespace = kernel.createNamespace();
    namespace.writeSysctl("net.ipv6.conf.default.accept_dad", "0");
    held.push(namespace);
    return namespace;
  };
  const router = make();
  for (const key of ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]) router.writeSysctl(key, "1");
  if (!options.subnets) {
    router.apply({ op: "add", link: { name: "br0", kind: { type: "bridge" }, up: true } });
    for (const address of ["10.112.0.1/24", "fd00:112::1/64"]) router.apply({ op: "add", address: { link: "br0", address, nodad: true } });
  }
  const enlarge = (namespace: NetworkNamespace, name: string) => {
    const { gsoIpv4MaxSize } = options;
    if (gsoIpv4MaxSize !== undefined) namespace.apply({ op: "set", link: { name, gsoIpv4MaxSize } });
  };
  const nodes: RoutedNetwork["nodes"][number][] = [];
  const sources: { close(): void }[] = [];
  for (let i = 0; i < options.nodes; i++) {
    const name = `node-${i + 1}`;
    const namespace = make();
    const subnet = options.subnets ? i : 0;
    const own = [`10.112.${subnet}.${51 + i}`, `fd00:112:0:${subnet}::${51 + i}`];
    router.addVethPair(
      { name: `node${i}`, up: true, ...(options.subnets ? {} : { master: "br0" }) },
      { name: "eth0", namespace, up: true },
    );
    enlarge(router, `node${i}`);
    enlarge(namespace, "eth0");
    if (options.subnets)
      for (const address of [`10.112.${subnet}.1/24`, `fd00:112:0:${subnet}::1/64`])
        router.apply({ op: "add", address: { link: `node${i}`, address, nodad: true } });
    for (const [address, length, gateway] of [
      [own[0], 24, `10.112.${subnet}.1`],
      [own[1], 64, `fd00:112:0:${subnet}::1`],
    ] as const) {
      namespace.apply({ op: "add", address: { link: "eth0", address: `${address}/${length}`, nodad: true } });
      const family = length === 24 ? 4 : 6;
      const destination = family === 4 ? "0.0.0.0/0" : "::/0";
      const route = { family, destination, type: "unicast", nexthops: [{ via: gateway, link: "eth0" }], table: 254, protocol: 4 } as const;
      namespace.apply({ op: "add", route });
    }
    const node = { apiVersion: "v1", kind: "Node", metadata: { name }, spec: { podCIDRs: [`10.244.${i}.0/24`, `fd00:10:244:${i}::/64`] } };
    const made = store.create(NODES, node as KubeObject);
    const addresses = own.map((address) => ({ type: "InternalIP", address }));
    store.update(NODES, { ...made, status: { addresses } } as KubeObject, { subresource: "status" });
    const log: string[] = [];
    const source = sourceFromStore(store);
    sources.push(source);
    const agent = await startAgent({
      node: name,
      kernel,
      namespace,
      source,
      network: "routed",
      api: apiFromStore(store),
      stateDirectory: join(directory, name),
      cniSocket: join(directory, `${name}.sock`),
      annotate: (annotations) => annotate(store, name, annotations),
      log: (line) => log.push(line),
    });
    nodes.push({ name, namespace, agent, log });
  }
  const call = async (command: string, node: number, name: string, netns: string | undefined) => {
    const environment = {
      FAIRLEAD_CNI_SOCKET: join(directory, `node-${node + 1}.sock`),
      CNI_COMMAND: command,
      CNI_PATH: "/nowhere",
      CNI_CONTAINERID: name,
      CNI_IFNAME: "eth0",
      ...(netns === undefined ? {} : { CNI_NETNS: netns }),
    };
    const answer = await callCni([EXECUTABLE], environment, { cniVersion: "1.1.0", name: "net", type: "fairlead" });
    if (answer.status !== 0) throw new Error(`${command} ${name}: ${answer.text}`);
    return answer.json as { readonly ips?: readonly { readonly address: string }[] } | undefined;
  };
  const settle = (holds: () => boolean) => eventually(() => nodes.every(({ agent }) => agent.status.ready) && holds());
  if (!(await settle(() => true))) throw new Error(`not ready: ${nodes.map(({ agent }) => agent.status.reason).join("; ")}`);
  return {
    store,
    nodes,
    settle,
    async pod(node, name) {
      const namespace = make();
      const result = await call("ADD", node, name, namespace.path);
      return {
        name,
        namespace,
        addresses: (result?.ips ?? []).map(({ address }) => address.replace(/\/.*/, "")),
        run: (command = "", ...words) => namespace.run(() => spawnSync(command, words)).status ?? 255,
      };
    },
    async remove(node, pod) {
      await call("DEL", node, pod.name, pod.namespace.path);
    },
    async close() {
      for (const { agent } of nodes) await agent.close();
      for (const source of sources) source.close();
      for (const namespace of held.reverse()) namespace.close();
      store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function annotate(store: SqliteStore, name: string, annotations: Readonly<Record<string, string | null>>): void {
  const node = store.get<Node>(NODES, undefined, name);
  if (!node) return;
  const merged = Object.entries({ ...node.metadata.annotations, ...annotations }).filter(
    (entry): entry is [string, string] => entry[1] !== null,
  );
  store.update(NODES, { ...node, metadata: { ...node.metadata, annotations: Object.fromEntries(merged) } });
}
