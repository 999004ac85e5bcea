// A node's agent: snapshot → plan → kernel, and the CNI socket. It wires; it decides nothing.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/index.ts";
import type { ClusterSnapshot, ClusterSource, ObjectApi } from "../cluster/index.ts";
import { type AttachmentStore, openAttachments, serveCni } from "../cni/index.ts";
import { BRIDGE, podCidrs } from "../datapath/overlay/index.ts";
import { createIpam } from "../ipam/index.ts";
import {
  createReconciler,
  diffState,
  EMPTY_STATE,
  type Kernel,
  type NetworkNamespace,
  type Reconciler,
  type ReconcileStatus,
  ROUTE_PROTOCOL,
} from "../kernel/index.ts";
import { keepSame, type Network, type NodeFacts, type NodePlan, nodeSettings, planNode, type ServiceMode, TABLE } from "../plan/index.ts";
import { type DnsAnswers, nameBook } from "../policy/index.ts";
import type { Node } from "../resources/index.ts";
import { healthChecks, SERVICE_BALANCER, SERVICE_CHAINS } from "../services/index.ts";
import { ActiveNetwork } from "./active-network.ts";
import { type Announcer, createAnnouncer } from "./announcer.ts";
import { NodeBgp } from "./bgp/node-bgp.ts";
import { bgpPages } from "./bgp/pages.ts";
import { secretsFromApi } from "./bgp/secrets.ts";
import { BlockAddresses, type CollectTiming } from "./block-addresses.ts";
import { createDnsWatch, type DnsWatch } from "./dns-watch.ts";
import { observeLacks, observeUnderlay, standingAddresses } from "./facts.ts";
import { createFlowCutter, type FlowCutter, policyMoved } from "./flow-cutter.ts";
import { type ForeignPart, foreignProxy, remarksOf } from "./foreign-proxy.ts";
import { createHealthPorts, type HealthPorts } from "./health-ports.ts";
import { createMetrics } from "./metrics.ts";
import { type Annotations, NodeAnnotations } from "./node-annotations.ts";
import { createNodeMetrics, type NodeMetrics, nodeMetricsPort } from "./node-metrics.ts";
import { OverlayTail } from "./overlay-tail.ts";
import { type PodAddresses, rangeAddresses } from "./pod-addresses.ts";
import { PodNetwork } from "./pod-network.ts";
import { createPolicyLog, type PolicyLog, type PolicyLogStatus } from "./policy-log.ts";
import { SnapshotKeeper } from "./snapshot-keeper.ts";
import { measureSync } from "./sync-measure.ts";
import { keptVtepMac } from "./vtep-mac.ts";

export interface AgentOptions {
  readonly node: string;
  readonly kernel: Kernel;
  readonly namespace: NetworkNamespace;
  readonly source: ClusterSource;
  /** Records, allocations and the last snapshot. */
  readonly stateDirectory: string;
  readonly cniSocket: string;
  /** How Services are balanced where no object says it. */
  readonly services?: ServiceMode;
  /** How pods are connected where no object says it. */
  readonly network?: Network;
  /** Where the blocks of the routed network are kept; without it, a node can only be the overlay's. */
  readonly api?: ObjectApi;
  /** How often lost addresses are looked for. */
  readonly collect?: CollectTiming;
  /** Removes what another service proxy has left, instead of only telling of it. */
  readonly cleanForeign?: boolean;
  /** Writes the annotations that tell other nodes where this one's tunnels end; null takes one away. */
  readonly annotate: (annotations: Annotations) => Promise<void> | void;
  readonly log: (message: string) => void;
}

export interface AgentStatus {
  readonly node: string;
  readonly ready: boolean;
  readonly reason?: string;
  /** Revision of the snapshot that the kernel follows. */
  readonly revision: number;
  readonly pods: number;
  /** The network that is in effect. */
  readonly network: Network;
  readonly ranges: readonly { readonly range: string; readonly used: number; readonly size: number }[];
  readonly kernel: ReconcileStatus;
  readonly podDrifts: number;
  /** Null where BGP is off. */
  readonly bgp: { readonly as: number; readonly neighbours: number; readonly established: number } | null;
  /** How Services are balanced here. */
  readonly services: ServiceMode;
  /** What policies' Log rules noted. */
  readonly policyLog: PolicyLogStatus;
  /** What pods were answered about the names that policies speak of. */
  readonly dnsAnswers: DnsAnswers;
  /** What of the network's configuration is followed. */
  readonly follows: readonly string[];
  /** What is not, and why. */
  readonly remarks: readonly string[];
}

