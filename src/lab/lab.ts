// A lab: a cluster whose nodes are network namespaces of this machine. It wires the rooms; it decides nothing.
import {
  type ApiServer,
  type Controllers,
  checkNetworks,
  kindRules,
  SqliteStore,
  serviceAddresses,
  startApiServer,
  startControllers,
} from "../api/index.ts";
import { FairleadError, messageOf } from "../base/index.ts";
import { type ClusterSnapshot, type ClusterSource, sourceFromStore } from "../cluster/index.ts";
import { createDnsServer, type DnsServer, type ResourceRecord, resolvConf, serveUpstream } from "../dns/index.ts";
import { createLinuxKernel, type Kernel, type NetworkNamespace } from "../kernel/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import { createFabric, FABRIC, type Fabric, placeNodes } from "./fabric.ts";
import { type LabNode, startLabNode } from "./node.ts";
import type { LabPaths } from "./paths.ts";
import { REFS } from "./refs.ts";
import { CLUSTER, nodeObject, systemObjects } from "./system.ts";
import type { Responders } from "./workload/responders.ts";

export interface LabOptions {
  readonly name: string;
  readonly nodes: number;
  readonly subnets: number;
  /** MTU of the underlay, in bytes. */
  readonly mtu: number;
  /** Agents in processes of their own. */
  readonly agentProcesses: boolean;
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
  readonly store: SqliteStore;
  readonly source: ClusterSource;
  readonly nodes = new Map<string, LabNode>();
  readonly #start: LabStart;
  readonly #closers: (() => unknown)[] = [];
  #fabric: Fabric | undefined;
  #api: ApiServer | undefined;
  #controllers: Controllers | undefined;
  #dns: DnsServer | undefined;

  constructor(start: LabStart) {
    this.#start = start;
    this.options = start.options;
    this.kernel = createLinuxKernel();
    const addresses = serviceAddresses({ serviceCidrs: CLUSTER.serviceCidrs });
    this.store = new SqliteStore({ path: ":memory:", hooks: [addresses], rules: kindRules });
    this.source = sourceFromStore(this.store);
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
    checkNetworks([
      ...CLUSTER.podCidrs.map((cidr) => ({ name: "pod network", cidr })),
      ...CLUSTER.serviceCidrs.map((cidr) => ({ name: "Service network", cidr })),
      { name: "underlay", cidr: "10.112.0.0/16" },
    ]);
    progress("making the underlay");
    // The API's certificate takes a while to make; the rest goes on meanwhile.
    const serving = startApiServer({
      store: this.store,
      listen: { fd: apiFd },
      names: [CLUSTER.apiAddress, "kubernetes", "kubernetes.default"],
    });
    this.#fabric = createFabric(this.kernel, options);
    this.#startUpstream(this.#fabric);
    this.#dns = createDnsServer({
      source: this.source,
      zone: { domain: CLUSTER.domain, ttl: 30, pods: "verified" },
      upstreams: [FABRIC.upstreamDns],
    });
    this.#controllers = startControllers({ store: this.store, podCidrs: CLUSTER.podCidrs, nodeMask: { 4: 24, 6: 64 }, log });

    progress(`starting ${options.nodes} node${options.nodes === 1 ? "" : "s"}`);
    this.#watchPods();
    for (const [index, place] of places.entries()) {
      const node = nodeObject(place.name, place.addresses, `zone-${place.subnet + 1}`, new Date().toISOString());
      const made = this.store.create(REFS.nodes, node);
      this.store.update(REFS.nodes, { ...made, status: node.status } as KubeObject, { subresource: "status" });
      await this.#startNode(place.name, place, this.#fabric, responders);
      if (index % 10 === 9) progress(`starting nodes: ${index + 1} of ${options.nodes}`);
    }
    for (const object of systemObjects(Math.min(2, options.nodes))) this.store.create(refOf(this.store, object), object);
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
    this.#api = await serving;
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
      resolvConf: (pod) => this.resolvConf(pod),
      serveSpecial: (pod, namespace) => this.#serveDns(pod, namespace),
      log,
    });
    this.nodes.set(name, node);
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
    this.#closers.push(stop);
  }

  #startUpstream(fabric: Fabric): void {
    const fd = fabric.router.bindSocket({ protocol: "udp", address: FABRIC.upstreamDns, port: 53 });
    const server = serveUpstream(fd, upstreamRecords());
    this.#closers.push(() => server.close());
  }

  resolvConf(pod: Pod): string {
    return resolvConf(pod, {
      domain: CLUSTER.domain,
      clusterDns: [CLUSTER.dnsAddress],
      node: { nameservers: [FABRIC.upstreamDns], searches: [] },
    });
  }

  /** The cluster's DNS server lives in the pods of the coredns Deployment. */
  #serveDns(pod: Pod, namespace: NetworkNamespace): { close(): void } | undefined {
    if (pod.metadata.namespace !== "kube-system" || pod.metadata.labels?.["k8s-app"] !== "kube-dns" || !this.#dns) return undefined;
    const any = (family: 4 | 6) => (family === 6 ? "::" : "0.0.0.0");
    return this.#dns.listen({
      udp: { fd: namespace.bindSocket({ protocol: "udp", address: "::", port: 53 }), family: 6 },
      tcp: namespace.bindSocket({ protocol: "tcp", address: "::", port: 53 }),
      upstreamUdp: (family) => namespace.bindSocket({ protocol: "udp", address: any(family), port: 0 }),
      upstreamTcp: (family) => namespace.openSocket({ protocol: "tcp", family }),
    });
  }

  /** Creates or updates objects, namespaces first; a namespace that is missing is made, as it would have been by hand. */
  apply(objects: readonly KubeObject[], notice: (text: string) => void = () => {}): void {
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
          notice(`made namespace ${namespace}, which no manifest brings`);
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
  }

  /** The running worker of a pod. */
  podOf(pod: Pod): { readonly namespace: NetworkNamespace; readonly directory: string; readonly addresses: readonly string[] } | undefined {
    const worker = this.nodes.get(pod.spec.nodeName ?? "")?.kubelet.worker(pod.metadata.uid ?? "");
    return worker?.namespace ? { namespace: worker.namespace, directory: worker.directory, addresses: worker.addresses } : undefined;
  }

  get controllersIdle(): boolean {
    return this.#controllers?.idle ?? false;
  }

  /** Takes everything down, pods first. */
  async close(): Promise<void> {
    this.#controllers?.close();
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
      remedy: "see the served kinds with: kubectl api-resources",
    });
  }
  return found;
}

function upstreamRecords(): ResourceRecord[] {
  const outside = FABRIC.outside.addresses.map((address) => address.replace(/\/.*/, ""));
  const names = ["outside.test.", "example.com.", "www.example.com."];
  return names.flatMap((name) =>
    outside.map((address): ResourceRecord => ({ name, class: 1, ttl: 60, data: { type: address.includes(":") ? "AAAA" : "A", address } })),
  );
}
