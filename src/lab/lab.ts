// A lab: a cluster whose nodes are network namespaces of this machine. It wires the rooms; it decides nothing.

import {
  type Network,
  type PolicyDuties,
  type ServiceDuties,
  type ServiceMode,
  startPolicyDuties,
  startServiceDuties,
} from "../agent/index.ts";
import { FairleadError, messageOf } from "../base/index.ts";
import { ApiConflict, type ClusterObjects, type ClusterSnapshot, type ClusterSource, type WatchedResource } from "../cluster/index.ts";
import { namespaceNetwork, resolvConf, startDns } from "../dns/index.ts";
import { checkNftables, createLinuxKernel, type Kernel } from "../kernel/index.ts";
import { type EndpointSlice, findKind, type KubeObject, type Node, type Pod } from "../resources/index.ts";
import type { ControlPlane } from "./control/control-plane.ts";
import { startEmbeddedPlane } from "./control/embedded.ts";
import { startForeignPlane } from "./control/foreign.ts";
import { createDnsPods, type DnsPods } from "./dns/dns-pods.ts";
import { createFabric, FABRIC, type Fabric, type NodePlace, nodeNames, placeNodes } from "./fabric.ts";
import type { PodWorker } from "./kubelet/pod-worker.ts";
import type { ClusterNetworks } from "./networks.ts";
import { type LabNode, startLabNode } from "./node.ts";
import type { LabPaths } from "./paths.ts";
import { createPodHost } from "./pod-host.ts";
import { networkObjects, poolsToMake } from "./pools.ts";
import { REFS } from "./refs.ts";
import { apiEndpoints, apiService, CLUSTER, nodeCacheObjects, nodeObject, systemObjects } from "./system.ts";
import type { Responders } from "./workload/responders.ts";

export interface LabOptions {
  readonly name: string;
  readonly nodes: number;
  readonly subnets: number;
  /** MTU of the underlay, in bytes. */
  readonly mtu: number;
  /** Agents in processes of their own. */
  readonly agentProcesses: boolean;
  /** How the agents balance Services where no object says it. */
  readonly services: ServiceMode;
  /** How the agents connect pods where no object says it. */
  readonly network: Network;
  /** Objects that the network is made of: they are there before the first pod. */
  readonly networkObjects: readonly KubeObject[];
  /** One range per family; the first is that of addresses where nothing else is said. */
  readonly podCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  /** Port of the API on 127.0.0.1; 0 for any that is free. */
  readonly apiPort: number;
  /** The API's objects outlive the lab, and the next one of this name goes on with them. */
  readonly keep: boolean;
  /** The API is a server elsewhere, whose kubeconfig lies in the lab's directory. */
  readonly foreign: boolean;
  /** A DNS cache on every node, at a link-local address and at the cluster's DNS address itself. */
  readonly nodeLocalDns: boolean;
}

export interface LabStart {
  readonly options: LabOptions;
  readonly paths: LabPaths;
  /** Descriptor of the listening socket for the API, made where the person is. */
  readonly apiFd: number;
  /** The process that serves the pods' ports; the lab ends it. */
  readonly responders: Responders;
  readonly log: (message: string) => void;
  readonly progress: (text: string) => void;
}

export class Lab {
  readonly options: LabOptions;
  readonly kernel: Kernel;
  readonly dns: DnsPods;
  readonly nodes = new Map<string, LabNode>();
  readonly #start: LabStart;
  readonly #closers: (() => unknown)[] = [];
  #fabric: Fabric | undefined;
  #plane: ControlPlane | undefined;
  #duties: ServiceDuties | undefined;
  #policyDuties: PolicyDuties | undefined;

  constructor(start: LabStart) {
    this.#start = start;
    this.options = start.options;
    this.kernel = createLinuxKernel();
    this.dns = createDnsPods({ domain: CLUSTER.domain, kubeconfig: () => this.plane.podKubeconfig() });
  }

