// What the rules about Services match by.
import { type Family, TRANSPORTS, type Transport } from "../base/index.ts";
import type { NftField, NftMatch, NftRule } from "../kernel/index.ts";

export const FAMILIES = [4, 6] as const;
export const TRANSPORT_NAMES = Object.keys(TRANSPORTS) as readonly Transport[];

export const sourceAddress = (family: Family): NftField => (family === 4 ? "ip saddr" : "ip6 saddr");
export const targetAddress = (family: Family): NftField => (family === 4 ? "ip daddr" : "ip6 daddr");

/** A Service's address and port. */
export const addressKey = (family: Family): NftField[] => [targetAddress(family), "meta l4proto", "th dport"];
/** A node port. */
export const NODE_KEY: readonly NftField[] = ["meta l4proto", "th dport"];

/** To an address of the node itself at which it serves node ports; the loopback ones stay its own. */
export function toNode(family: Family): NftMatch[] {
  const daddr = targetAddress(family);
  return [
    { left: daddr, op: "==", right: { set: `nodeport-ips${family}` } },
    { left: "fib daddr type", op: "==", right: "local" },
    { left: daddr, op: "!=", right: family === 4 ? "127.0.0.0/8" : "::1" },
  ];
}

export function jump(matches: readonly NftMatch[], chain: string): NftRule {
  return { matches, statements: [{ verdict: "jump", chain }] };
}
