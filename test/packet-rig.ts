// Real packets through real rules, thousands a second: nodes are network namespaces, pods are TUN devices in them.
//
//   a test writes a raw IP packet into a pod's TUN ──▶ the node's kernel routes it through its hooks ──▶ it comes out of
//   another pod's TUN, of the way to the outside, or nowhere. Nothing listens, so nothing has to time out.
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import koffi from "koffi";
import { addressToBytes, familyOf, parseAddress } from "../src/base/index.ts";
import type { Kernel, NetworkNamespace, NftTable } from "../src/kernel/index.ts";
import { C, call } from "../src/kernel/linux/libc.ts";
import { printTable } from "../src/kernel/nft/print.ts";
import { decodePacket, encodePacket, markOf, type RawPacket, type SeenPacket } from "./packet.ts";

const TUNSETIFF = 0x400454ca;
const IFF_TUN_NO_PI = 0x1001;
const READ_WRITE_NONBLOCK = 2 | C.SOCK_NONBLOCK;
/** Packets are known again by this and their index. */
const MARK = 0x0fa17000;
/** Packets between two looks at what came out: a TUN holds five hundred. */
const BATCH = 200;
/** Looks for what is still on its way, and the milliseconds before each. */
const MOST_LOOKS = 300;
const REST_MS = 30;

export interface RigNode {
  readonly name: string;
  readonly addresses: readonly string[];
}

export interface RigPod {
  readonly node: string;
  readonly addresses: readonly string[];
}

/** The two ends of the wire between the nodes. */
const WIRE = { 4: ["169.254.9.1", "169.254.9.2"], 6: ["fd00:9::1", "fd00:9::2"] } as const;
const MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02"] as const;

interface Node {
  readonly index: 0 | 1;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly namespace: NetworkNamespace;
  /** The way to the outside and to other clusters' addresses. */
  readonly outside: number;
  /** For what the node itself sends: sockets that take whole packets. */
  readonly raw: { readonly 4: number; readonly 6: number };
}

/** Where a packet came out. */
export interface Arrival {
  readonly at: "pod" | "outside" | "node";
  readonly dscp: number;
}

export class PacketRig {
  readonly #nodes = new Map<string, Node>();
  /** Descriptors of pods' TUNs by address, with their node. */
  readonly #pods = new Map<string, { readonly fd: number; readonly node: Node }>();
  readonly #buffer = Buffer.alloc(2048);

  constructor(kernel: Kernel, nodes: readonly RigNode[], pods: readonly RigPod[]) {
    if (nodes.length > 2) throw new Error("a rig has two nodes at most");
    for (const [index, { name, addresses }] of nodes.entries())
      this.#nodes.set(name, { ...makeNode(kernel, name, addresses), index: index as 0 | 1 });
    this.#connect();
    for (const [index, pod] of pods.entries()) this.#addPod(index, pod);
  }

  namespace(node: string): NetworkNamespace {
    const found = this.#nodes.get(node);
    if (!found) throw new Error(`no node ${node}`);
    return found.namespace;
  }

  /** Replaces a node's table, in one transaction. */
  load(node: string, table: NftTable): void {
    const name = `${table.family} ${table.name}`;
    this.namespace(node).nft.run(`table ${name}\ndelete table ${name}\n${printTable(table)}`);
  }

  /**
   * Sends packets, each from where its source is; answers which of them (by index) came out, and where. On a busy machine some may
   * still be on their way between two nodes: looks again until what has come out is what should have, or until it never will.
   */
  send(
    packets: readonly Omit<RawPacket, "mark">[],
    isAll: (arrived: ReadonlyMap<number, Arrival>) => boolean = () => true,
  ): Map<number, Arrival> {
    const arrived = new Map<number, Arrival>();
    for (const [index, packet] of packets.entries()) {
      const mark = MARK + index;
      const bytes = encodePacket({ ...packet, mark });
      const sender = this.#nodeWith(packet.source);
      if (sender) sendRaw(sender, packet.destination, bytes);
      else writeSync(this.#origin(packet), bytes);
      if (index % BATCH === BATCH - 1) this.#collect(arrived, packets);
    }
    this.#collect(arrived, packets);
    for (let looks = 0; looks < MOST_LOOKS && !isAll(arrived); looks++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, REST_MS);
      this.#collect(arrived, packets);
    }
    return arrived;
  }

