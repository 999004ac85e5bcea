// Why a session with a neighbour is not up: pure, from what the speaker and the kernel say.
import type { PeerStatus } from "../../bgp/index.ts";
import type { SignatureCounters, TcpConnection } from "../../kernel/index.ts";

export type BgpCause =
  | "starting"
  | "withheld"
  | "no-route"
  | "no-host"
  | "no-answer"
  | "refused"
  | "wrong-password"
  | "wrong-as"
  | "wrong-identifier"
  | "no-common-family"
  | "silent"
  | "bfd"
  | "prefix-limit"
  | "ended-by-neighbour"
  | "ended-by-us"
  | "closed";

export interface Diagnosis {
  readonly cause: BgpCause;
  readonly says: string;
  /** The observation that proves it. */
  readonly proof: string;
  /** What to change. */
  readonly remedy: string;
}

export interface Evidence {
  readonly status: Pick<PeerStatus, "name" | "address" | "phase" | "lastError" | "lastFault">;
  readonly port: number;
  readonly localAs: number;
  readonly expectedAs: number | string;
  readonly hasPassword: boolean;
  readonly withheld: string | undefined;
  /** Connections between this node and the neighbour, to or from the port. */
  readonly connections: readonly TcpConnection[];
  /** What the neighbour table says of the address, or of the router on the way to it. */
  readonly linkLayer: { readonly address: string; readonly mac: string | undefined; readonly state: string } | undefined;
  /** Signatures that were refused since the session was last up. */
  readonly signatures: SignatureCounters;
  /** Whether the kernel has a route to the address. */
  readonly routed: boolean;
}

/** OPEN error subcodes (RFC 4271 §6.2). */
const OPEN_ERROR = 2;
const BAD_PEER_AS = 2;
const BAD_IDENTIFIER = 3;
const HOLD_EXPIRED = 4;
const CEASE = 6;
const CEASE_BFD = 10;
const CEASE_LIMIT = 1;

/** Why the session is not up; undefined if it is. */
export function diagnose(evidence: Evidence): Diagnosis | undefined {
  const { status, withheld } = evidence;
  if (status.phase === "Established") return undefined;
  if (withheld !== undefined) {
    return {
      cause: "withheld",
      says: withheld,
      proof: "no connection is made or taken before",
      remedy: "create the Secret, or correct the name",
    };
  }
  return fromFault(evidence) ?? fromConnection(evidence);
}

/** What the two said to each other before it ended. */
function fromFault(evidence: Evidence): Diagnosis | undefined {
  const { status, localAs, expectedAs } = evidence;
  const { lastFault: fault, lastError = "" } = status;
  if (fault === undefined || fault.by === "connection") return undefined;
  // What is refused now counts for more than what was said in a session that is over.
  const unanswered = evidence.connections.some(({ state }) => state === "SYN-SENT");
  const theirs = fault.by === "neighbour";
  const proof = `NOTIFICATION ${fault.code}/${fault.subcode} ${theirs ? "from the neighbour" : "sent"}: ${lastError}`;
  if (fault.code === OPEN_ERROR && fault.subcode === BAD_PEER_AS) {
    return {
      cause: "wrong-as",
      says: theirs
        ? `the neighbour expects another AS number of this node than ${localAs}`
        : `the neighbour is not of AS ${expectedAs}, as is configured here`,
      proof,
      remedy: theirs
        ? "correct the AS number at the neighbour, or this node's (BGPConfiguration asNumber, annotation projectcalico.org/ASNumber)"
        : "correct asNumber of the BGPPeer, or the neighbour's AS",
    };
  }
  if (fault.code === OPEN_ERROR && fault.subcode === BAD_IDENTIFIER)
    return {
      cause: "wrong-identifier",
      says: "both ends have the same BGP identifier",
      proof,
      remedy: "give each router an id of its own",
    };
  if (fault.code === OPEN_ERROR && fault.subcode === 7)
    return {
      cause: "no-common-family",
      says: "the two have no address family in common",
      proof,
      remedy: "let both speak IPv4 or IPv6 unicast",
    };
  if (unanswered) return undefined;
  if (fault.code === HOLD_EXPIRED) {
    return {
      cause: "silent",
      says: theirs ? "the neighbour heard nothing for the hold time" : "nothing was heard of the neighbour for the hold time",
      proof,
      remedy: "look for packets that are dropped on the way: TCP port 179",
    };
  }
  if (fault.code === CEASE && fault.subcode === CEASE_BFD)
    return {
      cause: "bfd",
      says: "BFD noticed that the neighbour is gone",
      proof,
      remedy: "is it up? do its UDP packets to port 3784 come through?",
    };
  if (fault.code === CEASE && fault.subcode === CEASE_LIMIT)
    return { cause: "prefix-limit", says: lastError, proof, remedy: "filter what is sent, or raise the limit" };
  if (theirs)
    return { cause: "ended-by-neighbour", says: lastError, proof, remedy: "see the neighbour's log; the session is tried again by itself" };
  return { cause: "ended-by-us", says: lastError, proof, remedy: "the session is tried again by itself" };
}