export interface Agent {
  readonly status: AgentStatus;
  /** The newest plan: what the node's kernel must hold. */
  readonly plan: NodePlan | undefined;
  /** Stops. The kernel stays as it is. */
  close(): Promise<void>;
}

/** How long ADD waits for the API to tell of the pod, in milliseconds. */
const POD_WAIT_MS = 5000;
/** A plan is never put off longer, in milliseconds. */
const LONGEST_WAIT_MS = 1000;

/** Starts the agent of a node. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const agent = new NodeAgent(options);
  await agent.start();
  return agent;
}

class NodeAgent implements Agent {
  readonly #options: AgentOptions;
  readonly #attachments: AttachmentStore;
  readonly #reconciler: Reconciler;
  readonly #pods: PodNetwork;
  readonly #cutter: FlowCutter;
  readonly #health: HealthPorts;
  readonly #announcer: Announcer;
  readonly #policyLog: PolicyLog;
  readonly #dnsWatch: DnsWatch;
  readonly #metrics = createMetrics();
  readonly #keeper: SnapshotKeeper;
  readonly #annotations: NodeAnnotations;
  readonly #vtepMac: string;
  #synced: ClusterSnapshot | undefined;
  readonly #waiting = new Set<(snapshot: ClusterSnapshot) => void>();
  #snapshot: ClusterSnapshot | undefined;
  #plan: NodePlan | undefined;
  readonly #network: ActiveNetwork;
  readonly #bgp: NodeBgp;
  readonly #nodeMetrics: NodeMetrics;
  #ranges: { readonly cidrs: string; readonly addresses: PodAddresses } | undefined;
  readonly #overlayTail = new OverlayTail(() => this.#schedule());
  #facts: NodeFacts["underlay"] | undefined;
  readonly #lacks = new Map<Network, NonNullable<NodeFacts["lacks"]>>();
  #foreign: { readonly mode: ServiceMode; readonly remarks: readonly string[] } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastMs = 0;
  /** How late the last timer was, in milliseconds: how busy the process is with other things, such as other nodes' agents. */
  #lag = 0;
  #closers: (() => unknown)[] = [];
  #closed = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    mkdirSync(options.stateDirectory, { recursive: true, mode: 0o700 });
    this.#attachments = openAttachments(join(options.stateDirectory, "attachments"));
    for (const file of this.#attachments.damaged) options.log(`damaged record set aside: ${file}`);
    this.#keeper = new SnapshotKeeper(options.stateDirectory, options.log);
    this.#annotations = new NodeAnnotations(options.annotate, options.log);
    this.#vtepMac = keptVtepMac(options.stateDirectory);
    this.#reconciler = createReconciler({
      namespace: options.namespace,
      owns: {
        links: isOurLink,
        routeProtocol: ROUTE_PROTOCOL.fairlead,
        tables: [TABLE],
        iptables: SERVICE_CHAINS,
        ipvs: SERVICE_BALANCER,
      },
      onStatus: (status) => {
        if (status.lastError !== undefined) options.log(`kernel: ${status.lastError}`);
      },
    });
    this.#cutter = createFlowCutter(options.namespace.conntrack, options.log);
    this.#policyLog = createPolicyLog(options.namespace, options.log);
    this.#dnsWatch = createDnsWatch({
      namespace: options.namespace,
      stateDirectory: options.stateDirectory,
      changed: () => this.#apply(),
      log: options.log,
    });
    this.#health = createHealthPorts({
      namespace: options.namespace,
      impaired: () => this.#unready() ?? this.#unprotected(),
      eligible: () => isEligible(this.#snapshot?.nodes.get(options.node)),
      status: () => this.status,
      metrics: () => this.#metrics.read(this.status),
      page: bgpPages(options.node, () => this.#bgp, options.namespace),
      asked: (code) => this.#metrics.asked(code),
      log: options.log,
    });
    this.#announcer = createAnnouncer({
      node: options.node,
      namespace: options.namespace,
      // Who waits for a lost node's addresses waits for nothing else.
      changed: () => this.#apply(),
      log: options.log,
    });
    this.#pods = new PodNetwork({
      namespace: options.namespace,
      attachments: this.#attachments,
      log: options.log,
      addresses: () => this.#addresses(),
      routed: () => this.#network.current === "routed",
      awaitPod: (namespace, name, uid) => this.#awaitPod(namespace, name, uid),
      applyNow: () => this.#applyNow(),
      unprotected: () => this.#unprotected(),
      flows: this.#cutter,
      linkMade: () => this.#reconciler.linksChanged(),
      applySoon: () => this.#schedule(),
      podState: (containerId) => this.#plan?.pods.get(containerId),
      unready: () => this.#unready(),
      impaired: () => (this.#reconciler.status.inSync ? undefined : this.#reconciler.status.lastError),
      kernel: options.kernel,
      planned: () => this.#plan?.kernel,
    });
    this.#bgp = new NodeBgp({
      node: options.node,
      namespace: options.namespace,
      stateDirectory: options.stateDirectory,
      secrets: secretsFromApi(options.api, options.log),
      changed: () => this.#schedule(),
      log: options.log,
    });
    this.#nodeMetrics = createNodeMetrics({
      namespace: options.namespace,
      read: () => this.#snapshot && this.#plan && { status: this.status, snapshot: this.#snapshot, plan: this.#plan, bgp: this.#bgp },
      log: options.log,
    });
    this.#network = new ActiveNetwork({
      stateDirectory: options.stateDirectory,
      attachments: this.#attachments,
      log: options.log,
      openBlocks: () => this.#openBlocks(),
      changed: () => this.#schedule(),
    });
  }

  async start(): Promise<void> {
    const { source, cniSocket, log } = this.#options;
    this.#snapshot = source.synced ? source.snapshot : this.#keeper.load();
    this.#closers.push(source.subscribe((snapshot) => this.#changed(snapshot)));
    if (this.#snapshot) this.#apply();
    this.#pods.adopt();
    this.#pods.reconcile();
    const server = await serveCni({ socketPath: cniSocket, handler: this.#pods, log });
    this.#closers.push(() => server.close());
  }

  #changed(snapshot: ClusterSnapshot): void {
    this.#snapshot = snapshot;
    for (const listener of this.#waiting) listener(snapshot);
    this.#schedule();
    this.#keeper.keep(snapshot);
  }

  /** Plans after the changes of this moment are in; a costly plan or a busy process waits longer, so that planning never takes all the time. */
  #schedule(): void {
    if (this.#closed || this.#timer) return;
    const wait = Math.min(LONGEST_WAIT_MS, 2 + this.#lastMs * 3 + this.#lag * 4);
    const due = performance.now() + wait;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#lag = Math.max(0, performance.now() - due - 1);
      this.#apply();
    }, wait);
  }

  /** Pods that are added together are planned and written together. */
  #applyNow(): Promise<void> {
    this.#applying ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#applying = undefined;
        this.#apply();
        resolve();
      });
    });
    return this.#applying;
  }
  #applying: Promise<void> | undefined;

  #lacksOf(network: Network): NonNullable<NodeFacts["lacks"]> {
    const known = this.#lacks.get(network) ?? observeLacks(this.#options.namespace, network);
    this.#lacks.set(network, known);
    return known;
  }

  #apply(): void {
    const snapshot = this.#snapshot;
    if (!snapshot || this.#closed) return;
    const started = performance.now();
    try {
      const node = snapshot.nodes.get(this.#options.node);
      if (!node) return;
      if (!this.#facts) {
        this.#facts = observeUnderlay(this.#options.namespace, node);
        this.#announcer.adopt(snapshot, this.#facts, standingAddresses(this.#options.namespace));
      }
      const { network } = nodeSettings(snapshot, this.#options.node, { options: this.#said });
      this.#network.follow(network);
      this.#readRanges(node);
      const { current } = this.#network;
      const lacks = this.#lacksOf(current ?? network);
      const { learned } = this.#bgp;
      if (current === "routed") this.#pods.nameRouted();
      const plan = keepSame(
        this.#plan,
        planNode(snapshot, {
          node: this.#options.node,
          underlay: this.#facts,
          attachments: this.#attachments.list(),
          vtepMac: this.#vtepMac,
          lost: this.#announcer.lost,
          dnsAnswers: this.#dnsWatch.answers,
          lacks,
          options: this.#said,
          ...(current === undefined ? {} : { network: current }),
          keepOverlay: this.#overlayTail.lingers(snapshot, this.#options.node, learned),
          ...(this.#network.blocks ? { tunnels: this.#network.blocks.tunnels } : {}),
          ...(learned ? { learnedRoutes: learned } : {}),
        }),
      );
      this.#lookForForeign(plan.settings.services);
      const moved = policyMoved(this.#plan, plan);
      this.#plan = plan;
      this.#reconciler.set(plan.kernel);
      this.#announcer.follow(plan.announcement, this.#facts, snapshot.namespaces.get("kube-system")?.metadata.uid ?? "");
      this.#pods.reconcile();
      this.#cutter.follow(snapshot, moved, nameBook(this.#dnsWatch.ever));
      this.#dnsWatch.follow(plan);
      this.#policyLog.follow(plan, snapshot);
      this.#health.follow(healthChecks(snapshot, this.#options.node));
      this.#metrics.synced(measureSync(this.#synced, snapshot, this.#options.node, (performance.now() - started) / 1000));
      this.#synced = snapshot;
      this.#bgp.follow(snapshot, plan.routed);
      this.#nodeMetrics.follow(nodeMetricsPort(snapshot, plan));
      if (plan.routed) this.#network.blocks?.want(plan.routed.tunnels);
      this.#annotations.tell(plan.annotations, node);
    } catch (error) {
      this.#options.log(`plan: ${messageOf(error)}`);
    }
    this.#lastMs = performance.now() - started;
  }

  /** Once for each mode: what a mode takes over is foreign to the others. */
  #lookForForeign(mode: ServiceMode): void {
    if (this.#foreign?.mode === mode) return;
    let parts: readonly ForeignPart[] = [];
    try {
      parts = foreignProxy(this.#options.namespace, mode);
      if (this.#options.cleanForeign) {
        for (const { says, remove } of parts) {
          remove();
          this.#options.log(`removed what another service proxy had left: ${says}`);
        }
        parts = [];
      }
    } catch (error) {
      this.#options.log(`another service proxy: ${messageOf(error)}`);
    }
    this.#foreign = { mode, remarks: remarksOf(parts) };
  }

  #awaitPod(namespace: string, name: string, uid: string | undefined): Promise<void> {
    const known = (snapshot: ClusterSnapshot | undefined) => {
      const pod = snapshot?.pods.get(`${namespace}/${name}`);
      return pod !== undefined && (uid === undefined || pod.metadata.uid === undefined || pod.metadata.uid === uid);
    };
    if (known(this.#snapshot)) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(listener);
        resolve();
      };
      const listener = (snapshot: ClusterSnapshot) => known(snapshot) && done();
      // A pod that never comes is wired all the same, and denied everything that a policy could deny.
      const timer = setTimeout(done, POD_WAIT_MS);
      this.#waiting.add(listener);
    });
  }

  #unready(): string | undefined {
    if (!this.#snapshot) return "the cluster's objects have not been read yet";
    if (!this.#snapshot.nodes.get(this.#options.node)) return `there is no Node object ${this.#options.node}`;
    const changing = this.#network.unready;
    if (changing !== undefined) return changing;
    if (!this.#addresses()) return "the node has no podCIDR";
    if (this.#reconciler.status.runs === 0) return "the kernel has not been set up yet";
    return undefined;
  }

  /** Where addresses come from; undefined while they can't be given out. */
  #addresses(): PodAddresses | undefined {
    return this.#network.current === "routed" ? this.#network.blocks : this.#ranges?.addresses;
  }

  /** What the agent was told, where no object says it. */
  get #said(): { readonly services?: ServiceMode; readonly network?: Network } {
    const { services, network } = this.#options;
    return { ...(services === undefined ? {} : { services }), ...(network === undefined ? {} : { network }) };
  }

  #openBlocks(): BlockAddresses | undefined {
    const { node, api, log, collect } = this.#options;
    if (!api) return undefined;
    return new BlockAddresses({
      node,
      api,
      log,
      attachments: this.#attachments,
      snapshot: () => this.#snapshot,
      changed: () => this.#schedule(),
      ...(collect ? { timing: collect } : {}),
    });
  }

  /** The overlay's ranges, with what the records hold of them. */
  #readRanges(node: Node): void {
    const cidrs = podCidrs(node);
    if (this.#network.current !== "overlay") this.#ranges = undefined;
    else if (cidrs.length > 0 && this.#ranges?.cidrs !== cidrs.join()) {
      const inUse = this.#attachments.list().flatMap((record) => record.addresses);
      this.#ranges = { cidrs: cidrs.join(), addresses: rangeAddresses(createIpam(cidrs, inUse)) };
    }
  }

  /** Why the kernel does not hold the newest plan's policy; what else is out of order does not keep a pod from being wired. */
  #unprotected(): string | undefined {
    const { namespace } = this.#options;
    const { inSync, lastError } = this.#reconciler.status;
    if (inSync || !this.#plan) return undefined;
    const desired = { ...EMPTY_STATE, tables: this.#plan.kernel.tables };
    const observed = { ...EMPTY_STATE, tables: [namespace.nft.readTable(TABLE.family, TABLE.name)].filter((table) => table !== undefined) };
    const steps = diffState(desired, observed, { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [] });
    return steps.length > 0 ? lastError : undefined;
  }

  get plan(): NodePlan | undefined {
    return this.#plan;
  }

  get status(): AgentStatus {
    const reason = this.#unready() ?? (this.#reconciler.status.inSync ? undefined : this.#reconciler.status.lastError);
    return {
      node: this.#options.node,
      ready: reason === undefined,
      ...(reason === undefined ? {} : { reason }),
      revision: this.#plan?.revision ?? 0,
      pods: this.#pods.count,
      network: this.#network.current ?? "overlay",
      ranges: this.#addresses()?.usage() ?? [],
      kernel: this.#reconciler.status,
      podDrifts: this.#pods.drifts,
      bgp: this.#bgp.summary,
      services: this.#plan?.settings.services ?? "nftables",
      policyLog: this.#policyLog.status,
      dnsAnswers: this.#dnsWatch.answers,
      follows: [...(this.#plan?.follows ?? []), ...this.#bgp.follows],
      remarks: [...this.#network.remarks, ...(this.#plan?.remarks ?? []), ...this.#bgp.remarks, ...(this.#foreign?.remarks ?? [])],
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#keeper.close();
    for (const close of this.#closers) await close();
    this.#cutter.close();
    this.#health.close();
    this.#bgp.close();
    this.#nodeMetrics.close();
    this.#network.close();
    this.#overlayTail.close();
    this.#announcer.close();
    this.#policyLog.close();
    this.#dnsWatch.close();
    this.#reconciler.close();
    this.#pods.close();
  }
}

/** Links that no one else makes under such a name. (tunl0 comes with the kernel's module, and can't be deleted.) */
function isOurLink(name: string): boolean {
  return name === BRIDGE || /^flannel\.\d+$/.test(name) || name === "vxlan.calico" || name === "vxlan-v6.calico";
}

/** A node that is going takes no new connections from load balancers (KEP-3836). */
function isEligible(node: Node | undefined): boolean {
  if (!node || node.metadata.deletionTimestamp !== undefined) return false;
  return !(node.spec?.taints ?? []).some((taint) => taint.key === "ToBeDeletedByClusterAutoscaler");
}
