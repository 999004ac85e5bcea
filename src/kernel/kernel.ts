// The kernel as Fairlead speaks to it. Two implementations: the real one (linux/) and a working fake (fake/).
//
// All calls are synchronous: the kernel answers a netlink request at once, and a caller that holds the thread
// inside a namespace must not yield. One contract suite (kernel.contract.ts) runs on both.
import type { ChildProcess, SpawnOptions } from "node:child_process";
import type { Family } from "../base/index.ts";
import type { NftFamily, NftTable, NftTransaction } from "./netfilter.ts";
import type {
  FdbEntry,
  IpSet,
  IptablesTable,
  IpvsDestination,
  IpvsService,
  IpvsServiceKey,
  KernelState,
  Link,
  LinkAddress,
  Neighbour,
  Route,
  RoutingRule,
} from "./state.ts";

export interface Kernel {
  /** Makes a network namespace. It lives while something holds it: this handle, a process, or a bind mount. */
  createNamespace(): NetworkNamespace;
  /** Opens the namespace behind a path such as /proc/7/ns/net or /run/netns/x. @throws KernelError ENOENT, EINVAL */
  openNamespace(path: string): NetworkNamespace;
  /** The namespace that this process started in. */
  hostNamespace(): NetworkNamespace;
}

/** One network namespace. Everything done through it happens in it, whatever namespace the thread is in. */
export interface NetworkNamespace {
  /** Inode number of the namespace, as `ls -l /proc/self/ns/net` shows it: the same for every handle of one namespace. */
  readonly inode: number;
  /** A path that other processes can open while this handle is open: /proc/PID/fd/N. */
  readonly path: string;

  listLinks(): Link[];
  listAddresses(): LinkAddress[];
  /** Routes of every table but "local" (255), unless asked. One table that is asked for costs by its own length alone. */
  listRoutes(options?: { readonly family?: Family; readonly table?: number }): Route[];
  /** Routes of the table "local" but for those that the kernel makes by itself. */
  listLocalRoutes(): Route[];
  listRules(): RoutingRule[];
  listNeighbours(): Neighbour[];
  listFdb(): FdbEntry[];
  /** Reads back what `scope` names (everything but sysctls and tables, if not given). */
  observe(scope?: ObserveScope): KernelState;

  /** Carries out one change. @throws KernelError with errno: EEXIST, ENOENT (ESRCH for a route), ENODEV, EINVAL, EPERM, … as the kernel says */
  apply(change: LinkChange): void;
  /**
   * Deletes a link. Resolves once no list and no packet finds it any more, while the kernel still cleans up after it: several
   * times sooner than `apply` can return, and without holding up the caller. @throws KernelError ENODEV (at once), as the kernel says
   */
  removeLink(name: string): Promise<void>;
  /** Carries out several changes of routes, neighbours and forwarding entries, with one look at the kernel's events before and after. */
  together<T>(changes: () => T): T;
  /** Makes a veth pair; each end may be born in another namespace, fully configured and, if asked, up. */
  addVethPair(a: VethEnd, b: VethEnd): void;
  /** Moves a link. @throws KernelError */
  moveLink(name: string, to: NetworkNamespace, newName?: string): void;

  /** "net.ipv4.ip_forward" → "1"; undefined where the kernel has no such key. A dot within an interface name is written "/". */
  readSysctl(key: string): string | undefined;
  /** @throws KernelError ENOENT, EACCES, EINVAL */
  writeSysctl(key: string, value: string): void;

  readonly nft: Nftables;
  readonly iptables: Iptables;
  readonly ipsets: Ipsets;
  readonly ipvs: Ipvs;
  readonly conntrack: Conntrack;
  readonly fastPath: FastPath;

  /** Calls back (soon, coalesced) after others changed what `topics` name; own changes through this handle are not reported. Returns the way to stop. */
  watch(topics: readonly WatchTopic[], onChange: (topic: WatchTopic) => void): () => void;

