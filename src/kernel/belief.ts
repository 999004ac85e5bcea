// What the reconciler believes the kernel to hold: its last observation plus its own writes, keyed so that a write costs a map operation.

import { parsePrefix } from "../base/index.ts";
import { IpvsBelief } from "./ipvs/belief.ts";
import type { IpvsOwnership } from "./ipvs/lingering.ts";
import type { LinkChange, NetworkNamespace } from "./kernel.ts";
import { addressKey, fdbMacKey, interfaceOfSysctl, iptablesKey, neighbourKey, routeKey, ruleKey } from "./keys.ts";
import type { NftFamily, NftTable } from "./netfilter.ts";
import { connectedRoute } from "./route-diff.ts";
import {
  EMPTY_STATE,
  type FdbEntry,
  type IptablesTable,
  type KernelState,
  type Link,
  type LinkAddress,
  LOCAL_TABLE,
  type Neighbour,
  type Route,
  type RoutingRule,
} from "./state.ts";
import type { ChangeStep } from "./steps.ts";

/** What can be read again by itself. "neighbour" includes the FDB: one netlink group tells of both. */
export type Part = "link" | "address" | "route" | "local" | "rule" | "neighbour" | "sysctl" | "table" | "iptables" | "ipset" | "ipvs";

/** The lists that a part is. */
export const LISTS: Readonly<Record<Part, readonly (keyof KernelState)[]>> = {
  link: ["links"],
  address: ["addresses"],
  route: ["routes"],
  local: ["localRoutes"],
  rule: ["rules"],
  neighbour: ["neighbours", "fdb"],
  sysctl: ["sysctls"],
  table: ["tables"],
  iptables: ["iptables"],
  ipset: ["ipsets"],
  ipvs: ["ipvs"],
};

export const PARTS = Object.keys(LISTS) as readonly Part[];

export function partOf(step: ChangeStep): Part {
  if (step.kind === "fdb") return "neighbour";
  return step.kind === "route" && "route" in step.change && step.change.route.table === LOCAL_TABLE ? "local" : step.kind;
}

/** What of the kernel a reconciler is there for, as far as it costs to read. */
export interface Interests {
  readonly neighboursMatter: (links: Iterable<string>) => boolean;
  /** Routing tables that routes are wanted in. */
  readonly routeTables: () => Iterable<number>;
  readonly iptables: boolean;
  readonly ipvs: IpvsOwnership | undefined;
}

export class Belief {
  #links = new Map<string, Link>();
  #addresses = new Map<string, LinkAddress>();
  #routes = new RouteBelief();
  #localRoutes = new RouteBelief();
  #rules = new Map<string, RoutingRule>();
  #neighbours = new Map<string, Neighbour>();
  /** By link, MAC and table: the all-zero MAC has many destinations. */
  #fdb = new Map<string, FdbEntry[]>();
  #neighboursRead = false;
  #sysctls = new Map<string, string | undefined>();
  #tables = new Map<string, { readonly family: NftFamily; readonly name: string; table: NftTable | undefined }>();
  #iptables = new Map<string, IptablesTable>();
  readonly ipvs = new IpvsBelief();
  /** Links that the last reading found and the one before did not. */
  arrived: ReadonlySet<string> = new Set();
  /** Parts that may differ from the kernel and are read again before the next diff. */
  readonly stale = new Set<Part>(PARTS);

