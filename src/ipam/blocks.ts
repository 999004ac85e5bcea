// A node's addresses out of blocks: objects of the API that are changed by compare-and-swap, so that no two nodes give out one address.
//
//   own blocks ─▶ a new block ─▶ own blocks, also what rests ─▶ other nodes' blocks (not with strict affinity)
//
//   take: block, then handle        give back: handle, then block
//
// Whatever a crash leaves half done is an allocation that no record stands behind; the collector finds it in its block.
import { formatPrefix, networkOf, parsePrefix } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { allocationsOf, type BlockAllocation, isSound, nodeOf, type TakeOptions, takeAddress, takeCertain } from "./block.ts";
import { type BlockIpamOptions, BlockStore } from "./block-store.ts";
import { candidateBlocks } from "./candidates.ts";
import { AddressTakenError, PoolsFullError } from "./errors.ts";
import { IPAM_RESOURCES, type IpamBlock } from "./objects.ts";
import { type Pool, poolOf, readPools } from "./pools.ts";
import { ipamSettings, type PodWishes } from "./settings.ts";

/** Whose addresses these are. */
export interface AddressOwner {
  readonly handle: string;
  /** What a person wants to know of it: node, namespace, pod, timestamp. */
  readonly secondary: Readonly<Record<string, string>>;
  /** Number of the address within a block that is taken if it is free. */
  readonly prefer?: number;
}

/** An address rests this long, in seconds: as long as most programs keep a connection that nobody answers. */
const COOL_DOWN = 30;

