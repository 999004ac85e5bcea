// Who announces a load balancer's address: one node for each, the same in every node's calculation.
//
// Each node ranks the candidates of an address by a hash of both names (rendezvous hashing), so addresses spread over the
// nodes, and a node that goes moves only its own. What a node can't see in the snapshot in time, that another one has just
// died, it is told as `lost` (see the agent's heartbeats).
import { type IpPrefix, prefixContains, tryParseAddress, tryParsePrefix } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Node } from "../resources/index.ts";
import { isOurs } from "./balancer.ts";
import type { ServiceEntry } from "./entry.ts";
import { inPools, serviceSettings } from "./settings.ts";
import { entriesIn, type Subset } from "./subset.ts";
import { type ServiceTable, serviceTable } from "./table.ts";

export interface Standing {
  readonly node: string;
  /** Addresses of the node's outer link with their prefixes: what is announced lies in their networks. */
  readonly prefixes: readonly string[];
  /** Nodes that are not heard any more. */
  readonly lost: ReadonlySet<string>;
}

/** A node's part in announcing. */
export interface Announcement {
  /** Addresses that this node announces, sorted. */
  readonly own: readonly string[];
  /** Who announces what, of all addresses in the networks of the node's outer link, as far as this node can tell. */
  readonly winners: ReadonlyMap<string, string>;
}

/** Nodes with this label announce nothing. */
const EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers";
/** Of more nodes on a link, so many take part: each announcer's heartbeat is heard by all. */
const MOST_CANDIDATES = 64;

/** Which addresses a node announces. */
export function electAnnouncer(snapshot: ClusterSnapshot, { node, prefixes, lost }: Standing): Announcement {
  const { pools } = serviceSettings(snapshot);
  const own: string[] = [];
  const winners = new Map<string, string>();
  if (pools.length === 0) return { own, winners };
  const networks = prefixes.flatMap((prefix) => tryParsePrefix(prefix) ?? []);
  const byNetwork = new Map<IpPrefix, readonly string[]>();
  for (const [address, entries] of balancedAddresses(snapshot)) {
    const parsed = tryParseAddress(address);
    const network = parsed && networks.find((each) => prefixContains(each, parsed));
    if (!network || !inPools(pools, address)) continue;
    let candidates = byNetwork.get(network);
    if (!candidates) {
      candidates = candidatesOn(snapshot, network);
      byNetwork.set(network, candidates);
    }
    const winner = elect(address, entries, candidates, lost);
    if (winner === node) own.push(address);
    if (winner !== undefined) winners.set(address, winner);
  }
  return { own: own.sort(), winners };
}

function elect(
  address: string,
  entries: readonly ServiceEntry[],
  candidates: readonly string[],
  lost: ReadonlySet<string>,
): string | undefined {
  const local = entries.every((entry) => entry.externalLocal)
    ? new Set(entries.flatMap(({ endpoints }) => endpoints.flatMap((endpoint) => (endpoint.ready && endpoint.node ? [endpoint.node] : []))))
    : undefined;
  let best: { readonly name: string; readonly rank: number } | undefined;
  for (const name of candidates) {
    if (lost.has(name) || (local && !local.has(name))) continue;
    const rank = hash(`${address} ${name}`);
    if (!best || rank > best.rank || (rank === best.rank && name < best.name)) best = { name, rank };
  }
  return best?.name;
}

const BALANCED: Subset = { takes: ({ balancedAddresses }) => balancedAddresses.length > 0 };

const kept = new WeakMap<ServiceTable, ReadonlyMap<string, readonly ServiceEntry[]>>();

/** Load balancers' addresses that are ours to announce, with the entries that they reach. */
function balancedAddresses(snapshot: ClusterSnapshot): ReadonlyMap<string, readonly ServiceEntry[]> {
  const table = serviceTable(snapshot);
  let found = kept.get(table);
  if (!found) {
    const collected = new Map<string, ServiceEntry[]>();
    for (const entry of entriesIn(table, BALANCED)) {
      const service = snapshot.services.get(`${entry.namespace}/${entry.name}`);
      if (!service || !isOurs(service)) continue;
      for (const address of entry.balancedAddresses) {
        if (table.lookup(address, entry.protocol, entry.port) !== entry) continue;
        const entries = collected.get(address);
        if (entries) entries.push(entry);
        else collected.set(address, [entry]);
      }
    }
    found = collected;
    kept.set(table, found);
  }
  return found;
}

/** Names of the ready nodes on a network, in order. */
function candidatesOn(snapshot: ClusterSnapshot, network: IpPrefix): readonly string[] {
  const found: string[] = [];
  for (const node of snapshot.nodes.values()) {
    const isOn = (text: string) => {
      const address = tryParseAddress(text);
      return address !== undefined && prefixContains(network, address);
    };
    if (mayAnnounce(node) && (node.status?.addresses ?? []).some(({ type, address }) => type === "InternalIP" && isOn(address)))
      found.push(node.metadata.name);
  }
  if (found.length <= MOST_CANDIDATES) return found;
  return found.sort((a, b) => hash(a) - hash(b)).slice(0, MOST_CANDIDATES);
}

function mayAnnounce(node: Node): boolean {
  if (node.metadata.deletionTimestamp !== undefined || node.metadata.labels?.[EXCLUDED] !== undefined) return false;
  const ready = (node.status?.conditions ?? []).find((condition) => condition.type === "Ready");
  return ready === undefined || ready.status === "True";
}

/** FNV-1a, and then mixed so that names that end alike are spread. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
