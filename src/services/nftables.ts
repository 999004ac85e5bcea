// The nftables writer: Services as maps, whose cost does not grow with their number.
//
//   prerouting-nat, output-nat ─▶ services ─▶ daddr . proto . dport         vmap services4  ─▶ pick4-tcp-3, masq-pick4-udp-1, …
//                                          └▶ (local daddr) proto . dport   vmap nodeports4 ─▶ node4-tcp-3, masq-node4-tcp-3, …
//   pick4-3:  dnat to daddr . proto . dport . numgen random mod 3 map endpoints4
//
// There is one chain per protocol and number of end points, not one per Service or end point: the kernel's cost of a transaction is
// quadratic in chains. A changed Service is a few changed elements.
//
// Session affinity picks by a hash of the client's address instead of a random number: no state, the same on every
// node and after a restart. Limit: a changed number of end points moves clients whose end point is still there.
import type { Family } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type {
  BaseChainName,
  NftChain,
  NftElement,
  NftField,
  NftMatch,
  NftRule,
  NftSet,
  NftType,
  Owner,
  TableContribution,
} from "../kernel/index.ts";
import { chooseEndpoints, entryAddresses, type ServiceEndpoint, type ServiceEntry, serviceTable } from "./table.ts";

/** Bit of the packet mark that asks for masquerade, as kube-proxy's. */
export const MASQUERADE_MARK = 0x4000;

/** Set of all pod networks, contributed by the data path. */
export const POD_NETWORKS: Readonly<Record<Family, string>> = { 4: "pod-networks4", 6: "pod-networks6" };

const ADDRESS: Readonly<Record<Family, NftType>> = { 4: "ipv4_addr", 6: "ipv6_addr" };
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
const FILTERS: readonly BaseChainName[] = ["filter-forward", "filter-input", "filter-output"];

interface Pick {
  /** Reached by an address (the key has daddr) or by a node port. */
  readonly by: "address" | "node";
  readonly masquerade: boolean;
  readonly sticky: boolean;
  readonly count: number;
  readonly protocol: ServiceEntry["protocol"];
}

/** What a node's table must hold so that Services work on it. */
export function planServices(snapshot: ClusterSnapshot, node: string): TableContribution {
  const families = ([4, 6] as const).map((family) => planFamily(snapshot, node, family));
  const dispatch: NftChain = { name: "services", rules: families.flatMap((part) => part.dispatch) };
  const jump: NftRule = { matches: [], statements: [{ verdict: "jump", chain: "services" }] };
  return {
    chains: [dispatch, ...families.flatMap((part) => part.chains)],
    sets: families.flatMap((part) => part.sets),
    hooks: [
      { chain: "prerouting-nat", order: 10, rules: [jump] },
      { chain: "output-nat", order: 10, rules: [jump] },
      { chain: "postrouting-nat", order: 10, rules: [masqueradeMarked(), ...families.map((part) => part.hairpin)] },
      ...FILTERS.map((chain) => ({ chain, order: 10, rules: families.flatMap((part) => part.refuse) })),
    ],
  };
}

function masqueradeMarked(): NftRule {
  const marked: NftMatch = { left: { field: "meta mark", mask: MASQUERADE_MARK }, op: "==", right: hex(MASQUERADE_MARK) };
  return { matches: [marked], statements: [{ masquerade: { fullyRandom: true } }] };
}

interface FamilyPart {
  readonly dispatch: readonly NftRule[];
  readonly chains: readonly NftChain[];
  readonly sets: readonly NftSet[];
  readonly refuse: readonly NftRule[];
  readonly hairpin: NftRule;
}

