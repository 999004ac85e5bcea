// One node of a lab: its namespace, its agent, its CNI configuration, and kubelet's part.
import { join } from "node:path";
import { type Agent, type Network, type ServiceMode, startAgent } from "../agent/index.ts";
import { countedUp, type Event, type EventSink, eventRecorder, LEASE_NAMESPACE } from "../api/index.ts";
import { type ClusterObjects, type ClusterSource, KubernetesApiError } from "../cluster/index.ts";
import { installPlugin } from "../cni/index.ts";
import type { Kernel, NetworkNamespace } from "../kernel/index.ts";
import { isReady, type KubeObject, type Node, type Pod, type Service } from "../resources/index.ts";
import { type AgentProcess, startAgentProcess } from "./agent-process.ts";
import type { NodePlace } from "./fabric.ts";
import { createCniRuntime } from "./kubelet/cni-runtime.ts";
import { createKubelet, type Kubelet, type KubeletContext } from "./kubelet/kubelet.ts";
import { REFS } from "./refs.ts";
import { readyConditions } from "./system.ts";
import type { Responders } from "./workload/responders.ts";

export interface LabNodeOptions {
  readonly place: NodePlace;
  readonly namespace: NetworkNamespace;
  readonly kernel: Kernel;
  readonly objects: ClusterObjects;
  readonly source: ClusterSource;
  readonly directory: string;
  readonly podDirectory: (uid: string) => string;
  readonly responders: Responders;
  readonly domain: string;
  /** A process of its own for the agent, as on a real node; else it runs in the daemon. */
  readonly ownProcess: boolean;
  readonly services: ServiceMode;
  readonly network: Network;
  readonly resolvConf: (pod: Pod) => string;
  readonly token: KubeletContext["token"];
  readonly component: KubeletContext["component"];
  readonly log: (message: string) => void;
}

export interface LabNode {
  readonly name: string;
  readonly place: NodePlace;
  readonly namespace: NetworkNamespace;
  readonly agent: Agent | AgentProcess;
  readonly kubelet: Kubelet;
  /** Why the API server was not reached when the node last said that it lives; undefined if it was. */
  readonly unheard: string | undefined;
  close(): Promise<void>;
}

/** Starts a node. */
export async function startLabNode(options: LabNodeOptions): Promise<LabNode> {
  const { place, namespace, kernel, objects, directory, log } = options;
  const cniSocket = join(directory, "cni.sock");
  installPlugin({
    binDirectory: join(directory, "bin"),
    configDirectory: join(directory, "net.d"),
    socketPath: cniSocket,
    directoryMode: 0o700,
  });
  const agentOptions = {
    node: place.name,
    kernel,
    namespace,
    source: options.source,
    stateDirectory: join(directory, "agent"),
    cniSocket,
    services: options.services,
    network: options.network,
    api: objects.api,
  };
  const annotate = (annotations: Readonly<Record<string, string | null>>) => annotateNode(objects, place.name, annotations);
  const agent = options.ownProcess
    ? await startAgentProcess({ ...agentOptions, annotate, log })
    : await startAgent({ ...agentOptions, annotate, log: (message) => log(`${place.name}: ${message}`) });
  const cni = createCniRuntime({
    configDirectory: join(directory, "net.d"),
    binDirectory: join(directory, "bin"),
    cacheDirectory: join(directory, "cni-cache"),
  });
  const kubelet = createKubelet({
    node: place.name,
    kernel,
    namespace,
    hostAddresses: place.addresses.map((address) => address.replace(/\/.*/, "")),
    cni,
    responders: options.responders,
    domain: options.domain,
    podDirectory: options.podDirectory,
    resolvConf: options.resolvConf,
    find: (kind, namespace, name) => objects.get(kind === "Secret" ? REFS.secrets : REFS.configMaps, namespace, name),
    services: (podNamespace) => serviceVariables(objects, podNamespace),
    token: options.token,
    component: options.component,
    report({ metadata }, status) {
      const change = (now: Pod) => (now.metadata.uid === metadata.uid ? { ...now, status: status(now) } : undefined);
      objects.change<Pod>(placeOf(metadata), "status", change, "status");
    },
    removed: ({ metadata }) => objects.remove(placeOf(metadata), metadata.uid ?? ""),
    note: eventRecorder(eventsOf(objects), "kubelet", () => new Date().toISOString().replace(/\.\d+Z$/, "Z")),
    log: (message) => log(`${place.name}: ${message}`),
    now: () => new Date().toISOString().replace(/\.\d+Z$/, "Z"),
  });
  let unheard: string | undefined;
  const beat = async () => {
    sayReady(objects, place.name);
    unheard = await renewLease(objects, place.name);
  };
  const heartbeat = setInterval(beat, LEASE_SECONDS * 250).unref();
  void beat();
  return {
    name: place.name,
    place,
    namespace,
    agent,
    kubelet,
    get unheard() {
      return unheard;
    },
    async close() {
      clearInterval(heartbeat);
      kubelet.abandon();
      await agent.close();
    },
  };
}

