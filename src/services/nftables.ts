// The nftables writer: Services as maps, whose cost does not grow with their number.
//
//   prerouting-nat, output-nat ─▶ services ─┬▶ (pods, the node itself) services-inside ─▶ sets at-inside-pick4-tcp-3, …
//                                           ├▶ daddr . proto . dport in set at-pick4-tcp-3       ─▶ pick4-tcp-3
//                                           ├▶ daddr . proto . dport in set at-masq-pick4-udp-1  ─▶ masq-pick4-udp-1, …
//                                           └▶ (local daddr) nodeports ─▶ proto . dport in set at-masq-node4-tcp-3, …
//   prerouting-nat-again, output-nat-again ─▶ services
//   pick4-tcp-3:  dnat to daddr . dport . numgen random mod 3 map endpoints4-tcp
//
// There is one chain, and one set, per protocol and number of end points, not one per Service or end point: the kernel's
// cost of a transaction is quadratic in chains, and it looks at every element of a verdict map whenever one is added. A
// changed Service is a few changed elements, and a new connection asks as many sets as there are numbers of end points.
//
// Linux chooses once for each packet and base chain of which generation the rules are, but anew with each look-up of which the
// sets are. A packet that is here while a Service changes may look for it in the old set, then in the new one, and miss it in
// both. What is translated nowhere is therefore looked up once more, by base chains of their own: behind the change, as both
// their rules and their sets are. What is for pods is no Service's, and goes on.
//
// Session affinity: the map sticky4 holds, for a client and a Service's address and port, the id of an end point, with
// the Service's timeout; packets write it, and every new connection renews it. The id (a hash of address and port) is
// put into ct mark and looked up in endpoints-by-id4, which holds end points in use only. So an end point that is gone
// is never taken, whatever sticky4 remembers; its clients choose anew, and no other client moves. A client is told by
// its address at each of the Service's addresses on each node, so it may have another end point at a node port than at
// the ClusterIP. When sticky4 is full, new clients are balanced at random. sticky6 knows its clients by a hash.
import type { Family } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import {
  deriveSet,
  type NftChain,
  type NftElement,
  type NftField,
  type NftMatch,
  type NftRule,
  type NftSet,
  type NftType,
  type TableContribution,
} from "../kernel/index.ts";
import { Book } from "./book.ts";
import { type ElementGroup, elementsOf, sourcesOf } from "./elements.ts";
import type { ServiceEntry } from "./entry.ts";
import type { Balancing } from "./ipvs-marks.ts";
import { addressKey, FAMILIES, jump, NODE_KEY, sourceAddress, TRANSPORT_NAMES, targetAddress, toNode } from "./matches.ts";
import { MASQUERADE_MARK, type Pick, POD_NETWORKS, pickChain, pickName, pickSet, stickyMap, stickySet } from "./pick.ts";
import { GUARD_CHAINS, REFUSAL_HOOKS, REFUSALS_CHAIN } from "./refusals.ts";
import { serviceNetworks } from "./service-networks.ts";
import { nodePortElements, serviceSettings } from "./settings.ts";
import { type ServiceTable, type Standpoint, serviceTable, standpointOf } from "./table.ts";

export interface ServicesPlan {
  readonly table: TableContribution;
  /** What in the Services is not followed, and why. */
  readonly remarks: readonly string[];
}

const ADDRESS: Readonly<Record<Family, NftType>> = { 4: "ipv4_addr", 6: "ipv6_addr" };
/** Clients that affinity remembers, per family and node; the kernel sets aside 16 bytes for each from the start. */
const STICKY_CLIENTS = 131_072;

/** A plan, and for large tables the account that it was made of. */
interface Planned {
  readonly plan: ServicesPlan;
  readonly book: Book | undefined;
}

const plans = new WeakMap<ServiceTable, Map<string, Planned>>();
/** Of tables with so few entries no account is kept: there is one for every node, and a lab has many. */
export const FEW = 500;

/**
 * What a node's table must hold so that Services work on it; the same object while Services and EndpointSlices stay the same.
 * `balancing`: end points are chosen by something else, and the table is what that needs beside it.
 */