function planFamily(snapshot: ClusterSnapshot, node: string, family: Family): FamilyPart {
  const sink = new Elements();
  for (const entry of serviceTable(snapshot).entries) {
    if (entry.family !== family) continue;
    for (const part of elementsOf(entry, node)) sink.add(part);
  }
  const name = (text: string) => `${text}${family}`;
  const address = ADDRESS[family];
  const daddr: NftField = family === 4 ? "ip daddr" : "ip6 daddr";
  const saddr: NftField = family === 4 ? "ip saddr" : "ip6 saddr";
  const byAddress: readonly NftField[] = [daddr, "meta l4proto", "th dport"];
  const byNode: readonly NftField[] = ["meta l4proto", "th dport"];
  const addressKey: readonly NftType[] = [address, "inet_proto", "inet_service"];
  const nodeKey: readonly NftType[] = ["inet_proto", "inet_service"];
  const local: NftMatch[] = [
    { left: "fib daddr type", op: "==", right: "local" },
    { left: daddr, op: "!=", right: family === 4 ? "127.0.0.0/8" : "::1" },
  ];
  const set = (text: string, key: readonly NftType[], value?: readonly NftType[], suffix = ""): NftSet => ({
    name: name(text) + suffix,
    key,
    ...(value ? { value } : {}),
    elements: sink.of(text + suffix),
  });
  const inSet = (key: readonly NftField[], text: string): NftMatch => ({
    left: key.length === 1 && key[0] ? key[0] : key,
    op: "==",
    right: { set: name(text) },
  });

  return {
    dispatch: [
      { matches: [], statements: [{ vmap: { key: byAddress, map: name("services") } }] },
      { matches: local, statements: [{ vmap: { key: byNode, map: name("nodeports") } }] },
    ],
    chains: [...sink.picks.values()]
      .sort((a, b) => (pickName(a, family) < pickName(b, family) ? -1 : 1))
      .map((pick) => pickChain(pick, family, saddr, daddr)),
    sets: [
      set("services", addressKey, ["verdict"]),
      set("nodeports", nodeKey, ["verdict"]),
      ...PROTOCOLS.flatMap((transport) => [
        { ...set("endpoints", [address, "inet_service", "integer"], [address, "inet_service"], `-${transport}`), transport },
        { ...set("node-endpoints", ["inet_service", "integer"], [address, "inet_service"], `-${transport}`), transport },
      ]),
      set("no-endpoints", addressKey),
      set("no-local-endpoints", addressKey),
      set("nodeports-rejected", nodeKey),
      set("nodeports-dropped", nodeKey),
      set("cluster-ips", [address]),
      set("hairpin", [address, address]),
    ],
    refuse: [
      { matches: [inSet(byAddress, "no-local-endpoints")], statements: [{ verdict: "drop" }], owner: refused("no-local-endpoints") },
      { matches: [inSet(byAddress, "no-endpoints")], statements: [{ reject: "icmpx port-unreachable" }], owner: refused("no-endpoints") },
      // An address of a Service, but not one of its ports.
      { matches: [inSet([daddr], "cluster-ips")], statements: [{ reject: "icmpx port-unreachable" }], owner: refused("no-such-port") },
      { matches: [...local, inSet(byNode, "nodeports-dropped")], statements: [{ verdict: "drop" }], owner: refused("no-local-endpoints") },
      {
        matches: [...local, inSet(byNode, "nodeports-rejected")],
        statements: [{ reject: "icmpx port-unreachable" }],
        owner: refused("no-endpoints"),
      },
    ],
    hairpin: { matches: [inSet([saddr, daddr], "hairpin")], statements: [{ masquerade: {} }] },
  };
}

function refused(name: string): Owner {
  return { kind: "Fairlead", name };
}

function pickName(pick: Pick, family: Family): string {
  return `${pick.masquerade ? "masq-" : ""}${pick.sticky ? "sticky-" : ""}${pick.by === "address" ? "pick" : "node"}${family}-${pick.protocol}-${pick.count}`;
}

function pickChain(pick: Pick, family: Family, saddr: NftField, daddr: NftField): NftChain {
  const number: NftField = pick.sticky ? { jhash: [saddr], mod: pick.count, seed: 0x5eed } : { numgen: "random", mod: pick.count };
  const port: NftField = `${pick.protocol} dport`;
  const key = pick.by === "address" ? [daddr, port, number] : [port, number];
  const map = `${pick.by === "address" ? "endpoints" : "node-endpoints"}${family}-${pick.protocol}`;
  const mark: NftRule = {
    // Traffic from outside must come back through this node; pods are answered directly unless the way in was external.
    matches: pick.masquerade ? [] : [{ left: saddr, op: "!=", right: { set: POD_NETWORKS[family] } }],
    statements: [{ setMark: { value: MASQUERADE_MARK, mask: ~MASQUERADE_MARK >>> 0 } }],
  };
  const external = pick.by === "node" || pick.masquerade;
  return {
    name: pickName(pick, family),
    rules: [...(external && !pick.masquerade ? [] : [mark]), { matches: [], statements: [{ dnat: { family, map, key } }] }],
  };
}

