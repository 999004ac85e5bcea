// Import and export filters: ordered statements that match routes, change their attributes, and accept or reject them.
import { addressToBytes, type Family, networkOf, tryParsePrefix } from "../../base/index.ts";
import { BgpError } from "../errors.ts";
import { prependAs } from "../wire/as-path.ts";
import { attributesOf, type PathAttributes } from "../wire/attributes.ts";
import { parseCommunity } from "../wire/communities.ts";

/** All that is given must hold. */
export interface FilterMatch {
  readonly family?: Family;
  readonly prefix?: {
    readonly cidr: string;
    /** `in`: the prefix or a part of it. Default `in`. */
    readonly operator?: "equal" | "not-equal" | "in" | "not-in";
    readonly minLength?: number;
    readonly maxLength?: number;
  };
  /** Where the route comes from: a neighbour, or this node. */
  readonly source?: "neighbours" | "local";
  readonly neighbourType?: "external" | "internal";
  /** Interface of a local route; `*` stands for anything at its end. */
  readonly interface?: string;
  /** Any of these, of any kind, in text. */
  readonly communities?: readonly string[];
  /** The AS path begins with these. */
  readonly asPathPrefix?: readonly number[];
  readonly asPathContains?: number;
  readonly originAs?: number;
}

export interface FilterChange {
  readonly localPref?: number;
  readonly med?: number;
  readonly addCommunities?: readonly string[];
  readonly removeCommunities?: readonly string[];
  readonly prepend?: { readonly as: number; readonly times: number };
  /** These, in this order, in front of the path. */
  readonly prependPath?: readonly number[];
  readonly nextHop?: string;
}

export interface FilterStatement {
  readonly match?: FilterMatch;
  readonly set?: FilterChange;
  /** Absent: the next statement goes on with what this one has changed. */
  readonly action?: "accept" | "reject";
}

export interface Filter {
  readonly name: string;
  readonly statements: readonly FilterStatement[];
  /** For what no statement decides. */
  readonly otherwise: "accept" | "reject";
}

/** A route as a filter sees it: the address stands at `at` in `words`. */
export interface FilterRoute {
  readonly words: Uint32Array;
  readonly at: number;
  readonly length: number;
  readonly family: Family;
  readonly local: boolean;
  readonly external: boolean;
  readonly interface: string | undefined;
}

/** The attributes to go on with, or why the route is rejected ("filter NAME, statement 2"). */
type FilterVerdict = PathAttributes | string;
export type CompiledFilter = (route: FilterRoute, attributes: PathAttributes) => FilterVerdict;

type Test = (route: FilterRoute, attributes: PathAttributes) => boolean;
type Change = (attributes: PathAttributes) => PathAttributes;

/** Makes a filter ready. Equal changes of one attribute object give one object, so that routes still share it. @throws BgpError `bad-filter` */
export function compileFilter(filter: Filter): CompiledFilter {
  const steps = filter.statements.map((statement, index) => ({
    test: compileMatch(statement.match ?? {}, `filter ${filter.name}, statement ${index + 1}`),
    change: statement.set ? shared(compileChange(statement.set, `filter ${filter.name}, statement ${index + 1}`)) : undefined,
    action: statement.action,
    reason: `filter ${filter.name}, statement ${index + 1}`,
  }));
  const otherwise = `filter ${filter.name}, no statement`;
  return (route, given) => {
    let attributes = given;
    for (const { test, change, action, reason } of steps) {
      if (!test(route, attributes)) continue;
      if (action === "reject") return reason;
      if (change) attributes = change(attributes);
      if (action === "accept") return attributes;
    }
    return filter.otherwise === "accept" ? attributes : otherwise;
  };
}

function shared(change: Change): Change {
  const made = new WeakMap<PathAttributes, PathAttributes>();
  return (attributes) => {
    let result = made.get(attributes);
    if (result === undefined) {
      result = change(attributes);
      made.set(attributes, result);
    }
    return result;
  };
}

function compileMatch(match: FilterMatch, where: string): Test {
  const tests: Test[] = [];
  const { family, source, neighbourType, asPathPrefix, asPathContains, originAs } = match;
  if (family !== undefined) tests.push((route) => route.family === family);
  if (match.prefix) tests.push(compilePrefix(match.prefix, where));
  if (source !== undefined) tests.push((route) => route.local === (source === "local"));
  if (neighbourType !== undefined) tests.push((route) => !route.local && route.external === (neighbourType === "external"));
  if (match.interface !== undefined) {
    const pattern = match.interface;
    const start = pattern.endsWith("*") ? pattern.slice(0, -1) : undefined;
    tests.push((route) => (start === undefined ? route.interface === pattern : route.interface?.startsWith(start) === true));
  }
  if (match.communities) {
    const wanted = match.communities.map((text) => hasCommunity(text, where));
    tests.push((_, attributes) => wanted.some((has) => has(attributes)));
  }
  if (asPathPrefix) tests.push((_, { asPath }) => asPathPrefix.every((as, index) => asesOf(asPath)[index] === as));
  if (asPathContains !== undefined) tests.push((_, { asPath }) => asesOf(asPath).includes(asPathContains));
  if (originAs !== undefined) tests.push((_, { asPath }) => asesOf(asPath).at(-1) === originAs);
  return (route, attributes) => tests.every((test) => test(route, attributes));
}

