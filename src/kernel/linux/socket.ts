// One netlink socket of a namespace: requests and dumps, answered at once.
import { closeSync } from "node:fs";
import { KernelError, type KernelFailure } from "../errors.ts";
import { align } from "../netlink/attribute.ts";
import {
  CONTROL,
  decodeMessages,
  encodeMessage,
  FLAG,
  messageLength,
  type NetlinkMessage,
  verdictOf,
  writeMessage,
} from "../netlink/message.ts";
import { C, call, errno, libc, setOption } from "./libc.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

/** The kernel fills at most 32 KiB per answer of a dump. */
const BUFFER = Buffer.alloc(64 * 1024);
/** Batches of up to five thousand elements or so fit into it. */
const BATCH_BUFFER = Buffer.alloc(1 << 20);
const DUMP_TRIES = 10;
/** NFNL_MSG_BATCH_BEGIN and _END. */
const BATCH = { begin: 0x10, end: 0x11 } as const;
/** What the kernel needs of the buffer beside a message. */
const SLACK = 4096;

type Context = Omit<KernelFailure, "errno" | "says">;

/**
 * Port ids are unique among the sockets of this process, not only within a namespace as the kernel would choose them:
 * an event in one namespace that was caused through another's socket must not look like the first one's own.
 */
let nextPort = (0x80000000 | ((process.pid & 0x7fff) << 16) | (Date.now() & 0xffff)) >>> 0;

/** Opens a bound netlink socket in the thread's current namespace. */
export function openNetlink(protocol: number): { readonly fd: number; readonly port: number } {
  const fd = call("socket", [C.AF_NETLINK, C.SOCK_RAW | C.SOCK_CLOEXEC, protocol], { operation: "open a netlink socket" });
  for (let tries = 0; ; tries++) {
    nextPort = ((nextPort + 1) | 0x80000000) >>> 0;
    const address = Buffer.alloc(12);
    address.writeUInt16LE(C.AF_NETLINK, 0);
    address.writeUInt32LE(nextPort, 4);
    if (libc("bind")(fd, address, address.length) === 0) return { fd, port: nextPort };
    if (tries < 100) continue;
    const number = errno();
    closeSync(fd);
    throw new KernelError({ errno: number, operation: "bind a netlink socket" });
  }
}

/** A netlink socket; close() it. */
export class NetlinkSocket {
  readonly fd: number;
  readonly port: number;
  #sequence = 0;
  /** Bytes that a message may have for certain. */
  #room = 64 * 1024;
  readonly #ifreq = Buffer.alloc(40);

  /** Must be called with the thread inside the namespace. */
  constructor(protocol: number) {
    ({ fd: this.fd, port: this.port } = openNetlink(protocol));
    setOption(this.fd, C.SOL_NETLINK, C.NETLINK_EXT_ACK, 1);
    setOption(this.fd, C.SOL_NETLINK, C.NETLINK_CAP_ACK, 1);
    if (protocol === NETLINK_ROUTE) setOption(this.fd, C.SOL_NETLINK, C.NETLINK_GET_STRICT_CHK, 1);
  }

  /** Sends a request and awaits its acknowledgement. @throws KernelError as the kernel says, with its own words */
  request(type: number, flags: number, body: Uint8Array, context: Context): void {
    const sequence = this.#send(type, FLAG.request | FLAG.ack | flags, body, context);
    for (;;) {
      for (const message of this.#receive(context)) {
        if (message.sequence !== sequence) continue;
        const verdict = verdictOf(message);
        if (!verdict) continue;
        if (verdict.errno === 0) return;
        throw new KernelError({ ...context, errno: verdict.errno, says: verdict.says });
      }
    }
  }

