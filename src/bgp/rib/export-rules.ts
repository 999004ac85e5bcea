// What becomes of a route's attributes on the way to a neighbour, and which routes may not go there at all.
import type { Family } from "../../base/index.ts";
import { prependAs } from "../wire/as-path.ts";
import { attributesOf, type PathAttributes } from "../wire/attributes.ts";
import { WELL_KNOWN } from "../wire/communities.ts";

/** What we are to the neighbour and it to us. */
export type Role = "external" | "internal" | "client";

/** Where a route came from, as far as passing it on goes. */
export interface ExportSource {
  readonly local: boolean;
  readonly role: Role;
  readonly routerId: number;
}

export interface ExportRules {
  readonly role: Role;
  readonly localAs: number;
  readonly clusterId: number;
  /** The next hop becomes ours: always to external neighbours (unless kept), never of itself inside. */
  readonly nextHop: "default" | "self" | "keep";
  /** Our addresses on the session, by family. */
  readonly localAddress: { readonly v4: string | undefined; readonly v6: string | undefined };
  /** IPv4 routes may go with an IPv6 next hop. */
  readonly extendedNextHop: boolean;
  /** The neighbour understands long-lived stale routes (RFC 9494 §4.3). */
  readonly longLived: boolean;
}

const DEFAULT_LOCAL_PREF = 100;

/** The attributes to send, or why the route is not sent. */
export function exportAttributes(
  attributes: PathAttributes,
  source: ExportSource,
  family: Family,
  rules: ExportRules,
): PathAttributes | string {
  const { communities } = attributes;
  if (communities.length > 0) {
    if (communities.includes(WELL_KNOWN["no-advertise"])) return "no-advertise";
    const outside = rules.role === "external";
    if (outside && communities.includes(WELL_KNOWN["no-export"])) return "no-export";
    if (outside && communities.includes(WELL_KNOWN["no-export-subconfed"])) return "no-export";
    if (!rules.longLived && communities.includes(WELL_KNOWN["llgr-stale"])) return "long-lived-stale";
  }
  return rules.role === "external" ? toExternal(attributes, source, family, rules) : toInternal(attributes, source, family, rules);
}

function toExternal(attributes: PathAttributes, source: ExportSource, family: Family, rules: ExportRules): PathAttributes | string {
  const nextHop = rules.nextHop === "keep" && attributes.nextHop !== "" ? attributes.nextHop : ownAddress(family, rules);
  if (nextHop === undefined) return "no-own-address";
  return attributesOf({
    ...attributes,
    asPath: prependAs(
      attributes.asPath.filter(({ type }) => !type.startsWith("confed")),
      rules.localAs,
    ),
    nextHop,
    linkLocalNextHop: undefined,
    // RFC 4271 §5.1.4: a MED is not passed on to a third AS.
    med: source.local || source.role !== "external" ? attributes.med : undefined,
    localPref: undefined,
    originatorId: undefined,
    clusterList: [],
    // RFC 4360 §6: bit 0x40 of the type says "not transitive".
    extendedCommunities: attributes.extendedCommunities.filter((value) => ((value >> 62n) & 1n) === 0n),
  });
}

function toInternal(attributes: PathAttributes, source: ExportSource, family: Family, rules: ExportRules): PathAttributes | string {
  const reflected = !source.local && source.role !== "external";
  // RFC 4456 §6: from a client to all, from others to clients.
  if (reflected && source.role === "internal" && rules.role === "internal") return "internal-to-internal";
  const self = attributes.nextHop === "" || (rules.nextHop === "self" && !reflected);
  const nextHop = self ? ownAddress(family, rules) : attributes.nextHop;
  if (nextHop === undefined) return "no-own-address";
  if (family === 4 && nextHop.includes(":") && !rules.extendedNextHop) return "no-extended-next-hop";
  return attributesOf({
    ...attributes,
    nextHop,
    linkLocalNextHop: undefined,
    localPref: attributes.localPref ?? DEFAULT_LOCAL_PREF,
    originatorId: reflected ? (attributes.originatorId ?? source.routerId) : undefined,
    clusterList: reflected ? [rules.clusterId, ...attributes.clusterList] : [],
  });
}

function ownAddress(family: Family, { localAddress, extendedNextHop }: ExportRules): string | undefined {
  if (family === 6) return localAddress.v6;
  return localAddress.v4 ?? (extendedNextHop ? localAddress.v6 : undefined);
}
