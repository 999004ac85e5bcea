// Pods' and tunnels' addresses of a routed node, out of blocks: asked for, given back, and looked through for what nobody has any more.
import { familyOf, messageOf } from "../base/index.ts";
import type { ClusterSnapshot, ObjectApi } from "../cluster/index.ts";
import type { AttachmentStore } from "../cni/index.ts";
import type { TunnelKind } from "../datapath/routed/index.ts";
import { AddressTakenError, assignPod, BlockIpam, Collector, type Pool, podWishes, readPools } from "../ipam/index.ts";
import type { AddressClaim, PodAddresses } from "./pod-addresses.ts";

export interface BlockAddressesOptions {
  readonly node: string;
  readonly api: ObjectApi;
  readonly snapshot: () => ClusterSnapshot | undefined;
  readonly attachments: AttachmentStore;
  readonly log: (message: string) => void;
  /** Tunnels have their addresses: the node must tell the others. */
  readonly changed: () => void;
  readonly timing?: CollectTiming;
}

/** How often lost addresses are looked for, and how long they are suspected, in seconds. */
export interface CollectTiming {
  readonly every: number;
  readonly grace: number;
}

const TIMING: CollectTiming = { every: 30, grace: 60 };

/** Handles and attributes of tunnels' addresses, as Calico names them. */
const TUNNELS: Readonly<
  Record<TunnelKind, { readonly handle: string; readonly type: string; readonly family: 4 | 6; readonly way: "VXLAN" | "IPIP" }>
> = {
  vxlan4: { handle: "vxlan-tunnel-addr", type: "vxlanTunnelAddress", family: 4, way: "VXLAN" },
  vxlan6: { handle: "vxlan-v6-tunnel-addr", type: "vxlanV6TunnelAddress", family: 6, way: "VXLAN" },
  ipip: { handle: "ipip-tunnel-addr", type: "ipipTunnelAddress", family: 4, way: "IPIP" },
};

export class BlockAddresses implements PodAddresses {
  readonly #options: BlockAddressesOptions;
  readonly #ipam: BlockIpam;
  readonly #collector: Collector;
  readonly #underWay = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #tunnels: Readonly<Partial<Record<TunnelKind, string>>> = {};
  #wanted = "";
  #lastFull: string | undefined;

