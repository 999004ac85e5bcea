// The fields that rules look at, read from a packet at one hook.
import { tryParseAddress } from "../../base/index.ts";
import type { NftField } from "../netfilter.ts";
import type { Packet } from "./packet.ts";

export interface HookContext {
  /** Device the packet came in by; "" for what the node itself sends. */
  readonly inDevice: string;
  /** Device the packet leaves by; "" before that is known. */
  readonly outDevice: string;
  /** Whether an address is one of the namespace's own. */
  readonly isLocal: (address: string) => boolean;
  /** Stands for chance: which of `mod` possibilities a rule takes, from 0. */
  readonly choose: (mod: number) => number;
  /** Only base chains of these priorities: from the one, below the other. */
  readonly from?: number;
  readonly below?: number;
}

/** The value in canonical text; undefined where the packet has no such field, or it can't be told (jhash). */
export function readField(field: NftField, packet: Packet, context: HookContext): string | undefined {
  if (typeof field === "object") {
    if ("numgen" in field) return String(context.choose(field.mod) + (field.offset ?? 0));
    if ("jhash" in field) return undefined;
    const value = readField(field.field, packet, context);
    return value === undefined ? undefined : String((Number(value) & field.mask) >>> 0);
  }
  const [layer = "", name = ""] = field.split(" ");
  switch (layer) {
    case "ip":
    case "ip6":
      return packet.family === (layer === "ip" ? 4 : 6) ? readIp(name, packet) : undefined;
    case "th":
    case "tcp":
    case "udp":
    case "sctp":
      return readTransport(layer, name, packet);
    case "icmp":
    case "icmpv6":
      return readIcmp(layer, name, packet);
    case "ether":
      return name === "saddr" ? packet.sourceMac : undefined;
    case "meta":
      return readMeta(name, packet, context);
    case "ct":
      return readConnection(field, packet);
    case "fib":
      return readFib(field, packet, context);
  }
  return undefined;
}

function readIp(name: string, packet: Packet): string | undefined {
  if (name === "saddr") return packet.source;
  if (name === "daddr") return packet.destination;
  return name === "dscp" ? "0" : packet.protocol;
}

/** "136" is UDPLite. */
const WITH_PORTS: readonly string[] = ["tcp", "udp", "sctp", "136"];

function readTransport(layer: string, name: string, packet: Packet): string | undefined {
  if (!WITH_PORTS.includes(packet.protocol)) return undefined;
  if (layer !== "th" && layer !== packet.protocol) return undefined;
  if (name === "sport") return String(packet.sourcePort);
  if (name === "dport") return String(packet.destinationPort);
  return name === "flags" ? "syn" : undefined;
}

function readIcmp(layer: string, name: string, packet: Packet): string | undefined {
  if (packet.protocol !== (layer === "icmp" ? "icmp" : "ipv6-icmp")) return undefined;
  const { type, code } = packet.icmp ?? { type: layer === "icmp" ? 8 : 128, code: 0 };
  return String(name === "type" ? type : code);
}

function readMeta(name: string, packet: Packet, context: HookContext): string | undefined {
  switch (name) {
    case "l4proto":
      return packet.protocol;
    case "nfproto":
      return packet.family === 4 ? "ipv4" : "ipv6";
    case "mark":
      return String(packet.mark);
    case "iifname":
      return context.inDevice;
    case "oifname":
      return context.outDevice;
    case "pkttype":
      return "unicast";
  }
  return undefined;
}

function readConnection(field: string, packet: Packet): string | undefined {
  switch (field) {
    case "ct state":
      return packet.untracked ? "untracked" : "new";
    case "ct status":
      return packet.translated.map((each) => (each === "source" ? "snat" : "dnat")).join(",");
    case "ct mark":
      return String(packet.connectionMark);
    case "ct direction":
      return "original";
    case "ct original ip saddr":
    case "ct original ip6 saddr":
      return packet.source;
    case "ct original ip daddr":
    case "ct original ip6 daddr":
      return packet.original?.destination ?? packet.destination;
    case "ct original proto-dst":
      return String(packet.original?.port ?? packet.destinationPort);
  }
  return undefined;
}

function readFib(field: string, packet: Packet, context: HookContext): string | undefined {
  if (field === "fib saddr . iif oif") return "1";
  const address = field === "fib daddr type" ? packet.destination : packet.source;
  if (context.isLocal(address)) return "local";
  const parsed = tryParseAddress(address);
  if (!parsed) return undefined;
  const first = parsed.family === 4 ? parsed.value >> 28n : parsed.value >> 120n;
  return first === (parsed.family === 4 ? 0xen : 0xffn) ? "multicast" : "unicast";
}
