// What two speakers agree on, from the OPENs of both.
import type { Family } from "../../base/index.ts";
import type { Capability } from "../wire/capabilities.ts";
import { EXTENDED_MESSAGE_LIMIT, MESSAGE_LIMIT } from "../wire/message.ts";
import type { OpenMessage } from "../wire/open.ts";
import { CODE, type ProtocolError } from "../wire/protocol-error.ts";
import { AttributeMemo, type UpdateContext } from "../wire/update.ts";

/** What one side wants of a session. */
export interface SessionConfig {
  readonly localAs: number;
  readonly routerId: number;
  /** "external": any AS but ours; "internal": ours. */
  readonly peerAs: number | "external" | "internal";
  readonly families: readonly Family[];
  /** Seconds; 0 or at least 3. */
  readonly holdSeconds: number;
  readonly connectRetrySeconds: number;
  /** Waits for the neighbour to connect. */
  readonly passive: boolean;
  readonly addPath: { readonly receive: boolean; readonly send: boolean };
  readonly extendedNextHop: boolean;
  /** Undefined: no graceful restart. */
  readonly gracefulRestart: GracefulRestartConfig | undefined;
  readonly hostName: string | undefined;
}

export interface GracefulRestartConfig {
  /** For how long the neighbour shall keep our routes while we are away, 1–4095. */
  readonly restartSeconds: number;
  /** For how long to wait for the End-of-RIB of a neighbour that is back. */
  readonly staleSeconds: number;
  /** Long-lived (RFC 9494): for how long routes are kept as a last resort after that; 0 means not at all. */
  readonly longLivedSeconds: number;
  /** Routes are kept over NOTIFICATIONs and silence, too (RFC 8538); where false, only a connection that just closes counts as a restart. */
  readonly notification: boolean;
}

/** What holds for an established session. */
export interface Negotiated {
  readonly peerAs: number;
  readonly routerId: number;
  readonly hostName: string | undefined;
  readonly external: boolean;
  readonly families: readonly Family[];
  readonly holdSeconds: number;
  readonly keepaliveSeconds: number;
  readonly fourByteAs: boolean;
  readonly messageLimit: number;
  readonly routeRefresh: boolean;
  readonly enhancedRefresh: boolean;
  readonly extendedNextHop: boolean;
  readonly addPathReceive: readonly Family[];
  readonly addPathSend: readonly Family[];
  readonly restart: NegotiatedRestart | undefined;
  /** The neighbour takes long-lived stale routes. */
  readonly longLived: boolean;
}

interface NegotiatedRestart {
  /** The neighbour says that it has just restarted. */
  readonly restarting: boolean;
  /** Both keep routes over NOTIFICATIONs (RFC 8538). */
  readonly notification: boolean;
  readonly restartSeconds: number;
  /** Families whose routes are kept, and whether forwarding went on over the restart just made. */
  readonly families: readonly { readonly family: Family; readonly preserved: boolean; readonly longLivedSeconds: number }[];
}

/** Our OPEN. `restarting`: we have just started and our kernel has kept the routes. */
export function openOf(config: SessionConfig, restarting: boolean): OpenMessage {
  const { families, addPath, gracefulRestart } = config;
  const capabilities: Capability[] = families.map((family) => ({ type: "multiprotocol", family }));
  capabilities.push({ type: "route-refresh" });
  if (config.extendedNextHop && families.includes(4)) capabilities.push({ type: "extended-next-hop", family: 4, nextHop: 6 });
  capabilities.push({ type: "extended-message" });
  if (gracefulRestart) {
    const preserved = families.map((family) => ({ family, preserved: restarting }));
    capabilities.push({
      type: "graceful-restart",
      restarting,
      notification: gracefulRestart.notification,
      restartSeconds: gracefulRestart.restartSeconds,
      families: preserved,
    });
    if (gracefulRestart.longLivedSeconds > 0) {
      const staleSeconds = gracefulRestart.longLivedSeconds;
      capabilities.push({ type: "long-lived-restart", families: preserved.map((each) => ({ ...each, staleSeconds })) });
    }
  }
  capabilities.push({ type: "four-byte-as", as: config.localAs });
  if (addPath.receive || addPath.send) {
    const mode = addPath.receive ? (addPath.send ? "both" : "receive") : "send";
    capabilities.push({ type: "add-paths", families: families.map((family) => ({ family, mode })) });
  }
  capabilities.push({ type: "enhanced-refresh" });
  if (config.hostName !== undefined) capabilities.push({ type: "host-name", host: config.hostName, domain: "" });
  return { type: "open", as: config.localAs, holdSeconds: config.holdSeconds, routerId: config.routerId, capabilities };
}

