// A neighbour's configuration and what was negotiated, as the routing table needs them: for what comes in, and for what goes out.
import type { Family } from "../../base/index.ts";
import { compileFilter } from "../rib/filter.ts";
import type { Negotiated } from "../session/negotiate.ts";
import { parseRouterId } from "../wire/address-text.ts";
import { type PeerConfig, roleOf } from "./peer-config.ts";

/** How routes that a neighbour sends are judged; `negotiated`: undefined before its session is up. */
export function importSettings(config: PeerConfig, localAs: number, negotiated: Negotiated | undefined) {
  const { name, address, as, importFilter } = config;
  const external = negotiated?.external ?? (as === "external" || (typeof as === "number" && as !== localAs));
  return {
    name,
    address: address.split("/")[0] ?? address,
    role: roleOf(config, external),
    as: negotiated?.peerAs ?? 0,
    routerId: negotiated?.routerId ?? parseRouterId("0.0.0.1"),
    importFilter: importFilter ? compileFilter(importFilter) : undefined,
    localAs,
    allowOwnAs: config.allowOwnAs ?? 0,
  };
}

export interface ExportEnds {
  readonly localAs: number;
  readonly clusterId: number;
  /** Next hops of this speaker. */
  readonly addresses: { readonly v4: string | undefined; readonly v6: string | undefined };
  /** This end's address of the session's connection. */
  readonly local: string | undefined;
}

/** How routes of a family are written for a neighbour: those with equal settings share a group. */
export function exportSettings(config: PeerConfig, negotiated: Negotiated, family: Family, ends: ExportEnds) {
  const local = (ends.local ?? "").replace(/^::ffff:(?=\d+\.)/, "");
  const { addresses, localAs, clusterId } = ends;
  const own = local.includes(":") ? { v4: addresses.v4, v6: local.split("%")[0] } : { v4: local, v6: addresses.v6 };
  return {
    role: roleOf(config, negotiated.external),
    localAs,
    clusterId,
    nextHop: config.nextHop ?? "default",
    localAddress: own,
    extendedNextHop: negotiated.extendedNextHop,
    longLived: negotiated.longLived,
    fourByteAs: negotiated.fourByteAs,
    messageLimit: negotiated.messageLimit,
    addPath: negotiated.addPathSend.includes(family),
    filter: config.exportFilter ? compileFilter(config.exportFilter) : undefined,
  } as const;
}