  get fabric(): Fabric {
    if (!this.#fabric) throw new FairleadError("not-started", "the lab has not been raised");
    return this.#fabric;
  }

  get plane(): ControlPlane {
    if (!this.#plane) throw new FairleadError("not-started", "the lab has not been raised");
    return this.#plane;
  }

  get objects(): ClusterObjects {
    return this.plane.objects;
  }

  get networks(): ClusterNetworks {
    return this.plane.networks;
  }

  get source(): ClusterSource {
    return this.plane.source;
  }

  get snapshot(): ClusterSnapshot {
    return this.source.snapshot;
  }

  /** Raises fabric, API, nodes and the cluster's own objects. */
  async start(): Promise<void> {
    const { options, responders, log, progress } = this.#start;
    const names = nodeNames(options.nodes);
    const places = placeNodes(names, options.subnets);
    checkNftables();
    progress("making the underlay");
    this.#fabric = createFabric(this.kernel, options);
    const plane = await this.#startPlane(this.#fabric, names);
    this.#plane = plane;
    await this.#startUpstream(this.#fabric);
    const duties = { source: plane.source, writer: plane.writer, log };
    this.#duties = startServiceDuties(duties);
    this.#policyDuties = startPolicyDuties(duties);

    progress(`starting ${options.nodes} node${options.nodes === 1 ? "" : "s"}`);
    this.#watchPods();
    for (const object of options.networkObjects) await this.#ensure(object);
    for (const place of places) await this.#register(place);
    // A routed node prefers blocks of its podCIDR: it should know it from the start.
    await plane.awaitPodCidrs(names);
    this.#closers.push(this.source.subscribe((snapshot) => this.#makePools(snapshot)));
    this.#makePools(this.snapshot);
    for (const [index, place] of places.entries()) {
      await this.#startNode(place.name, place, this.#fabric, responders);
      if (index % 10 === 9) progress(`starting nodes: ${index + 1} of ${options.nodes}`);
    }
    const system = systemObjects(Math.min(2, options.nodes), this.networks);
    if (!plane.elsewhere) system.push(apiService(this.networks), apiEndpoints());
    if (options.nodeLocalDns) system.push(...nodeCacheObjects(this.networks));
    for (const object of system) await this.#ensure(plane.own(object));
    await responders.serve({
      key: "outside",
      netns: this.#fabric.outside.path,
      who: { pod: "outside", node: "outside" },
      ports: [
        { port: 80, protocol: "TCP" },
        { port: 443, protocol: "TCP" },
        { port: 9, protocol: "UDP" },
      ],
    });
    await plane.serving();
  }

  async #startPlane({ router }: Fabric, nodes: readonly string[]): Promise<ControlPlane> {
    const { options, paths, apiFd, log, progress } = this.#start;
    const pods = createPodHost((pod) => this.nodes.get(pod.spec.nodeName ?? "")?.kubelet.worker(pod.metadata.uid ?? ""));
    const common = { options, paths, apiFd, router, nodes, pods, log };
    if (!options.foreign) return startEmbeddedPlane(common);
    progress("reading the cluster");
    return startForeignPlane(common);
  }

  /** Makes the Node, and says that it is ready. */
  async #register({ name, addresses, subnet }: NodePlace): Promise<void> {
    const node = nodeObject(name, addresses, `zone-${subnet + 1}`, new Date().toISOString());
    await this.#ensure(this.plane.own(node));
    this.objects.change<Node>({ resource: REFS.nodes, name }, "status", (now) => ({ ...now, status: node.status }) as Node, "status");
  }

