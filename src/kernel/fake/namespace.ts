// A handle of a fake namespace: what it answers is computed in memory; what it cannot do, it refuses by name.
import type { ChildProcess } from "node:child_process";
import type { LinkChange, LoggedPacket, NetworkNamespace, ObserveScope, SocketOptions, VethEnd, WatchTopic } from "../kernel.ts";
import type { NftFamily } from "../netfilter.ts";
import { printElementChanges } from "../nft/diff.ts";
import {
  type FdbEntry,
  type KernelState,
  type Link,
  type LinkAddress,
  LOCAL_TABLE,
  type Neighbour,
  type Route,
  type RoutingRule,
} from "../state.ts";
import { FakeConntrack } from "./conntrack.ts";
import { FakeIpsets } from "./ipset.ts";
import { FakeIptables } from "./iptables.ts";
import { FakeIpvs } from "./ipvs.ts";
import { FakeNetwork } from "./network.ts";
import { FakeNftables } from "./nftables.ts";
import { refuse } from "./refuse.ts";

/** What all handles of one namespace share. */
export class FakeNamespaceState {
  readonly inode: number;
  readonly network: FakeNetwork;
  readonly nft: FakeNftables;
  readonly iptables = new FakeIptables();
  readonly ipsets = new FakeIpsets();
  readonly ipvs = new FakeIpvs();
  readonly conntrack = new FakeConntrack();
  /** Who reads the packets that rules log, by group; tests call them. */
  readonly logs = new Map<number, (packet: LoggedPacket) => void>();
  readonly sentPackets: Uint8Array[] = [];
  /** Who is told of changes: by the handle that listens. */
  readonly listeners = new Set<Listener>();
  /** The handle whose call is being carried out: its listeners are not told. */
  actor: FakeNamespace | undefined;

  constructor(inode: number) {
    this.inode = inode;
    this.network = new FakeNetwork(inode, (topic) => this.emit(topic));
    this.nft = new FakeNftables();
  }

  emit(topic: WatchTopic): void {
    for (const listener of this.listeners) if (listener.owner !== this.actor) listener.tell(topic);
  }

  as<T>(actor: FakeNamespace, action: () => T): T {
    const before = this.actor;
    this.actor = actor;
    try {
      return action();
    } finally {
      this.actor = before;
    }
  }
}

class Listener {
  readonly owner: FakeNamespace;
  readonly #topics: ReadonlySet<WatchTopic>;
  readonly #onChange: (topic: WatchTopic) => void;
  readonly #pending = new Set<WatchTopic>();
  #stopped = false;

  constructor(owner: FakeNamespace, topics: readonly WatchTopic[], onChange: (topic: WatchTopic) => void) {
    this.owner = owner;
    this.#topics = new Set(topics);
    this.#onChange = onChange;
  }

