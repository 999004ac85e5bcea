// Path attributes as data: what a route carries besides its prefix.
import { type AsPath, asPathLength, neighbourAs } from "./as-path.ts";
import type { LargeCommunity } from "./communities.ts";

/** Attribute type codes. */
export const ATTRIBUTE = {
  origin: 1,
  asPath: 2,
  nextHop: 3,
  med: 4,
  localPref: 5,
  atomicAggregate: 6,
  aggregator: 7,
  communities: 8,
  originatorId: 9,
  clusterList: 10,
  mpReach: 14,
  mpUnreach: 15,
  extendedCommunities: 16,
  as4Path: 17,
  as4Aggregator: 18,
  largeCommunities: 32,
} as const;

/** Attribute flags. */
export const FLAG = { optional: 0x80, transitive: 0x40, partial: 0x20, extended: 0x10 } as const;

/** 0 IGP, 1 EGP, 2 incomplete. */
export type Origin = 0 | 1 | 2;

export interface Aggregator {
  readonly as: number;
  readonly routerId: number;
}

/** An optional transitive attribute that we do not know: passed on, marked partial. */
export interface OtherAttribute {
  readonly flags: number;
  readonly type: number;
  readonly value: Uint8Array;
}

/** The attributes of a route. Objects are shared between routes and never changed. */
export interface PathAttributes {
  readonly origin: Origin;
  readonly asPath: AsPath;
  /** Address in text; "" for a route of our own that has none yet. */
  readonly nextHop: string;
  readonly linkLocalNextHop: string | undefined;
  readonly med: number | undefined;
  readonly localPref: number | undefined;
  readonly atomicAggregate: boolean;
  readonly aggregator: Aggregator | undefined;
  readonly communities: readonly number[];
  readonly extendedCommunities: readonly bigint[];
  readonly largeCommunities: readonly LargeCommunity[];
  readonly originatorId: number | undefined;
  readonly clusterList: readonly number[];
  readonly others: readonly OtherAttribute[];
  /** Calculated from asPath, since every comparison of routes asks. */
  readonly pathLength: number;
  readonly neighbourAs: number;
}

const NONE: readonly never[] = [];

/** Attributes from those that are given; all objects have the same shape, which keeps comparisons quick. */
export function attributesOf(given: Partial<Omit<PathAttributes, "pathLength" | "neighbourAs">>): PathAttributes {
  const asPath = given.asPath ?? NONE;
  return {
    origin: given.origin ?? 0,
    asPath,
    nextHop: given.nextHop ?? "",
    linkLocalNextHop: given.linkLocalNextHop,
    med: given.med,
    localPref: given.localPref,
    atomicAggregate: given.atomicAggregate ?? false,
    aggregator: given.aggregator,
    communities: given.communities ?? NONE,
    extendedCommunities: given.extendedCommunities ?? NONE,
    largeCommunities: given.largeCommunities ?? NONE,
    originatorId: given.originatorId,
    clusterList: given.clusterList ?? NONE,
    others: given.others ?? NONE,
    pathLength: asPathLength(asPath),
    neighbourAs: neighbourAs(asPath),
  };
}