  /** Makes an object, unless there is one of its name. */
  async #ensure(object: KubeObject): Promise<void> {
    const resource = await this.#resourceOf(object);
    const { name, namespace } = object.metadata;
    if (await this.objects.api.get(resource, name, namespace)) return;
    try {
      await this.objects.api.create(resource, object);
    } catch (error) {
      // Somebody else was quicker.
      if (!(error instanceof ApiConflict)) throw error;
    }
  }

  async #startNode(name: string, place: NodePlace, fabric: Fabric, responders: Responders): Promise<void> {
    const { paths, log, options } = this.#start;
    const node = await startLabNode({
      place,
      namespace: fabric.addNode(place),
      kernel: this.kernel,
      objects: this.objects,
      source: this.source,
      directory: paths.node(name),
      podDirectory: paths.pod,
      responders,
      domain: CLUSTER.domain,
      ownProcess: options.agentProcesses,
      services: options.services,
      network: options.network,
      resolvConf: (pod) => this.resolvConf(pod),
      token: (pod, wish) => this.plane.token(pod, wish),
      component: (pod, container) => this.dns.component(pod, container),
      log,
    });
    this.nodes.set(name, node);
    // What an earlier lab has left is bound already.
    for (const pod of this.objects.list<Pod>(REFS.pods).items) if (pod.spec.nodeName === name) node.kubelet.update(pod);
  }

  /** Does what Calico's operator would. */
  #makePools(snapshot: ClusterSnapshot): void {
    const { podCidrs } = this.networks;
    for (const pool of poolsToMake(snapshot, { podCidrs, routed: this.options.network === "routed" })) void this.#ensurePool(pool);
  }

  async #ensurePool(pool: KubeObject): Promise<void> {
    if (this.objects.get(REFS.ipPools, undefined, pool.metadata.name)) return;
    await this.#ensure(this.plane.own(pool)).catch((error) => this.#start.log(`IPPool ${pool.metadata.name}: ${messageOf(error)}`));
  }

  /** Hands every pod to the kubelet of its node. */
  #watchPods(): void {
    const stop = this.objects.watch(REFS.pods, {}, ({ type, object }) => {
      const pod = object as Pod;
      const node = this.nodes.get(pod.spec.nodeName ?? "");
      if (!node || type === "BOOKMARK") return;
      if (type === "DELETED") node.kubelet.remove(pod);
      else node.kubelet.update(pod);
    });
    this.#closers.push(stop, this.#watchSlices(), this.#watchFiles(REFS.configMaps), this.#watchFiles(REFS.secrets));
  }

  /** Tells pods that what files of their volumes are made of has changed. */
  #watchFiles(ref: WatchedResource): () => void {
    return this.objects.watch(ref, {}, ({ type, object }) => {
      if (type !== "MODIFIED") return;
      for (const node of this.nodes.values()) node.kubelet.refresh(object.metadata.namespace ?? "");
      this.dns.filesChanged(object.metadata.namespace ?? "");
    });
  }

  /** Tells pods which of their ports Services send to, declared or not. */
  #watchSlices(): () => void {
    return this.objects.watch(REFS.endpointSlices, {}, ({ type, object }) => {
      if (type !== "ADDED" && type !== "MODIFIED") return;
      const { endpoints, ports } = object as EndpointSlice;
      const offered = (ports ?? []).flatMap(({ port, protocol = "TCP" }) =>
        port === undefined || protocol === "SCTP" ? [] : [{ port, protocol }],
      );
      for (const { nodeName, targetRef } of endpoints ?? [])
        if (targetRef?.kind === "Pod" && nodeName && targetRef.uid) this.nodes.get(nodeName)?.kubelet.worker(targetRef.uid)?.offer(offered);
    });
  }

  async #startUpstream(fabric: Fabric): Promise<void> {
    const server = await startDns({ corefile: upstreamCorefile(), network: namespaceNetwork(fabric.router) });
    this.#closers.push(() => server.close());
  }

  resolvConf(pod: Pod): string {
    return resolvConf(pod, {
      domain: CLUSTER.domain,
      clusterDns: [this.networks.dnsAddress],
      node: { nameservers: [FABRIC.upstreamDns], searches: [], options: [] },
    });
  }

  /**
   * Creates or updates objects, namespaces first; a namespace that is missing is made, as it would have been by hand. Gives
   * what the person should know beside.
   */
  async apply(objects: readonly KubeObject[]): Promise<string[]> {
    const notices: string[] = [];
    const ordered = [...objects].sort((a, b) => rankOf(a) - rankOf(b));
    for (const object of ordered) {
      const { namespace, name } = object.metadata;
      try {
        const resource = await this.#resourceOf(object);
        if (namespace !== undefined && !this.objects.get(REFS.namespaces, undefined, namespace)) {
          await this.objects.apply(REFS.namespaces, {
            apiVersion: "v1",
            kind: "Namespace",
            metadata: { name: namespace, labels: { "kubernetes.io/metadata.name": namespace } },
          });
          notices.push(`made namespace ${namespace}, which no manifest brings`);
        }
        await this.objects.apply(resource, object);
      } catch (cause) {
        throw new FairleadError("apply", messageOf(cause), {
          where: `${object.kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`,
          cause,
        });
      }
    }
    // Who acts elsewhere is not known here.
    const idle = this.plane.elsewhere ? [] : idleKinds(objects);
    if (idle.length > 0) notices.push(`stored, but nothing in this lab acts on it: ${idle.join(", ")}`);
    return notices;
  }

  /** Who drives a pod, once it has a network. */
  podOf(pod: Pod): PodWorker | undefined {
    const worker = this.nodes.get(pod.spec.nodeName ?? "")?.kubelet.worker(pod.metadata.uid ?? "");
    return worker?.namespace ? worker : undefined;
  }

  get controllersIdle(): boolean {
    return (this.#plane?.idle ?? false) && (this.#duties?.idle ?? false) && (this.#policyDuties?.idle ?? false);
  }

  /** Takes everything down, pods first; gives what the person should know of what is left. */
  async close(): Promise<readonly string[]> {
    this.#plane?.halt();
    this.#duties?.close();
    this.#policyDuties?.close();
    for (const close of this.#closers.reverse()) await close();
    await Promise.all([...this.nodes.values()].map((node) => node.close()));
    const responders = this.#start.responders.close();
    const notices = (await this.#plane?.close()) ?? [];
    this.#fabric?.close();
    await responders;
    return notices;
  }

  /** @throws FairleadError `unknown-kind` */
  async #resourceOf({ apiVersion, kind, metadata }: KubeObject): Promise<WatchedResource> {
    const found = await this.objects.resourceOf(apiVersion, kind);
    if (found) return found;
    throw new FairleadError("unknown-kind", `no kind "${kind}" in ${apiVersion}`, {
      where: metadata?.name,
      remedy: "add its CustomResourceDefinition to the manifests, or see the served kinds with: kubectl api-resources",
    });
  }
}

/** Namespaces, then what others refer to, then what runs. */
function rankOf(object: KubeObject): number {
  const order = ["Namespace", "CustomResourceDefinition", "ServiceAccount", "Secret", "ConfigMap", "NetworkPolicy", "Service"];
  const rank = order.indexOf(object.kind);
  return rank < 0 ? order.length : rank;
}

/** Built-in kinds that a cluster's controllers would act on, and the lab has none for. */
const WITHOUT_CONTROLLER = new Set(
  "APIService HorizontalPodAutoscaler Ingress LimitRange MutatingWebhookConfiguration ValidatingWebhookConfiguration".split(" "),
);

/** "2 Ingress", … of what is stored only: custom objects, and built-in kinds without a controller here. */
function idleKinds(objects: readonly KubeObject[]): string[] {
  const counts = new Map<string, number>();
  const own = new Set(networkObjects(objects));
  for (const object of objects) {
    const { apiVersion, kind } = object;
    if (own.has(object)) continue;
    if (WITHOUT_CONTROLLER.has(kind) || !findKind(apiVersion, kind)?.builtin) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${count} ${kind}`);
}

/** The lab's upstream DNS server: a small world outside the cluster; every other name does not exist. */
function upstreamCorefile(): string {
  const names = "match ^(outside\\.test|(www\\.)?example\\.com)\\.$";
  const addresses = FABRIC.outside.addresses.map((address) => address.replace(/\/.*/, ""));
  const records = addresses.map((address) => {
    const type = address.includes(":") ? "AAAA" : "A";
    return `    template IN ${type} {
        ${names}
        answer "{{ .Name }} 60 IN ${type} ${address}"
        fallthrough
    }
`;
  });
  const soa = 'authority "{{ .Zone }} 60 IN SOA ns.outside.test. hostmaster.outside.test. 1 7200 1800 86400 60"';
  return `.:53 {
    bind ${FABRIC.upstreamDns}
    header {
        response set ra
        response clear aa
    }
${records.join("")}    template IN ANY {
        ${names}
        ${soa}
        fallthrough
    }
    template ANY ANY {
        rcode NXDOMAIN
        ${soa}
    }
}
`;
}
