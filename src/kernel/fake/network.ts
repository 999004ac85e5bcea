// One fake namespace's links, addresses, neighbours, forwarding entries and rules, and what hangs on what.

import { parsePrefix, prefixContains, tryParsePrefix } from "../../base/index.ts";
import type { LinkChange, WatchTopic } from "../kernel.ts";
import { addressKey, fdbKey, fdbMacKey, neighbourKey, ruleKey } from "../keys.ts";
import {
  type FdbEntry,
  type Link,
  type LinkAddress,
  type LinkKind,
  LOCAL_TABLE,
  type Neighbour,
  type Route,
  type RoutingRule,
  USUAL_GSO_MAX_SIZE,
} from "../state.ts";
import { refuse } from "./refuse.ts";
import { FakeRoutes } from "./routes.ts";
import { FakeSysctls } from "./sysctls.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type OpenLink = Mutable<Omit<Link, "mtu" | "up" | "mac" | "index">> & { index: number; mtu: number; up: boolean; mac: string };

const DEFAULT_RULES: readonly RoutingRule[] = [
  { family: 4, priority: 0, table: 255, protocol: 2 },
  { family: 4, priority: 32766, table: 254, protocol: 2 },
  { family: 4, priority: 32767, table: 253, protocol: 2 },
  { family: 6, priority: 0, table: 255, protocol: 2 },
  { family: 6, priority: 32766, table: 254, protocol: 2 },
];

const VXLAN_OVERHEAD = 50;
/** GSO_MAX_SIZE in linux/netdevice.h, in bytes. */
const GSO_MAX_SIZE = 8 * 65_535;
const SETTABLE = ["mtu", "gsoIpv4MaxSize", "mac", "up", "master", "hairpin", "ifalias", "fastPath"] as const;

export class FakeNetwork {
  readonly links = new Map<string, OpenLink>();
  readonly addresses = new Map<string, LinkAddress>();
  readonly neighbours = new Map<string, Neighbour>();
  /** By link, MAC and table. */
  readonly fdb = new Map<string, FdbEntry[]>();
  readonly rules = new Map<string, RoutingRule>();
  readonly sysctls = new FakeSysctls();
  readonly routes: FakeRoutes;
  /** The other end of each veth. */
  readonly peers = new Map<string, { readonly network: FakeNetwork; name: string }>();
  readonly #emit: (topic: WatchTopic) => void;
  #nextIndex = 2;
  #nextMac = 1;
  readonly #number: number;

  constructor(number: number, emit: (topic: WatchTopic) => void) {
    this.#number = number;
    this.#emit = emit;
    this.routes = new FakeRoutes({
      link: (name) => this.links.get(name),
      isLocal: (address) => [...this.addresses.values()].some((own) => own.address.startsWith(`${address}/`)),
    });
    this.links.set("lo", { name: "lo", index: 1, kind: { type: "loopback" }, mtu: 65536, up: false, mac: "00:00:00:00:00:00" });
    this.sysctls.addLink("lo");
    for (const rule of DEFAULT_RULES) this.rules.set(ruleKey(rule), rule);
  }

  apply(change: LinkChange): void {
    if ("link" in change) this.#applyLink(change);
    else if ("address" in change) this.#applyAddress(change.op, change.address);
    else if ("route" in change) this.#applyRoute(change.op, change.route);
    else if ("rule" in change) this.#applyRule(change.op, change.rule);
    else if ("neighbour" in change) this.#applyNeighbour(change.op, change.neighbour);
    else this.#applyFdb(change.op, change.fdb);
  }

  /** Makes a link of any kind; the caller has seen to its kind. */
  make(name: string, kind: LinkKind, given: Partial<Link>): OpenLink {
    if (name === "" || name.length > 15 || /[/\s]/.test(name)) refuse("EINVAL", `"${name}" is no interface name`);
    if (this.links.has(name)) refuse("EEXIST", "the link exists", name);
    const outer = kind.type === "vxlan" ? this.#outerMtu(kind, name) : undefined;
    const mac = given.mac ?? `02:${hex(this.#number >> 8)}:${hex(this.#number)}:00:${hex(this.#nextMac >> 8)}:${hex(this.#nextMac++)}`;
    const link: OpenLink = {
      name,
      kind,
      index: this.#nextIndex++,
      mtu: given.mtu ?? (outer === undefined ? 1500 : outer - VXLAN_OVERHEAD),
      up: false,
      mac,
    };
    this.links.set(name, link);
    this.sysctls.addLink(name);
    this.#set({ ...given, name });
    this.#emit("link");
    return link;
  }

