// Deleting a link without waiting for the kernel to have cleaned up after it.
//
// The kernel closes a device, takes it off every list and tells of that within some milliseconds; its answer to the request comes
// only when the last reader may have let go of the device, which takes tens of them. So a pool thread waits for the answer,
// and whoever asked goes on as soon as the event has come.
import { KernelError } from "../errors.ts";
import { encodeLink, LINK_MESSAGE } from "../netlink/link.ts";
import { decodeMessages, encodeMessage, FLAG, verdictOf } from "../netlink/message.ts";
import { C, libc } from "./libc.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "./socket.ts";

/** The pool is small, and other work needs it as well. */
const AT_ONCE = 2;
const waiting: (() => void)[] = [];
let running = 0;

/** The deletions that are under way through one namespace handle. */
export class LinkRemovals {
  readonly #run: <T>(action: () => T) => T;
  readonly #ports = new Set<number>();
  readonly #gone = new Map<number, () => void>();

  constructor(run: <T>(action: () => T) => T) {
    this.#run = run;
  }

  /** Whether a socket of a deletion under way has this port id. */
  isOwn(port: number): boolean {
    return this.#ports.has(port);
  }

  /** The kernel tells that the link has gone. */
  notice(index: number): void {
    this.#gone.get(index)?.();
  }

  /** Resolves once the link is on no list any more. @throws KernelError as the kernel says */
  async remove(name: string, index: number): Promise<void> {
    if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
    running++;
    const socket = this.#run(() => new NetlinkSocket(NETLINK_ROUTE));
    this.#ports.add(socket.port);
    await new Promise<void>((resolve, reject) => {
      this.#gone.set(index, resolve);
      const body = encodeLink({ index, attributes: {} });
      const bytes = encodeMessage({ type: LINK_MESSAGE.delete, flags: FLAG.request | FLAG.ack, sequence: 1, port: 0, body });
      libc("send").async(socket.fd, bytes, bytes.length, 0, (failure: unknown, sent: number) => {
        const errno = failure || Number(sent) < 0 ? 5 : answerOf(socket.fd);
        this.#gone.delete(index);
        this.#ports.delete(socket.port);
        socket.close();
        running--;
        waiting.shift()?.();
        if (errno === 0) resolve();
        else reject(new KernelError({ errno, operation: "delete link", subject: name }));
      });
    });
  }
}

/** The errno of the acknowledgement, which lies ready when send() has returned. */
function answerOf(fd: number): number {
  const buffer = Buffer.alloc(4096);
  const length = Number(libc("recv")(fd, buffer, buffer.length, C.MSG_DONTWAIT));
  for (const message of decodeMessages(buffer.subarray(0, Math.max(0, length)))) {
    const verdict = verdictOf(message);
    if (verdict) return verdict.errno;
  }
  return 5;
}