  /** Calls back with each packet that the namespace's rules log to the group, from now on. Returns the way to stop. @throws KernelError EPERM, also where another socket has the group */
  readPacketLog(group: number, onPacket: (packet: LoggedPacket) => void, options?: PacketLogOptions): () => void;

  /** Runs a synchronous function with the calling thread inside the namespace: for making sockets. It must not yield. */
  run<T>(action: () => T): T;
  /** Starts a process inside the namespace. */
  spawn(command: string, args: readonly string[], options?: SpawnOptions): ChildProcess;
  /** Makes a socket inside the namespace, bound (and listening, for TCP), for `net.Server.listen({ fd })` and `dgram` `bind({ fd })`. @throws KernelError EADDRINUSE, EADDRNOTAVAIL, EACCES */
  bindSocket(options: SocketOptions): number;

  /** Makes a socket inside the namespace that is neither bound nor connected: `new net.Socket({ fd })` connects it there. */
  openSocket(options: { readonly protocol: "tcp" | "udp"; readonly family: Family }): number;

  /** Sends one Ethernet frame as it is, header and all, out of a link. @throws KernelError ENODEV, ENETDOWN, EMSGSIZE, EPERM */
  sendFrame(link: string, frame: Uint8Array): void;

  /** Sends one IP packet, header and all, as if a program of the namespace did: routed, and through its hooks. @throws KernelError EINVAL, EMSGSIZE, ENETUNREACH, EPERM */
  sendPacket(packet: Uint8Array): void;

  /** Lets go of the namespace. Idempotent. */
  close(): void;
}

export interface PacketLogOptions {
  /** How much of each packet is wanted; the headers, if not given. */
  readonly bytes?: number;
  /** Each packet as soon as it is logged, not several together. */
  readonly atOnce?: boolean;
}

/** A packet that a rule logged to a group. */
export interface LoggedPacket {
  /** What the rule says in front of it. */
  readonly prefix: string;
  /** Its first bytes, from the IP header on. */
  readonly bytes: Uint8Array;
  /** Index of the interface. */
  readonly inDevice?: number;
  readonly outDevice?: number;
}

export interface ObserveScope {
  readonly sysctls?: readonly string[];
  /** Tables to list: never list what is not ours in the agent. "all" is for dumps and trace. */
  readonly tables?: readonly { readonly family: NftFamily; readonly name: string }[] | "all";
}

/** "route" is of every table but "local", which has a topic of its own. */
export type WatchTopic = "link" | "address" | "route" | "local" | "rule" | "neighbour" | "netconf" | "nft" | "iptables";

/** One rtnetlink change. `add` fails with EEXIST, `replace` makes or overwrites, `delete` fails when it is absent. */
export type LinkChange =
  /** The link must not exist; vxlan and bridge. Veth pairs: addVethPair. */
  | { readonly op: "add"; readonly link: Link }
  /** Sets what is given: mtu, gsoIpv4MaxSize, mac, up, master ("" releases it), hairpin, ifalias, fastPath. */
  | { readonly op: "set"; readonly link: Omit<Link, "kind"> }
  | { readonly op: "delete"; readonly link: { readonly name: string } }
  | { readonly op: "add" | "replace" | "delete"; readonly address: LinkAddress }
  | { readonly op: "add" | "replace" | "delete"; readonly route: Route }
  | { readonly op: "add" | "delete"; readonly rule: RoutingRule }
  | { readonly op: "add" | "replace" | "delete"; readonly neighbour: Neighbour }
  | { readonly op: "add" | "replace" | "delete"; readonly fdb: FdbEntry };

export interface VethEnd {
  readonly name: string;
  /** Where this end is born; this namespace if not given. */
  readonly namespace?: NetworkNamespace;
  readonly mtu?: number;
  readonly mac?: string;
  readonly master?: string;
  readonly up?: boolean;
  readonly ifalias?: string;
}