  /** Forgets all flows: what has no ports is known again by its addresses alone. */
  async forget(): Promise<void> {
    for (const { namespace } of this.#nodes.values()) await namespace.conntrack.delete([{}]);
  }

  close(): void {
    for (const fd of new Set([...this.#pods.values()].map((pod) => pod.fd))) closeSync(fd);
    this.#pods.clear();
    for (const { outside, raw, namespace } of this.#nodes.values()) {
      for (const fd of [outside, raw[4], raw[6]]) closeSync(fd);
      namespace.close();
    }
  }

  #origin({ source, destination }: Omit<RawPacket, "mark">): number {
    const pod = this.#pods.get(source);
    if (pod) return pod.fd;
    const target = this.#pods.get(destination)?.node ?? this.#nodeWith(destination) ?? [...this.#nodes.values()][0];
    if (!target) throw new Error("a rig without nodes");
    return target.outside;
  }

  #nodeWith(address: string): Node | undefined {
    return [...this.#nodes.values()].find((node) => node.addresses.includes(address));
  }

  #collect(arrived: Map<number, Arrival>, packets: readonly Omit<RawPacket, "mark">[]): void {
    for (const fd of new Set([...this.#pods.values()].map((pod) => pod.fd))) this.#drain(fd, "pod", arrived, packets);
    for (const { outside } of this.#nodes.values()) this.#drain(outside, "outside", arrived, packets);
  }

  #drain(fd: number, at: "pod" | "outside", arrived: Map<number, Arrival>, packets: readonly Omit<RawPacket, "mark">[]): void {
    for (;;) {
      let length: number;
      try {
        length = readSync(fd, this.#buffer);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return;
        throw error;
      }
      const bytes = this.#buffer.subarray(0, length);
      const seen = decodePacket(bytes);
      const index = markOf(bytes) - MARK;
      if (packets[index]?.protocol === seen.protocol) arrived.set(index, { at, dscp: seen.dscp });
      else this.#answer(seen, arrived, packets);
    }
  }

  /** What a node itself answers (a reset, an error, an echo): the packet came in to it. */
  #answer(seen: SeenPacket, arrived: Map<number, Arrival>, packets: readonly Omit<RawPacket, "mark">[]): void {
    const { source, destination, protocol, body, dscp } = seen;
    if (!this.#nodeWith(source)) return;
    const index = markOf(body) - MARK;
    if (packets[index]?.source === destination) arrived.set(index, { at: "node", dscp });
    if (protocol !== 6 || body.length < 4) return;
    for (const [at, packet] of packets.entries()) {
      if (packet.protocol !== 6 || packet.source !== destination || packet.destination !== source) continue;
      if (packet.sourcePort === body.readUInt16BE(2) && packet.destinationPort === body.readUInt16BE(0))
        arrived.set(at, { at: "node", dscp });
    }
  }

  #addPod(index: number, { node: name, addresses }: RigPod): void {
    const node = this.#nodes.get(name);
    if (!node) throw new Error(`no node ${name}`);
    const link = `cali${index}`;
    const fd = openTun(node.namespace, link);
    for (const address of addresses) {
      addRoute(node.namespace, address, { link });
      this.#pods.set(address, { fd, node });
      for (const other of this.#nodes.values()) {
        if (other === node) continue;
        addRoute(other.namespace, address, { link: "wire", via: WIRE[familyOf(address)][node.index] });
      }
    }
  }

  /** Two nodes share a wire; one alone has none. */
  #connect(): void {
    const [first, second] = [...this.#nodes.values()];
    if (!first || !second) return;
    first.namespace.addVethPair(
      { name: "wire", mac: MACS[0], up: true },
      { name: "wire", mac: MACS[1], up: true, namespace: second.namespace },
    );
    for (const [own, other] of [
      [first, second],
      [second, first],
    ] as const) {
      for (const family of [4, 6] as const) {
        const address = WIRE[family][other.index];
        addRoute(own.namespace, address, { link: "wire" });
        own.namespace.apply({ op: "replace", neighbour: { link: "wire", address, mac: MACS[other.index], state: "permanent" } });
        for (const held of other.addresses) if (familyOf(held) === family) addRoute(own.namespace, held, { link: "wire", via: address });
      }
    }
  }
}

function makeNode(kernel: Kernel, name: string, addresses: readonly string[]): Omit<Node, "index"> {
  const namespace = kernel.createNamespace();
  const sysctls: Readonly<Record<string, string>> = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv6.icmp.ratelimit": "0",
  };
  for (const [key, value] of Object.entries(sysctls)) namespace.writeSysctl(key, value);
  const outside = openTun(namespace, "out");
  for (const address of addresses)
    namespace.apply({ op: "add", address: { link: "lo", address: `${address}/${familyOf(address) === 4 ? 32 : 128}`, nodad: true } });
  for (const destination of ["0.0.0.0/0", "::/0"]) addRoute(namespace, destination, { link: "out" });
  const open = (family: 4 | 6) =>
    namespace.run(() =>
      call("socket", [family === 4 ? 2 : 10, C.SOCK_RAW | C.SOCK_CLOEXEC, IPPROTO_RAW], { operation: "open a raw socket" }),
    );
  return { name, addresses, namespace, outside, raw: { 4: open(4), 6: open(6) } };
}

const IPPROTO_RAW = 255;
const sendto = koffi
  .load(null)
  .func("int64_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t size)");

/** Sends a packet as the node's own. What its rules drop is EPERM, and comes out nowhere. */
function sendRaw({ raw }: Node, destination: string, bytes: Buffer): void {
  const family = familyOf(destination);
  const address = Buffer.alloc(family === 4 ? 16 : 28);
  address.writeUInt16LE(family === 4 ? 2 : 10, 0);
  Buffer.from(addressToBytes(parseAddress(destination))).copy(address, family === 4 ? 4 : 8);
  sendto(raw[family], bytes, bytes.length, 0, address, address.length);
}

function addRoute(namespace: NetworkNamespace, to: string, nexthop: { readonly link: string; readonly via?: string }): void {
  const family = familyOf(to.split("/")[0] ?? "");
  const destination = to.includes("/") ? to : `${to}/${family === 4 ? 32 : 128}`;
  const scope = nexthop.via === undefined && family === 4 ? { scope: "link" as const } : {};
  namespace.apply({
    op: "replace",
    route: { family, destination, type: "unicast", nexthops: [nexthop], table: 254, protocol: 4, ...scope },
  });
}

/** A TUN device of the namespace, up; writing to the descriptor is receiving on the device. */
function openTun(namespace: NetworkNamespace, name: string): number {
  const fd = namespace.run(() => {
    const opened = openSync("/dev/net/tun", READ_WRITE_NONBLOCK);
    const request = Buffer.alloc(40);
    request.write(name);
    request.writeInt16LE(IFF_TUN_NO_PI, 16);
    call("ioctl", [opened, TUNSETIFF, request], { operation: "make a TUN device", subject: name });
    return opened;
  });
  namespace.apply({ op: "set", link: { name, up: true } });
  return fd;
}