/** Seconds that a node's lease holds; it is renewed four times as often (kubelet's own numbers). */
const LEASE_SECONDS = 40;

const EVENTS = { group: "", version: "v1", plural: "events" } as const;

function placeOf({ name, namespace = "" }: KubeObject["metadata"]) {
  return { resource: REFS.pods, namespace, name };
}

/** Where kubelet's events go; one that can't be written is let go. */
function eventsOf({ api }: ClusterObjects): EventSink {
  const put = async (event: Event) => {
    const before = await api.get<Event>(EVENTS, event.metadata.name, event.metadata.namespace);
    if (before) await api.update(EVENTS, countedUp(before, event));
    else await api.create(EVENTS, event);
  };
  return { put: (event) => void put(event).catch(() => {}) };
}

/** Says that the node lives; why that did not reach the server. */
async function renewLease({ api }: ClusterObjects, node: string): Promise<string | undefined> {
  const renewTime = new Date().toISOString().replace(/Z$/, "000Z");
  const spec = { holderIdentity: node, leaseDurationSeconds: LEASE_SECONDS, renewTime };
  try {
    const before = await api.get(REFS.leases, node, LEASE_NAMESPACE);
    if (before) await api.update(REFS.leases, { ...before, spec } as KubeObject);
    else
      await api.create(REFS.leases, {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name: node, namespace: LEASE_NAMESPACE },
        spec,
      } as unknown as KubeObject);
    return undefined;
  } catch (error) {
    // Whatever else it is: the next one is soon.
    return error instanceof KubernetesApiError && error.status === 0 ? error.message : undefined;
  }
}

/** Who took the node for lost, as it was not heard of for a while, is told that it is not. */
function sayReady(objects: ClusterObjects, name: string): void {
  const node = objects.get<Node>(REFS.nodes, undefined, name);
  if (!node || isReady(node)) return;
  const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  objects.change<Node>(
    { resource: REFS.nodes, name },
    "status",
    (found) => (isReady(found) ? undefined : { ...found, status: { ...found.status, conditions: readyConditions(now) } }),
    "status",
  );
}

/** null takes an annotation away. */
function annotateNode(objects: ClusterObjects, name: string, annotations: Readonly<Record<string, string | null>>): void {
  objects.change<Node>({ resource: REFS.nodes, name }, "annotations", (node) => {
    const merged = Object.entries({ ...node.metadata.annotations, ...annotations }).filter(
      (entry): entry is [string, string] => entry[1] !== null,
    );
    return { ...node, metadata: { ...node.metadata, annotations: Object.fromEntries(merged) } };
  });
}

/** The Services of a namespace that have an address, and the API's own. */
function serviceVariables(objects: ClusterObjects, namespace: string): ReturnType<KubeletContext["services"]> {
  const own = objects.list<Service>(REFS.services, { namespace }).items;
  const api = namespace === "default" ? undefined : objects.get<Service>(REFS.services, "default", "kubernetes");
  return [...(api ? [api] : []), ...own].flatMap(({ metadata, spec }) => {
    const { clusterIP, ports = [] } = spec;
    if (!clusterIP || clusterIP === "None") return [];
    const listed = ports.map(({ name, port, protocol = "TCP" }) => ({ port, protocol, ...(name === undefined ? {} : { name }) }));
    return [{ name: metadata.name, address: clusterIP, ports: listed }];
  });
}
