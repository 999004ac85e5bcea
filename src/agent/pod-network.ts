// Wires and unwires pods: what a CNI call reaches.
//
// ADD, in this order, so that no packet passes before the pod's policy, and all pass once ADD has returned:
//   address → record on disk → plan (policy in the kernel) → veth, its end in the pod configured → host end into the bridge
import { messageOf } from "../base/index.ts";
import {
  type AttachmentRecord,
  type AttachmentStore,
  CNI_CODE,
  CniError,
  type CniHandler,
  type CniRequest,
  type CniResult,
} from "../cni/index.ts";
import { BRIDGE, gatewayOf, hostLinkName, macOf } from "../datapath/overlay/index.ts";
import { type Ipam, RangeFullError } from "../ipam/index.ts";
import {
  createReconciler,
  diffState,
  isErrno,
  type Kernel,
  type KernelState,
  type NetworkNamespace,
  type Ownership,
  type Reconciler,
} from "../kernel/index.ts";

export interface PodNetworkOptions {
  readonly kernel: Kernel;
  /** The node's own namespace. */
  readonly namespace: NetworkNamespace;
  readonly attachments: AttachmentStore;
  readonly log: (message: string) => void;
  /** The node's allocator; undefined while the node has no podCIDR. */
  readonly ipam: () => Ipam | undefined;
  /** Resolves once the snapshot holds the pod (or gave up waiting). */
  readonly awaitPod: (namespace: string, name: string, uid: string | undefined) => Promise<void>;
  /** Plans and writes the node's kernel now. */
  readonly applyNow: () => void;
  /** Plans soon. */
  readonly applySoon: () => void;
  /** What a wired pod's namespace must hold, by the newest plan. */
  readonly podState: (containerId: string) => KernelState | undefined;
  /** Why the node can't serve; undefined if it can. */
  readonly unready: () => string | undefined;
}

const IN_POD: Ownership = { links: (name) => name !== "lo", routeProtocol: 84, tables: [] };

/** The node's wired pods: CNI handler, and a reconciler for each pod's namespace. */
export class PodNetwork implements CniHandler {
  readonly #options: PodNetworkOptions;
  readonly #pods = new Map<string, { namespace: NetworkNamespace; reconciler: Reconciler }>();

  constructor(options: PodNetworkOptions) {
    this.#options = options;
  }

  /** Takes over the pods on record after a restart. Namespaces that are gone (the node was rebooted) free their addresses. */
  adopt(): void {
    for (const record of this.#options.attachments.list()) {
      try {
        this.#watchPod(record);
      } catch (error) {
        if (!isErrno(error, "ENOENT", "EINVAL")) this.#options.log(`pod ${record.podNamespace}/${record.podName}: ${messageOf(error)}`);
        this.#forget(record);
      }
    }
  }

  /** Brings the pods' namespaces to the newest plan. */
  reconcile(): void {
    for (const [containerId, { reconciler }] of this.#pods) {
      const state = this.#options.podState(containerId);
      if (state) reconciler.set(state);
    }
  }