/** How far a connection comes. */
function fromConnection(evidence: Evidence): Diagnosis {
  const { status, port, hasPassword, connections, linkLayer, signatures, routed } = evidence;
  const { address, lastError = "" } = status;
  const password = fromSignatures(evidence);
  const waiting = connections.find(({ state }) => state === "SYN-SENT");
  const syn = waiting
    ? `SYN-SENT ${waiting.local.address}:${waiting.local.port} → ${address}:${port}, sent ${waiting.retransmits + 1} time${waiting.retransmits === 0 ? "" : "s"}, no answer`
    : `connecting to ${address}:${port}: ${lastError || "no answer"}`;
  if (password) return password;
  if (lastError === "ECONNREFUSED" && !(waiting && waiting.retransmits > 0)) {
    return {
      cause: "refused",
      says: `${address} refuses connections to port ${port}: nobody listens there, or a rule rejects them`,
      proof: `connecting to ${address}:${port} was answered by a reset (ECONNREFUSED)`,
      remedy: "start the BGP speaker there, or let it listen on that port",
    };
  }
  if (!routed || lastError === "ENETUNREACH") {
    return {
      cause: "no-route",
      says: `this node has no route to ${address}`,
      proof: lastError === "ENETUNREACH" ? `connecting to ${address}:${port}: ENETUNREACH` : `ip route get ${address} finds nothing`,
      remedy: "add a route, or correct the neighbour's address (peerIP, reachableBy)",
    };
  }
  if (lastError === "EHOSTUNREACH" || linkLayer?.state === "failed" || linkLayer?.state === "incomplete") {
    const via = linkLayer && linkLayer.address !== address ? `${linkLayer.address}, the router on the way to it,` : address;
    return {
      cause: "no-host",
      says: `${via} is not there: it answers no ARP or neighbour solicitation`,
      proof: linkLayer ? `ip neigh: ${linkLayer.address} is ${linkLayer.state}` : `connecting to ${address}:${port}: EHOSTUNREACH`,
      remedy: "is the machine up and on this network? is the address right?",
    };
  }
  if (waiting || lastError === "connecting took too long" || lastError === "ETIMEDOUT") {
    const there = linkLayer?.mac ? `; ${linkLayer.address} is there (${linkLayer.mac}, ${linkLayer.state})` : "";
    const also = hasPassword ? ", or the neighbour has another password" : "";
    return {
      cause: "no-answer",
      says: `TCP port ${port} of ${address} does not answer: packets are dropped by a firewall on the way, there, or here${also}`,
      proof: `${syn}${there}`,
      remedy: `let TCP port ${port} through on both nodes${also ? "; compare the passwords" : ""}`,
    };
  }
  if (lastError === "") return { cause: "starting", says: "the first attempt is being made", proof: syn, remedy: "wait a moment" };
  const counted = signatures.wrong + signatures.missing > 0 ? `; ${signatures.wrong} segments with a wrong signature were dropped` : "";
  return {
    cause: "closed",
    says: `the connection was lost: ${lastError}`,
    proof: `${syn}${counted}`,
    remedy: "see the neighbour's log; it is tried again by itself",
  };
}

function fromSignatures({ status, hasPassword, signatures, port }: Evidence): Diagnosis | undefined {
  const { address } = status;
  const remedy = "give both ends the same password (BGPPeer password, BGPConfiguration nodeMeshPassword)";
  if (hasPassword && signatures.wrong > 0) {
    return {
      cause: "wrong-password",
      says: `${address} signs with another password`,
      proof: `TcpExtTCPMD5Failure grew by ${signatures.wrong} since the session was last up; nothing of it reaches port ${port}`,
      remedy,
    };
  }
  if (hasPassword && signatures.missing > 0) {
    return {
      cause: "wrong-password",
      says: `${address} has no password, and here there is one`,
      proof: `TcpExtTCPMD5NotFound grew by ${signatures.missing} since the session was last up`,
      remedy,
    };
  }
  if (!hasPassword && signatures.unexpected > 0) {
    return {
      cause: "wrong-password",
      says: `${address} has a password, and here there is none`,
      proof: `TcpExtTCPMD5Unexpected grew by ${signatures.unexpected} since the session was last up`,
      remedy,
    };
  }
  return undefined;
}