export interface SocketOptions {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  /** IPv6 wildcard: do not take IPv4 as well. */
  readonly v6only?: boolean;
  readonly reuseAddress?: boolean;
  readonly reusePort?: boolean;
  readonly backlog?: number;
}

export interface Nftables {
  /** Runs commands in nft's own language, or changes of elements, as one transaction. @throws KernelError `nft` with nft's words, line by line, or the kernel's number */
  run(transaction: NftTransaction): void;
  /** One table with all it holds; undefined if absent. */
  readTable(family: NftFamily, name: string): NftTable | undefined;
  listTables(): { readonly family: NftFamily; readonly name: string }[];
}

export interface Iptables {
  /** Why rules can't be written in this namespace; undefined where they can. */
  lack(): string | undefined;
  /** The tables that there are, of the iptables that a person at the machine calls; with `everywhere` those of the other kind (nft, legacy) too. @throws KernelError `iptables` */
  save(family: Family, options?: { readonly everywhere?: boolean }): IptablesTable[];
  /** A text that is another after the rules were changed, where the kernel announces no change of them (iptables-legacy); "" where it does. Costs next to nothing. */
  stamp(): string;
  /** Feeds iptables-restore, which leaves alone what is not named: each *TABLE … COMMIT is one transaction. @throws KernelError `iptables` with its words */
  restore(family: Family, commands: string): void;
}

export interface Ipsets {
  /** Sets whose names are wanted; of the types that Fairlead knows. */
  list(wanted: (name: string) => boolean): IpSet[];
  /** @throws KernelError EEXIST */
  create(set: Pick<IpSet, "name" | "type" | "family">): void;
  /** @throws KernelError ENOENT, EBUSY where a rule refers to it */
  destroy(name: string): void;
  /** Puts in and takes out; what is there already, or is not there, is no error. @throws KernelError ENOENT */
  change(name: string, elements: { readonly add?: readonly string[]; readonly delete?: readonly string[] }): void;
}

/** Takes established TCP connections past routing and netfilter, from one link that has it to another (Link.fastPath). What is deleted from connection tracking leaves it at once. */
export interface FastPath {
  /** Why this kernel can't do it; undefined where it can. */
  lack(): string | undefined;
}

export interface Ipvs {
  /** Why this kernel can't balance by IPVS; undefined where it can. */
  lack(): string | undefined;
  list(): IpvsService[];
  /** One service with its end points, and how many connections they have; undefined where there is none. Costs by their number alone. */
  read(service: IpvsServiceKey): IpvsService | undefined;
  /** `set` changes what a service or destination is like; adding a service adds no destination. @throws KernelError EEXIST, ESRCH, ENOENT */
  apply(change: IpvsChange): void;
}

export type IpvsChange =
  | { readonly op: "add" | "set" | "delete"; readonly service: IpvsService }
  | { readonly op: "add" | "set" | "delete"; readonly service: IpvsServiceKey; readonly destination: IpvsDestination };

/** Tuple filter: what is given must match. */
export interface ConntrackFilter {
  readonly family?: Family;
  readonly protocol?: number;
  readonly source?: string;
  readonly destination?: string;
  readonly destinationPort?: number;
  readonly replySource?: string;
  readonly replyDestination?: string;
  readonly replied?: boolean;
}

export interface ConntrackFlow {
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly replySource: string;
  readonly replyDestination: string;
  readonly replySourcePort?: number;
  readonly replyDestinationPort?: number;
  /** Whether a packet has come back. */
  readonly replied: boolean;
  readonly mark?: number;
}

export interface Conntrack {
  list(filter?: ConntrackFilter): ConntrackFlow[];
  /**
   * Deletes the flows that are as one of the filters says, of these only what `only` wants. Costs by what the filters name, not by
   * all flows; the calling thread goes on where the kernel can do all of it by itself. @throws KernelError EPERM, and what `only` throws
   */
  delete(filters: readonly ConntrackFilter[], only?: (flow: ConntrackFlow) => boolean): Promise<void>;
}