const asesOf = (path: PathAttributes["asPath"]) => path.flatMap(({ ases }) => ases);

function compilePrefix({ cidr, operator = "in", minLength, maxLength }: NonNullable<FilterMatch["prefix"]>, where: string): Test {
  const parsed = tryParsePrefix(cidr);
  if (!parsed) throw new BgpError("bad-filter", `"${cidr}" is not a prefix`, { where, remedy: "write it like 10.244.0.0/16" });
  const bits = parsed.family === 4 ? 32 : 128;
  const least = minLength ?? 0;
  const most = maxLength ?? bits;
  if (!(least >= 0 && most <= bits && least <= most)) {
    throw new BgpError("bad-filter", `prefix lengths ${least} to ${most} in IPv${parsed.family}`, {
      where,
      remedy: `write lengths from 0 to ${bits}`,
    });
  }
  const bytes = addressToBytes(networkOf(parsed));
  const words = Array.from({ length: bytes.length / 4 }, (_, i) => new DataView(bytes.buffer).getUint32(i * 4));
  const masks = words.map((_, i) => {
    const ones = Math.max(0, Math.min(32, parsed.length - i * 32));
    return ones === 0 ? 0 : (-1 << (32 - ones)) >>> 0;
  });
  const inside: Test = (route) =>
    route.length >= parsed.length && words.every((word, i) => ((route.words[route.at + i] ?? 0) & (masks[i] ?? 0)) >>> 0 === word);
  const negative = operator === "not-equal" || operator === "not-in";
  const exact = operator === "equal" || operator === "not-equal";
  return (route, attributes) => {
    if (route.family !== parsed.family || route.length < least || route.length > most) return false;
    return (inside(route, attributes) && (!exact || route.length === parsed.length)) !== negative;
  };
}

function hasCommunity(text: string, where: string): (attributes: PathAttributes) => boolean {
  const community = checked(text, where);
  if (community.kind === "standard") return ({ communities }) => communities.includes(community.value);
  if (community.kind === "extended") return ({ extendedCommunities }) => extendedCommunities.includes(community.value);
  const key = community.value.join(":");
  return ({ largeCommunities }) => largeCommunities.some((each) => each.join(":") === key);
}

function checked(text: string, where: string) {
  try {
    return parseCommunity(text);
  } catch (cause) {
    throw new BgpError("bad-filter", `"${text}" is not a community`, {
      where,
      cause,
      remedy: "write 64512:100, 64512:1:2 or rt:64512:100",
    });
  }
}

function compileChange(set: FilterChange, where: string): Change {
  const added = (set.addCommunities ?? []).map((text) => ({ community: checked(text, where), has: hasCommunity(text, where) }));
  const removed = (set.removeCommunities ?? []).map((text) => checked(text, where));
  const { prepend, prependPath = [] } = set;
  if (prepend && !(prepend.times >= 1 && prepend.times <= 32)) {
    throw new BgpError("bad-filter", `the path cannot be prepended ${prepend.times} times`, { where, remedy: "write 1 to 32" });
  }
  return (attributes) => {
    const standard = new Set(attributes.communities);
    const extended = new Set(attributes.extendedCommunities);
    const large = new Map(attributes.largeCommunities.map((value) => [value.join(":"), value]));
    for (const { kind, value } of removed) {
      if (kind === "standard") standard.delete(value);
      else if (kind === "extended") extended.delete(value);
      else large.delete(value.join(":"));
    }
    for (const { community } of added) {
      if (community.kind === "standard") standard.add(community.value);
      else if (community.kind === "extended") extended.add(community.value);
      else large.set(community.value.join(":"), community.value);
    }
    return attributesOf({
      ...attributes,
      localPref: set.localPref ?? attributes.localPref,
      med: set.med ?? attributes.med,
      nextHop: set.nextHop ?? attributes.nextHop,
      asPath: prependPath.reduceRight(
        (path, as) => prependAs(path, as),
        prepend ? prependAs(attributes.asPath, prepend.as, prepend.times) : attributes.asPath,
      ),
      communities: [...standard],
      extendedCommunities: [...extended],
      largeCommunities: [...large.values()],
    });
  };
}