  constructor(options: BlockAddressesOptions) {
    const { node, api, timing = TIMING } = options;
    this.#options = options;
    const snapshot = () => this.#snapshot();
    this.#ipam = new BlockIpam({ node, api, snapshot });
    this.#collector = new Collector({
      node,
      api,
      snapshot,
      ipam: this.#ipam,
      grace: timing.grace,
      isHeld: (handle) => this.#isHeld(handle),
    });
    this.#timer = setInterval(() => void this.#collect(), timing.every * 1000).unref();
  }

  /** Reads the node's blocks, and sees to it that every address on record is given out to it in them. @throws as the API does */
  async load(): Promise<void> {
    await this.#ipam.load();
    await this.#secure();
  }

  /** Every address on record is given out to its pod. */
  async #secure(): Promise<void> {
    const { attachments, log } = this.#options;
    for (const record of attachments.list())
      for (const address of record.addresses.map(plain))
        try {
          await this.#ipam.assignCertain(this.#owner(record), address);
        } catch (error) {
          if (!(error instanceof AddressTakenError)) throw error;
          // It stays where it is: routed to its pod, and announced by itself.
          log(`${record.podNamespace}/${record.podName} keeps ${address}: ${error.message}`);
        }
  }

  async assign(claim: AddressClaim): Promise<readonly string[]> {
    const handle = handleOf(claim);
    this.#underWay.add(handle);
    try {
      const wishes = podWishes(this.#snapshot(), this.#options.node, { namespace: claim.podNamespace, name: claim.podName });
      const addresses = await assignPod(this.#ipam, this.#owner(claim), wishes);
      this.#lastFull = undefined;
      return addresses.map((address) => `${address}/${familyOf(address) === 4 ? 32 : 128}`);
    } catch (error) {
      this.#lastFull = messageOf(error);
      throw error;
    }
  }

  settled(claim: AddressClaim): void {
    this.#underWay.delete(handleOf(claim));
  }

  async release(claim: AddressClaim, addresses: readonly string[]): Promise<void> {
    try {
      await this.#ipam.release(handleOf(claim), addresses.map(plain));
      if (claim.podName !== "") await this.#ipam.releasePod(claim.podNamespace, claim.podName, (handle) => this.#isHeld(handle));
    } catch (error) {
      this.#options.log(`${claim.podNamespace}/${claim.podName}: its addresses are given back later: ${messageOf(error)}`);
    }
  }

  full(): string | undefined {
    return this.#lastFull;
  }

  usage() {
    return this.#ipam.usage();
  }

  /** The tunnels' addresses that are known here, before the API tells them back. */
  get tunnels(): Readonly<Partial<Record<TunnelKind, string>>> {
    return this.#tunnels;
  }

  /** Sees to it that these tunnels have addresses, and no others. */
  want(kinds: readonly TunnelKind[]): void {
    const wanted = kinds.join();
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    void this.#assignTunnels(kinds).catch((error) => {
      this.#wanted = "";
      this.#options.log(`tunnel address: ${messageOf(error)}`);
    });
  }

  async #assignTunnels(kinds: readonly TunnelKind[]): Promise<void> {
    const { node, changed } = this.#options;
    const found: Partial<Record<TunnelKind, string>> = {};
    for (const kind of kinds) {
      const { type, family, way } = TUNNELS[kind];
      const labels = this.#snapshot().nodes.get(node)?.metadata.labels ?? {};
      const fits = (pool: Pool) =>
        pool.prefix.family === family &&
        pool.encapsulation.startsWith(way) &&
        pool.uses.has("Tunnel") &&
        !pool.disabled &&
        pool.fits.node(labels);
      found[kind] = await this.#ipam.assignTunnel(
        { handle: tunnelHandle(kind, node), secondary: { node, type } },
        readPools(this.#snapshot()).all.filter(fits),
      );
    }
    for (const kind of Object.keys(TUNNELS) as TunnelKind[]) if (!kinds.includes(kind)) await this.#ipam.release(tunnelHandle(kind, node));
    this.#tunnels = found;
    changed();
  }

  async #collect(): Promise<void> {
    try {
      const { addresses, blocks } = await this.#collector.round();
      if (addresses.length > 0) this.#options.log(`given back, as nobody had them any more: ${addresses.join(", ")}`);
      // Somebody may have given back what a pod has.
      await this.#secure();
      if (blocks.length > 0) this.#options.log(`blocks of nodes that are gone, given back: ${blocks.join(", ")}`);
    } catch (error) {
      this.#options.log(`looking for lost addresses: ${messageOf(error)}`);
    }
  }

  #isHeld(handle: string): boolean {
    if (this.#underWay.has(handle)) return true;
    const { attachments, node } = this.#options;
    if ((Object.keys(TUNNELS) as TunnelKind[]).some((kind) => tunnelHandle(kind, node) === handle)) return true;
    return attachments.list().some((record) => handleOf(record) === handle);
  }

  #owner(claim: AddressClaim) {
    const { podNamespace: namespace, podName: pod } = claim;
    return { handle: handleOf(claim), secondary: { node: this.#options.node, ...(pod === "" ? {} : { namespace, pod }) } };
  }

  #snapshot(): ClusterSnapshot {
    const snapshot = this.#options.snapshot();
    if (!snapshot) throw new Error("the cluster's objects have not been read yet");
    return snapshot;
  }

  /** Gives back everything that the node has of blocks: it goes back to its own ranges. Never throws. */
  async leave(): Promise<void> {
    this.close();
    const { node, log } = this.#options;
    try {
      for (const kind of Object.keys(TUNNELS) as TunnelKind[]) await this.#ipam.release(tunnelHandle(kind, node));
      for (const { spec } of this.#ipam.blocks) await this.#ipam.releaseBlock(spec.cidr);
    } catch (error) {
      log(`blocks are not given back: ${messageOf(error)}`);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

function tunnelHandle(kind: TunnelKind, node: string): string {
  return `${TUNNELS[kind].handle}-${node}`;
}

/** A handle stands for one interface of one container. */
function handleOf({ network, containerId, interface: name }: AddressClaim): string {
  return `${network}.${containerId}${name === "eth0" ? "" : `.${name}`}`;
}

const plain = (address: string): string => address.replace(/\/.*/, "");
