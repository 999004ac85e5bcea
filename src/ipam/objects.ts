// Calico's objects of address management as its store has them (crd.projectcalico.org/v1): blocks, affinities, handles.
import { formatPrefix, networkOf, parsePrefix } from "../base/index.ts";
import type { WatchedResource } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";

const crd = (plural: string): WatchedResource => ({ group: "crd.projectcalico.org", version: "v1", plural });

/** Where the objects are. */
export const IPAM_RESOURCES = {
  blocks: crd("ipamblocks"),
  affinities: crd("blockaffinities"),
  handles: crd("ipamhandles"),
} as const;

const API_VERSION = "crd.projectcalico.org/v1";

/** Who has an address: a handle, and what is known of it. */
export interface BlockAttribute {
  readonly handle_id: string | null;
  readonly secondary: Readonly<Record<string, string>> | null;
}

/** The unit of compare-and-swap: the addresses of one prefix. */
export interface IpamBlock extends KubeObject {
  readonly kind: "IPAMBlock";
  readonly spec: {
    /** "10.244.0.0/26" */
    readonly cidr: string;
    /** "host:node-1"; null for a block that no node has. */
    readonly affinity: string | null;
    /** By ordinal: number of its attribute, null where it is free. */
    readonly allocations: readonly (number | null)[];
    /** Free ordinals; the first has rested longest. */
    readonly unallocated: readonly number[];
    readonly attributes: readonly BlockAttribute[];
    /** Grows with each write. */
    readonly sequenceNumber: number;
    /** By ordinal: the sequence number at its allocation. */
    readonly sequenceNumberForAllocation: Readonly<Record<string, number>>;
    readonly strictAffinity: boolean;
    /** Marked before it is deleted, so that whoever read it before does not take it for alive. */
    readonly deleted: boolean;
  };
}

type AffinityState = "pending" | "confirmed" | "pendingDeletion";

/** Which node has a block. Only a confirmed one counts. */
export interface BlockAffinity extends KubeObject {
  readonly kind: "BlockAffinity";
  readonly spec: {
    readonly cidr: string;
    readonly node: string;
    readonly state: AffinityState;
    readonly type?: string;
    /** "true" or "false", in text. */
    readonly deleted: string;
  };
}

/** How many addresses of which blocks belong together: those of one interface of one container. */
export interface IpamHandle extends KubeObject {
  readonly kind: "IPAMHandle";
  readonly spec: {
    readonly handleID: string;
    readonly block: Readonly<Record<string, number>>;
    readonly deleted: boolean;
  };
}

/** An object's name for a prefix: "10-244-0-0-26". */
function cidrName(cidr: string): string {
  return formatPrefix(networkOf(parsePrefix(cidr))).replace(/[.:/]/g, "-");
}

export const blockName = (cidr: string): string => cidrName(cidr);

export const affinityName = (node: string, cidr: string): string => `${node}-${cidrName(cidr)}`;

/** Names of objects are lower case; a handle may be anything. */
export const handleName = (handle: string): string => handle.toLowerCase().replace(/[^a-z0-9.-]/g, "-");

export function newAffinity(node: string, cidr: string): BlockAffinity {
  return {
    apiVersion: API_VERSION,
    kind: "BlockAffinity",
    metadata: { name: affinityName(node, cidr) },
    spec: { cidr, node, state: "pending", type: "host", deleted: "false" },
  };
}

export function newHandle(handle: string): IpamHandle {
  return {
    apiVersion: API_VERSION,
    kind: "IPAMHandle",
    metadata: { name: handleName(handle) },
    spec: { handleID: handle, block: {}, deleted: false },
  };
}

/** A block without allocations. `now` in milliseconds: a block that is made again must not count from where it did before. */
export function newBlock(
  cidr: string,
  options: { readonly node: string; readonly strictAffinity: boolean; readonly now: number },
): IpamBlock {
  const prefix = parsePrefix(cidr);
  const size = 2 ** ((prefix.family === 4 ? 32 : 128) - prefix.length);
  // Programs that take .0 for a network and .1 for a gateway are many: these come last.
  const order = Array.from({ length: size }, (_, at) => (at + Math.min(2, size - 1)) % size);
  return {
    apiVersion: API_VERSION,
    kind: "IPAMBlock",
    metadata: { name: blockName(cidr) },
    spec: {
      cidr,
      affinity: `host:${options.node}`,
      allocations: Array.from({ length: size }, () => null),
      unallocated: order,
      attributes: [],
      sequenceNumber: options.now,
      sequenceNumberForAllocation: {},
      strictAffinity: options.strictAffinity,
      deleted: false,
    },
  };
}
