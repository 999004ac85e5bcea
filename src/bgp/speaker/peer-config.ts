// What the speaker is told about a neighbour, and the defaults of what it is not told.
import { addressBits, type Family, familyOf, tryParseAddress, tryParsePrefix } from "../../base/index.ts";
import { BgpError } from "../errors.ts";
import type { Role } from "../rib/export-rules.ts";
import type { Filter } from "../rib/filter.ts";
import type { GracefulRestartConfig, SessionConfig } from "../session/negotiate.ts";

export interface PeerConfig {
  /** Unique. */
  readonly name: string;
  /** Address, or a prefix: all from there may connect (dynamic neighbours). */
  readonly address: string;
  readonly as: number | "external" | "internal";
  /** Our AS towards this neighbour; default that of the speaker. */
  readonly localAs?: number;
  /** How often our own AS may stand in the path of a route that it sends; default 0. */
  readonly allowOwnAs?: number;
  /** Default 179. */
  readonly port?: number;
  /** Source of our connections. */
  readonly localAddress?: string;
  readonly passive?: boolean;
  /** TCP MD5 signature. */
  readonly password?: string;
  /** TTL security: how many hops away the neighbour may be, 1–254. */
  readonly ttlSecurityHops?: number;
  /** Default: those of the speaker. */
  readonly families?: readonly Family[];
  /** Seconds; default 90. */
  readonly holdSeconds?: number;
  /** Seconds; default 5. */
  readonly connectRetrySeconds?: number;
  /** We reflect routes to and from it (RFC 4456). */
  readonly reflectorClient?: boolean;
  readonly nextHop?: "default" | "self" | "keep";
  readonly addPath?: { readonly receive?: boolean; readonly send?: boolean };
  readonly extendedNextHop?: boolean;
  readonly gracefulRestart?: Partial<GracefulRestartConfig>;
  /** Most prefixes of one family that it may send. */
  readonly maxPrefixes?: number;
  readonly importFilter?: Filter;
  readonly exportFilter?: Filter;
}

const DEFAULT_RESTART: GracefulRestartConfig = { restartSeconds: 120, staleSeconds: 360, longLivedSeconds: 0, notification: true };

/** Whether the neighbour is a range of addresses that connect to us. */
export function isDynamic(peer: PeerConfig): boolean {
  return peer.address.includes("/");
}

/** @throws BgpError `bad-peer`: what cannot be */
export function checkPeer(peer: PeerConfig): void {
  const bad = (says: string, remedy: string) => new BgpError("bad-peer", says, { where: `neighbour ${peer.name}`, remedy });
  const dynamic = isDynamic(peer);
  const prefix = dynamic ? tryParsePrefix(peer.address) : tryParseAddress(peer.address.split("%")[0] ?? "");
  if (!prefix) throw bad(`"${peer.address}" is no address and no prefix`, "write 10.112.0.1, fd00::1 or 10.112.0.0/24");
  if (typeof peer.as === "number" && !(Number.isInteger(peer.as) && peer.as > 0 && peer.as <= 0xffffffff)) {
    throw bad(`AS ${peer.as}`, "write a number from 1 to 4294967295");
  }
  const { holdSeconds = 90, ttlSecurityHops, maxPrefixes, reflectorClient, port = 179 } = peer;
  if (!(holdSeconds === 0 || (holdSeconds >= 3 && holdSeconds <= 65535)))
    throw bad(`a hold time of ${holdSeconds} s`, "write 0 or 3 to 65535");
  if (ttlSecurityHops !== undefined && !(ttlSecurityHops >= 1 && ttlSecurityHops <= 254))
    throw bad(`${ttlSecurityHops} hops`, "write 1 to 254");
  if (maxPrefixes !== undefined && !(maxPrefixes > 0)) throw bad(`at most ${maxPrefixes} prefixes`, "write a positive number");
  if (!(Number.isInteger(port) && port > 0 && port < 65536)) throw bad(`port ${port}`, "write 1 to 65535");
  if (reflectorClient && peer.as === "external") throw bad("a reflector client of another AS", "clients are internal neighbours");
  if (peer.password !== undefined && Buffer.byteLength(peer.password) > 80)
    throw bad("a password over 80 bytes", "the kernel takes up to 80");
}

/** The session's part of the configuration, with defaults. */
export function sessionConfigOf(
  peer: PeerConfig,
  own: { readonly localAs: number; readonly routerId: number; readonly families: readonly Family[]; readonly hostName: string | undefined },
): SessionConfig {
  const restart = peer.gracefulRestart;
  return {
    localAs: peer.localAs ?? own.localAs,
    routerId: own.routerId,
    hostName: own.hostName,
    peerAs: peer.as,
    families: peer.families ?? own.families,
    holdSeconds: peer.holdSeconds ?? 90,
    connectRetrySeconds: peer.connectRetrySeconds ?? 5,
    passive: peer.passive === true || isDynamic(peer),
    addPath: { receive: peer.addPath?.receive ?? false, send: peer.addPath?.send ?? false },
    extendedNextHop: peer.extendedNextHop ?? false,
    gracefulRestart: restart ? { ...DEFAULT_RESTART, ...restart } : undefined,
  };
}

export function roleOf(peer: PeerConfig, external: boolean): Role {
  if (external) return "external";
  return peer.reflectorClient ? "client" : "internal";
}

/** Least TTL that is taken from the neighbour. */
export function minimumTtlOf(peer: PeerConfig): number | undefined {
  return peer.ttlSecurityHops === undefined ? undefined : 256 - peer.ttlSecurityHops;
}

/** The prefix of all addresses that the neighbour may have. */
export function rangeOf(peer: PeerConfig): string {
  return isDynamic(peer) ? peer.address : `${peer.address}/${addressBits(familyOf(peer.address))}`;
}
