// A node's blocks at the API: read, claimed, changed by compare-and-swap, given back; and the handles that count what is taken of them.
import { ApiConflict, type ClusterSnapshot, type ObjectApi } from "../cluster/index.ts";
import { allocationsOf, type BlockAllocation, giveBack, isEmpty, isSound, nodeOf } from "./block.ts";
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
import { ipamSettings } from "./settings.ts";

export interface BlockIpamOptions {
  readonly node: string;
  readonly api: ObjectApi;
  readonly snapshot: () => ClusterSnapshot;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Seconds that an address rests after it was given back. */
  readonly coolDown?: number;
}

/** Others may be faster this often before it is given up. */
const MOST_TRIES = 50;

/** One call after the other: whoever uses it sees to that. */
export class BlockStore {
  readonly #options: BlockIpamOptions;
  /** The own blocks as last seen or written, by CIDR. */
  readonly own = new Map<string, IpamBlock>();
  #loaded = false;

  constructor(options: BlockIpamOptions) {
    this.#options = options;
  }

  /** Reads what the node has, once, and ends what it began: claims that are pending, blocks on their way out. */
  async load(): Promise<void> {
    if (this.#loaded) return;
    const { api, node } = this.#options;
    for (const affinity of await api.list<BlockAffinity>(IPAM_RESOURCES.affinities)) {
      const { cidr, node: whose, state } = affinity.spec;
      if (whose !== node) continue;
      if (state === "pendingDeletion") await this.releaseBlock(cidr, node);
      else if (state === "pending") await this.claim(cidr);
      else {
        const block = await this.read(cidr);
        if (block && nodeOf(block) === node) this.own.set(cidr, block);
      }
    }
    this.#loaded = true;
  }

  /** Makes a block the node's own; false where another has it. Pending counts as absent until the block says that it is ours. */
  async claim(cidr: string): Promise<boolean> {
    const { api, node, snapshot } = this.#options;
    const affinity = await this.#affinity(cidr, "pending");
    if (!affinity) return false;
    let block: IpamBlock | undefined;
    try {
      block = await api.create(
        IPAM_RESOURCES.blocks,
        newBlock(cidr, { node, strictAffinity: ipamSettings(snapshot()).strictAffinity, now: this.now() }),
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
    this.own.set(cidr, block);
    return true;
  }

  /** Gives a node's block back: it is deleted, or where something of it is in use, becomes nobody's. */
  async releaseBlock(cidr: string, node: string): Promise<void> {
    const { api } = this.#options;
    const affinity = await this.#affinity(cidr, "pendingDeletion", node);
    const block = await this.swap(cidr, (each) => {
      if (nodeOf(each) !== node) return undefined;
      const spec = { ...each.spec, sequenceNumber: each.spec.sequenceNumber + 1 };
      return { ...each, spec: isEmpty(each) ? { ...spec, deleted: true } : { ...spec, affinity: null } };
    });
    this.own.delete(cidr);
    if (block?.spec.deleted) await ignoreConflict(api.delete(IPAM_RESOURCES.blocks, block));
    if (affinity) await ignoreConflict(api.delete(IPAM_RESOURCES.affinities, affinity));
  }

  /** Changes a block until nobody was faster; undefined where it is not there, or `change` gives up. The same block is not written. */
  async swap(cidr: string, change: (block: IpamBlock) => IpamBlock | undefined): Promise<IpamBlock | undefined> {
    const { api } = this.#options;
    let block = this.own.get(cidr) ?? (await this.read(cidr));
    for (let attempt = 0; block && attempt < MOST_TRIES; attempt++) {
      const next = change(block);
      if (!next || next === block) return next;
      try {
        const written = await api.update(IPAM_RESOURCES.blocks, next);
        this.#note(cidr, written);
        return written;
      } catch (error) {
        if (!(error instanceof ApiConflict)) throw error;
        block = await this.read(cidr);
        this.#note(cidr, block);
      }
    }
    return undefined;
  }

  /** @returns whether there was something to give back */
  async giveBack(cidr: string, which: (allocation: BlockAllocation) => boolean): Promise<boolean> {
    let given = false;
    const block = await this.swap(cidr, (each) => {
      const next = giveBack(each, which, this.now() / 1000);
      given = next !== each;
      return next;
    });
    // What is nobody's and holds nothing is of no use.
    if (block && given && block.spec.affinity === null && isEmpty(block))
      await ignoreConflict(this.#options.api.delete(IPAM_RESOURCES.blocks, block));
    return given;
  }

  /** Undefined also where it can't be worked with. */
  async read(cidr: string): Promise<IpamBlock | undefined> {
    const block = await this.#options.api.get<IpamBlock>(IPAM_RESOURCES.blocks, blockName(cidr));
    return block && isSound(block) ? block : undefined;
  }

  /** Adds to (or takes from) what a handle's object counts; without anything left it goes. */
  async count(handle: string, cidr: string, by: 1 | -1): Promise<void> {
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

  /** Deletes a handle's object. @returns the blocks that it told of */
  async dropHandle(handle: string): Promise<readonly string[]> {
    const { api } = this.#options;
    const object = await api.get<IpamHandle>(IPAM_RESOURCES.handles, handleName(handle));
    if (object) await ignoreConflict(api.delete(IPAM_RESOURCES.handles, { metadata: { name: object.metadata.name } }));
    return Object.keys(object?.spec.block ?? {});
  }

  /** Own blocks that hold such an allocation. */
  ownOf(which: (allocation: BlockAllocation) => boolean): string[] {
    return [...this.own].flatMap(([cidr, block]) => (allocationsOf(block).some(which) ? [cidr] : []));
  }

  now(): number {
    return this.#options.now?.() ?? Date.now();
  }

  /** A block that is there: ours already, or nobody's. */
  async #takeOver(cidr: string): Promise<IpamBlock | undefined> {
    const { node, api } = this.#options;
    // Somebody marked it and did not come to delete it: the next claim finds the place free.
    const found = await this.read(cidr);
    if (found?.spec.deleted && isEmpty(found)) await ignoreConflict(api.delete(IPAM_RESOURCES.blocks, found));
    return this.swap(cidr, (block) => {
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

  /** Keeps what is known of an own block the newest. */
  #note(cidr: string, block: IpamBlock | undefined): void {
    if (!this.own.has(cidr)) return;
    if (block && nodeOf(block) === this.#options.node && !block.spec.deleted) this.own.set(cidr, block);
    else this.own.delete(cidr);
  }

  /** Looks at the own blocks anew. */
  async refresh(): Promise<void> {
    for (const cidr of [...this.own.keys()]) this.#note(cidr, await this.read(cidr));
  }
}

async function ignoreConflict(action: Promise<void>): Promise<void> {
  try {
    await action;
  } catch (error) {
    // It has moved on: whoever moved it has had other plans.
    if (!(error instanceof ApiConflict)) throw error;
  }
}
