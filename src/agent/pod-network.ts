// Wires and unwires pods: what a CNI call reaches.
//
// ADD, in this order, so that no packet passes before the pod's policy, and all pass once ADD has returned:
//   address → record on disk → plan (policy in the kernel) → veth, its end in the pod configured → host end into the bridge
import { basename } from "node:path";
import { familyOf, messageOf } from "../base/index.ts";
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
import { caliName, HOST_MAC, POD_GATEWAYS } from "../datapath/routed/index.ts";
import { AddressTakenError, PoolsFullError, RangeFullError } from "../ipam/index.ts";
import {
  createReconciler,
  diffState,
  interfaceOfSysctl,
  isErrno,
  type Kernel,
  type KernelState,
  type Link,
  type NetworkNamespace,
  type Ownership,
  type Reconciler,
  ROUTE_PROTOCOL,
} from "../kernel/index.ts";

import type { FlowCutter } from "./flow-cutter.ts";
import type { PodAddresses } from "./pod-addresses.ts";

export interface PodNetworkOptions {
  readonly kernel: Kernel;
  /** The node's own namespace. */
  readonly namespace: NetworkNamespace;
  readonly attachments: AttachmentStore;
  readonly log: (message: string) => void;
  /** Where addresses come from; undefined while they can't be given out. */
  readonly addresses: () => PodAddresses | undefined;
  /** Whether pods are routed, each for itself; else they are ports of a bridge. */
  readonly routed: () => boolean;
  /** Resolves once the snapshot holds the pod (or gave up waiting). */
  readonly awaitPod: (namespace: string, name: string, uid: string | undefined) => Promise<void>;
  /** Plans and writes the node's kernel, once for all that ask for it in this turn of the event loop. */
  readonly applyNow: () => Promise<void>;
  /** Why the newest plan's policy is not in force; undefined if it is. */
  readonly unprotected: () => string | undefined;
  /** Cuts the flows of addresses that have no owner any more. */
  readonly flows: Pick<FlowCutter, "forget" | "settle">;
  /** The host's end of a pod was made. */
  readonly linkMade: () => void;
  /** Plans soon. */
  readonly applySoon: () => void;
  /** What a wired container's namespace must hold, by the newest plan. */
  readonly podState: (containerId: string) => KernelState | undefined;
  /** Why the node can't serve; undefined if it can. */
  readonly unready: () => string | undefined;
  /** Why what is wired already may not work as it should; undefined if all is in force. */
  readonly impaired: () => string | undefined;
  /** The node's own namespace as planned. */
  readonly planned: () => KernelState | undefined;
}

/** A pod's other links and addresses are its own, or those of plugins later in the chain. */
const IN_POD: Ownership = { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [] };

/** The node's wired pods: CNI handler, and a reconciler for each pod's namespace. */
export class PodNetwork implements CniHandler {
  readonly #options: PodNetworkOptions;
  readonly #pods = new Map<string, { namespace: NetworkNamespace; reconciler: Reconciler; state?: KernelState }>();

  constructor(options: PodNetworkOptions) {
    this.#options = options;
  }

  /** Takes over the pods on record after a restart. Those whose veth is gone (the node was rebooted) free their addresses. */
  adopt(): void {
    const { attachments, namespace, log } = this.#options;
    for (const file of attachments.damaged) this.#cutOff(file);
    const links = new Set(namespace.listLinks().map((link) => link.name));
    for (const written of [...attachments.list()]) {
      const name = hostLinksOf(written.containerId, written.interface).find((each) => links.has(each));
      // It was given its other name, and the agent died before it was written down.
      const record = name === undefined || links.has(written.hostLink) ? written : { ...written, hostLink: name };
      if (record !== written) attachments.put(record);
      // A veth goes with the namespace of either end.
      if (!links.has(record.hostLink)) {
        void this.#release(record);
        continue;
      }
      try {
        this.#watchPod(record);
      } catch (error) {
        log(`${record.containerId} ${record.interface} (pod ${record.podNamespace}/${record.podName}) is not watched: ${messageOf(error)}`);
      }
    }
  }