  tell(topic: WatchTopic): void {
    if (this.#stopped || !this.#topics.has(topic) || this.#pending.has(topic)) return;
    this.#pending.add(topic);
    queueMicrotask(() => {
      this.#pending.delete(topic);
      if (!this.#stopped) this.#onChange(topic);
    });
  }

  stop(): void {
    this.#stopped = true;
  }
}

export type FailureCheck = (operation: string) => void;

export class FakeNamespace implements NetworkNamespace {
  readonly inode: number;
  readonly path: string;
  readonly state: FakeNamespaceState;
  readonly nft: NetworkNamespace["nft"];
  readonly iptables: NetworkNamespace["iptables"];
  readonly ipsets: NetworkNamespace["ipsets"];
  readonly ipvs: NetworkNamespace["ipvs"];
  readonly fastPath: NetworkNamespace["fastPath"] = { lack: () => undefined };
  /** Operations carried out through this handle that write, in order: tests count them. */
  readonly writes: string[] = [];
  readonly #failIfAsked: FailureCheck;
  #closed = false;

  constructor(state: FakeNamespaceState, path: string, failIfAsked: FailureCheck) {
    this.state = state;
    this.inode = state.inode;
    this.path = path;
    this.#failIfAsked = failIfAsked;
    this.nft = {
      run: (transaction) =>
        this.#write("nft", () => {
          state.nft.run(typeof transaction === "string" ? transaction : printElementChanges(transaction));
          state.emit("nft");
        }),
      readTable: (family, name) => this.#read("readTable", () => state.nft.readTable(family, name)),
      listTables: () => this.#read("listTables", () => state.nft.listTables()),
    };
    this.iptables = {
      lack: () => state.iptables.lack(),
      stamp: () => state.iptables.stamp(),
      save: (family) => this.#read("iptables-save", () => state.iptables.save(family)),
      restore: (family, commands) =>
        this.#write("iptables-restore", () => {
          state.iptables.restore(family, commands);
          state.emit("iptables");
        }),
    };
    this.ipsets = {
      list: (wanted) => this.#read("list sets", () => state.ipsets.list(wanted)),
      create: (set) => this.#write("create set", () => state.ipsets.create(set)),
      destroy: (name) => this.#write("destroy set", () => state.ipsets.destroy(name)),
      change: (name, elements) => this.#write("change set", () => state.ipsets.change(name, elements)),
    };
    this.ipvs = {
      lack: () => state.ipvs.lack(),
      list: () => this.#read("list ipvs", () => state.ipvs.list()),
      read: (service) => this.#read("read ipvs", () => state.ipvs.read(service)),
      apply: (change) => this.#write(`${change.op} ipvs`, () => state.ipvs.apply(change)),
    };
  }

  readPacketLog(group: number, onPacket: (packet: LoggedPacket) => void): () => void {
    if (this.state.logs.has(group)) refuse("EPERM", "another reads this group", String(group));
    this.state.logs.set(group, onPacket);
    return () => this.state.logs.delete(group);
  }

  sendPacket(packet: Uint8Array): void {
    if (packet.length < 20) refuse("EINVAL", "it has no IP header", "packet");
    this.state.sentPackets.push(packet);
  }

  get conntrack(): FakeConntrack {
    return this.state.conntrack;
  }

  listLinks(): Link[] {
    return this.#read("listLinks", () =>
      [...this.#network.links.values()].map((link) => {
        const peer = this.#network.peers.get(link.name);
        const peerIndex = peer?.network.links.get(peer.name)?.index;
        return { ...link, ...(peerIndex === undefined ? {} : { peerIndex }) };
      }),
    );
  }

  listAddresses(): LinkAddress[] {
    return this.#read("listAddresses", () => [...this.#network.addresses.values()]);
  }

  listRoutes(options: { readonly family?: 4 | 6; readonly table?: number } = {}): Route[] {
    return this.#read("listRoutes", () =>
      this.#network.routes
        .list()
        .filter(
          (route) =>
            (options.family ?? route.family) === route.family &&
            (options.table === undefined ? route.table !== LOCAL_TABLE : route.table === options.table),
        ),
    );
  }

  listLocalRoutes(): Route[] {
    return this.#read("listLocalRoutes", () => this.#network.routes.list().filter(({ table }) => table === LOCAL_TABLE));
  }

  listRules(): RoutingRule[] {
    return this.#read("listRules", () => [...this.#network.rules.values()]);
  }

  listNeighbours(): Neighbour[] {
    return this.#read("listNeighbours", () => [...this.#network.neighbours.values()]);
  }

  listFdb(): FdbEntry[] {
    return this.#read("listFdb", () => [...this.#network.fdb.values()].flat());
  }

  observe(scope: ObserveScope = {}): KernelState {
    const sysctls: Record<string, string> = {};
    for (const key of scope.sysctls ?? []) {
      const value = this.readSysctl(key);
      if (value !== undefined) sysctls[key] = value;
    }
    const tables = scope.tables === "all" ? this.nft.listTables() : (scope.tables ?? []);
    return {
      links: this.listLinks(),
      addresses: this.listAddresses(),
      routes: this.listRoutes(),
      localRoutes: this.listLocalRoutes(),
      rules: this.listRules(),
      neighbours: this.listNeighbours(),
      fdb: this.listFdb(),
      sysctls,
      tables: tables.flatMap(({ family, name }: { family: NftFamily; name: string }) => this.nft.readTable(family, name) ?? []),
      iptables: scope.tables === "all" ? ([4, 6] as const).flatMap((family) => this.iptables.save(family)) : [],
      ipsets: scope.tables === "all" ? this.ipsets.list(() => true) : [],
      ipvs: scope.tables === "all" ? this.ipvs.list() : [],
    };
  }

  together<T>(changes: () => T): T {
    return changes();
  }

  apply(change: LinkChange): void {
    const kind = ["link", "address", "route", "rule", "neighbour", "fdb"].find((name) => name in change);
    this.#write(`${change.op} ${kind}`, () => this.#network.apply(change));
  }

  async removeLink(name: string): Promise<void> {
    this.apply({ op: "delete", link: { name } });
  }

  addVethPair(a: VethEnd, b: VethEnd): void {
    this.#write("addVethPair", () => {
      const [left, right] = [this.#networkOf(a), this.#networkOf(b)];
      if (right.links.has(b.name) || (left === right && a.name === b.name)) refuse("EEXIST", "the link exists", b.name);
      const make = (network: FakeNetwork, end: VethEnd) => {
        const { namespace: _namespace, ...given } = end;
        network.make(end.name, { type: "veth" }, given);
      };
      make(left, a);
      try {
        make(right, b);
      } catch (error) {
        left.remove(a.name);
        throw error;
      }
      left.peers.set(a.name, { network: right, name: b.name });
      right.peers.set(b.name, { network: left, name: a.name });
    });
  }

  moveLink(name: string, to: NetworkNamespace, newName = name): void {
    this.#write("moveLink", () => {
      if (!(to instanceof FakeNamespace)) refuse("EINVAL", "the target is not of this fake kernel", name);
      const from = this.#network;
      const target = to.state.network;
      const link = from.links.get(name) ?? refuse("ENODEV", "no such link", name);
      if (link.kind.type === "loopback" || link.kind.type === "bridge") refuse("EINVAL", "this kind of link stays in its namespace", name);
      if (target.links.has(newName)) refuse("EEXIST", "the link exists there", newName);
      const peer = from.peers.get(name);
      from.detach(name);
      const { mtu, mac, ifalias, gsoIpv4MaxSize } = link;
      const kept = { ...(ifalias === undefined ? {} : { ifalias }), ...(gsoIpv4MaxSize === undefined ? {} : { gsoIpv4MaxSize }) };
      target.make(newName, link.kind, { mtu, mac, ...kept });
      if (!peer) return;
      from.peers.delete(name);
      target.peers.set(newName, peer);
      peer.network.peers.set(peer.name, { network: target, name: newName });
    });
  }

  readSysctl(key: string): string | undefined {
    return this.#read("readSysctl", () => this.#network.sysctls.read(key));
  }

  writeSysctl(key: string, value: string): void {
    this.#write("writeSysctl", () => {
      this.#network.sysctls.write(key, value);
      if (/\.(ip_forward|forwarding|rp_filter|proxy_arp)$/.test(key)) this.state.emit("netconf");
    });
  }

  watch(topics: readonly WatchTopic[], onChange: (topic: WatchTopic) => void): () => void {
    this.#checkOpen();
    const listener = new Listener(this, topics, onChange);
    this.state.listeners.add(listener);
    return () => {
      listener.stop();
      this.state.listeners.delete(listener);
    };
  }

  run<T>(action: () => T): T {
    this.#checkOpen();
    return action();
  }

  spawn(command: string): ChildProcess {
    return refuse("ENOSYS", "a namespace in memory runs no processes", command);
  }

  openSocket(): number {
    return refuse("EOPNOTSUPP", "the fake kernel has no sockets", "socket");
  }

  sendFrame(link: string, _frame: Uint8Array): void {
    refuse("ENOSYS", "a namespace in memory has no sockets", link);
  }

  bindSocket(options: SocketOptions): number {
    return refuse("ENOSYS", "a namespace in memory has no sockets", `${options.protocol} ${options.address}:${options.port}`);
  }

  close(): void {
    this.#closed = true;
    for (const listener of this.state.listeners) {
      if (listener.owner !== this) continue;
      listener.stop();
      this.state.listeners.delete(listener);
    }
  }

  get #network(): FakeNetwork {
    return this.state.network;
  }

  #networkOf(end: VethEnd): FakeNetwork {
    if (end.namespace === undefined) return this.#network;
    return end.namespace instanceof FakeNamespace
      ? end.namespace.state.network
      : refuse("EINVAL", "the namespace is not of this fake kernel", end.name);
  }

  #checkOpen(): void {
    if (this.#closed) refuse("EBADF", "the handle is closed", this.path);
  }

  #read<T>(operation: string, action: () => T): T {
    this.#checkOpen();
    this.#failIfAsked(operation);
    return action();
  }

  #write(operation: string, action: () => void): void {
    this.#checkOpen();
    this.#failIfAsked(operation);
    this.state.as(this, action);
    this.writes.push(operation);
  }
}