export function planServices(snapshot: ClusterSnapshot, node: string, balancing?: Balancing): ServicesPlan {
  const table = serviceTable(snapshot);
  const byPlace = plans.get(table) ?? new Map<string, Planned>();
  plans.set(table, byPlace);
  const standpoint = standpointOf(snapshot, node);
  const settings = serviceSettings(snapshot);
  const networks = serviceNetworks(snapshot);
  const given = new Map(
    FAMILIES.flatMap((family) => [
      [`nodeport-ips${family}`, nodePortElements(settings, snapshot.nodes.get(node), family).map(sharedElement)] as const,
      [`service-networks${family}`, networks[family]] as const,
    ]),
  );
  const place = JSON.stringify([standpoint, [...given.values()], settings.remarks, balancing?.name]);
  let planned = byPlace.get(place);
  if (!planned) {
    const way: PlanWay = { standpoint, given, balancing };
    planned = nextPlan(table, place, way) ?? firstPlan(table, way);
    planned = { ...planned, plan: { ...planned.plan, remarks: [...settings.remarks, ...table.remarks] } };
    byPlace.set(place, planned);
  }
  return planned.plan;
}

interface PlanWay {
  readonly standpoint: Standpoint;
  /** Elements of the sets that do not come from Services. */
  readonly given: ReadonlyMap<string, readonly NftElement[]>;
  readonly balancing: Balancing | undefined;
}

/** The groups of an entry that it has in this table: not those at addresses of others. */
function groupsOf(table: ServiceTable, entry: ServiceEntry, { standpoint, balancing }: PlanWay): readonly ElementGroup[] {
  const groups = elementsOf(entry, standpoint).filter(({ at }) => at === undefined || ownerOf(table, entry, at) === entry);
  return balancing ? groups.map(balancing.through) : groups;
}

function firstPlan(table: ServiceTable, way: PlanWay): Planned {
  const book = new Book();
  for (const entry of table.entries) for (const group of groupsOf(table, entry, way)) book.add(group);
  book.turn();
  const elements = (name: string) => way.given.get(name) ?? book.elements(name)?.toArray();
  const sets = [
    ...[...STATIC_SETS, ...(way.balancing?.sets ?? [])].map((set) => filled(set, elements(set.name))),
    ...[...FILLED_SETS, ...picksOf(book).map(emptyPickSet)].flatMap((set) => (elements(set.name) ? [filled(set, elements(set.name))] : [])),
  ];
  return { plan: { table: contribution(book, sets, way.balancing), remarks: [] }, book: table.size > FEW ? book : undefined };
}

/** The plan made from that of the table before. */
function nextPlan(table: ServiceTable, place: string, way: PlanWay): Planned | undefined {
  const { origin } = table;
  const before = origin && plans.get(origin.table)?.get(place);
  if (!origin || !before?.book) return undefined;
  const { plan, book } = before;
  // The account goes over to the new plan: from the old one none can be made any more.
  plans.get(origin.table)?.set(place, { plan, book: undefined });
  for (const entry of origin.changes.removed) for (const group of groupsOf(origin.table, entry, way)) book.remove(group);
  for (const entry of origin.changes.added) for (const group of groupsOf(table, entry, way)) book.add(group);
  const changes = book.turn();
  const old = new Map(plan.table.sets.map((set) => [set.name, set]));
  const moved = (set: NftSet): NftSet => {
    const change = changes.get(set.name);
    const was = old.get(set.name);
    const elements = book.elements(set.name);
    if (!was) return filled(set, elements?.toArray());
    return change ? deriveSet(was, () => elements?.toArray() ?? [], change) : was;
  };
  const used = [...FILLED_SETS, ...picksOf(book).map(emptyPickSet)].filter((set) => book.elements(set.name));
  const sets = [...STATIC_SETS, ...(way.balancing?.sets ?? []), ...used].map(moved);
  return { plan: { table: contribution(book, sets, way.balancing), remarks: [] }, book };
}

/** By name, whatever came first: the same Services give the same plan. */
function picksOf(book: Book): readonly Pick[] {
  return book.picks.toSorted((a, b) => (pickName(a) < pickName(b) ? -1 : 1));
}