  /**
   * Sends requests to a subsystem of nfnetlink that hold all at once or not at all (linux/netfilter/nfnetlink.h, NFNL_MSG_BATCH_BEGIN).
   * @throws KernelError of the first that was refused
   */
  transact(subsystem: number, requests: readonly Pick<NetlinkMessage, "type" | "flags" | "body">[], context: Context): void {
    if (requests.length === 0) return;
    const mark = Uint8Array.of(0, 0, subsystem >>> 8, subsystem & 0xff);
    const all = [{ type: BATCH.begin, flags: 0, body: mark }, ...requests, { type: BATCH.end, flags: 0, body: mark }];
    const first = this.#sequence + 1;
    const last = this.#sequence + requests.length + 1;
    const size = all.reduce((sum, request) => sum + align(messageLength(request)), 0);
    const bytes = size <= BATCH_BUFFER.length ? BATCH_BUFFER : Buffer.alloc(size);
    let at = 0;
    for (const [index, { type, flags, body }] of all.entries()) {
      this.#sequence = (this.#sequence + 1) >>> 0;
      // What was refused is told in any case.
      const ack = index === requests.length ? FLAG.ack : 0;
      writeMessage(bytes, at, { type, flags: FLAG.request | flags | ack, sequence: this.#sequence, port: 0, body });
      at += align(messageLength({ body }));
    }
    this.#makeRoom(size);
    call("send", [this.fd, bytes, size, 0], context);
    let refused: KernelError | undefined;
    for (;;) {
      for (const message of this.#receive(context)) {
        const verdict = message.sequence >= first && message.sequence <= last ? verdictOf(message) : undefined;
        if (!verdict) continue;
        if (verdict.errno !== 0) refused ??= new KernelError({ ...context, errno: verdict.errno, says: verdict.says });
        // A whole batch that is refused has no more answers than this.
        if (message.sequence !== last && message.sequence !== first) continue;
        if (refused) throw refused;
        return;
      }
    }
  }

  /** A message must fit into what the socket may hold. */
  #makeRoom(size: number): void {
    if (size + SLACK <= this.#room) return;
    if (!setOption(this.fd, C.SOL_SOCKET, C.SO_SNDBUFFORCE, size + SLACK)) setOption(this.fd, C.SOL_SOCKET, C.SO_SNDBUF, size + SLACK);
    this.#room = size + SLACK;
  }

  /** Sends a request that is answered by one message, and then acknowledged. @throws KernelError */
  ask<T>(type: number, body: Uint8Array, take: (message: NetlinkMessage) => T, context: Context): T | undefined {
    const sequence = this.#send(type, FLAG.request | FLAG.ack, body, context);
    let answer: T | undefined;
    for (;;) {
      for (const message of this.#receive(context)) {
        if (message.sequence !== sequence) continue;
        const verdict = verdictOf(message);
        if (!verdict) answer = take(message);
        else if (verdict.errno === 0) return answer;
        else throw new KernelError({ ...context, errno: verdict.errno, says: verdict.says });
      }
    }
  }

  /** Reads all objects of a kind, again if they changed meanwhile. `take` gets each body, valid only during the call. @throws KernelError */
  dump<T>(type: number, body: Uint8Array, take: (message: NetlinkMessage) => T | undefined, context: Context): T[] {
    for (let tries = 0; tries < DUMP_TRIES; tries++) {
      const result = this.#dumpOnce(type, body, take, context);
      if (result) return result;
    }
    throw new KernelError({
      ...context,
      errno: "EAGAIN",
      says: `the list changed while it was read, ${DUMP_TRIES} times over`,
      remedy: "try again when fewer changes are made",
    });
  }

  /** Index of the link. @throws KernelError ENODEV */
  indexOf(name: string): number {
    this.#ifreq.fill(0);
    if (name.length < 16 && name !== "") {
      this.#ifreq.write(name);
      if (libc("ioctl")(this.fd, C.SIOCGIFINDEX, this.#ifreq) === 0) return this.#ifreq.readInt32LE(16);
    }
    throw new KernelError({ errno: "ENODEV", operation: "find link", subject: name });
  }

  /** Name of the link with the index; "if7" if it is gone. */
  nameOf(index: number): string {
    this.#ifreq.fill(0);
    this.#ifreq.writeInt32LE(index, 16);
    if (libc("ioctl")(this.fd, C.SIOCGIFNAME, this.#ifreq) !== 0) return `if${index}`;
    return this.#ifreq.toString("utf8", 0, this.#ifreq.indexOf(0));
  }

  close(): void {
    closeSync(this.fd);
  }

  #dumpOnce<T>(type: number, body: Uint8Array, take: (message: NetlinkMessage) => T | undefined, context: Context): T[] | undefined {
    const sequence = this.#send(type, FLAG.request | FLAG.dump, body, context);
    const items: T[] = [];
    let interrupted = false;
    let failed: { readonly error: unknown } | undefined;
    for (;;) {
      for (const message of this.#receive(context)) {
        if (message.sequence !== sequence) continue;
        if (message.flags & FLAG.dumpInterrupted && message.type !== CONTROL.error) interrupted = true;
        const verdict = verdictOf(message);
        if (verdict) {
          if (verdict.errno !== 0) throw new KernelError({ ...context, errno: verdict.errno, says: verdict.says });
          if (failed) throw failed.error;
          return interrupted ? undefined : items;
        }
        // The answer must be read to its end whatever the taker does: the kernel refuses a second dump meanwhile (EBUSY).
        if (failed) continue;
        try {
          const item = take(message);
          if (item !== undefined) items.push(item);
        } catch (error) {
          failed = { error };
        }
      }
    }
  }

  #send(type: number, flags: number, body: Uint8Array, context: Context): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    const bytes = encodeMessage({ type, flags, sequence: this.#sequence, port: 0, body });
    call("send", [this.fd, bytes, bytes.length, 0], context);
    return this.#sequence;
  }

  #receive(context: Context): NetlinkMessage[] {
    for (;;) {
      const length = Number(libc("recv")(this.fd, BUFFER, BUFFER.length, 0));
      if (length >= 0) return decodeMessages(BUFFER.subarray(0, length));
      const number = errno();
      if (number !== 4) throw new KernelError({ ...context, errno: number });
    }
  }
}