  /** A pod whose record is lost is subject to no policy, and its addresses count as free: it must not stay in the network. */
  #cutOff(file: string): void {
    const parts = basename(file, ".json").split(".");
    // Container ids and interface names may both hold dots.
    for (let at = 1; at < parts.length; at++) {
      for (const hostLink of hostLinksOf(parts.slice(0, at).join("."), parts.slice(at).join(".")))
        if (this.#deleteLink(hostLink))
          this.#options.log(`${hostLink} is cut off: its record is damaged (${file}), the pod must be made anew`);
    }
  }

  /** Gives the host's ends of pods that the overlay has wired the names that routed pods' have: rules tell them by it. */
  nameRouted(): void {
    const { attachments, log } = this.#options;
    for (const record of [...attachments.list()]) {
      const name = caliName(record.containerId, record.interface);
      if (record.hostLink === name) continue;
      try {
        this.#rename(record.hostLink, name);
        attachments.put({ ...record, hostLink: name });
      } catch (error) {
        log(`${record.hostLink} keeps its name: ${messageOf(error)}`);
      }
      this.#options.linkMade();
    }
  }

  #rename(from: string, to: string): void {
    const { namespace } = this.#options;
    try {
      namespace.moveLink(from, namespace, to);
    } catch (error) {
      // Before Linux 6.2 a device must be down for it; the plan raises it again at once.
      if (!isErrno(error, "EBUSY")) throw error;
      namespace.apply({ op: "set", link: { name: from, up: false } });
      namespace.moveLink(from, namespace, to);
    }
  }

  /** Brings the pods' namespaces to the newest plan. */
  reconcile(): void {
    for (const [containerId, pod] of this.#pods) {
      const state = this.#options.podState(containerId);
      // What is the same has been given; that it stays is the reconciler's own concern.
      if (!state || state === pod.state) continue;
      pod.state = state;
      pod.reconciler.set(state);
    }
  }

  async add(request: CniRequest): Promise<CniResult> {
    const { attachments, log } = this.#options;
    const addresses = this.#options.addresses();
    const unready = this.#options.unready();
    if (!addresses || unready !== undefined)
      throw new CniError(CNI_CODE.tryAgain, "the node's network is not ready yet", unready ?? "the node has no podCIDR");
    const known = attachments.get(request.containerId, request.ifname);
    if (known)
      throw new CniError(
        CNI_CODE.invalidEnvironment,
        `CNI_CONTAINERID ${request.containerId} has CNI_IFNAME ${request.ifname} already`,
        "DEL comes before a second ADD",
      );
    const namespace = this.#openPod(request);
    if (namespace.inode === this.#options.namespace.inode && !request.netnsOverride) {
      namespace.close();
      throw new CniError(CNI_CODE.invalidNamespace, `CNI_NETNS "${request.netns}" is the node's own network namespace`);
    }
    const { K8S_POD_NAMESPACE: podNamespace = "", K8S_POD_NAME: podName = "", K8S_POD_UID: podUid } = request.args;
    if (podName !== "") await this.#options.awaitPod(podNamespace, podName, podUid);
    let record: AttachmentRecord | undefined;
    const { network, containerId, ifname } = request;
    const claim = { network, containerId, interface: ifname, podNamespace, podName };
    try {
      const assigned = await addresses.assign(claim);
      await this.#options.flows.settle(assigned.map(plain));
      if (this.#options.addresses() !== addresses || attachments.get(containerId, ifname)) {
        await addresses.release(claim, assigned);
        throw new CniError(CNI_CODE.tryAgain, "the node's network, or the container, has changed while addresses were sought");
      }
      record = {
        ...claim,
        ...(podUid === undefined ? {} : { podUid }),
        netns: request.netns,
        hostLink: this.#options.routed() ? caliName(containerId, ifname) : hostLinkName(containerId, ifname),
        mac: macOf(`${containerId}/${ifname}`),
        addresses: assigned,
      };
      attachments.put(record);
      addresses.settled(claim);
      await this.#options.applyNow();
      if (attachments.get(record.containerId, record.interface) !== record)
        throw new CniError(CNI_CODE.tryAgain, "the container was deleted while it was added");
      const unprotected = this.#options.unprotected();
      if (unprotected !== undefined) throw new CniError(CNI_CODE.tryAgain, "the pod's policy is not in force yet", unprotected);
      const mtu = this.#makeVeth(record, namespace);
      this.#options.applySoon();
      return resultOf({ record, request, mtu, hostMac: this.#hostMac(record), bridge: this.#bridge() });
    } catch (error) {
      addresses.settled(claim);
      // A DEL that came in between has given back everything, and another pod may have it by now.
      if (record && attachments.get(record.containerId, record.interface) === record) await this.#unwire(record);
      if (this.#pods.get(request.containerId)?.namespace !== namespace) namespace.close();
      if (error instanceof CniError) throw error;
      if (error instanceof RangeFullError || error instanceof PoolsFullError || error instanceof AddressTakenError)
        throw new CniError(CNI_CODE.rangeFull, error.message, "", error);
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

  /** @returns the MTU of the pair, in bytes */
  #makeVeth(record: AttachmentRecord, namespace: NetworkNamespace): number | undefined {
    const state = this.#options.podState(record.containerId);
    if (!state) throw new CniError(CNI_CODE.tryAgain, "the node's plan does not hold the pod yet");
    const mtu = state.links[0]?.mtu;
    const node = this.#options.namespace;
    const size = mtu === undefined ? {} : { mtu };
    const make = () =>
      node.addVethPair(
        { name: record.hostLink, mac: this.#hostMac(record), ...size },
        { name: record.interface, namespace, mac: record.mac, ...size },
      );
    try {
      make();
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      // A veth that an earlier, interrupted ADD left is in the way; if not, the name is taken within the pod.
      if (!this.#deleteLink(record.hostLink)) throw nameTaken(record, error);
      make();
    }
    this.#setUpPod(record, namespace, state);
    this.#raise(record.hostLink);
    this.#options.linkMade();
    return mtu;
  }

  /** Brings the host's end into the network as it is planned: the bridge's port, or a router of its own. */
  #raise(name: string): void {
    const { namespace } = this.#options;
    const planned = this.#options.planned();
    const link = planned?.links.find((each) => each.name === name);
    if (!planned || !link) throw new CniError(CNI_CODE.tryAgain, "the node's plan does not hold the pod yet");
    for (const [key, value] of Object.entries(planned.sysctls)) if (interfaceOfSysctl(key) === name) namespace.writeSysctl(key, value);
    const { master, hairpin, gsoIpv4MaxSize, fastPath } = link;
    const port = { ...(master ? { master } : {}), ...(hairpin === undefined ? {} : { hairpin }) };
    const sizes = gsoIpv4MaxSize === undefined ? {} : { gsoIpv4MaxSize };
    namespace.apply({ op: "set", link: { name, ...port, ...sizes, ...(fastPath ? { fastPath } : {}), up: true } });
    for (const address of planned.addresses) if (address.link === name) namespace.apply({ op: "replace", address });
    for (const route of planned.routes) if (route.nexthops.some((hop) => hop.link === name)) namespace.apply({ op: "replace", route });
  }

  #hostMac({ containerId, interface: name }: AttachmentRecord): string {
    return this.#options.routed() ? HOST_MAC : macOf(`${containerId}/${name}/host`);
  }

  #bridge(): Link | undefined {
    return this.#options.routed() ? undefined : this.#options.planned()?.links.find((link) => link.name === BRIDGE);
  }

  /** @throws KernelError, or CniError if the path leads to another namespace by now */
  #watchPod(record: AttachmentRecord): void {
    if (this.#pods.has(record.containerId)) return;
    const namespace = this.#options.kernel.openNamespace(record.netns);
    // Paths such as /proc/PID/ns/net are used again after a reboot.
    if (!namespace.listLinks().some((link) => link.name === record.interface && link.mac === record.mac)) {
      namespace.close();
      throw new CniError(CNI_CODE.damaged, `${record.netns} does not hold ${record.interface} with ${record.mac}`);
    }
    this.#pods.set(record.containerId, { namespace, reconciler: createReconciler({ namespace, owns: IN_POD }) });
  }

  #setUpPod(record: AttachmentRecord, namespace: NetworkNamespace, state: KernelState): void {
    const known = this.#pods.get(record.containerId);
    const reconciler = known?.reconciler ?? createReconciler({ namespace, owns: IN_POD });
    if (known) namespace.close();
    else this.#pods.set(record.containerId, { namespace, reconciler });
    reconciler.set(state);
    // The veth came through another handle than the one that an earlier interface's reconciler listens with.
    const status = known ? reconciler.resync() : reconciler.status;
    if (!status.inSync) throw new CniError(CNI_CODE.ioFailure, "the pod's interface could not be set up", status.lastError);
  }

  async delete(request: CniRequest): Promise<void> {
    const record = this.#options.attachments.get(request.containerId, request.ifname);
    if (record) await this.#unwire(record);
    else await this.#forget(request);
  }

  /** What is not on record may still be there: a veth, or addresses. */
  async #forget({ network, containerId, ifname, args }: CniRequest): Promise<void> {
    for (const link of hostLinksOf(containerId, ifname)) await this.#removeLink(link);
    const { K8S_POD_NAMESPACE: podNamespace = "", K8S_POD_NAME: podName = "" } = args;
    if (this.#options.routed())
      await this.#options.addresses()?.release({ network, containerId, interface: ifname, podNamespace, podName }, []);
  }

  /** Takes down whatever of the attachment is there; absent is no error. */
  async #unwire(record: AttachmentRecord): Promise<void> {
    await this.#removeLink(record.hostLink);
    // Another call may have been faster, and the addresses may be another pod's by now.
    if (this.#options.attachments.get(record.containerId, record.interface) === record) await this.#release(record);
  }

  /** Gives back what an attachment whose link is gone still holds. */
  async #release(record: AttachmentRecord): Promise<void> {
    const { attachments } = this.#options;
    attachments.delete(record.containerId, record.interface);
    if (!attachments.list().some((other) => other.containerId === record.containerId)) {
      const pod = this.#pods.get(record.containerId);
      pod?.reconciler.close();
      pod?.namespace.close();
      this.#pods.delete(record.containerId);
    }
    // The next pod with one of these addresses must not inherit its flows.
    this.#options.flows.forget(record.addresses.map(plain));
    this.#options.applySoon();
    await this.#options.addresses()?.release(record, record.addresses);
  }

  async #removeLink(name: string): Promise<void> {
    try {
      await this.#options.namespace.removeLink(name);
    } catch (error) {
      if (!isErrno(error, "ENODEV", "ENOENT")) throw error;
    }
  }

  /** @returns whether it was there */
  #deleteLink(name: string): boolean {
    try {
      this.#options.namespace.apply({ op: "delete", link: { name } });
      return true;
    } catch (error) {
      if (isErrno(error, "ENODEV", "ENOENT")) return false;
      throw error;
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
    const master = this.#options.routed() ? undefined : BRIDGE;
    if (host.master !== master || host.up === false)
      damaged(
        `${record.hostLink} is not ${master === undefined ? "up by itself" : `an active port of ${master}`}`,
        `master ${host.master ?? "none"}`,
      );
    const unprotected = this.#options.unprotected();
    if (unprotected !== undefined) damaged("the container's policy is not in force", unprotected);
    const namespace = this.#openPod(request);
    try {
      const observed = namespace.observe();
      const expected = addressesOf(request.prevResult, request.ifname);
      const there = new Set(observed.addresses.filter((each) => each.link === request.ifname).map((each) => each.address));
      const lacking = expected.filter((address) => !there.has(address));
      if (lacking.length > 0) damaged(`${request.ifname} lacks ${lacking.join(", ")}`, `it has ${[...there].join(", ") || "no address"}`);
      const state = this.#options.podState(record.containerId);
      const steps = state ? diffState(checkable(state, request), observed, IN_POD) : [];
      if (!state || !observed.links.some((link) => link.name === request.ifname)) damaged(`${request.ifname} is gone`);
      if (steps.length > 0)
        damaged(
          `${request.ifname} is not as it should be`,
          `${steps.length} difference${steps.length === 1 ? "" : "s"}: ${JSON.stringify(steps[0]).slice(0, 200)}`,
        );
    } finally {
      namespace.close();
    }
  }

  async collectGarbage(request: CniRequest): Promise<void> {
    const valid = new Set(request.validAttachments.map((each) => `${each.containerID} ${each.ifname}`));
    const failures: string[] = [];
    for (const record of [...this.#options.attachments.list()]) {
      if (record.network !== request.network || valid.has(`${record.containerId} ${record.interface}`)) continue;
      try {
        await this.#unwire(record);
      } catch (error) {
        failures.push(`${record.containerId} ${record.interface}: ${messageOf(error)}`);
      }
    }
    if (failures.length > 0)
      throw new CniError(CNI_CODE.ioFailure, `${failures.length} attachments could not be removed`, failures.join("; "));
  }

  status(_request: CniRequest): void {
    const unready = this.#options.unready();
    if (unready !== undefined) throw new CniError(CNI_CODE.unavailable, "the node's network can't serve ADD", unready);
    const impaired = this.#options.impaired();
    if (impaired !== undefined) throw new CniError(CNI_CODE.limited, "the node's kernel is not as it should be", impaired);
    const full = this.#options.addresses()?.full();
    if (full !== undefined) throw new CniError(CNI_CODE.unavailable, "no pod can have an address", full);
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

function nameTaken({ interface: name, netns }: AttachmentRecord, cause: unknown): CniError {
  return new CniError(CNI_CODE.invalidEnvironment, `CNI_IFNAME "${name}" exists already in the container`, netns, cause);
}

/** Names that the host's end may have: by the network that was in effect when it was made. */
function hostLinksOf(containerId: string, ifname: string): readonly string[] {
  return [hostLinkName(containerId, ifname), caliName(containerId, ifname)];
}

/** A pod's router, as it is told: the bridge, or what the host's end answers for. */
function gatewayFor(address: string): string {
  const family = familyOf(address);
  return address.endsWith(family === 4 ? "/32" : "/128") ? POD_GATEWAYS[family] : gatewayOf(address);
}

/** The addresses that a result gives to an interface of the container. */
function addressesOf(result: CniResult | undefined, ifname: string): string[] {
  const interfaces = result?.interfaces ?? [];
  const ours = (index: number | undefined) =>
    index === undefined || (interfaces[index]?.name === ifname && interfaces[index].sandbox !== "");
  return (result?.ips ?? []).filter((ip) => ours(ip.interface)).map((ip) => ip.address);
}

/** What CHECK demands of a container: the interface, and of its routes those that the chain's final result still names. */
function checkable(state: KernelState, { ifname, prevResult }: CniRequest): KernelState {
  const named = new Set((prevResult?.routes ?? []).map((route) => route.dst));
  return {
    ...state,
    links: state.links.filter((link) => link.name === ifname),
    addresses: state.addresses.filter((address) => address.link === ifname),
    routes: state.routes.filter((route) => named.has(route.destination)),
  };
}

interface Wired {
  readonly record: AttachmentRecord;
  readonly request: CniRequest;
  readonly mtu: number | undefined;
  readonly hostMac: string;
  /** Undefined where pods are routed. */
  readonly bridge: Link | undefined;
}

/** An address without its prefix length. */
function plain(address: string): string {
  return address.replace(/\/.*/, "");
}

/** The result of ADD. In a chain, what earlier plugins said stays. */
function resultOf({ record, request, mtu, hostMac, bridge }: Wired): CniResult {
  const earlier = request.prevResult;
  const { dns } = request.config;
  const before = earlier?.interfaces ?? [];
  const size = mtu === undefined ? {} : { mtu };
  const ways = record.addresses.map((address) => ({ address, gateway: gatewayFor(address) }));
  const { mac: bridgeMac, mtu: bridgeMtu } = bridge ?? {};
  const named = bridge && {
    name: BRIDGE,
    ...(bridgeMac === undefined ? {} : { mac: bridgeMac }),
    ...(bridgeMtu === undefined ? {} : { mtu: bridgeMtu }),
  };
  const hostSide = [...before, ...(named ? [named] : [])];
  return {
    ...earlier,
    interfaces: [
      ...hostSide,
      { name: record.hostLink, mac: hostMac, ...size },
      { name: record.interface, mac: record.mac, ...size, sandbox: record.netns },
    ],
    ips: [...(earlier?.ips ?? []), ...ways.map((way) => ({ ...way, interface: hostSide.length + 1 }))],
    routes: [
      ...(earlier?.routes ?? []),
      ...ways.map(({ address, gateway }) => ({ dst: address.includes(":") ? "::/0" : "0.0.0.0/0", gw: gateway })),
    ],
    // The configuration's own, as the well-known key is meant.
    ...(typeof dns === "object" && dns !== null ? { dns } : {}),
  };
}