interface EntryElements {
  readonly set: string;
  readonly element: NftElement;
  readonly pick?: Pick;
}

const keptElements = new WeakMap<ServiceEntry, Map<string, readonly EntryElements[]>>();

/** The elements of one entry on one node; kept with the entry. */
function elementsOf(entry: ServiceEntry, node: string): readonly EntryElements[] {
  const byNode = keptElements.get(entry) ?? new Map<string, readonly EntryElements[]>();
  keptElements.set(entry, byNode);
  let elements = byNode.get(node);
  if (!elements) {
    elements = [...calculateElements(entry, node)];
    byNode.set(node, elements);
  }
  return elements;
}

function* calculateElements(entry: ServiceEntry, node: string): Generator<EntryElements> {
  const { family } = entry;
  const owner: Owner = { kind: "Service", namespace: entry.namespace, name: entry.name, rule: entry.portName };
  const port = String(entry.port);
  const sticky = entry.affinitySeconds !== undefined;
  const internal = chooseEndpoints(entry, node, true);
  const external = chooseEndpoints(entry, node, false);
  if (entry.clusterIP !== undefined)
    yield { set: "cluster-ips", element: { key: [entry.clusterIP], owner: { ...owner, rule: "clusterIP" } } };

  for (const address of entryAddresses(entry)) {
    const isCluster = address === entry.clusterIP;
    const choice = isCluster ? internal : external;
    const key = [address, entry.protocol, port];
    if ("refuse" in choice) {
      yield { set: choice.refuse === "reject" ? "no-endpoints" : "no-local-endpoints", element: { key, owner } };
      continue;
    }
    const pick: Pick = {
      by: "address",
      masquerade: !isCluster && !entry.externalLocal,
      sticky,
      count: choice.use.length,
      protocol: entry.protocol,
    };
    yield { set: "services", element: { key, value: { verdict: "goto", chain: pickName(pick, family) }, owner }, pick };
    yield* numbered(`endpoints-${entry.protocol}`, [address, port], choice.use, owner);
  }
  if (entry.nodePort !== undefined) {
    const key = [entry.protocol, String(entry.nodePort)];
    if ("refuse" in external)
      yield { set: external.refuse === "reject" ? "nodeports-rejected" : "nodeports-dropped", element: { key, owner } };
    else {
      const pick: Pick = { by: "node", masquerade: !entry.externalLocal, sticky, count: external.use.length, protocol: entry.protocol };
      yield { set: "nodeports", element: { key, value: { verdict: "goto", chain: pickName(pick, family) }, owner }, pick };
      yield* numbered(`node-endpoints-${entry.protocol}`, [String(entry.nodePort)], external.use, owner);
    }
  }
  for (const endpoint of entry.endpoints) {
    if (endpoint.node === node) yield { set: "hairpin", element: { key: [endpoint.address, endpoint.address] } };
  }
}

function* numbered(set: string, key: readonly string[], endpoints: readonly ServiceEndpoint[], owner: Owner): Generator<EntryElements> {
  for (const [index, endpoint] of endpoints.entries()) {
    yield { set, element: { key: [...key, String(index)], value: [endpoint.address, String(endpoint.port)], owner } };
  }
}

/** Elements by set, the first of a key wins; and the kinds of chains they need. */
class Elements {
  readonly #sets = new Map<string, Map<string, NftElement>>();
  readonly picks = new Map<string, Pick>();

  add({ set, element, pick }: EntryElements): void {
    let elements = this.#sets.get(set);
    if (!elements) {
      elements = new Map();
      this.#sets.set(set, elements);
    }
    const key = element.key.join(" ");
    if (!elements.has(key)) elements.set(key, element);
    if (pick) this.picks.set(pickName(pick, 4), pick);
  }

  of(set: string): readonly NftElement[] {
    return [...(this.#sets.get(set)?.values() ?? [])];
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
