// One network namespace of the real kernel, held by a descriptor.
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import type { Family } from "../../base/index.ts";
import { KernelError } from "../errors.ts";
import { isIptablesTable } from "../iptables/save.ts";
import type {
  Conntrack,
  FastPath,
  Ipsets,
  Iptables,
  Ipvs,
  LinkChange,
  LoggedPacket,
  NetworkNamespace,
  Nftables,
  ObserveScope,
  PacketLogOptions,
  SocketOptions,
  VethEnd,
  WatchTopic,
} from "../kernel.ts";
import type { NftTable } from "../netfilter.ts";
import { encodeLink, LINK_MESSAGE } from "../netlink/link.ts";
import type { KernelState, Link } from "../state.ts";
import { makeBoundSocket, makeSocket } from "./bind.ts";
import { applyChange } from "./change.ts";
import { openConntrack } from "./conntrack.ts";
import { LinuxFastPath } from "./fast-path.ts";
import { sendFrame } from "./frame.ts";
import { openIpsets } from "./ipset.ts";
import { openIptables } from "./iptables.ts";
import { openIpvs } from "./ipvs.ts";
import { listAddresses, listFdb, listLinks, listLocalRoutes, listNeighbours, listRoutes, listRules } from "./listing.ts";
import { readPacketLog } from "./packet-log.ts";
import { sendPacket } from "./raw-packet.ts";
import { LinkRemovals } from "./removal.ts";
import { NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket } from "./socket.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";
import { inodeOf, runInside } from "./thread.ts";
import { type Birthplace, makeVethPair } from "./veth.ts";
import { type Echo, NamespaceEvents } from "./watch.ts";

/** Gives the nftables of the namespace that `run` enters. */
export type OpenNftables = (run: <T>(action: () => T) => T, socket: () => NetlinkSocket) => Nftables & { close(): void };

const NOTHING: ReadonlySet<never> = new Set<never>();
/** Routes come and go with addresses and links, and the kernel itself is then their causer. */
const ROUTES: ReadonlySet<WatchTopic> = new Set(["route", "local"]);
const SETTINGS_ECHO: Echo = { links: NOTHING, topics: new Set(["netconf"]) };

