// kube-proxy's sets, for people and tools that look for them. No rule of ours reads them: the nft table has sets of its own.
import { type Family, formatAddress, networkOf, tryParsePrefix } from "../base/index.ts";
import type { IpSet, IpSetType } from "../kernel/index.ts";
import type { ServiceEntry } from "./entry.ts";
import { FAMILIES } from "./matches.ts";
import { chooseAnywhere, type Standpoint } from "./table.ts";

const TYPES: Readonly<Record<string, IpSetType>> = {
  "LOOP-BACK": "hash:ip,port,ip",
  "CLUSTER-IP": "hash:ip,port",
  "EXTERNAL-IP": "hash:ip,port",
  "EXTERNAL-IP-LOCAL": "hash:ip,port",
  "LOAD-BALANCER": "hash:ip,port",
  "LOAD-BALANCER-LOCAL": "hash:ip,port",
  "LOAD-BALANCER-FW": "hash:ip,port",
  "LOAD-BALANCER-SOURCE-IP": "hash:ip,port,ip",
  "LOAD-BALANCER-SOURCE-CIDR": "hash:ip,port,net",
  "NODE-PORT-TCP": "bitmap:port",
  "NODE-PORT-LOCAL-TCP": "bitmap:port",
  "NODE-PORT-UDP": "bitmap:port",
  "NODE-PORT-LOCAL-UDP": "bitmap:port",
  "NODE-PORT-SCTP-HASH": "hash:ip,port",
  "NODE-PORT-LOCAL-SCTP-HASH": "hash:ip,port",
  "HEALTH-CHECK-NODE-PORT": "bitmap:port",
  "IPVS-IPS": "hash:ip",
};

const HEALTH = "HEALTH-CHECK-NODE-PORT";

/** The names that kube-proxy gives: KUBE-CLUSTER-IP, and KUBE-6-CLUSTER-IP for IPv6. The kernel takes 31 characters. */
function nameOf(kind: string, family: Family): string {
  return `KUBE-${family === 6 ? "6-" : ""}${kind}`.slice(0, 31);
}

/** An element, and the name of its set. */
export type SetElement = readonly [set: string, element: string];

/** What stands at one address of an entry, or at its node port ("node", on each of the node's addresses). */
export function elementsAt(entry: ServiceEntry, at: string, nodeAddresses: readonly string[]): SetElement[] {
  const { protocol, port, clusterIP, externalLocal, family } = entry;
  if (at === "node") return atNode(entry, nodeAddresses);
  const place = `${at},${protocol}:${port}`;
  const kinds: string[] = [];
  if (at === clusterIP) kinds.push("CLUSTER-IP");
  else {
    const kind = entry.balancedAddresses.includes(at) ? "LOAD-BALANCER" : "EXTERNAL-IP";
    kinds.push(kind);
    if (externalLocal) kinds.push(`${kind}-LOCAL`);
  }
  const guarded = at !== clusterIP && entry.balancedAddresses.includes(at) && entry.guardedAddresses.includes(at);
  return [
    [nameOf("IPVS-IPS", family), at],
    ...kinds.map((kind): SetElement => [nameOf(kind, family), place]),
    ...(guarded ? guards(entry, at, place) : []),
  ];
}

function atNode({ protocol, nodePort, externalLocal, family }: ServiceEntry, nodeAddresses: readonly string[]): SetElement[] {
  if (nodePort === undefined) return [];
  const bitmap = protocol !== "sctp";
  const elements = bitmap ? [String(nodePort)] : nodeAddresses.map((address) => `${address},sctp:${nodePort}`);
  // kube-proxy keeps the node ports of Local Services in the common set, too.
  return (externalLocal ? ["-LOCAL", ""] : [""]).flatMap((local) => {
    const name = nameOf(`NODE-PORT${local}-${bitmap ? protocol.toUpperCase() : "SCTP-HASH"}`, family);
    return elements.map((element): SetElement => [name, element]);
  });
}

function guards({ sourceRanges, family }: ServiceEntry, at: string, place: string): SetElement[] {
  return [
    [nameOf("LOAD-BALANCER-FW", family), place],
    [nameOf("LOAD-BALANCER-SOURCE-IP", family), `${place},${at}`],
    // A set of networks takes no network of length 0: everybody is two halves.
    ...sourceRanges.flatMap(halves).map((range): SetElement => [nameOf("LOAD-BALANCER-SOURCE-CIDR", family), `${place},${range}`]),
  ];
}

/** Pods of this node that could reach themselves. */
export function loopBacks(entry: ServiceEntry, standpoint: Standpoint): SetElement[] {
  const choice = chooseAnywhere(entry);
  if (!("use" in choice)) return [];
  const name = nameOf("LOOP-BACK", entry.family);
  return choice.use.flatMap(({ address, port, node }): SetElement[] =>
    node === undefined || node === standpoint.node ? [[name, `${address},${entry.protocol}:${port},${address}`]] : [],
  );
}

const EMPTY_SETS: readonly IpSet[] = FAMILIES.flatMap((family) =>
  Object.entries(TYPES).map(([kind, type]) => ({
    name: nameOf(kind, family),
    type,
    family: type === "bitmap:port" ? 4 : family,
    elements: [],
  })),
);

const filledSets = new WeakMap<readonly string[], IpSet>();

/** Every set, empty or not; the same object for the same list of elements. */
export function ipSets(elements: ReadonlyMap<string, readonly string[]>, healthPorts: readonly number[]): IpSet[] {
  const health = healthPorts.map(String);
  return EMPTY_SETS.map((set) => {
    const list = set.name.endsWith(HEALTH) ? health : (elements.get(set.name) ?? []);
    if (list.length === 0) return set;
    let made = filledSets.get(list);
    if (made?.name !== set.name) {
      made = { ...set, elements: list };
      filledSets.set(list, made);
    }
    return made;
  });
}

function halves(range: string): string[] {
  const prefix = tryParsePrefix(range);
  if (!prefix) return [];
  if (prefix.length === 0) return prefix.family === 4 ? ["0.0.0.0/1", "128.0.0.0/1"] : ["::/1", "8000::/1"];
  return [`${formatAddress(networkOf(prefix))}/${prefix.length}`];
}