function contribution(book: Book, sets: readonly NftSet[], balancing: Balancing | undefined): TableContribution {
  const picks = picksOf(book);
  const sticky = new Set(picks.filter((pick) => pick.sticky !== undefined).map((pick) => pick.family));
  const dynamic = STICKY_SETS.filter((set) => FAMILIES.some((family) => sticky.has(family) && set.name === stickyMap(family)));
  const hooks = balancing ? [...HOOKS, ...balancing.hooks] : HOOKS;
  return {
    chains: [...dispatchChains(picks), ...picks.map(pickChain), ...GUARD_CHAINS, REFUSALS_CHAIN],
    sets: [...sets, ...dynamic],
    hooks,
  };
}

/** The entry that has an address, or the node port ("node"), of those that name it. */
export function ownerOf(table: ServiceTable, entry: ServiceEntry, at: string): ServiceEntry | undefined {
  if (at !== "node") return table.lookup(at, entry.protocol, entry.port);
  return entry.nodePort === undefined ? undefined : table.nodePort(entry.family, entry.protocol, entry.nodePort);
}

const sharedElements = new Map<string, NftElement>();
/** Beyond so many, those of addresses that have gone are let go. */
const MOST_SHARED = 1 << 17;

/** The element of one address: the same object each time, so that what did not change costs no comparing. */
export function sharedElement(address: string): NftElement {
  let element = sharedElements.get(address);
  if (!element) {
    if (sharedElements.size >= MOST_SHARED) sharedElements.clear();
    element = { key: [address] };
    sharedElements.set(address, element);
  }
  return element;
}

/** The last set that began with this element: what did not change is the same object again, and costs no comparing. */
const lastSets = new WeakMap<NftElement, NftSet>();

export function filled(set: NftSet, elements: readonly NftElement[] = []): NftSet {
  const [first] = elements;
  if (!first) return set;
  const last = lastSets.get(first);
  if (last?.name === set.name && last.elements.length === elements.length && last.elements.every((one, index) => one === elements[index]))
    return last;
  const made = { ...set, elements };
  lastSets.set(first, made);
  return made;
}

const INSIDE = "services-inside";

/** The chains that lead from a hook to the picks; the same objects for the same picks. */
function dispatchChains(picks: readonly Pick[]): readonly NftChain[] {
  const key = picks.map(pickName).join(" ");
  if (lastDispatch?.key !== key) lastDispatch = { key, chains: makeDispatch(picks) };
  return lastDispatch.chains;
}

let lastDispatch: { readonly key: string; readonly chains: readonly NftChain[] } | undefined;

function makeDispatch(picks: readonly Pick[]): readonly NftChain[] {
  const leads = (by: Pick["by"], inside: boolean, family?: Family) =>
    picks.filter((pick) => pick.by === by && (pick.way === "inside") === inside && (family ?? pick.family) === pick.family).map(lead);
  const toPorts = (chain: string) => FAMILIES.map((family) => jump(toNode(family), `${chain}${family}`));
  const isPod = (family: Family): NftMatch => ({
    left: sourceAddress(family),
    op: "==",
    right: { set: POD_NETWORKS[family] },
  });
  return [
    ...FAMILIES.flatMap((family) => [
      { name: `nodeports${family}`, rules: leads("node", false, family) },
      { name: `nodeports-inside${family}`, rules: leads("node", true, family) },
    ]),
    { name: INSIDE, rules: [...leads("address", true), ...toPorts("nodeports-inside")] },
    {
      name: "services",
      rules: [
        ...FAMILIES.map((family) => jump([isPod(family)], INSIDE)),
        jump([{ left: "fib saddr type", op: "==", right: "local" }], INSIDE),
        ...leads("address", false),
        ...toPorts("nodeports"),
      ],
    },
  ];
}

/** From the set of a pick to its chain. */
function lead(pick: Pick): NftRule {
  const key = pick.by === "node" ? NODE_KEY : addressKey(pick.family);
  return {
    matches: [{ left: key, op: "==", right: { set: pickSet(pick) } }],
    statements: [{ verdict: "goto", chain: pickName(pick) }],
  };
}

const pickSets = new Map<string, NftSet>();

/** The set of a pick, without its elements; the same object at every call. */
function emptyPickSet(pick: Pick): NftSet {
  const name = pickSet(pick);
  const known = pickSets.get(name);
  const port: readonly NftType[] = ["inet_proto", "inet_service"];
  const set = known ?? { name, key: pick.by === "node" ? port : [ADDRESS[pick.family], ...port], elements: [] };
  if (!known) pickSets.set(name, set);
  return set;
}