export class LinuxNamespace implements NetworkNamespace {
  readonly inode: number;
  readonly path: string;
  readonly #fd: number;
  readonly #openNftables: OpenNftables;
  readonly #events: NamespaceEvents;
  readonly #removals = new LinkRemovals((action) => this.run(action));
  /** The ways to stop reading logged packets. */
  readonly #logs = new Set<() => void>();
  #closed = false;
  #route: NetlinkSocket | undefined;
  #netfilter: NetlinkSocket | undefined;
  #nft: (Nftables & { close(): void }) | undefined;
  #generic: NetlinkSocket | undefined;
  #iptables: Iptables | undefined;
  #ipsets: Ipsets | undefined;
  #ipvs: Ipvs | undefined;
  #conntrack: Conntrack | undefined;
  readonly #fastPath = new LinuxFastPath(
    () => this.#socket(),
    () => void this.conntrack.list({ protocol: 0 }),
  );

  /** Takes over the descriptor. */
  constructor(fd: number, openNftables: OpenNftables) {
    this.#fd = fd;
    this.#openNftables = openNftables;
    this.inode = inodeOf(fd);
    this.path = `/proc/${process.pid}/fd/${fd}`;
    this.#events = new NamespaceEvents(
      (action) => this.run(action),
      (port) => port === this.#route?.port || this.#removals.isOwn(port),
      (index) => this.#removals.notice(index),
    );
  }

  listLinks(): Link[] {
    const links = listLinks(this.#socket());
    const fastPathOf = this.#fastPath.of(links.map(({ index = 0 }) => index));
    return links.map((link) => {
      const fastPath = fastPathOf(link.index ?? 0);
      return fastPath === undefined ? link : { ...link, fastPath };
    });
  }

  listAddresses() {
    return listAddresses(this.#socket());
  }

  listRoutes(options?: { readonly family?: Family; readonly table?: number }) {
    return listRoutes(this.#socket(), options);
  }

  listLocalRoutes() {
    return listLocalRoutes(this.#socket());
  }

  listRules() {
    return listRules(this.#socket());
  }

  listNeighbours() {
    return listNeighbours(this.#socket());
  }

  listFdb() {
    return listFdb(this.#socket());
  }

  observe(scope: ObserveScope = {}): KernelState {
    return {
      links: this.listLinks(),
      addresses: this.listAddresses(),
      routes: this.listRoutes(),
      localRoutes: this.listLocalRoutes(),
      rules: this.listRules(),
      neighbours: this.listNeighbours(),
      fdb: this.listFdb(),
      sysctls: this.#observeSysctls(scope.sysctls ?? []),
      tables: this.#observeTables(scope.tables ?? []),
      iptables: scope.tables === "all" ? ([4, 6] as const).flatMap((family) => this.iptables.save(family, { everywhere: true })) : [],
      ipsets: scope.tables === "all" ? this.ipsets.list(() => true) : [],
      ipvs: scope.tables === "all" ? this.ipvs.list() : [],
    };
  }

  apply(change: LinkChange): void {
    const socket = this.#socket();
    const links = new Set<number>();
    const note = () => {
      for (const name of linksOf(change)) {
        const index = this.#indexOf(name);
        if (index !== undefined) links.add(index);
      }
    };
    this.#events.quietly(
      () => {
        note();
        applyChange(socket, change);
        if ("link" in change && change.op !== "delete" && change.link.fastPath !== undefined)
          this.#fastPath.set(socket.indexOf(change.link.name), change.link.fastPath);
      },
      () => {
        note();
        return { links, topics: ROUTES };
      },
    );
  }

  async removeLink(name: string): Promise<void> {
    await this.#removals.remove(name, this.#socket().indexOf(name));
  }

  together<T>(actions: () => T): T {
    return this.#events.together(actions);
  }

  addVethPair(a: VethEnd, b: VethEnd): void {
    const socket = this.#socket();
    this.#events.quietly(
      () => makeVethPair(socket, a, this.#birthplace(a), b, this.#birthplace(b)),
      () => {
        const names = [a, b].flatMap((end) => [end.name, ...(end.master ? [end.master] : [])]);
        return { links: new Set(names.map((name) => this.#indexOf(name) ?? -1)), topics: ROUTES };
      },
    );
  }

  moveLink(name: string, to: NetworkNamespace, newName?: string): void {
    const socket = this.#socket();
    const index = socket.indexOf(name);
    const body = encodeLink({ index, attributes: { name: newName, namespaceFd: linuxOf(to).#openFd() } });
    this.#events.quietly(
      () => socket.request(LINK_MESSAGE.set, 0, body, { operation: "move link to another namespace", subject: name }),
      () => ({ links: new Set([index]), topics: ROUTES }),
    );
  }

  readSysctl(key: string): string | undefined {
    return this.run(() => readSysctl(key));
  }

  writeSysctl(key: string, value: string): void {
    this.#events.quietly(
      () => this.run(() => writeSysctl(key, value)),
      () => SETTINGS_ECHO,
    );
  }

  get nft(): Nftables {
    this.#nft ??= this.#openNftables(
      (action) => this.#quietly(action),
      () => this.#netfilterSocket(),
    );
    return this.#nft;
  }

  get iptables(): Iptables {
    this.#iptables ??= openIptables(
      (action) => this.#quietly(action),
      () => this.nft,
    );
    return this.#iptables;
  }

  get ipsets(): Ipsets {
    this.#ipsets ??= openIpsets(() => this.#netfilterSocket());
    return this.#ipsets;
  }

  get ipvs(): Ipvs {
    this.#ipvs ??= openIpvs(
      (action) => this.run(action),
      () => {
        this.#generic ??= this.run(() => new NetlinkSocket(NETLINK_GENERIC));
        return this.#generic;
      },
    );
    return this.#ipvs;
  }

  #netfilterSocket(): NetlinkSocket {
    this.#netfilter ??= this.run(() => new NetlinkSocket(NETLINK_NETFILTER));
    return this.#netfilter;
  }

  /** Runs a function inside the namespace; the transactions of netfilter that it makes are our own. */
  #quietly<T>(action: () => T): T {
    return this.#events.quietly(
      () => this.run(action),
      () => ({ links: NOTHING, topics: NOTHING }),
    );
  }

  get fastPath(): FastPath {
    return this.#fastPath;
  }

  get conntrack(): Conntrack {
    this.#conntrack ??= this.#cutting(
      openConntrack(
        () => this.run(() => new NetlinkSocket(NETLINK_NETFILTER)),
        () => this.#netfilterSocket(),
        () => {
          const count = this.readSysctl("net.netfilter.nf_conntrack_count");
          return count === undefined ? undefined : Number(count);
        },
      ),
    );
    return this.#conntrack;
  }

  /** What is no tracked connection any more has no fast path either. */
  #cutting(conntrack: Conntrack): Conntrack {
    return {
      list: (filter) => conntrack.list(filter),
      delete: async (filters, only) => {
        try {
          await conntrack.delete(filters, only);
        } finally {
          this.#fastPath.renew();
        }
      },
    };
  }

  watch(topics: readonly WatchTopic[], onChange: (topic: WatchTopic) => void): () => void {
    return this.#events.watch(topics, onChange);
  }

  readPacketLog(group: number, onPacket: (packet: LoggedPacket) => void, options?: PacketLogOptions): () => void {
    const stop = this.run(() => readPacketLog(group, onPacket, options));
    const once = () => {
      if (this.#logs.delete(once)) stop();
    };
    this.#logs.add(once);
    return once;
  }

  run<T>(action: () => T): T {
    return runInside(this.#openFd(), action);
  }

  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return this.run(() => spawn(command, args, options));
  }

  openSocket(options: { readonly protocol: "tcp" | "udp"; readonly family: Family }): number {
    return this.run(() => makeSocket(options.protocol, options.family));
  }

  sendPacket(packet: Uint8Array): void {
    this.run(() => sendPacket(packet));
  }

  sendFrame(link: string, frame: Uint8Array): void {
    const index = this.#socket().indexOf(link);
    this.run(() => sendFrame(link, index, frame));
  }

  bindSocket(options: SocketOptions): number {
    return this.run(() => makeBoundSocket(options));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events.close();
    for (const stop of this.#logs) stop();
    this.#route?.close();
    this.#netfilter?.close();
    this.#generic?.close();
    this.#nft?.close();
    this.#fastPath.close();
    closeSync(this.#fd);
  }

  #openFd(): number {
    if (this.#closed) throw new KernelError({ errno: "EBADF", operation: "use network namespace", says: "its handle was closed" });
    return this.#fd;
  }

  #socket(): NetlinkSocket {
    this.#openFd();
    this.#route ??= this.run(() => new NetlinkSocket(NETLINK_ROUTE));
    return this.#route;
  }

  #indexOf(name: string): number | undefined {
    try {
      return this.#socket().indexOf(name);
    } catch {
      return undefined;
    }
  }

  #birthplace(end: VethEnd): Birthplace {
    if (!end.namespace) return { socket: this.#socket() };
    const place = linuxOf(end.namespace);
    return { socket: place.#socket(), fd: place.#openFd() };
  }

  #observeSysctls(keys: readonly string[]): Record<string, string> {
    if (keys.length === 0) return {};
    return this.run(() =>
      Object.fromEntries(
        keys.flatMap((key) => {
          const value = readSysctl(key);
          return value === undefined ? [] : [[key, value]];
        }),
      ),
    );
  }

  #observeTables(wanted: NonNullable<ObserveScope["tables"]>): NftTable[] {
    // What iptables keeps in nftables is read by its own program, which knows its own expressions.
    const names = wanted === "all" ? this.nft.listTables().filter((table) => !isIptablesTable(table)) : wanted;
    return names.flatMap(({ family, name }) => this.nft.readTable(family, name) ?? []);
  }
}

/** The links whose events a change brings about without naming its causer. */
function linksOf(change: LinkChange): readonly string[] {
  if ("address" in change) return [change.address.link];
  if ("neighbour" in change) return [change.neighbour.link];
  if ("fdb" in change) return [change.fdb.link];
  if (!("link" in change)) return [];
  const link: Partial<Link> = change.link;
  return [link.name, link.master].filter((name): name is string => name !== undefined && name !== "");
}

function linuxOf(namespace: NetworkNamespace): LinuxNamespace {
  if (namespace instanceof LinuxNamespace) return namespace;
  throw new KernelError({ errno: "EINVAL", operation: "use network namespace", says: "it belongs to another kernel" });
}