  async add(request: CniRequest): Promise<CniResult> {
    const { attachments, log } = this.#options;
    const ipam = this.#options.ipam();
    const unready = this.#options.unready();
    if (!ipam || unready !== undefined)
      throw new CniError(CNI_CODE.tryAgain, "the node's network is not ready yet", unready ?? "the node has no podCIDR");
    const known = attachments.get(request.containerId, request.ifname);
    if (known)
      throw new CniError(
        CNI_CODE.invalidEnvironment,
        `container ${request.containerId} has ${request.ifname} already`,
        "DEL comes before a second ADD",
      );
    const namespace = this.#openPod(request);
    const { K8S_POD_NAMESPACE: podNamespace = "", K8S_POD_NAME: podName = "", K8S_POD_UID: podUid } = request.args;
    if (podName !== "") await this.#options.awaitPod(podNamespace, podName, podUid);
    let record: AttachmentRecord | undefined;
    try {
      const allocations = ipam.allocate();
      record = {
        network: request.network,
        containerId: request.containerId,
        interface: request.ifname,
        podNamespace,
        podName,
        ...(podUid === undefined ? {} : { podUid }),
        netns: request.netns,
        hostLink: hostLinkName(request.containerId, request.ifname),
        mac: macOf(`${request.containerId}/${request.ifname}`),
        addresses: allocations.map((allocation) => allocation.address),
      };
      attachments.put(record);
      this.#options.applyNow();
      this.#makeVeth(record, namespace);
      this.#options.applySoon();
      return resultOf(record, request);
    } catch (error) {
      if (record) this.#unwire(record);
      else namespace.close();
      if (error instanceof CniError) throw error;
      if (error instanceof RangeFullError) throw new CniError(CNI_CODE.rangeFull, error.message, "", error);
      log(`ADD ${podNamespace}/${podName}: ${messageOf(error)}`);
      throw new CniError(CNI_CODE.ioFailure, `the pod could not be wired: ${messageOf(error)}`, "", error);
    }
  }

