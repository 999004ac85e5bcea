// Chains that pick an end point: one per kind of traffic, protocol and number of end points, shared by all Services.
import { createHash } from "node:crypto";
import type { Family } from "../base/index.ts";
import type { NftChain, NftField, NftRule, NftSet, NftStatement } from "../kernel/index.ts";
import type { ServiceEndpoint, ServiceEntry } from "./entry.ts";
import { sourceAddress, targetAddress } from "./matches.ts";

/** Bit of the packet mark that asks for masquerade, as kube-proxy's. */
export const MASQUERADE_MARK = 0x4000;

/** Set of all pod networks, contributed by the data path. */
export const POD_NETWORKS: Readonly<Record<Family, string>> = { 4: "pod-networks4", 6: "pod-networks6" };

/**
 * Who is served, and whether the answer must come back through this node:
 *
 * - cluster: the ClusterIP; who is no pod is masqueraded
 * - inside: pods and the node itself at an external address or node port of a Local Service; as "cluster"
 * - external: an external address or node port; everybody is masqueraded
 * - local: the same with externalTrafficPolicy Local; nobody is, the pod sees the client
 */
export type Way = "cluster" | "inside" | "external" | "local";

export interface Pick {
  /** Reached by an address (the key has daddr) or by a node port. */
  readonly by: "address" | "node";
  readonly way: Way;
  readonly family: Family;
  readonly protocol: ServiceEntry["protocol"];
  /** Number of end points. */
  readonly count: number;
  /** Seconds that a client keeps its end point. */
  readonly sticky?: number;
  /** IPVS chooses: the pick only says who is masqueraded. */
  readonly ipvs?: true;
}

/** Numbers of the end points that only insiders get, in the same maps, begin here. */
export const INSIDE_OFFSET = 65_536;

const PREFIX: Readonly<Record<Way, string>> = { cluster: "", inside: "inside-", external: "masq-", local: "local-" };

export function pickName({ by, way, family, protocol, count, sticky, ipvs }: Pick): string {
  if (ipvs) return `ipvs-${PREFIX[way]}${by === "address" ? "pick" : "node"}${family}`;
  return `${PREFIX[way]}${by === "address" ? "pick" : "node"}${family}-${protocol}-${count}${sticky === undefined ? "" : `-sticky${sticky}`}`;
}

/** The set of addresses and ports, or node ports, that lead to a pick. */
export function pickSet(pick: Pick): string {
  return `at-${pickName(pick)}`;
}

/** Names of the maps that a pick reads. */
export function pickMaps({ by, family, protocol }: Pick): { readonly numbered: string; readonly ids: string; readonly byId: string } {
  const node = by === "node" ? "node-" : "";
  return {
    numbered: `${node}endpoints${family}-${protocol}`,
    ids: `${node}ids${family}-${protocol}`,
    byId: `${node}endpoints-by-id${family}`,
  };
}

export function stickyMap(family: Family): string {
  return `sticky${family}`;
}

/**
 * The mark by which affinity remembers an end point: the same as long as the end point is there, whoever comes or goes.
 * Two end points of one list never share one. Canonical text, as nft lists marks.
 */
export function endpointIds(endpoints: readonly ServiceEndpoint[], way: Way): readonly string[] {
  const taken = new Set<number>();
  return endpoints.map(({ address, port }) => {
    const digest = createHash("sha256")
      .update(`${way === "inside" ? "inside " : ""}${address} ${port}`)
      .digest();
    let id = digest.readUInt32BE(0);
    while (id === 0 || taken.has(id)) id = (id + 1) >>> 0;
    taken.add(id);
    return `0x${id.toString(16).padStart(8, "0")}`;
  });
}

const chains = new Map<string, NftChain>();

/** The chain of a pick; the same object at every call. */
export function pickChain(pick: Pick): NftChain {
  const name = pickName(pick);
  let chain = chains.get(name);
  if (!chain) {
    chain = { name, rules: [...markRules(pick), ...endpointRules(pick)] };
    chains.set(name, chain);
  }
  return chain;
}