  /** Sees to it that these sysctls and tables are read. */
  follow(sysctls: Iterable<string>, tables: Iterable<{ readonly family: NftFamily; readonly name: string }>, from: NetworkNamespace): void {
    for (const key of sysctls) if (!this.#sysctls.has(key)) this.#sysctls.set(key, from.readSysctl(key));
    for (const { family, name } of tables) {
      const key = `${family} ${name}`;
      if (!this.#tables.has(key)) this.#tables.set(key, { family, name, table: from.nft.readTable(family, name) });
    }
  }

  /**
   * Reads the stale parts from the kernel. Neighbours only where `neighboursMatter`: their table is one for all namespaces,
   * so that a listing costs by the size of the whole machine's; iptables only where it is ours in part. Local routes, which
   * may be many, only for their own sake: the others are read by tables, all of them when all is read.
   * Returns what was read.
   */
  refresh(from: NetworkNamespace, { neighboursMatter, routeTables, iptables, ipvs }: Interests): ReadonlySet<Part> {
    this.arrived = new Set();
    if (this.stale.has("link")) {
      const before = this.#links;
      this.#links = new Map(from.listLinks().map((link) => [link.name, link]));
      this.arrived = new Set(this.#links.keys()).difference(new Set(before.keys()));
      // The kernel drops addresses and routes of a link that goes (down) without a word of its own. What came new has lost nothing.
      const changed = [...before.values()].filter((link) => structureOf(this.#links.get(link.name)) !== structureOf(link));
      if (changed.length > 0) for (const part of ["address", "route", "sysctl"] as const) this.stale.add(part);
      if (changed.some((link) => this.#localRoutes.leadsTo(link.name))) this.stale.add("local");
      if (changed.some((link) => this.#hasNeighbours(link.name))) this.stale.add("neighbour");
    }
    if (this.stale.has("address")) {
      this.stale.add("route");
      this.#addresses = new Map(from.listAddresses().map((address) => [addressKey(address), address]));
    }
    if (this.stale.has("route")) {
      const tables = this.stale.has("local") ? [undefined] : new Set([...routeTables(), ...this.#routes.tables]);
      this.#routes = new RouteBelief([...tables].flatMap((table) => from.listRoutes(table === undefined ? {} : { table })));
    }
    if (this.stale.has("local")) this.#localRoutes = new RouteBelief(from.listLocalRoutes());
    if (this.stale.has("rule")) this.#rules = new Map(from.listRules().map((rule) => [ruleKey(rule), rule]));
    if (this.stale.has("neighbour") || !this.#neighboursRead) {
      this.#neighboursRead = neighboursMatter(this.#links.keys());
      if (this.#neighboursRead) this.stale.add("neighbour");
      this.#neighbours = new Map((this.#neighboursRead ? from.listNeighbours() : []).map((each) => [neighbourKey(each), each]));
      this.#fdb = Map.groupBy(this.#neighboursRead ? from.listFdb() : [], fdbMacKey);
    }
    if (this.stale.has("sysctl")) for (const key of this.#sysctls.keys()) this.#sysctls.set(key, from.readSysctl(key));
    if (this.stale.has("table")) for (const entry of this.#tables.values()) entry.table = from.nft.readTable(entry.family, entry.name);
    if (this.stale.has("iptables") && iptables)
      this.#iptables = new Map(
        ([4, 6] as const).flatMap((family) => from.iptables.save(family)).map((table) => [iptablesKey(table), table]),
      );
    if (this.stale.has("ipset") && ipvs) this.ipvs.readSets(from, ipvs.sets);
    if (this.stale.has("ipvs") && ipvs) this.ipvs.readServices(from);
    const read = new Set(this.stale);
    this.stale.clear();
    return read;
  }

  #hasNeighbours(link: string): boolean {
    for (const neighbour of this.#neighbours.values()) if (neighbour.link === link) return true;
    for (const entries of this.#fdb.values()) if (entries.some((entry) => entry.link === link)) return true;
    return false;
  }

  /** Whether a followed sysctl reads otherwise than believed. */
  sysctlsMoved(from: NetworkNamespace): boolean {
    for (const [key, value] of this.#sysctls) if (from.readSysctl(key) !== value) return true;
    return false;
  }

  state(): KernelState {
    return { ...EMPTY_STATE, ...this.parts(Object.keys(EMPTY_STATE) as (keyof KernelState)[]) };
  }

  /** Some parts of the state: a part costs by its length. */
  parts(names: readonly (keyof KernelState)[]): Partial<KernelState> {
    return Object.fromEntries(names.map((name) => [name, this.#listings[name]()]));
  }

  readonly #listings: { readonly [Name in keyof KernelState]: () => KernelState[Name] } = {
    links: () => this.links(),
    addresses: () => [...this.#addresses.values()],
    routes: () => this.#routes.list(),
    localRoutes: () => this.#localRoutes.list(),
    rules: () => [...this.#rules.values()],
    neighbours: () => [...this.#neighbours.values()],
    fdb: () => [...this.#fdb.values()].flat(),
    sysctls: () => this.#readableSysctls(),
    tables: () => this.tables(),
    iptables: () => [...this.#iptables.values()],
    ipsets: () => this.ipvs.sets(),
    ipvs: () => this.ipvs.services(),
  };

  address(key: string): LinkAddress | undefined {
    return this.#addresses.get(key);
  }

  localRoutes(key: string): readonly Route[] {
    return this.#localRoutes.get(key);
  }

  links(): Link[] {
    return [...this.#links.values()];
  }

  tables(): NftTable[] {
    return [...this.#tables.values()].flatMap((entry) => entry.table ?? []);
  }

  /** Takes in a step that the kernel has carried out. What follows from it in the kernel by itself becomes stale. */
  take(step: ChangeStep): void {
    if (step.kind === "sysctl") this.#takeSysctl(step.key, step.value);
    else if (step.kind === "table") this.#tables.set(step.object, { family: step.family, name: step.name, table: step.table });
    else if (step.kind === "iptables") this.#iptables.set(step.object, step.table);
    else if (step.kind === "ipset" || step.kind === "ipvs") this.ipvs.take(step);
    else this.#takeChange(step.change);
  }

  #takeSysctl(key: string, value: string): void {
    this.#sysctls.set(key, value);
    // Forwarding and the "all" keys change others: net.ipv4.ip_forward rewrites every interface's.
    if (key.endsWith("ip_forward") || key.includes(".all.") || key.includes(".default.")) this.stale.add("sysctl");
  }

  #takeChange(change: LinkChange): void {
    if ("link" in change) this.#takeLink(change);
    else if ("address" in change) this.#takeAddress(change.op, change.address);
    else if ("route" in change) (change.route.table === LOCAL_TABLE ? this.#localRoutes : this.#routes).take(change.op, change.route);
    else if ("rule" in change) put(this.#rules, ruleKey(change.rule), change.rule, change.op);
    else if ("neighbour" in change) put(this.#neighbours, neighbourKey(change.neighbour), change.neighbour, change.op);
    else this.#takeFdb(change.op, change.fdb);
  }

  #takeAddress(op: "add" | "replace" | "delete", address: LinkAddress): void {
    put(this.#addresses, addressKey(address), address, op);
    const { family, length } = parsePrefix(address.address);
    const plain = address.address.replace(/\/.*/, "");
    const alone = length === (family === 4 ? 32 : 128);
    if (!alone || (op === "delete" && this.#routes.list().some(({ source }) => source === plain))) {
      // Connected routes come and go with it, and (IPv4) secondary addresses with their primary.
      this.stale.add("route");
      if (op === "delete") this.stale.add("address");
      return;
    }
    // A host's address leads nowhere else.
    const route = this.#links.get(address.link)?.up === true ? connectedRoute(address) : undefined;
    if (!route) return;
    const same = this.#routes
      .get(routeKey(route))
      .find((other) => other.protocol === route.protocol && other.nexthops[0]?.link === address.link);
    if (same) this.#routes.take("delete", same);
    if (op !== "delete") this.#routes.take("add", route);
  }

  #readableSysctls(): Record<string, string> {
    const sysctls: Record<string, string> = {};
    for (const [key, value] of this.#sysctls) if (value !== undefined) sysctls[key] = value;
    return sysctls;
  }

  #takeFdb(op: "add" | "replace" | "delete", entry: FdbEntry): void {
    const key = fdbMacKey(entry);
    const list = this.#fdb.get(key) ?? [];
    const others = list.filter((other) => other.destination !== entry.destination);
    if (op === "replace") this.#fdb.set(key, [entry]);
    else if (op === "add") this.#fdb.set(key, [...others, entry]);
    else if (others.length > 0) this.#fdb.set(key, others);
    else this.#fdb.delete(key);
  }

  #takeLink(change: Extract<LinkChange, { readonly link: unknown }>): void {
    const { name } = change.link;
    if (change.op === "set") {
      const before = this.#links.get(name);
      if (before) {
        const after = { ...before, ...change.link };
        const { fastPath, ...slow } = after;
        this.#links.set(name, fastPath === false && change.link.fastPath === false ? slow : after);
      }
      const { up, mac } = change.link;
      if (up !== undefined) for (const part of this.#followers(name)) this.stale.add(part);
      // neigh_changeaddr and neigh_ifdown flush even permanent entries.
      if (up === false || mac !== undefined) this.stale.add("neighbour");
      return;
    }
    if (change.op === "add") this.#links.set(name, change.link);
    else this.#links.delete(name);
    for (const part of ["link", "neighbour", ...this.#followers(name)] as const) this.stale.add(part);
    for (const key of this.#sysctls.keys()) if (interfaceOfSysctl(key) === name) this.stale.add("sysctl");
  }

  /** What comes and goes with a link. */
  #followers(link: string): Part[] {
    return ["address", "route", ...(this.#localRoutes.leadsTo(link) ? (["local"] as const) : [])];
  }
}

/** Routes by their keys. */
class RouteBelief {
  readonly #routes = new Map<string, Route[]>();
  /** Devices that routes lead to, or led to. */
  readonly #links = new Set<string>();
  /** Numbers of the tables that routes are in, or were in. */
  readonly tables = new Set<number>();

  constructor(routes: readonly Route[] = []) {
    for (const route of routes) this.take("add", route);
  }

  get(key: string): readonly Route[] {
    return this.#routes.get(key) ?? [];
  }

  list(): Route[] {
    return [...this.#routes.values()].flat();
  }

  leadsTo(link: string): boolean {
    return this.#links.has(link);
  }

  take(op: "add" | "replace" | "delete", route: Route): void {
    const key = routeKey(route);
    const list = this.#routes.get(key);
    if (op === "delete") {
      const rest = list?.filter((other) => other !== route) ?? [];
      if (rest.length > 0) this.#routes.set(key, rest);
      else this.#routes.delete(key);
      return;
    }
    if (list && op === "add") list.push(route);
    else this.#routes.set(key, [route]);
    this.tables.add(route.table);
    for (const { link } of route.nexthops) if (link !== undefined) this.#links.add(link);
  }
}

function put<T>(map: Map<string, T>, key: string, value: T, op: "add" | "replace" | "delete"): void {
  if (op === "delete") map.delete(key);
  else map.set(key, value);
}

function structureOf(link: Link | undefined): string {
  return link ? `${link.index} ${link.up} ${link.mac}` : "";
}