  #openPod(request: CniRequest): NetworkNamespace {
    try {
      return this.#options.kernel.openNamespace(request.netns);
    } catch (cause) {
      throw new CniError(CNI_CODE.unknownContainer, `CNI_NETNS "${request.netns}" is no network namespace`, messageOf(cause), cause);
    }
  }

  #makeVeth(record: AttachmentRecord, namespace: NetworkNamespace): void {
    const state = this.#options.podState(record.containerId);
    if (!state) throw new CniError(CNI_CODE.tryAgain, "the node's plan does not hold the pod yet");
    const mtu = state.links[0]?.mtu;
    const node = this.#options.namespace;
    const size = mtu === undefined ? {} : { mtu };
    // A veth that an earlier, interrupted ADD left is in the way.
    if (node.listLinks().some((link) => link.name === record.hostLink)) node.apply({ op: "delete", link: { name: record.hostLink } });
    node.addVethPair({ name: record.hostLink, ...size }, { name: record.interface, namespace, mac: record.mac, ...size });
    this.#startReconciler(record, namespace, state);
    node.apply({ op: "set", link: { name: record.hostLink, master: BRIDGE, hairpin: true, up: true } });
  }

  #watchPod(record: AttachmentRecord): void {
    const namespace = this.#options.kernel.openNamespace(record.netns);
    this.#startReconciler(record, namespace, undefined);
  }

  #startReconciler(record: AttachmentRecord, namespace: NetworkNamespace, state: KernelState | undefined): void {
    const reconciler = createReconciler({ namespace, owns: IN_POD });
    this.#pods.set(record.containerId, { namespace, reconciler });
    if (!state) return;
    const status = reconciler.set(state);
    if (!status.inSync) throw new CniError(CNI_CODE.ioFailure, "the pod's interface could not be set up", status.lastError);
  }

  delete(request: CniRequest): void {
    const record = this.#options.attachments.get(request.containerId, request.ifname);
    if (record) this.#unwire(record);
  }

  /** Takes down whatever of the attachment is there; absent is no error. */
  #unwire(record: AttachmentRecord): void {
    try {
      this.#options.namespace.apply({ op: "delete", link: { name: record.hostLink } });
    } catch (error) {
      if (!isErrno(error, "ENODEV", "ENOENT")) throw error;
    }
    this.#forget(record);
  }

  #forget(record: AttachmentRecord): void {
    const pod = this.#pods.get(record.containerId);
    pod?.reconciler.close();
    pod?.namespace.close();
    this.#pods.delete(record.containerId);
    this.#options.attachments.delete(record.containerId, record.interface);
    this.#options.ipam()?.release(record.addresses);
    for (const address of record.addresses) this.#cutFlows(address.replace(/\/.*/, ""));
    this.#options.applySoon();
  }

  /** The next pod with this address must not inherit its flows. */
  #cutFlows(address: string): void {
    try {
      this.#options.namespace.conntrack.delete((flow) => flow.source === address || flow.replySource === address);
    } catch (error) {
      this.#options.log(`conntrack of ${address}: ${messageOf(error)}`);
    }
  }

  check(request: CniRequest): void {
    const record = this.#options.attachments.get(request.containerId, request.ifname);
    const damaged = (message: string, details = ""): never => {
      throw new CniError(CNI_CODE.damaged, message, details);
    };
    if (!record)
      throw new CniError(CNI_CODE.unknownContainer, `container ${request.containerId} has no ${request.ifname} here`, "ADD comes first");
    const host = this.#options.namespace.listLinks().find((link) => link.name === record.hostLink);
    if (!host) throw new CniError(CNI_CODE.damaged, `the host's end ${record.hostLink} is gone`);
    if (host.master !== BRIDGE || host.up === false)
      damaged(`${record.hostLink} is not an active port of ${BRIDGE}`, `master ${host.master ?? "none"}`);
    const expected = (request.prevResult?.ips ?? []).map((ip) => ip.address);
    const lacking = expected.filter((address) => !record.addresses.includes(address));
    if (lacking.length > 0)
      damaged(`prevResult names ${lacking.join(", ")}, which is not the container's`, `it has ${record.addresses.join(", ")}`);
    const namespace = this.#openPod(request);
    try {
      const state = this.#options.podState(record.containerId);
      const steps = state ? diffState(state, namespace.observe(), IN_POD) : [];
      if (steps.length > 0)
        damaged(
          `${request.ifname} is not as it should be`,
          `${steps.length} difference${steps.length === 1 ? "" : "s"}: ${JSON.stringify(steps[0]).slice(0, 200)}`,
        );
    } finally {
      namespace.close();
    }
  }

  collectGarbage(request: CniRequest): void {
    const valid = new Set(request.validAttachments.map((each) => `${each.containerID} ${each.ifname}`));
    for (const record of this.#options.attachments.list()) {
      if (record.network === request.network && !valid.has(`${record.containerId} ${record.interface}`)) this.#unwire(record);
    }
  }

  status(_request: CniRequest): void {
    const unready = this.#options.unready();
    if (unready !== undefined) throw new CniError(CNI_CODE.unavailable, "the node's network can't serve ADD", unready);
    const full = this.#options
      .ipam()
      ?.usage()
      .find((range) => range.used >= range.size);
    if (full) throw new CniError(CNI_CODE.limited, `no address is free in ${full.range}`, `${full.used} of ${full.size} are in use`);
  }

  get count(): number {
    return this.#pods.size;
  }

  /** Objects mended inside pods after drift. */
  get drifts(): number {
    let drifts = 0;
    for (const { reconciler } of this.#pods.values()) drifts += reconciler.status.drifts;
    return drifts;
  }

  /** Stops watching; everything stays wired. */
  close(): void {
    for (const { reconciler, namespace } of this.#pods.values()) {
      reconciler.close();
      namespace.close();
    }
    this.#pods.clear();
  }
}

/** The result of ADD. In a chain, what earlier plugins said stays. */
function resultOf(record: AttachmentRecord, request: CniRequest): CniResult {
  const earlier = request.prevResult;
  const before = earlier?.interfaces ?? [];
  const gateways = record.addresses.map(gatewayOf);
  return {
    ...earlier,
    interfaces: [
      ...before,
      { name: BRIDGE },
      { name: record.hostLink },
      { name: record.interface, mac: record.mac, sandbox: record.netns },
    ],
    ips: [
      ...(earlier?.ips ?? []),
      ...record.addresses.map((address, index) => ({ address, gateway: gateways[index] ?? "", interface: before.length + 2 })),
    ],
    routes: [
      ...(earlier?.routes ?? []),
      ...record.addresses.map((address, index) => ({ dst: address.includes(":") ? "::/0" : "0.0.0.0/0", gw: gateways[index] ?? "" })),
    ],
  };
}