function endpointRules(pick: Pick): NftRule[] {
  if (pick.ipvs) return [];
  return pick.sticky === undefined ? [randomRule(pick)] : stickyRules(pick, pick.sticky);
}

function markRules({ way, family }: Pick): NftRule[] {
  if (way === "local") return [];
  const saddr = sourceAddress(family);
  return [
    {
      matches: way === "external" ? [] : [{ left: saddr, op: "!=", right: { set: POD_NETWORKS[family] } }],
      statements: [{ setMark: { value: MASQUERADE_MARK, mask: ~MASQUERADE_MARK >>> 0 } }],
    },
  ];
}

/** The key under which a pick's numbered end points stand. */
function numberedKey({ by, way, family, protocol, count }: Pick): NftField[] {
  const daddr = targetAddress(family);
  const number: NftField = { numgen: "random", mod: count, ...(way === "inside" ? { offset: INSIDE_OFFSET } : {}) };
  return [...(by === "address" ? [daddr] : []), `${protocol} dport`, number];
}

function randomRule(pick: Pick): NftRule {
  return does({ dnat: { family: pick.family, map: pickMaps(pick).numbered, key: numberedKey(pick) } });
}

/**
 * Who asks for what. libnftables 1.0.6 aborts (netlink_gen_expr) when a packet is to write a map whose key is longer than
 * 16 bytes, so IPv6 is known by 64 bits of hash. Two clients that share them share what is remembered; a wrong end
 * point can't come of it, because ids are looked up with the Service's own address and port.
 */
function clientKey(family: Family): NftField[] {
  if (family === 4) return ["ip saddr", "ip daddr", "meta l4proto", "th dport"];
  const hash = (seed: number): NftField => ({
    jhash: ["ip6 saddr", "ip6 daddr", "meta l4proto", "th dport"],
    mod: 0xffff_ffff,
    seed,
  });
  return [hash(0x5eed), hash(0xf00d)];
}

/** The map of who keeps which end point. Packets fill it. */
export function stickySet(family: Family, size: number): NftSet {
  return {
    name: stickyMap(family),
    key: family === 4 ? ["ipv4_addr", "ipv4_addr", "inet_proto", "inet_service"] : ["integer", "integer"],
    value: ["mark"],
    flags: ["dynamic", "timeout"],
    size,
    elements: [],
  };
}

/** See nftables.ts for how affinity works. A rule whose map has no answer ends there, and the next is tried. */
function stickyRules(pick: Pick, timeout: number): NftRule[] {
  const { family, by } = pick;
  const { ids, byId } = pickMaps(pick);
  const daddr = targetAddress(family);
  const client = clientKey(family);
  const set = stickyMap(family);
  const recall: NftStatement = { setCtMarkFrom: { map: set, key: client } };
  const remember: NftStatement = { update: { set, key: client, timeout, value: ["ct mark"], mode: "update" } };
  const go = does({
    dnat: { family, map: byId, key: [...(by === "address" ? [daddr] : []), "meta l4proto", "th dport", "ct mark"] },
  });
  return [
    does(recall, remember),
    go,
    // What is remembered is gone: a packet can't overwrite a map's element, it takes it out first. Only then, since of several packets
    // of a new client at once one would take out another's choice.
    {
      matches: [{ left: "ct mark", op: "!=", right: "0x00000000" }],
      statements: [{ update: { set, key: client, value: ["ct mark"], mode: "delete" } }],
    },
    does({ setCtMarkFrom: { map: ids, key: numberedKey(pick) } }),
    does(remember),
    // Another packet of the client may have been quicker: then its choice holds.
    does(recall),
    go,
  ];
}

function does(...statements: NftStatement[]): NftRule {
  return { matches: [], statements };
}