const STATIC_SETS: readonly NftSet[] = FAMILIES.flatMap((family): NftSet[] => {
  const address = ADDRESS[family];
  const byAddress: readonly NftType[] = [address, "inet_proto", "inet_service"];
  const byNode: readonly NftType[] = ["inet_proto", "inet_service"];
  const set = (name: string, key: readonly NftType[]): NftSet => ({ name: `${name}${family}`, key, elements: [] });
  return [
    ...["no-endpoints", "no-local-endpoints"].map((name) => set(name, byAddress)),
    ...["nodeports-rejected", "nodeports-dropped"].map((name) => set(name, byNode)),
    set("cluster-ips", [address]),
    { ...set("service-networks", [address]), flags: ["interval"] },
    { ...set("nodeport-ips", [address]), flags: ["interval"] },
    set("hairpin", [address, address]),
    set("guarded", byAddress),
    ...TRANSPORT_NAMES.map(
      (transport): NftSet => ({ ...set("", [address, "inet_service", address]), name: sourcesOf(family, transport), flags: ["interval"] }),
    ),
  ];
});

/** Maps that only pick chains read: they are there while they hold something. */
const FILLED_SETS: readonly NftSet[] = FAMILIES.flatMap((family): NftSet[] => {
  const address = ADDRESS[family];
  const target: readonly NftType[] = [address, "inet_service"];
  return [
    ...TRANSPORT_NAMES.flatMap((transport): NftSet[] => [
      { name: `endpoints${family}-${transport}`, key: [address, "inet_service", "integer"], value: target, transport, elements: [] },
      { name: `node-endpoints${family}-${transport}`, key: ["inet_service", "integer"], value: target, transport, elements: [] },
      { name: `ids${family}-${transport}`, key: [address, "inet_service", "integer"], value: ["mark"], transport, elements: [] },
      { name: `node-ids${family}-${transport}`, key: ["inet_service", "integer"], value: ["mark"], transport, elements: [] },
    ]),
    { name: `endpoints-by-id${family}`, key: [address, "inet_proto", "inet_service", "mark"], value: target, elements: [] },
    { name: `node-endpoints-by-id${family}`, key: ["inet_proto", "inet_service", "mark"], value: target, elements: [] },
  ];
});

const STICKY_SETS: readonly NftSet[] = FAMILIES.map((family) => stickySet(family, STICKY_CLIENTS));

const HOOKS: TableContribution["hooks"] = [
  ...REFUSAL_HOOKS,
  { chain: "prerouting-nat", order: 10, rules: [jump([], "services")] },
  { chain: "output-nat", order: 10, rules: [jump([], "services")] },
  ...(["prerouting-nat-again", "output-nat-again"] as const).map((chain) => ({ chain, order: 10, rules: FAMILIES.map(again) })),
  { chain: "postrouting-nat", order: 10, rules: [masqueradeMarked(), ...FAMILIES.map(hairpin)] },
];

/** Whoever is not for a pod, by the rules that are in force by now. */
function again(family: Family): NftRule {
  return jump([{ left: targetAddress(family), op: "!=", right: { set: POD_NETWORKS[family] } }], "services");
}

/** The mark goes with the packet into a tunnel: it is cleared, or the outer packet would be masqueraded too. */
function masqueradeMarked(): NftRule {
  const marked: NftMatch = { left: { field: "meta mark", mask: MASQUERADE_MARK }, op: "==", right: `0x${MASQUERADE_MARK.toString(16)}` };
  return {
    matches: [marked],
    statements: [{ setMark: { value: 0, mask: ~MASQUERADE_MARK >>> 0 } }, { masquerade: { fullyRandom: true } }],
  };
}

/** A pod that reaches itself through a Service must not see its own address as the client's. */
function hairpin(family: Family): NftRule {
  const ends: NftField[] = family === 4 ? ["ip saddr", "ip daddr"] : ["ip6 saddr", "ip6 daddr"];
  return { matches: [{ left: ends, op: "==", right: { set: `hairpin${family}` } }], statements: [{ masquerade: {} }] };
}