  #outerMtu(kind: Extract<LinkKind, { type: "vxlan" }>, name: string): number {
    const device = this.links.get(kind.device);
    if (!device) refuse("ENODEV", `no underlying device ${kind.device}`, name);
    for (const other of this.links.values()) {
      if (other.kind.type !== "vxlan" || other.kind.local.includes(":") !== kind.local.includes(":")) continue;
      if (other.kind.vni === kind.vni && other.kind.port === kind.port) refuse("EEXIST", `VNI ${kind.vni} is taken by ${other.name}`, name);
    }
    return device.mtu;
  }

  #applyLink(change: Extract<LinkChange, { readonly link: unknown }>): void {
    const { name } = change.link;
    if (change.op === "add") {
      const { kind } = change.link;
      const isDummy = kind.type === "other" && kind.name === "dummy";
      if (kind.type !== "bridge" && kind.type !== "vxlan" && kind.type !== "ipip" && !isDummy)
        refuse("EOPNOTSUPP", `links of kind ${kind.type} are not made this way`, name);
      this.make(name, kind, change.link);
    } else if (change.op === "set") {
      this.#set(change.link);
      this.#emit("link");
    } else this.remove(name);
  }

  #set(given: Partial<Link> & { readonly name: string }): void {
    const link = this.links.get(given.name);
    if (!link) refuse("ENODEV", "no such link", given.name);
    if (given.mtu !== undefined && (given.mtu < 68 || given.mtu > 65536)) refuse("EINVAL", `MTU ${given.mtu} is out of range`, given.name);
    if (given.master !== undefined && given.master !== "") {
      const master = this.links.get(given.master);
      if (!master) refuse("ENODEV", `no master ${given.master}`, given.name);
      if (master.kind.type !== "bridge") refuse("EOPNOTSUPP", `${given.master} is no bridge`, given.name);
    }
    if (given.gsoIpv4MaxSize !== undefined && given.gsoIpv4MaxSize > GSO_MAX_SIZE)
      refuse("EINVAL", `${given.gsoIpv4MaxSize} bytes are more than a packet can have`, given.name);
    const master = given.master ?? link.master ?? "";
    if (given.hairpin && master === "") refuse("EOPNOTSUPP", "hairpin is for ports of a bridge", given.name);
    for (const field of SETTABLE) {
      const value = given[field];
      if (value === undefined || field === "up") continue;
      (link as Record<string, unknown>)[field] = value;
    }
    if (master === "") {
      delete link.master;
      delete link.hairpin;
    }
    if (link.gsoIpv4MaxSize === USUAL_GSO_MAX_SIZE) delete link.gsoIpv4MaxSize;
    if (link.fastPath === false) delete link.fastPath;
    if (given.mac !== undefined) this.#dropNeighbours(given.name);
    if (given.up === true && !link.up) this.#raise(link);
    if (given.up === false && link.up) this.#lower(link);
  }

  #raise(link: OpenLink): void {
    link.up = true;
    for (const address of this.addresses.values()) if (address.link === link.name) this.routes.addConnected(address);
    this.#emit("route");
  }

  /** fib_sync_down_dev and neigh_ifdown: routes and neighbours go without a message of their own. */
  #lower(link: OpenLink): void {
    link.up = false;
    this.routes.lowerLink(link.name);
    this.#dropNeighbours(link.name);
  }

  #dropNeighbours(link: string): void {
    for (const [key, neighbour] of this.neighbours) if (neighbour.link === link) this.neighbours.delete(key);
  }

  remove(name: string): void {
    const link = this.links.get(name);
    if (!link) refuse("ENODEV", "no such link", name);
    if (link.kind.type === "loopback") refuse("EOPNOTSUPP", "loopback stays", name);
    this.detach(name);
    const peer = this.peers.get(name);
    this.peers.delete(name);
    if (peer) {
      peer.network.peers.delete(peer.name);
      if (peer.network.links.has(peer.name)) peer.network.remove(peer.name);
    }
    for (const other of [...this.links.values()]) {
      if (other.kind.type === "vxlan" && other.kind.device === name) this.remove(other.name);
    }
  }

  /** Takes the link out with all that stands on it. */
  detach(name: string): void {
    this.routes.dropLink(name);
    this.#dropNeighbours(name);
    for (const [key, address] of this.addresses) if (address.link === name) this.addresses.delete(key);
    for (const [key, entries] of this.fdb) if (entries[0]?.link === name) this.fdb.delete(key);
    for (const port of this.links.values()) {
      if (port.master !== name) continue;
      delete port.master;
      delete port.hairpin;
    }
    this.links.delete(name);
    this.sysctls.removeLink(name);
    for (const topic of ["link", "address", "neighbour"] as const) this.#emit(topic);
  }

  #need(name: string): OpenLink {
    return this.links.get(name) ?? refuse("ENODEV", "no such link", name);
  }

  #applyAddress(op: "add" | "replace" | "delete", address: LinkAddress): void {
    const link = this.#need(address.link);
    const prefix = tryParsePrefix(address.address) ?? refuse("EINVAL", `"${address.address}" is no address`, address.link);
    const key = addressKey(address);
    if (op === "delete") this.#deleteAddress(key, address);
    else {
      if (this.addresses.has(key) && op === "add") refuse("EEXIST", "the address exists", key);
      const { nodad: _nodad, ...kept } = address;
      this.addresses.set(key, {
        ...kept,
        scope: address.scope ?? (prefix.family === 6 && address.address.startsWith("fe80:") ? "link" : "global"),
      });
      if (link.up) {
        this.routes.addConnected(address);
        this.#emit("route");
      }
    }
    this.#emit("address");
  }

  #deleteAddress(key: string, address: LinkAddress): void {
    if (!this.addresses.has(key)) refuse("EADDRNOTAVAIL", "no such address", key);
    const prefix = parsePrefix(address.address);
    const sameNet = [...this.addresses.values()].filter((other) => {
      const net = parsePrefix(other.address);
      return other.link === address.link && net.length === prefix.length && prefixContains(prefix, net);
    });
    // IPv4: the first address of a network is its primary; the secondaries go with it unless promote_secondaries is set.
    const isPrimary = sameNet[0] !== undefined && addressKey(sameNet[0]) === key;
    const goes =
      prefix.family === 4 && isPrimary && this.sysctls.read("net.ipv4.conf.all.promote_secondaries") === "0" ? sameNet : [address];
    for (const gone of goes) this.addresses.delete(addressKey(gone));
    for (const gone of goes) this.routes.dropAddress(gone, [...this.addresses.values()]);
  }

  #applyRoute(op: "add" | "replace" | "delete", route: Route): void {
    this.routes.apply(op, route);
    this.#emit(route.table === LOCAL_TABLE ? "local" : "route");
  }

  #applyRule(op: "add" | "delete", rule: RoutingRule): void {
    const key = ruleKey(rule);
    if (op === "add" && this.rules.has(key)) refuse("EEXIST", "the rule exists", `rule ${key}`);
    if (op === "delete" && !this.rules.delete(key)) refuse("ENOENT", "no such rule", `rule ${key}`);
    if (op === "add") this.rules.set(key, rule);
    this.#emit("rule");
  }

  #applyNeighbour(op: "add" | "replace" | "delete", neighbour: Neighbour): void {
    this.#need(neighbour.link);
    const key = neighbourKey(neighbour);
    if (op === "add" && this.neighbours.has(key)) refuse("EEXIST", "the neighbour exists", key);
    if (op === "delete" && !this.neighbours.delete(key)) refuse("ENOENT", "no such neighbour", key);
    if (op !== "delete") this.neighbours.set(key, neighbour);
    this.#emit("neighbour");
  }

  #applyFdb(op: "add" | "replace" | "delete", entry: FdbEntry): void {
    const link = this.#need(entry.link);
    const key = fdbKey(entry);
    if (entry.table === "master" && link.master === undefined) refuse("EOPNOTSUPP", `${entry.link} is no port of a bridge`, key);
    const macKey = fdbMacKey(entry);
    const standing = this.fdb.get(macKey) ?? [];
    const others = standing.filter((other) => fdbKey(other) !== key);
    if (op === "delete") {
      if (others.length === standing.length) refuse("ENOENT", "no such entry", key);
      if (others.length > 0) this.fdb.set(macKey, others);
      else this.fdb.delete(macKey);
    } else if (op === "replace") this.fdb.set(macKey, [entry]);
    else {
      // Only the all-zero MAC, where unknown frames are flooded to, has several destinations.
      if (others.length < standing.length || (others.length > 0 && entry.mac !== "00:00:00:00:00:00"))
        refuse("EEXIST", "the entry exists", key);
      this.fdb.set(macKey, [...standing, entry]);
    }
    this.#emit("neighbour");
  }
}

const hex = (value: number) => (value & 255).toString(16).padStart(2, "0");
