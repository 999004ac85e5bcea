// A node's addresses out of blocks: objects of the API that are changed by compare-and-swap, so that no two nodes give out one address.
//
//   own blocks ─▶ a new block ─▶ own blocks, also what rests ─▶ other nodes' blocks (not with strict affinity)
//
//   take: block, then handle        give back: handle, then block
//
// Whatever a crash leaves half done is an allocation that no record stands behind; the collector finds it in its block.
import { formatPrefix, networkOf, parsePrefix } from "../base/index.ts";
import { ApiConflict, type ClusterSnapshot, type ObjectApi } from "../cluster/index.ts";
import {
  allocationsOf,
  type BlockAllocation,
  giveBack,
  isEmpty,
  isSound,
  nodeOf,
  type TakeOptions,
  takeAddress,
  takeCertain,
} from "./block.ts";
import { candidateBlocks } from "./candidates.ts";
import { AddressTakenError, PoolsFullError } from "./errors.ts";
import {
  affinityName,
  type BlockAffinity,
  blockName,
  handleName,
  IPAM_RESOURCES,
  type IpamBlock,
  type IpamHandle,
  newAffinity,
  newBlock,
  newHandle,
} from "./objects.ts";
import { type Pool, poolOf, readPools } from "./pools.ts";
import { ipamSettings, type PodWishes } from "./settings.ts";

export interface BlockIpamOptions {
  readonly node: string;
  readonly api: ObjectApi;
  readonly snapshot: () => ClusterSnapshot;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Seconds that an address rests after it was given back. */
  readonly coolDown?: number;
}

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
/** Others may be faster this often before it is given up. */
const MOST_TRIES = 50;

