// What happens within one block: addresses taken, given back, looked at. Pure; what comes out is the next version of the block.
import { addressAt, formatAddress, parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import type { BlockAttribute, IpamBlock } from "./objects.ts";

/** One address that is given out. */
export interface BlockAllocation {
  readonly address: string;
  readonly ordinal: number;
  readonly handle: string | undefined;
  readonly secondary: Readonly<Record<string, string>>;
  /** Tells this allocation from an earlier one of the same address. */
  readonly sequence: number;
}

/** When addresses were given back: ordinal → seconds since the epoch. Calico's own programs leave annotations alone. */
const RELEASED = "fairlead.dev/released";
/** Records of releases are kept this long, in seconds. */
const REMEMBERED_SECONDS = 3600;

export interface TakeOptions {
  readonly handle: string;
  readonly secondary: Readonly<Record<string, string>>;
  /** Which addresses may be taken. */
  readonly accepts?: (address: string) => boolean;
  /** Seconds since the epoch, and how long an address rests after it was given back. */
  readonly now: number;
  readonly coolDown: number;
  /** An ordinal to be tried before the others. */
  readonly prefer?: number;
}

/** Takes the address that has rested longest; undefined where none is free, or all that are rest. */
export function takeAddress(block: IpamBlock, options: TakeOptions): { readonly block: IpamBlock; readonly address: string } | undefined {
  const { accepts = () => true, now, coolDown } = options;
  // Who marked it is about to delete it.
  if (block.spec.deleted) return undefined;
  const released = releasedOf(block);
  const { unallocated } = block.spec;
  const first = options.prefer !== undefined && unallocated.includes(options.prefer) ? [options.prefer] : [];
  const ordinal = [...first, ...unallocated].find(
    (each) => isFree(block, each) && (released[each] ?? Number.NEGATIVE_INFINITY) + coolDown <= now && accepts(addressOf(block, each)),
  );
  return ordinal === undefined ? undefined : { block: take(block, ordinal, options), address: addressOf(block, ordinal) };
}

/** Takes one certain address. Undefined where it is another's; the block as it is where it is this handle's already. */
export function takeCertain(block: IpamBlock, address: string, options: TakeOptions): IpamBlock | undefined {
  const ordinal = ordinalOf(block, address);
  if (ordinal === undefined || block.spec.deleted) return undefined;
  if (!isFree(block, ordinal)) return attributeOf(block, ordinal)?.handle_id === options.handle ? block : undefined;
  return take(block, ordinal, options);
}

/** Gives back what `which` names; the same block where it names nothing. */
export function giveBack(block: IpamBlock, which: (allocation: BlockAllocation) => boolean, now: number): IpamBlock {
  const gone = allocationsOf(block).filter(which);
  if (gone.length === 0) return block;
  const ordinals = new Set(gone.map(({ ordinal }) => ordinal));
  const { spec } = block;
  const left = spec.allocations.map((attribute, ordinal) => (ordinals.has(ordinal) ? null : attribute));
  const sequences = Object.fromEntries(
    Object.entries(spec.sequenceNumberForAllocation).filter(([ordinal]) => !ordinals.has(Number(ordinal))),
  );
  return withReleased(
    {
      ...block,
      spec: {
        ...spec,
        ...compacted(left, spec.attributes),
        unallocated: [...spec.unallocated, ...ordinals],
        sequenceNumber: spec.sequenceNumber + 1,
        sequenceNumberForAllocation: sequences,
      },
    },
    now,
    ordinals,
  );
}

/** All that is given out of a block. */
export function allocationsOf(block: IpamBlock): BlockAllocation[] {
  return block.spec.allocations.flatMap((attribute, ordinal): BlockAllocation[] => {
    if (attribute === null || attribute === undefined) return [];
    const { handle_id, secondary } = block.spec.attributes[attribute] ?? { handle_id: null, secondary: null };
    return [
      {
        address: addressOf(block, ordinal),
        ordinal,
        handle: handle_id ?? undefined,
        secondary: secondary ?? {},
        sequence: block.spec.sequenceNumberForAllocation[String(ordinal)] ?? 0,
      },
    ];
  });
}

export function isEmpty(block: IpamBlock): boolean {
  return block.spec.allocations.every((attribute) => attribute === null);
}

/** The node that has the block. */
export function nodeOf(block: IpamBlock): string | undefined {
  const { affinity } = block.spec;
  return affinity?.startsWith("host:") ? affinity.slice("host:".length) : undefined;
}

/** Whether a block is one that can be worked with: what somebody wrote by hand may be anything. */
export function isSound(block: IpamBlock): boolean {
  const spec: Partial<IpamBlock["spec"]> | undefined = block.spec;
  if (!spec || typeof spec.cidr !== "string" || !Array.isArray(spec.allocations) || !Array.isArray(spec.unallocated)) return false;
  if (!Array.isArray(spec.attributes) || typeof spec.sequenceNumber !== "number") return false;
  return spec.allocations.length <= 1 << 16 && spec.allocations.every((each) => each === null || Number.isInteger(each));
}

function addressOf(block: IpamBlock, ordinal: number): string {
  return formatAddress(addressAt(parsePrefix(block.spec.cidr), BigInt(ordinal)));
}

function ordinalOf(block: IpamBlock, address: string): number | undefined {
  const prefix = parsePrefix(block.spec.cidr);
  const parsed = parseAddress(address);
  return prefixContains(prefix, parsed) ? Number(parsed.value - prefix.value) : undefined;
}

function isFree(block: IpamBlock, ordinal: number): boolean {
  return block.spec.allocations[ordinal] === null;
}

function attributeOf(block: IpamBlock, ordinal: number): BlockAttribute | undefined {
  const attribute = block.spec.allocations[ordinal];
  return attribute === null || attribute === undefined ? undefined : block.spec.attributes[attribute];
}

function take(block: IpamBlock, ordinal: number, { handle, secondary, now }: TakeOptions): IpamBlock {
  const { spec } = block;
  const same = spec.attributes.findIndex(
    (each) => each.handle_id === handle && JSON.stringify(each.secondary ?? {}) === JSON.stringify(secondary),
  );
  const attribute = same < 0 ? spec.attributes.length : same;
  const sequenceNumber = spec.sequenceNumber + 1;
  return withReleased(
    {
      ...block,
      spec: {
        ...spec,
        allocations: spec.allocations.with(ordinal, attribute),
        attributes: same < 0 ? [...spec.attributes, { handle_id: handle, secondary }] : spec.attributes,
        unallocated: spec.unallocated.filter((each) => each !== ordinal),
        sequenceNumber,
        sequenceNumberForAllocation: { ...spec.sequenceNumberForAllocation, [String(ordinal)]: sequenceNumber },
      },
    },
    now,
    new Set(),
    ordinal,
  );
}

/** Leaves out the attributes that nobody refers to any more. */
function compacted(
  allocations: readonly (number | null)[],
  attributes: readonly BlockAttribute[],
): Pick<IpamBlock["spec"], "allocations" | "attributes"> {
  const kept: BlockAttribute[] = [];
  const moved = new Map<number, number>();
  const next = allocations.map((attribute) => {
    if (attribute === null) return null;
    let at = moved.get(attribute);
    if (at === undefined) {
      at = kept.push(attributes[attribute] ?? { handle_id: null, secondary: null }) - 1;
      moved.set(attribute, at);
    }
    return at;
  });
  return { allocations: next, attributes: kept };
}

function releasedOf(block: IpamBlock): Record<number, number> {
  try {
    const value: unknown = JSON.parse(block.metadata.annotations?.[RELEASED] ?? "{}");
    const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
    return Object.fromEntries(entries.filter(([, seconds]) => typeof seconds === "number"));
  } catch {
    return {};
  }
}

function withReleased(block: IpamBlock, now: number, released: ReadonlySet<number>, taken?: number): IpamBlock {
  const remembered = Object.entries(releasedOf(block)).filter(
    ([ordinal, seconds]) => Number(ordinal) !== taken && seconds + REMEMBERED_SECONDS > now,
  );
  const next = { ...Object.fromEntries(remembered), ...Object.fromEntries([...released].map((ordinal) => [ordinal, Math.floor(now)])) };
  const { [RELEASED]: _before, ...annotations } = block.metadata.annotations ?? {};
  const text = JSON.stringify(next);
  return { ...block, metadata: { ...block.metadata, annotations: text === "{}" ? annotations : { ...annotations, [RELEASED]: text } } };
}
