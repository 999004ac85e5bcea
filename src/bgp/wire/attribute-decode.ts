// Path attributes from bytes, each with its own consequence when it is wrong (RFC 7606 §7).
import { addressText } from "./address-text.ts";
import { type AsPath, mergeAs4Path, readAsPath } from "./as-path.ts";
import { type Aggregator, ATTRIBUTE, attributesOf, FLAG, type Origin, type OtherAttribute, type PathAttributes } from "./attributes.ts";
import { copyBytes } from "./byte-writer.ts";
import type { LargeCommunity } from "./communities.ts";
import { CODE, Malformed } from "./protocol-error.ts";

/** What RFC 7606 does about a wrong attribute, short of resetting the session. */
type ProblemAction = "treat-as-withdraw" | "attribute-discard";

export interface AttributeProblem {
  readonly attribute: number;
  readonly action: ProblemAction;
  /** NOTIFICATION subcode that RFC 4271 has for it, for the log. */
  readonly subcode: number;
  readonly says: string;
}

/** How attributes of a session are written. */
export interface AttributeContext {
  readonly fourByteAs: boolean;
  /** The neighbour is of another AS: some attributes of its are not for us. */
  readonly external: boolean;
}

/** Where one attribute stands in the message. */
export interface AttributeSpan {
  readonly flags: number;
  readonly type: number;
  readonly start: number;
  readonly end: number;
}

type Mutable = { -readonly [K in keyof PathAttributes]?: PathAttributes[K] } & { as4Path?: AsPath; as4Aggregator?: Aggregator };
interface Reading {
  readonly bytes: Uint8Array;
  readonly context: AttributeContext;
  readonly into: Mutable;
}

/** Says what is wrong, or undefined. It may only be called with the span in bounds. */
type Read = (reading: Reading, start: number, end: number) => string | undefined;
interface AttributeRule {
  readonly name: string;
  /** Optional and transitive bits that it must have. */
  readonly flags: number;
  readonly action: ProblemAction;
  readonly read: Read;
  /** Taken from internal neighbours only; else discarded (RFC 7606 §7.5, 7.9, 7.10). */
  readonly internalOnly?: boolean;
}

const WELL_KNOWN = FLAG.transitive;
const OPTIONAL = FLAG.optional;
const OPTIONAL_TRANSITIVE = FLAG.optional | FLAG.transitive;

