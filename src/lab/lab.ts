// A lab: a cluster whose nodes are network namespaces of this machine. It wires the rooms; it decides nothing.

import { mkdirSync } from "node:fs";
import {
  type Network,
  type PolicyDuties,
  type ServiceDuties,
  type ServiceMode,
  startPolicyDuties,
  startServiceDuties,
} from "../agent/index.ts";
import {
  type ApiServer,
  type Controllers,
  kindRules,
  quotaAdmission,
  type ResourceRef,
  SqliteStore,
  serviceAccountAdmission,
  serviceAddresses,
  startApiServer,
  startControllers,
} from "../api/index.ts";
import { FairleadError, messageOf } from "../base/index.ts";
import { type ClusterSnapshot, type ClusterSource, sourceFromStore } from "../cluster/index.ts";
import { namespaceNetwork, resolvConf, startDns } from "../dns/index.ts";
import { checkNftables, createLinuxKernel, type Kernel } from "../kernel/index.ts";
import { type EndpointSlice, findKind, type KubeObject, type Node, type Pod, type Service } from "../resources/index.ts";
import { createDnsPods, type DnsPods } from "./dns/dns-pods.ts";
import { createFabric, FABRIC, type Fabric, placeNodes } from "./fabric.ts";
import { resume } from "./keep.ts";
import type { PodWorker } from "./kubelet/pod-worker.ts";
import { type ClusterNetworks, planNetworks } from "./networks.ts";
import { type LabNode, startLabNode } from "./node.ts";
import type { LabPaths } from "./paths.ts";
import { createPodHost } from "./pod-host.ts";
import { networkObjects, poolsToMake } from "./pools.ts";
import { REFS } from "./refs.ts";
import { storeWriter } from "./store-writer.ts";
import { CLUSTER, nodeCacheObjects, nodeObject, systemObjects } from "./system.ts";
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
  readonly networks: ClusterNetworks;
  readonly kernel: Kernel;
  readonly store: SqliteStore;
  readonly source: ClusterSource;
  readonly dns: DnsPods;
  readonly nodes = new Map<string, LabNode>();
  readonly #start: LabStart;
  readonly #closers: (() => unknown)[] = [];
  #fabric: Fabric | undefined;
  #api: ApiServer | undefined;
  #serving: Promise<ApiServer> | undefined;
  #controllers: Controllers | undefined;
  #duties: ServiceDuties | undefined;
  #policyDuties: PolicyDuties | undefined;

  constructor(start: LabStart) {
    this.#start = start;
    this.options = start.options;
    this.networks = planNetworks(start.options);
    this.kernel = createLinuxKernel();
    const addresses = serviceAddresses({ serviceCidrs: this.networks.serviceCidrs });
    if (start.options.keep) mkdirSync(start.paths.kept, { recursive: true, mode: 0o700 });
    const path = start.options.keep ? start.paths.database : ":memory:";
    this.store = new SqliteStore({ path, hooks: [addresses, serviceAccountAdmission, quotaAdmission], rules: kindRules });
    addresses.adopt(this.store.list<Service>(REFS.services).items);
    this.source = sourceFromStore(this.store);
    this.dns = createDnsPods({ domain: CLUSTER.domain, kubeconfig: () => this.#podKubeconfig() });
  }

  get fabric(): Fabric {
    if (!this.#fabric) throw new FairleadError("not-started", "the lab has not been raised");
    return this.#fabric;
  }

  get api(): ApiServer {
    if (!this.#api) throw new FairleadError("not-started", "the lab's API does not serve yet");
    return this.#api;
  }

  get snapshot(): ClusterSnapshot {
    return this.source.snapshot;
  }

  /** Raises fabric, API, nodes and the cluster's own objects. */
  async start(): Promise<void> {
    const { options, apiFd, responders, log, progress } = this.#start;
    const names = Array.from({ length: options.nodes }, (_, index) => `node-${index + 1}`);
    const places = placeNodes(names, options.subnets);
    checkNftables();
    progress("making the underlay");
    this.#fabric = createFabric(this.kernel, options);
    // The API's certificate takes a while to make; the rest goes on meanwhile.
    this.#serving = startApiServer({
      store: this.store,
      listen: { fd: apiFd },
      // What pods reach as Service default/kubernetes.
      alsoListen: [{ fd: this.#fabric.router.bindSocket({ protocol: "tcp", address: FABRIC.apiServer, port: CLUSTER.apiPort }) }],
      names: [this.networks.apiAddress, "kubernetes", "kubernetes.default"],
      ...(options.keep ? { identityFile: this.#start.paths.identity } : {}),
      pods: createPodHost((pod) => this.nodes.get(pod.spec.nodeName ?? "")?.kubelet.worker(pod.metadata.uid ?? "")),
    });
    await this.#startUpstream(this.#fabric);
    const { podCidrs, nodeMask } = this.networks;
    resume(this.store, names);
    this.#controllers = startControllers({ store: this.store, podCidrs, nodeMask, log, serving: this.#serving });
    this.#duties = startServiceDuties({ source: this.source, writer: storeWriter(this.store), log });
    this.#policyDuties = startPolicyDuties({ source: this.source, writer: storeWriter(this.store), log });

    progress(`starting ${options.nodes} node${options.nodes === 1 ? "" : "s"}`);
    this.#watchPods();
    for (const object of options.networkObjects) this.#ensure(object);
    this.#closers.push(this.source.subscribe((snapshot) => this.#makePools(snapshot)));
    for (const place of places) {
      const node = nodeObject(place.name, place.addresses, `zone-${place.subnet + 1}`, new Date().toISOString());
      const made = this.#ensure(node);
      this.store.update(REFS.nodes, { ...made, status: node.status } as KubeObject, { subresource: "status" });
    }
    await this.#podCidrsGiven(names);
    for (const [index, place] of places.entries()) {
      await this.#startNode(place.name, place, this.#fabric, responders);
      if (index % 10 === 9) progress(`starting nodes: ${index + 1} of ${options.nodes}`);
    }
    const system = systemObjects(Math.min(2, options.nodes), this.networks);
    if (options.nodeLocalDns) system.push(...nodeCacheObjects(this.networks));
    for (const object of system) this.#ensure(object);
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
    this.#api = await this.#serving;
  }

  /** Makes an object, unless a lab that was before this one has left it. */
  #ensure(object: KubeObject): KubeObject {
    const ref = refOf(this.store, object);
    return this.store.get(ref, object.metadata.namespace, object.metadata.name) ?? this.store.create(ref, object);
  }

  async #startNode(name: string, place: Parameters<Fabric["addNode"]>[0], fabric: Fabric, responders: Responders): Promise<void> {
    const { paths, log, options } = this.#start;
    const node = await startLabNode({
      place,
      namespace: fabric.addNode(place),
      kernel: this.kernel,
      store: this.store,
      source: this.source,
      directory: paths.node(name),
      podDirectory: paths.pod,
      responders,
      domain: CLUSTER.domain,
      ownProcess: options.agentProcesses,
      services: options.services,
      network: options.network,
      resolvConf: (pod) => this.resolvConf(pod),
      token: (pod, request) => this.#podToken(pod, request),
      component: (pod, container) => this.dns.component(pod, container),
      log,
    });
    this.nodes.set(name, node);
    // What an earlier lab has left is bound already.
    for (const pod of this.store.list<Pod>(REFS.pods).items) if (pod.spec.nodeName === name) node.kubelet.update(pod);
  }

  /** A routed node prefers blocks of its podCIDR: it should know it from the start. */
  async #podCidrsGiven(names: readonly string[]): Promise<void> {
    const end = performance.now() + 1000;
    const given = (name: string) => this.store.get<Node>(REFS.nodes, undefined, name)?.spec?.podCIDR !== undefined;
    while (!names.every(given) && performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Does what Calico's operator would. */
  #makePools(snapshot: ClusterSnapshot): void {
    const { podCidrs, network } = this.#start.options;
    for (const pool of poolsToMake(snapshot, { podCidrs, routed: network === "routed" }))
      if (!this.store.get(REFS.ipPools, undefined, pool.metadata.name)) this.store.create(REFS.ipPools, pool);
  }

  #podToken(pod: Pod, { audience, expirationSeconds = 3600 }: { audience?: string; expirationSeconds?: number }): string | undefined {
    const { namespace = "", name, uid = "" } = pod.metadata;
    const account = pod.spec.serviceAccountName ?? "default";
    // Only the lab's own pods start before the API serves, and those have no use for one.
    if (!this.#api) return undefined;
    if (!this.store.get({ group: "", version: "v1", plural: "serviceaccounts" }, namespace, account)) return undefined;
    const audiences = audience === undefined ? {} : { audiences: [audience] };
    return this.api.issueToken({ namespace, account, seconds: expirationSeconds, pod: { name, uid }, ...audiences });
  }

  /** Hands every pod to the kubelet of its node. */
  #watchPods(): void {
    const stop = this.store.watch(REFS.pods, {}, ({ type, object }) => {
      const pod = object as Pod;
      const node = this.nodes.get(pod.spec.nodeName ?? "");
      if (!node || type === "BOOKMARK") return;
      if (type === "DELETED") node.kubelet.remove(pod);
      else node.kubelet.update(pod);
    });
    this.#closers.push(stop, this.#watchSlices(), this.#watchFiles(REFS.configMaps), this.#watchFiles(REFS.secrets));
  }

  /** Tells pods that what files of their volumes are made of has changed. */
  #watchFiles(ref: ResourceRef): () => void {
    return this.store.watch(ref, {}, ({ type, object }) => {
      if (type !== "MODIFIED") return;
      for (const node of this.nodes.values()) node.kubelet.refresh(object.metadata.namespace ?? "");
      this.dns.filesChanged(object.metadata.namespace ?? "");
    });
  }

  /** Tells pods which of their ports Services send to, declared or not. */
  #watchSlices(): () => void {
    return this.store.watch(REFS.endpointSlices, {}, ({ type, object }) => {
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

  /** What pods reach the API with: as the lab's own kubeconfig, at the address of Service default/kubernetes. */
  async #podKubeconfig(): Promise<string> {
    const api = await this.#serving;
    if (!api) throw new FairleadError("not-started", "the lab's API does not serve yet");
    const config = JSON.parse(api.kubeconfig(this.options.name)) as { clusters: { cluster: { server: string } }[] };
    const address = this.networks.apiAddress;
    for (const { cluster } of config.clusters) cluster.server = `https://${address.includes(":") ? `[${address}]` : address}:443`;
    return JSON.stringify(config);
  }

  /**
   * Creates or updates objects, namespaces first; a namespace that is missing is made, as it would have been by hand. Gives
   * what the person should know beside.
   */
  apply(objects: readonly KubeObject[]): string[] {
    const notices: string[] = [];
    const ordered = [...objects].sort((a, b) => rankOf(a) - rankOf(b));
    for (const object of ordered) {
      const ref = refOf(this.store, object);
      const { namespace, name } = object.metadata;
      try {
        if (namespace !== undefined && !this.store.get(REFS.namespaces, undefined, namespace)) {
          this.store.create(REFS.namespaces, {
            apiVersion: "v1",
            kind: "Namespace",
            metadata: { name: namespace, labels: { "kubernetes.io/metadata.name": namespace } },
          });
          notices.push(`made namespace ${namespace}, which no manifest brings`);
        }
        const before = this.store.get(ref, namespace, name);
        if (before)
          this.store.update(ref, { ...object, metadata: { ...object.metadata, resourceVersion: before.metadata.resourceVersion ?? "" } });
        else this.store.create(ref, object);
      } catch (cause) {
        throw new FairleadError("apply", messageOf(cause), {
          where: `${object.kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`,
          cause,
        });
      }
    }
    const idle = idleKinds(objects);
    if (idle.length > 0) notices.push(`stored, but nothing in this lab acts on it: ${idle.join(", ")}`);
    return notices;
  }

  /** Who drives a pod, once it has a network. */
  podOf(pod: Pod): PodWorker | undefined {
    const worker = this.nodes.get(pod.spec.nodeName ?? "")?.kubelet.worker(pod.metadata.uid ?? "");
    return worker?.namespace ? worker : undefined;
  }

  get controllersIdle(): boolean {
    return (this.#controllers?.idle ?? false) && (this.#duties?.idle ?? false) && (this.#policyDuties?.idle ?? false);
  }

  /** Takes everything down, pods first. */
  async close(): Promise<void> {
    this.#controllers?.close();
    this.#duties?.close();
    this.#policyDuties?.close();
    for (const close of this.#closers.reverse()) await close();
    await Promise.all([...this.nodes.values()].map((node) => node.close()));
    const responders = this.#start.responders.close();
    await this.#api?.close();
    this.source.close();
    this.#fabric?.close();
    this.store.close();
    await responders;
  }
}

/** Namespaces, then what others refer to, then what runs. */
function rankOf(object: KubeObject): number {
  const order = ["Namespace", "CustomResourceDefinition", "ServiceAccount", "Secret", "ConfigMap", "NetworkPolicy", "Service"];
  const rank = order.indexOf(object.kind);
  return rank < 0 ? order.length : rank;
}

function refOf(store: SqliteStore, object: KubeObject) {
  const found = store.resources
    .all()
    .find(
      (resource) =>
        resource.kind === object.kind &&
        (resource.group ? `${resource.group}/${resource.version}` : resource.version) === object.apiVersion,
    );
  if (!found) {
    throw new FairleadError("unknown-kind", `no kind "${object.kind}" in ${object.apiVersion}`, {
      where: object.metadata?.name,
      remedy: "add its CustomResourceDefinition to the manifests, or see the served kinds with: kubectl api-resources",
    });
  }
  return found;
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