/** Addresses of a node, one call after the other. */
export class BlockIpam {
  readonly #options: BlockIpamOptions;
  /** The own blocks as last seen or written, by CIDR. */
  readonly #own = new Map<string, IpamBlock>();
  #loaded = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: BlockIpamOptions) {
    this.#options = options;
  }

  /** Reads what the node has already, and ends what it began: claims that are pending, blocks on their way out. */
  load(): Promise<void> {
    return this.#inTurn(() => this.#load());
  }

  /** Looks at the own blocks anew: others borrow of them, and people change them. */
  refresh(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#load();
      for (const cidr of [...this.#own.keys()]) this.#note(cidr, await this.#read(cidr));
    });
  }

  /** One address out of the pools, the first pool first. @throws PoolsFullError */
  assign(owner: AddressOwner, pools: readonly Pool[]): Promise<string> {
    return this.#inTurn(async () => {
      await this.#load();
      const address = await this.#assign(owner, pools);
      await this.#count(owner.handle, address.block, 1);
      return address.address;
    });
  }

  /** This very address, wherever its block belongs. Again for the same handle is no error. @throws AddressTakenError */
  assignCertain(owner: AddressOwner, address: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#load();
      const cidr = await this.#blockFor(address);
      if (cidr === undefined) throw new AddressTakenError(address, "it lies in no pool");
      let known = false;
      const taken = await this.#swap(cidr, (block) => {
        const next = takeCertain(block, address, this.#take(owner, 0));
        known = next === block;
        return next;
      });
      if (!taken) throw new AddressTakenError(address, "another has it");
      if (!known) await this.#count(owner.handle, cidr, 1);
    });
  }

  /** Gives back all that a handle has; also addresses of it that the handle's object does not tell of. */
  release(handle: string, addresses: readonly string[] = []): Promise<void> {
    return this.#inTurn(async () => {
      await this.#load();
      const { api } = this.#options;
      const object = await api.get<IpamHandle>(IPAM_RESOURCES.handles, handleName(handle));
      const cidrs = new Set([...Object.keys(object?.spec.block ?? {}), ...this.#ownOf((allocation) => allocation.handle === handle)]);
      for (const address of addresses) {
        const cidr = blockOf(this.#options.snapshot(), address);
        if (cidr !== undefined) cidrs.add(cidr);
      }
      if (object) await ignoreConflict(api.delete(IPAM_RESOURCES.handles, { metadata: { name: object.metadata.name } }));
      for (const cidr of cidrs) await this.#giveBack(cidr, (allocation) => allocation.handle === handle);
    });
  }

  /** Gives back one address of a handle, in whoever's block it is. */
  releaseAddress(handle: string, address: string, cidr: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const given = await this.#giveBack(cidr, (each) => each.handle === handle && each.address === address);
      if (given) await this.#count(handle, cidr, -1);
      return given;
    });
  }

  /** Gives back what a pod has in the own blocks beside what is held: addresses whose container nobody remembers. */
  releasePod(namespace: string, pod: string, isHeld: (handle: string) => boolean): Promise<void> {
    const { node } = this.#options;
    const isLeft = ({ handle, secondary }: BlockAllocation) =>
      handle !== undefined && secondary.node === node && secondary.namespace === namespace && secondary.pod === pod && !isHeld(handle);
    return this.#inTurn(async () => {
      for (const cidr of this.#ownOf(isLeft)) await this.#giveBack(cidr, isLeft);
    });
  }

  /** The address of a tunnel's end: the one that it has, else the first of the node's first block, where a gateway would be looked for. */
  assignTunnel(owner: AddressOwner, pools: readonly Pool[]): Promise<string> {
    return this.#inTurn(async () => {
      await this.#load();
      for (const block of this.#own.values()) {
        const pool = poolOf(readPools(this.#options.snapshot()), block.spec.cidr);
        const known = allocationsOf(block).find((allocation) => allocation.handle === owner.handle);
        if (known && pools.some((each) => each.cidr === pool?.cidr)) return known.address;
      }
      const found = await this.#assign({ ...owner, prefer: 1 }, pools);
      await this.#count(owner.handle, found.block, 1);
      return found.address;
    });
  }

  /** Gives back one allocation, if it still is what `allocation` says. */
  reclaim(cidr: string, allocation: Pick<BlockAllocation, "ordinal" | "sequence" | "handle">): Promise<boolean> {
    return this.#inTurn(async () => {
      const { ordinal, sequence, handle } = allocation;
      const given = await this.#giveBack(cidr, (each) => each.ordinal === ordinal && each.sequence === sequence && each.handle === handle);
      if (given && handle !== undefined) await this.#count(handle, cidr, -1);
      return given;
    });
  }

  /** Gives a block back: it is deleted, or where something of it is in use, becomes nobody's. */
  releaseBlock(cidr: string, node = this.#options.node): Promise<void> {
    return this.#inTurn(() => this.#releaseBlock(cidr, node));
  }

  /** The own blocks, as last seen. */
  get blocks(): readonly IpamBlock[] {
    return [...this.#own.values()];
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

  async #load(): Promise<void> {
    if (this.#loaded) return;
    const { api, node } = this.#options;
    for (const affinity of await api.list<BlockAffinity>(IPAM_RESOURCES.affinities)) {
      const { cidr, node: whose, state } = affinity.spec;
      if (whose !== node) continue;
      if (state === "pendingDeletion") await this.#releaseBlock(cidr, node);
      else if (state === "pending") await this.#claim(cidr);
      else {
        const block = await this.#read(cidr);
        if (block && nodeOf(block) === node) this.#own.set(cidr, block);
      }
    }
    this.#loaded = true;
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
    for (const { spec } of this.#own.values()) {
      if (poolOf(readPools(this.#options.snapshot()), spec.cidr)?.cidr !== pool.cidr) continue;
      const found = await this.#takeFrom(spec.cidr, owner, coolDown);
      if (found) return found;
    }
    return undefined;
  }

  async #fromNew(owner: AddressOwner, pool: Pool) {
    const snapshot = this.#options.snapshot();
    const { autoAllocateBlocks, maxBlocksPerHost } = ipamSettings(snapshot);
    if (!autoAllocateBlocks || this.#own.size >= maxBlocksPerHost) return undefined;
    for (const cidr of candidateBlocks(snapshot, this.#options.node, pool)) {
      if (this.#own.has(cidr) || !(await this.#claim(cidr))) continue;
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
    const block = await this.#swap(cidr, (each) => {
      const taken = takeAddress(each, this.#take(owner, coolDown));
      address = taken?.address;
      return taken?.block;
    });
    return block && address !== undefined ? { address, block: cidr } : undefined;
  }

  #take(owner: AddressOwner, coolDown: number): TakeOptions {
    const { reserved } = ipamSettings(this.#options.snapshot());
    return { ...owner, accepts: (address) => !reserved(address), now: this.#now() / 1000, coolDown };
  }

  /** Makes a block the node's own; false where another has it. Pending counts as absent until the block says that it is ours. */
  async #claim(cidr: string): Promise<boolean> {
    const { api, node, snapshot } = this.#options;
    const affinity = await this.#affinity(cidr, "pending");
    if (!affinity) return false;
    let block: IpamBlock | undefined;
    try {
      block = await api.create(
        IPAM_RESOURCES.blocks,
        newBlock(cidr, { node, strictAffinity: ipamSettings(snapshot()).strictAffinity, now: this.#now() }),
      );
    } catch (error) {
      if (!(error instanceof ApiConflict)) throw error;
      block = await this.#takeOver(cidr);
    }
    if (!block) {
      await ignoreConflict(api.delete(IPAM_RESOURCES.affinities, affinity));
      return false;
    }
    if (!(await this.#affinity(cidr, "confirmed"))) return false;
    this.#own.set(cidr, block);
    return true;
  }

  /** A block that is there: ours already, or nobody's. */
  async #takeOver(cidr: string): Promise<IpamBlock | undefined> {
    const { node, api } = this.#options;
    // Somebody marked it and did not come to delete it: the next claim finds the place free.
    const found = await this.#read(cidr);
    if (found?.spec.deleted) await ignoreConflict(api.delete(IPAM_RESOURCES.blocks, found));
    return this.#swap(cidr, (block) => {
      if (block.spec.deleted) return undefined;
      if (nodeOf(block) === node) return block;
      if (block.spec.affinity !== null) return undefined;
      return { ...block, spec: { ...block.spec, affinity: `host:${node}`, sequenceNumber: block.spec.sequenceNumber + 1 } };
    });
  }

  /** Brings the node's affinity to a state; undefined where somebody else keeps changing it. */
  async #affinity(cidr: string, state: BlockAffinity["spec"]["state"], node = this.#options.node): Promise<BlockAffinity | undefined> {
    const { api } = this.#options;
    for (let attempt = 0; attempt < MOST_TRIES; attempt++) {
      const found = await api.get<BlockAffinity>(IPAM_RESOURCES.affinities, affinityName(node, cidr));
      if (found?.spec.state === state) return found;
      try {
        const fresh = found ?? newAffinity(node, cidr);
        const next = { ...fresh, spec: { ...fresh.spec, state } };
        return found ? await api.update(IPAM_RESOURCES.affinities, next) : await api.create(IPAM_RESOURCES.affinities, next);
      } catch (error) {
        if (!(error instanceof ApiConflict)) throw error;
      }
    }
    return undefined;
  }

  async #releaseBlock(cidr: string, node: string): Promise<void> {
    const { api } = this.#options;
    const affinity = await this.#affinity(cidr, "pendingDeletion", node);
    const block = await this.#swap(cidr, (each) => {
      if (nodeOf(each) !== node) return undefined;
      const spec = { ...each.spec, sequenceNumber: each.spec.sequenceNumber + 1 };
      return { ...each, spec: isEmpty(each) ? { ...spec, deleted: true } : { ...spec, affinity: null } };
    });
    this.#own.delete(cidr);
    if (block?.spec.deleted) await ignoreConflict(api.delete(IPAM_RESOURCES.blocks, block));
    if (affinity) await ignoreConflict(api.delete(IPAM_RESOURCES.affinities, affinity));
  }

  /** The block that an address lies in, made the node's own where it is nobody's. */
  async #blockFor(address: string): Promise<string | undefined> {
    const cidr = blockOf(this.#options.snapshot(), address);
    if (cidr === undefined || this.#own.has(cidr)) return cidr;
    const block = await this.#read(cidr);
    if (!block || block.spec.affinity === null) await this.#claim(cidr);
    return cidr;
  }

  async #giveBack(cidr: string, which: (allocation: BlockAllocation) => boolean): Promise<boolean> {
    let given = false;
    const block = await this.#swap(cidr, (each) => {
      const next = giveBack(each, which, this.#now() / 1000);
      given = next !== each;
      return next;
    });
    // What is nobody's and holds nothing is of no use.
    if (block && given && block.spec.affinity === null && isEmpty(block))
      await ignoreConflict(this.#options.api.delete(IPAM_RESOURCES.blocks, block));
    return given;
  }

  /** Changes a block until nobody was faster; undefined where it is not there, or `change` gives up. The same block is not written. */
  async #swap(cidr: string, change: (block: IpamBlock) => IpamBlock | undefined): Promise<IpamBlock | undefined> {
    const { api } = this.#options;
    let block = this.#own.get(cidr) ?? (await this.#read(cidr));
    for (let attempt = 0; block && attempt < MOST_TRIES; attempt++) {
      const next = change(block);
      if (!next || next === block) return next;
      try {
        const written = await api.update(IPAM_RESOURCES.blocks, next);
        this.#note(cidr, written);
        return written;
      } catch (error) {
        if (!(error instanceof ApiConflict)) throw error;
        block = await this.#read(cidr);
        this.#note(cidr, block);
      }
    }
    return undefined;
  }

  /** Keeps what is known of an own block the newest. */
  #note(cidr: string, block: IpamBlock | undefined): void {
    if (!this.#own.has(cidr)) return;
    if (block && nodeOf(block) === this.#options.node && !block.spec.deleted) this.#own.set(cidr, block);
    else this.#own.delete(cidr);
  }

  async #read(cidr: string): Promise<IpamBlock | undefined> {
    const block = await this.#options.api.get<IpamBlock>(IPAM_RESOURCES.blocks, blockName(cidr));
    return block && isSound(block) ? block : undefined;
  }

  /** Adds to (or takes from) what a handle's object counts; without anything left it goes. */
  async #count(handle: string, cidr: string, by: 1 | -1): Promise<void> {
    const { api } = this.#options;
    for (let attempt = 0; attempt < MOST_TRIES; attempt++) {
      const found = await api.get<IpamHandle>(IPAM_RESOURCES.handles, handleName(handle));
      if (!found && by < 0) return;
      const object = found ?? newHandle(handle);
      const { [cidr]: before = 0, ...others } = object.spec.block;
      const block = before + by > 0 ? { ...others, [cidr]: before + by } : others;
      try {
        if (Object.keys(block).length === 0) await api.delete(IPAM_RESOURCES.handles, object);
        else if (found) await api.update(IPAM_RESOURCES.handles, { ...object, spec: { ...object.spec, block } });
        else await api.create(IPAM_RESOURCES.handles, { ...object, spec: { ...object.spec, block } });
        return;
      } catch (error) {
        if (!(error instanceof ApiConflict)) throw error;
      }
    }
  }

  #ownOf(which: (allocation: BlockAllocation) => boolean): string[] {
    return [...this.#own].flatMap(([cidr, block]) => (allocationsOf(block).some(which) ? [cidr] : []));
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now();
  }
}

/** The block of its pool that an address lies in. */
function blockOf(snapshot: ClusterSnapshot, address: string): string | undefined {
  const pool = poolOf(readPools(snapshot), address);
  if (!pool) return undefined;
  return formatPrefix(networkOf(parsePrefix(`${address}/${pool.blockSize}`)));
}

async function ignoreConflict(action: Promise<void>): Promise<void> {
  try {
    await action;
  } catch (error) {
    // It has moved on: whoever moved it has had other plans.
    if (!(error instanceof ApiConflict)) throw error;
  }
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