const u32 = (bytes: Uint8Array, at: number) =>
  (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
const wrongLength = (length: number) => `has length ${length}`;

/** A number of four bytes. */
function number(set: (into: Mutable, value: number) => void): Read {
  return ({ bytes, into }, start, end) => {
    if (end - start !== 4) return wrongLength(end - start);
    set(into, u32(bytes, start));
    return undefined;
  };
}

/** A list of one or more items of `size` bytes. */
function list<T>(size: number, item: (bytes: Uint8Array, at: number) => T, set: (into: Mutable, items: T[]) => void): Read {
  return ({ bytes, into }, start, end) => {
    if (end === start || (end - start) % size !== 0) return wrongLength(end - start);
    const items: T[] = [];
    for (let at = start; at < end; at += size) items.push(item(bytes, at));
    set(into, items);
    return undefined;
  };
}

function aggregator(width: (context: AttributeContext) => 2 | 4, set: (into: Mutable, value: Aggregator) => void): Read {
  return ({ bytes, context, into }, start, end) => {
    const bytesOfAs = width(context);
    if (end - start !== bytesOfAs + 4) return wrongLength(end - start);
    const as = bytesOfAs === 4 ? u32(bytes, start) : ((bytes[start] ?? 0) << 8) | (bytes[start + 1] ?? 0);
    set(into, { as, routerId: u32(bytes, start + bytesOfAs) });
    return undefined;
  };
}

const RULES: readonly (AttributeRule | undefined)[] = sparse({
  [ATTRIBUTE.origin]: {
    name: "ORIGIN",
    flags: WELL_KNOWN,
    action: "treat-as-withdraw",
    read: ({ bytes, into }, start, end) => {
      if (end - start !== 1) return wrongLength(end - start);
      const value = bytes[start] ?? 0;
      if (value > 2) return `is ${value}`;
      into.origin = value as Origin;
      return undefined;
    },
  },
  [ATTRIBUTE.asPath]: {
    name: "AS_PATH",
    flags: WELL_KNOWN,
    action: "treat-as-withdraw",
    read: ({ bytes, context, into }, start, end) => {
      const path = readAsPath(bytes, start, end, context.fourByteAs ? 4 : 2);
      if (!path) return "has a segment of unknown type, without a number, or that ends beyond it";
      if (context.external && path.some(({ type }) => type.startsWith("confed"))) return "has confederation segments from outside";
      into.asPath = path;
      return undefined;
    },
  },
  [ATTRIBUTE.nextHop]: {
    name: "NEXT_HOP",
    flags: WELL_KNOWN,
    action: "treat-as-withdraw",
    read: ({ bytes, into }, start, end) => {
      if (end - start !== 4) return wrongLength(end - start);
      const first = bytes[start] ?? 0;
      // RFC 4271 §6.3: it must be a host address.
      if (first === 0 || first === 127 || first >= 224) return `is ${addressText(bytes, start, 4)}, no host address`;
      into.nextHop = addressText(bytes, start, 4);
      return undefined;
    },
  },
  [ATTRIBUTE.med]: {
    name: "MULTI_EXIT_DISC",
    flags: OPTIONAL,
    action: "treat-as-withdraw",
    read: number((into, value) => {
      into.med = value;
    }),
  },
  [ATTRIBUTE.localPref]: {
    name: "LOCAL_PREF",
    flags: WELL_KNOWN,
    action: "treat-as-withdraw",
    internalOnly: true,
    read: number((into, value) => {
      into.localPref = value;
    }),
  },
  [ATTRIBUTE.atomicAggregate]: {
    name: "ATOMIC_AGGREGATE",
    flags: WELL_KNOWN,
    action: "attribute-discard",
    read: ({ into }, start, end) => {
      if (end !== start) return wrongLength(end - start);
      into.atomicAggregate = true;
      return undefined;
    },
  },
  [ATTRIBUTE.aggregator]: {
    name: "AGGREGATOR",
    flags: OPTIONAL_TRANSITIVE,
    action: "attribute-discard",
    read: aggregator(
      (context) => (context.fourByteAs ? 4 : 2),
      (into, value) => {
        into.aggregator = value;
      },
    ),
  },
  [ATTRIBUTE.communities]: {
    name: "COMMUNITIES",
    flags: OPTIONAL_TRANSITIVE,
    action: "treat-as-withdraw",
    read: list(4, u32, (into, items) => {
      into.communities = items;
    }),
  },
  [ATTRIBUTE.originatorId]: {
    name: "ORIGINATOR_ID",
    flags: OPTIONAL,
    action: "treat-as-withdraw",
    internalOnly: true,
    read: number((into, value) => {
      into.originatorId = value;
    }),
  },
  [ATTRIBUTE.clusterList]: {
    name: "CLUSTER_LIST",
    flags: OPTIONAL,
    action: "treat-as-withdraw",
    internalOnly: true,
    read: list(4, u32, (into, items) => {
      into.clusterList = items;
    }),
  },
  [ATTRIBUTE.extendedCommunities]: {
    name: "EXTENDED_COMMUNITIES",
    flags: OPTIONAL_TRANSITIVE,
    action: "treat-as-withdraw",
    read: list(
      8,
      (bytes, at) => (BigInt(u32(bytes, at)) << 32n) | BigInt(u32(bytes, at + 4)),
      (into, items) => {
        into.extendedCommunities = items;
      },
    ),
  },
  [ATTRIBUTE.as4Path]: {
    name: "AS4_PATH",
    flags: OPTIONAL_TRANSITIVE,
    action: "attribute-discard",
    read: ({ bytes, context, into }, start, end) => {
      // RFC 6793 §4.1: between 4-byte speakers it has no business.
      if (context.fourByteAs) return "comes from a 4-byte speaker";
      const path = readAsPath(bytes, start, end, 4);
      if (!path) return "has a malformed segment";
      into.as4Path = path;
      return undefined;
    },
  },
  [ATTRIBUTE.as4Aggregator]: {
    name: "AS4_AGGREGATOR",
    flags: OPTIONAL_TRANSITIVE,
    action: "attribute-discard",
    read: (reading, start, end) => {
      if (reading.context.fourByteAs) return "comes from a 4-byte speaker";
      return aggregator(
        () => 4,
        (into, value) => {
          into.as4Aggregator = value;
        },
      )(reading, start, end);
    },
  },
  [ATTRIBUTE.largeCommunities]: {
    name: "LARGE_COMMUNITIES",
    flags: OPTIONAL_TRANSITIVE,
    action: "treat-as-withdraw",
    read: list(
      12,
      (bytes, at): LargeCommunity => [u32(bytes, at), u32(bytes, at + 4), u32(bytes, at + 8)],
      (into, items) => {
        into.largeCommunities = items;
      },
    ),
  },
});

function sparse(rules: Readonly<Record<number, AttributeRule>>): (AttributeRule | undefined)[] {
  return Array.from({ length: 256 }, (_, type) => rules[type]);
}

/** "AS_PATH", or "attribute 99". */
export function attributeName(type: number): string {
  if (type === ATTRIBUTE.mpReach) return "MP_REACH_NLRI";
  if (type === ATTRIBUTE.mpUnreach) return "MP_UNREACH_NLRI";
  return RULES[type]?.name ?? `attribute ${type}`;
}

export interface DecodedAttributes {
  /** Without MP_REACH_NLRI's next hop, which belongs to its prefixes. */
  readonly attributes: PathAttributes;
  readonly problems: readonly AttributeProblem[];
  readonly present: { readonly origin: boolean; readonly asPath: boolean; readonly nextHop: boolean };
}

/**
 * Reads the attributes at `spans` (MP_REACH_NLRI and MP_UNREACH_NLRI are the caller's).
 * @throws Malformed 3/2: a well-known attribute that nobody knows
 */
export function readAttributes(bytes: Uint8Array, spans: readonly AttributeSpan[], context: AttributeContext): DecodedAttributes {
  const into: Mutable = {};
  const reading: Reading = { bytes, context, into };
  const problems: AttributeProblem[] = [];
  const others: OtherAttribute[] = [];
  const seen = new Set<number>();
  for (const { flags, type, start, end } of spans) {
    if (type === ATTRIBUTE.mpReach || type === ATTRIBUTE.mpUnreach) continue;
    // RFC 7606 §3.g: the first counts.
    if (seen.has(type)) {
      problems.push({ attribute: type, action: "attribute-discard", subcode: 1, says: `${attributeName(type)} appears twice` });
      continue;
    }
    seen.add(type);
    const rule = RULES[type];
    if (!rule) {
      if (!(flags & FLAG.optional)) {
        throw new Malformed(
          CODE.update,
          2,
          `attribute ${type} is well-known, but not to us`,
          copyBytes(bytes, start - (flags & FLAG.extended ? 4 : 3), end),
        );
      }
      if (flags & FLAG.transitive)
        others.push({ flags: (flags & ~FLAG.extended) | FLAG.partial, type, value: copyBytes(bytes, start, end) });
      continue;
    }
    const { name, action } = rule;
    if ((flags & OPTIONAL_TRANSITIVE) !== rule.flags) {
      problems.push({ attribute: type, action: "treat-as-withdraw", subcode: 4, says: `${name} has flags 0x${flags.toString(16)}` });
    } else if (rule.internalOnly && context.external) {
      problems.push({ attribute: type, action: "attribute-discard", subcode: 9, says: `${name} comes from another AS` });
    } else {
      const wrong = rule.read(reading, start, end);
      if (wrong !== undefined)
        problems.push({
          attribute: type,
          action,
          subcode: type === ATTRIBUTE.origin ? 6 : type === ATTRIBUTE.asPath ? 11 : 5,
          says: `${name} ${wrong}`,
        });
    }
  }
  if (others.length > 0) into.others = others;
  repairFourByte(into);
  const present = { origin: seen.has(ATTRIBUTE.origin), asPath: seen.has(ATTRIBUTE.asPath), nextHop: seen.has(ATTRIBUTE.nextHop) };
  return { attributes: attributesOf(into), problems, present };
}

/** RFC 6793 §4.2.3: an AGGREGATOR that is not AS_TRANS says that the path was aggregated behind the AS4 attributes. */
function repairFourByte(into: Mutable): void {
  const { as4Path, as4Aggregator, aggregator } = into;
  if (as4Aggregator && aggregator && aggregator.as !== 23456) return;
  if (as4Aggregator && aggregator) into.aggregator = as4Aggregator;
  if (as4Path && into.asPath) into.asPath = mergeAs4Path(into.asPath, as4Path);
}
