// One node of a lab: its namespace, its agent, its CNI configuration, and kubelet's part.
import { join } from "node:path";
import { type Agent, type Network, type ServiceMode, startAgent } from "../agent/index.ts";
import { eventRecorder, LEASE_NAMESPACE, type ObjectStore } from "../api/index.ts";
import { apiFromStore, type ClusterSource } from "../cluster/index.ts";
import { installPlugin } from "../cni/index.ts";
import type { Kernel, NetworkNamespace } from "../kernel/index.ts";
import type { KubeObject, Node, Pod, Service } from "../resources/index.ts";
import { type AgentProcess, startAgentProcess } from "./agent-process.ts";
import type { NodePlace } from "./fabric.ts";
import { createCniRuntime } from "./kubelet/cni-runtime.ts";
import { createKubelet, type Kubelet, type KubeletContext } from "./kubelet/kubelet.ts";
import { REFS } from "./refs.ts";
import type { Responders } from "./workload/responders.ts";

export interface LabNodeOptions {
  readonly place: NodePlace;
  readonly namespace: NetworkNamespace;
  readonly kernel: Kernel;
  readonly store: ObjectStore;
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
  close(): Promise<void>;
}

/** Starts a node. */
export async function startLabNode(options: LabNodeOptions): Promise<LabNode> {
  const { place, namespace, kernel, store, directory, log } = options;
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
    api: apiFromStore(store),
  };
  const annotate = (annotations: Readonly<Record<string, string | null>>) => annotateNode(store, place.name, annotations);
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
    find: (kind, namespace, name) => store.get(kind === "Secret" ? REFS.secrets : REFS.configMaps, namespace, name),
    services: (podNamespace) => serviceVariables(store, podNamespace),
    token: options.token,
    component: options.component,
    report(pod, status) {
      const { namespace: podNamespace, name, uid } = pod.metadata;
      const now = store.get<Pod>(REFS.pods, podNamespace, name);
      if (!now || now.metadata.uid !== uid) return;
      store.update(REFS.pods, { ...now, status: status(now) }, { subresource: "status" });
    },
    removed(pod) {
      const { namespace: podNamespace, name, uid } = pod.metadata;
      if (store.get(REFS.pods, podNamespace, name)?.metadata.uid === uid)
        store.delete(REFS.pods, podNamespace, name, { gracePeriodSeconds: 0 });
    },
    note: eventRecorder(store, "kubelet", () => new Date().toISOString().replace(/\.\d+Z$/, "Z")),
    log: (message) => log(`${place.name}: ${message}`),
    now: () => new Date().toISOString().replace(/\.\d+Z$/, "Z"),
  });
  const heartbeat = setInterval(() => renewLease(store, place.name), LEASE_SECONDS * 250).unref();
  renewLease(store, place.name);
  return {
    name: place.name,
    place,
    namespace,
    agent,
    kubelet,
    async close() {
      clearInterval(heartbeat);
      kubelet.abandon();
      await agent.close();
    },
  };
}

/** Seconds that a node's lease holds; it is renewed four times as often (kubelet's own numbers). */
const LEASE_SECONDS = 40;

/** Says that the node lives. */
function renewLease(store: ObjectStore, node: string): void {
  const renewTime = new Date().toISOString().replace(/Z$/, "000Z");
  const spec = { holderIdentity: node, leaseDurationSeconds: LEASE_SECONDS, renewTime };
  try {
    const before = store.get(REFS.leases, LEASE_NAMESPACE, node);
    if (before) store.update(REFS.leases, { ...before, spec } as KubeObject);
    else if (store.get(REFS.namespaces, undefined, LEASE_NAMESPACE))
      store.create(REFS.leases, {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name: node, namespace: LEASE_NAMESPACE },
        spec,
      } as unknown as KubeObject);
  } catch {
    // The next one is soon.
  }
}

/** null takes an annotation away. */
function annotateNode(store: ObjectStore, name: string, annotations: Readonly<Record<string, string | null>>): void {
  const node = store.get<Node>(REFS.nodes, undefined, name);
  if (!node) return;
  const merged = Object.entries({ ...node.metadata.annotations, ...annotations }).filter(
    (entry): entry is [string, string] => entry[1] !== null,
  );
  store.update(REFS.nodes, { ...node, metadata: { ...node.metadata, annotations: Object.fromEntries(merged) } });
}

/** The Services of a namespace that have an address, and the API's own. */
function serviceVariables(store: ObjectStore, namespace: string): ReturnType<KubeletContext["services"]> {
  const own = store.list<Service>(REFS.services, { namespace }).items;
  const api = namespace === "default" ? undefined : store.get<Service>(REFS.services, "default", "kubernetes");
  return [...(api ? [api] : []), ...own].flatMap(({ metadata, spec }) => {
    const { clusterIP, ports = [] } = spec;
    if (!clusterIP || clusterIP === "None") return [];
    const listed = ports.map(({ name, port, protocol = "TCP" }) => ({ port, protocol, ...(name === undefined ? {} : { name }) }));
    return [{ name: metadata.name, address: clusterIP, ports: listed }];
  });
}