/** Addresses of a node, one call after the other. */
export class BlockIpam {
  readonly #options: BlockIpamOptions;
  readonly #store: BlockStore;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: BlockIpamOptions) {
    this.#options = options;
    this.#store = new BlockStore(options);
  }

  /** Reads what the node has already, and ends what it began: claims that are pending, blocks on their way out. */
  load(): Promise<void> {
    return this.#inTurn(() => this.#store.load());
  }

  /** Looks at the own blocks anew: others borrow of them, and people change them. */
  refresh(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#store.load();
      await this.#store.refresh();
    });
  }

  /** One address out of the pools, the first pool first. @throws PoolsFullError */
  assign(owner: AddressOwner, pools: readonly Pool[]): Promise<string> {
    return this.#inTurn(async () => {
      await this.#store.load();
      const address = await this.#assign(owner, pools);
      await this.#store.count(owner.handle, address.block, 1);
      return address.address;
    });
  }

  /** This very address, wherever its block belongs. Again for the same handle is no error. @throws AddressTakenError */
  assignCertain(owner: AddressOwner, address: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#store.load();
      const cidr = await this.#blockFor(address);
      if (cidr === undefined) throw new AddressTakenError(address, "it lies in no pool");
      let known = false;
      const taken = await this.#store.swap(cidr, (block) => {
        const next = takeCertain(block, address, this.#take(owner, 0));
        known = next === block;
        return next;
      });
      if (!taken) throw new AddressTakenError(address, "another has it");
      if (!known) await this.#store.count(owner.handle, cidr, 1);
    });
  }

  /** Gives back all that a handle has; also addresses of it that the handle's object does not tell of. */
  release(handle: string, addresses: readonly string[] = []): Promise<void> {
    return this.#inTurn(async () => {
      await this.#store.load();
      const cidrs = new Set([
        ...(await this.#store.dropHandle(handle)),
        ...this.#store.ownOf((allocation) => allocation.handle === handle),
      ]);
      for (const address of addresses) {
        const cidr = blockOf(this.#options.snapshot(), address);
        if (cidr !== undefined) cidrs.add(cidr);
      }
      for (const cidr of cidrs) await this.#store.giveBack(cidr, (allocation) => allocation.handle === handle);
    });
  }

  /** Gives back one address of a handle, in whoever's block it is. */
  releaseAddress(handle: string, address: string, cidr: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const given = await this.#store.giveBack(cidr, (each) => each.handle === handle && each.address === address);
      if (given) await this.#store.count(handle, cidr, -1);
      return given;
    });
  }

  /** Gives back what a pod has in the own blocks beside what is held: addresses whose container nobody remembers. */
  releasePod(namespace: string, pod: string, isHeld: (handle: string) => boolean): Promise<void> {
    const { node } = this.#options;
    const isLeft = ({ handle, secondary }: BlockAllocation) =>
      handle !== undefined && secondary.node === node && secondary.namespace === namespace && secondary.pod === pod && !isHeld(handle);
    return this.#inTurn(async () => {
      for (const cidr of this.#store.ownOf(isLeft)) await this.#store.giveBack(cidr, isLeft);
    });
  }

  /** The address of a tunnel's end: the one that it has, else the first of the node's first block, where a gateway would be looked for. */
  assignTunnel(owner: AddressOwner, pools: readonly Pool[]): Promise<string> {
    return this.#inTurn(async () => {
      await this.#store.load();
      for (const block of this.#store.own.values()) {
        const pool = poolOf(readPools(this.#options.snapshot()), block.spec.cidr);
        const known = allocationsOf(block).find((allocation) => allocation.handle === owner.handle);
        if (known && pools.some((each) => each.cidr === pool?.cidr)) return known.address;
      }
      const found = await this.#assign({ ...owner, prefer: 1 }, pools);
      await this.#store.count(owner.handle, found.block, 1);
      return found.address;
    });
  }

  /** Gives back one allocation, if it still is what `allocation` says. */
  reclaim(cidr: string, allocation: Pick<BlockAllocation, "ordinal" | "sequence" | "handle">): Promise<boolean> {
    return this.#inTurn(async () => {
      const { ordinal, sequence, handle } = allocation;
      const given = await this.#store.giveBack(
        cidr,
        (each) => each.ordinal === ordinal && each.sequence === sequence && each.handle === handle,
      );
      if (given && handle !== undefined) await this.#store.count(handle, cidr, -1);
      return given;
    });
  }

  /** Gives a block back: it is deleted, or where something of it is in use, becomes nobody's. */
  releaseBlock(cidr: string, node = this.#options.node): Promise<void> {
    return this.#inTurn(() => this.#store.releaseBlock(cidr, node));
  }

  /** The own blocks, as last seen. */
  get blocks(): readonly IpamBlock[] {
    return [...this.#store.own.values()];
  }

  usage(): readonly { readonly range: string; readonly used: number; readonly size: number }[] {
    return this.blocks.map(({ spec }) => ({
      range: spec.cidr,
      used: spec.allocations.filter((each) => each !== null).length,
      size: spec.allocations.length,
    }));
  }

  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(action, action);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #assign(owner: AddressOwner, pools: readonly Pool[]): Promise<{ readonly address: string; readonly block: string }> {
    const settings = ipamSettings(this.#options.snapshot());
    const { coolDown = COOL_DOWN } = this.#options;
    for (const pool of pools) {
      const found = (await this.#fromOwn(owner, pool, coolDown)) ?? (await this.#fromNew(owner, pool));
      if (found) return found;
    }
    for (const pool of pools) {
      const found = (await this.#fromOwn(owner, pool, 0)) ?? (settings.strictAffinity ? undefined : await this.#borrow(owner, pool));
      if (found) return found;
    }
    throw new PoolsFullError(
      pools.map((pool) => pool.name),
      settings.strictAffinity,
    );
  }

  async #fromOwn(owner: AddressOwner, pool: Pool, coolDown: number) {
    for (const { spec } of this.#store.own.values()) {
      if (poolOf(readPools(this.#options.snapshot()), spec.cidr)?.cidr !== pool.cidr) continue;
      const found = await this.#takeFrom(spec.cidr, owner, coolDown);
      if (found) return found;
    }
    return undefined;
  }

  async #fromNew(owner: AddressOwner, pool: Pool) {
    const snapshot = this.#options.snapshot();
    const { autoAllocateBlocks, maxBlocksPerHost } = ipamSettings(snapshot);
    if (!autoAllocateBlocks || this.#store.own.size >= maxBlocksPerHost) return undefined;
    for (const cidr of candidateBlocks(snapshot, this.#options.node, pool)) {
      if (this.#store.own.has(cidr) || !(await this.#store.claim(cidr))) continue;
      const found = await this.#takeFrom(cidr, owner, 0);
      if (found) return found;
    }
    return undefined;
  }

  async #borrow(owner: AddressOwner, pool: Pool) {
    const { api, snapshot, node } = this.#options;
    for (const block of await api.list<IpamBlock>(IPAM_RESOURCES.blocks)) {
      if (!isSound(block) || nodeOf(block) === node || block.spec.strictAffinity || block.spec.unallocated.length === 0) continue;
      if (poolOf(readPools(snapshot()), block.spec.cidr)?.cidr !== pool.cidr) continue;
      const found = await this.#takeFrom(block.spec.cidr, owner, this.#options.coolDown ?? COOL_DOWN);
      if (found) return found;
    }
    return undefined;
  }

  async #takeFrom(cidr: string, owner: AddressOwner, coolDown: number) {
    let address: string | undefined;
    const block = await this.#store.swap(cidr, (each) => {
      const taken = takeAddress(each, this.#take(owner, coolDown));
      address = taken?.address;
      return taken?.block;
    });
    return block && address !== undefined ? { address, block: cidr } : undefined;
  }

  #take(owner: AddressOwner, coolDown: number): TakeOptions {
    const { reserved } = ipamSettings(this.#options.snapshot());
    return { ...owner, accepts: (address) => !reserved(address), now: this.#store.now() / 1000, coolDown };
  }

  /** The block that an address lies in, made the node's own where it is nobody's. */
  async #blockFor(address: string): Promise<string | undefined> {
    const cidr = blockOf(this.#options.snapshot(), address);
    if (cidr === undefined || this.#store.own.has(cidr)) return cidr;
    const block = await this.#store.read(cidr);
    if (!block || block.spec.affinity === null) await this.#store.claim(cidr);
    return cidr;
  }
}

/** The block of its pool that an address lies in. */
function blockOf(snapshot: ClusterSnapshot, address: string): string | undefined {
  const pool = poolOf(readPools(snapshot), address);
  if (!pool) return undefined;
  return formatPrefix(networkOf(parsePrefix(`${address}/${pool.blockSize}`)));
}

/**
 * A pod's addresses: those it asks for by name, else one of each family that a pool gives it. All or none.
 * @throws PoolsFullError, AddressTakenError
 */
export async function assignPod(ipam: BlockIpam, owner: AddressOwner, wishes: PodWishes): Promise<readonly string[]> {
  if (wishes.withoutIpam) return wishes.addresses;
  const taken: string[] = [];
  try {
    for (const address of wishes.addresses) {
      await ipam.assignCertain(owner, address);
      taken.push(address);
    }
    if (taken.length > 0) return taken;
    for (const pools of [wishes.pools[4], wishes.pools[6]]) if (pools.length > 0) taken.push(await ipam.assign(owner, pools));
    if (taken.length === 0) throw new PoolsFullError([], false);
    return taken;
  } catch (error) {
    // Whatever can't be given back now, the collector finds.
    if (taken.length > 0) await ipam.release(owner.handle, taken).catch(() => {});
    throw error;
  }
}