/** Why the neighbour's OPEN is not accepted; undefined if it is. */
export function refusalOf(config: SessionConfig, open: OpenMessage): ProtocolError | undefined {
  const { peerAs, localAs } = config;
  const expected = peerAs === "internal" ? localAs : peerAs;
  if (expected === "external" ? open.as === localAs : open.as !== expected) {
    return error(2, `the neighbour is AS ${open.as}, expected ${peerAs === "external" ? `another than ${localAs}` : `AS ${expected}`}`);
  }
  // RFC 6286 §2.2: identifiers are unique within an AS.
  if (open.routerId === config.routerId && open.as === localAs) return error(3, "the neighbour has our BGP identifier");
  if (agreedFamilies(config, open).length === 0) return error(7, "no address family in common");
  return undefined;

  function error(subcode: number, says: string): ProtocolError {
    return { code: CODE.open, subcode, data: new Uint8Array(0), says };
  }
}

function agreedFamilies(config: SessionConfig, { capabilities }: OpenMessage): Family[] {
  const theirs = capabilities.flatMap((capability) => (capability.type === "multiprotocol" ? [capability.family] : []));
  // RFC 4760 §8: who says nothing of families speaks IPv4.
  const speaksMultiprotocol = capabilities.some(
    ({ type, ...rest }) => type === "multiprotocol" || (type === "other" && "code" in rest && rest.code === 1),
  );
  return config.families.filter((family) => (speaksMultiprotocol ? theirs.includes(family) : family === 4));
}

/** What holds between us and a neighbour whose OPEN is accepted. */
export function negotiate(config: SessionConfig, open: OpenMessage): Negotiated {
  const families = agreedFamilies(config, open);
  const has = (type: Capability["type"]) => open.capabilities.some((capability) => capability.type === type);
  const holdSeconds = Math.min(config.holdSeconds, open.holdSeconds);
  const addPaths = open.capabilities.findLast((capability) => capability.type === "add-paths")?.families ?? [];
  const peerMode = (family: Family) => addPaths.find((each) => each.family === family)?.mode;
  const longLived = open.capabilities.findLast((capability) => capability.type === "long-lived-restart");
  const restart = open.capabilities.findLast((capability) => capability.type === "graceful-restart");
  return {
    peerAs: open.as,
    routerId: open.routerId,
    hostName: open.capabilities.find((capability) => capability.type === "host-name")?.host,
    external: open.as !== config.localAs,
    families,
    holdSeconds,
    keepaliveSeconds: holdSeconds / 3,
    fourByteAs: has("four-byte-as"),
    messageLimit: has("extended-message") ? EXTENDED_MESSAGE_LIMIT : MESSAGE_LIMIT,
    routeRefresh: has("route-refresh"),
    enhancedRefresh: has("enhanced-refresh"),
    extendedNextHop: config.extendedNextHop && has("extended-next-hop"),
    addPathReceive: families.filter((family) => config.addPath.receive && ["send", "both"].includes(peerMode(family) ?? "")),
    addPathSend: families.filter((family) => config.addPath.send && ["receive", "both"].includes(peerMode(family) ?? "")),
    restart:
      restart && config.gracefulRestart
        ? {
            restarting: restart.restarting,
            notification: restart.notification && config.gracefulRestart.notification,
            restartSeconds: restart.restartSeconds,
            families: families.flatMap((family) => {
              const given = restart.families.find((each) => each.family === family);
              const long = longLived?.families.find((each) => each.family === family);
              if (!given) return [];
              const longLivedSeconds = Math.min(long?.staleSeconds ?? 0, config.gracefulRestart?.longLivedSeconds ?? 0);
              return [{ family, preserved: given.preserved, longLivedSeconds }];
            }),
          }
        : undefined,
    longLived: longLived !== undefined,
  };
}

/** How the neighbour's UPDATEs are read. */
export function receivingContext(negotiated: Negotiated): UpdateContext {
  const { fourByteAs, external, families, addPathReceive, extendedNextHop } = negotiated;
  return { fourByteAs, external, families, addPath: addPathReceive, extendedNextHop, memo: new AttributeMemo() };
}
